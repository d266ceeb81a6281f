"""Shoulders that were moved by known amounts are found where they are."""

from copy import copy
from dataclasses import replace

import cv2
import numpy as np
import pytest

from aed_nerfstudio.dataset.schema import BACKGROUND, HEAD, Dataset, read_dataset
from aed_nerfstudio.dataset.torso_motion import MOTION_DIM, smoothed, torso_motion

SIDE = 256
MOVES = [(0, 0, 0, 1), (3.4, -2.2, 0, 1), (-16, 6, 0, 1), (5, 8, 4, 1), (-9, 3, -7, 1.06), (20, -10, 5, 0.95)]
"""Shift to the right and down, pixels, turn, degrees, and size."""


def matrix(x: float, y: float, turn: float, size: float) -> np.ndarray:
    """The affine map of pixels, [2, 3], about the middle of the shoulders."""
    found = cv2.getRotationMatrix2D((SIDE / 2, 0.8 * SIDE), turn, size)
    found[:, 2] += x, y
    return found


class Moved(Dataset):
    """A dataset whose every frame is the first one's torso, enlarged, in a patterned shirt and moved; the head
    stays."""

    layer: np.ndarray
    parts: np.ndarray
    gone: set[int] = set()

    def torso(self, frame):
        move = matrix(*MOVES[frame.index % len(MOVES)])
        return cv2.warpAffine(self.layer, move, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)

    def parsing(self, frame):
        body = np.where(self.parts == HEAD, BACKGROUND, self.parts)
        moved = cv2.warpAffine(body, matrix(*MOVES[frame.index % len(MOVES)]), (SIDE, SIDE), flags=cv2.INTER_NEAREST)
        return np.where(self.parts == HEAD, HEAD, moved) * (frame.index not in self.gone)


@pytest.fixture(scope="module")
def moved(data) -> Moved:
    found = Moved(**vars(read_dataset(data)))
    recorded = read_dataset(data)
    found.layer = cv2.resize(recorded.torso(recorded.frames[0]), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    found.parts = cv2.resize(recorded.parsing(recorded.frames[0]), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    pattern = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 1500, (SIDE, SIDE, 1)), (0, 0), 12)
    found.layer[..., :3] = np.clip(found.layer[..., :3] + pattern[..., None], 0, 255)
    # Takes of one frame each are not smoothed.
    found.frames = [replace(found.frames[k], clip=str(k)) for k in range(len(MOVES))]
    return found


def places(motion: np.ndarray, points: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Where a motion has points [N, 2] of the reference, pixels."""
    away = 2 * points / SIDE - 1
    away = away + motion[:2] + (away - middle) @ motion[2:].reshape(2, 2).T
    return (away + 1) * SIDE / 2


def test_known_moves_are_recovered(moved):
    found = torso_motion(moved, range(len(MOVES)), 0)
    assert found.shape == (len(MOVES), MOTION_DIM) and not found[0].any()
    points = np.stack(np.meshgrid(np.linspace(60, 200, 8), np.linspace(180, 250, 5)), -1).reshape(-1, 2)
    for number, move in enumerate(MOVES[1:], 1):
        wanted = points @ matrix(*move)[:, :2].T + matrix(*move)[:, 2]
        # The middle is the measure's own: it follows from what a map does at any two places.
        away = min(
            np.linalg.norm(places(found[number], points, np.array([x, y])) - wanted, axis=1).mean()
            for x in np.linspace(-0.1, 0.1, 21)
            for y in np.linspace(0.4, 0.9, 51)
        )
        assert away < 0.3, move


def test_a_frame_without_a_torso_lies_between_its_neighbours(moved):
    hidden = copy(moved)
    hidden.gone = {2}
    hidden.frames = [replace(frame, clip="a") for frame in moved.frames]
    found = torso_motion(hidden, [1, 2, 3], 0)
    np.testing.assert_allclose(found[1], (found[0] + found[2]) / 2, atol=1e-6)
    assert not torso_motion(hidden, [1, 3], 2).any()  # nothing to compare with
    assert not torso_motion(hidden, [2], 0).any()


def test_noise_is_smoothed_and_motion_is_not():
    time = np.arange(200) / 25
    slow = np.stack([np.sin(time), np.sin(3 * time)], axis=1)
    noise = 0.05 * np.random.default_rng(0).normal(size=slow.shape)
    assert np.abs(smoothed(slow) - slow).max() < 0.01
    assert np.abs(smoothed(slow + noise) - slow).mean() < 0.6 * np.abs(noise).mean()
    assert np.array_equal(smoothed(slow[:5]), slow[:5])
