"""Smoothing of what the lips follow."""

import numpy as np
import pytest

from aed_nerfstudio.driving.lip_smoothing import LipSmoothing
from aed_nerfstudio.fields.head_field import EncodedCondition


def encoded(value):
    """The smoothing only calculates, with whatever numbers it is given."""
    return EncodedCondition(audio=value, emotion=value, eye=value, articulation=-value, code=value)


def smoothed(values, fps=25):
    smoothing = LipSmoothing(fps)
    return [smoothing(encoded(value)).audio for value in values]


def test_it_is_the_familys():
    values = np.random.default_rng(0).normal(size=20)
    expected = [values[0]]
    for value in values[1:]:
        expected.append(0.35 * expected[-1] + 0.65 * value)
    np.testing.assert_allclose(smoothed(values), expected)


def test_nothing_but_the_lips_is_smoothed():
    smoothing = LipSmoothing()
    smoothing(encoded(0.0))
    assert smoothing(encoded(1.0)) == EncodedCondition(
        audio=pytest.approx(0.65), emotion=1.0, eye=1.0, articulation=pytest.approx(-0.65), code=1.0
    )


def test_it_forgets_as_fast_at_any_frame_rate():
    usual, fast = smoothed([0.0] + [1.0] * 10), smoothed([0.0] + [1.0] * 20, 50)
    np.testing.assert_allclose(fast[2::2], usual[1:])
