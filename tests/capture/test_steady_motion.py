"""Trembling goes, nods stay and do not lag, blunders are found."""

import numpy as np
import pytest

from aed_nerfstudio.capture.steady_motion import far_off, smooth_motion

FRAMES = 250
TIME = np.arange(FRAMES) / 25


def _noisy(motion: np.ndarray) -> np.ndarray:
    return motion + np.random.default_rng(0).normal(0, 0.1, motion.shape)


def test_a_still_head_is_still():
    out = smooth_motion(_noisy(np.zeros((FRAMES, 1))), np.ones(FRAMES, bool))
    assert np.diff(out[:, 0], 2).std() < 0.1 * np.diff(_noisy(np.zeros((FRAMES, 1)))[:, 0], 2).std()


@pytest.mark.parametrize("frequency", [0.5, 2.0, 3.0])
def test_a_nod_keeps_its_time_and_size(frequency):
    motion = np.where(np.abs(TIME - 5) < 2, 4 * np.sin(2 * np.pi * frequency * TIME), 0.0)[:, None]
    out = smooth_motion(_noisy(motion), np.ones(FRAMES, bool))
    inside = np.abs(TIME - 5) < 1.8
    a, b = out[inside, 0], motion[inside, 0]
    assert abs((a @ b) / (b @ b) - 1) < 0.05
    quarter = np.gradient(b)
    assert abs((a @ quarter) / (quarter @ quarter)) < 0.2, "frames of delay"
    assert np.abs(out - motion)[inside].std() < 0.1


def test_gaps_are_bridged_and_ends_held():
    motion = np.column_stack([TIME, -TIME])
    known = np.ones(FRAMES, bool)
    known[[0, 1, 100, 101, 102, -1]] = False
    measured = motion.copy()
    measured[~known] = 77
    out = smooth_motion(measured, known)
    assert np.abs(out - motion)[2:-1].max() < 1e-6 and abs(out[0, 0] - motion[2, 0]) < 1e-6


def test_blunders_are_found_and_nods_are_not():
    motion = _noisy(6 * np.sin(2 * np.pi * 1.5 * TIME)[:, None])
    known = np.ones(FRAMES, bool)
    known[7] = False
    motion[[50, 51]] += 9
    assert np.flatnonzero(far_off(motion, known, 3.0)).tolist() == [50, 51]
