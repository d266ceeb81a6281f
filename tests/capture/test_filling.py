"""Filling and edge-aware smoothing of float pictures."""

import numpy as np

from aed_nerfstudio.capture.filling import extend, guided_filter

RAMP = np.tile(np.linspace(0, 1, 61, dtype=np.float32), (47, 1))


def test_known_pixels_stay_and_the_others_come_near():
    weight = np.ones_like(RAMP)
    weight[10:30, 15:40] = 0
    out = extend(np.where(weight > 0, RAMP, 9), weight, relax=True)
    assert np.allclose(out[weight > 0], RAMP[weight > 0], atol=1e-5)
    assert np.abs(out - RAMP).max() < 0.1
    colours = extend(np.dstack([RAMP, RAMP + 1]), weight)
    assert colours.shape == (47, 61, 2) and np.abs(colours[..., 1] - RAMP - 1).max() < 0.2


def test_nothing_known():
    assert not extend(RAMP, np.zeros_like(RAMP)).any()


def test_edges_of_the_guide_become_those_of_the_mask():
    guide = np.zeros((64, 64), np.float32)
    guide[:, 30:] = 0.8
    mask = np.zeros_like(guide)
    mask[:, 34:] = 1  # four pixels off
    out = guided_filter(guide, mask, 8, 1e-3)
    assert (out[:, 31:60] > 0.4).all() and out[:, 32:].mean() - out[:, :28].mean() > 0.6
    assert (out[:, :26] < 0.25).all()
