"""Smoothing of what the lips follow."""

import numpy as np
import pytest

from aed_nerfstudio.driving.lip_smoothing import LipSmoothing


def smoothed(values, fps=25):
    smoothing = LipSmoothing(fps)
    return [smoothing({"audio": v, "articulation": -v, "eye": v})["audio"] for v in values]


def test_it_is_the_familys():
    values = np.random.default_rng(0).normal(size=20)
    expected = [values[0]]
    for value in values[1:]:
        expected.append(0.35 * expected[-1] + 0.65 * value)
    np.testing.assert_allclose(smoothed(values), expected)


def test_nothing_but_the_lips_is_smoothed():
    smoothing = LipSmoothing()
    smoothing({"audio": 0.0, "articulation": 0.0, "eye": 0.0})
    assert smoothing({"audio": 1.0, "articulation": -1.0, "eye": 1.0}) == {
        "audio": pytest.approx(0.65), "articulation": pytest.approx(-0.65), "eye": 1.0
    }  # fmt: skip


def test_it_forgets_as_fast_at_any_frame_rate():
    usual, fast = smoothed([0.0] + [1.0] * 10), smoothed([0.0] + [1.0] * 20, 50)
    np.testing.assert_allclose(fast[2::2], usual[1:])
