"""How far lips go that are told the recorded ones, measured at the end of the lip stage."""

import numpy as np
import pytest
from aed_nerfstudio.method_configs.aed_nerf import aed_nerf, aed_nerf_paper, aed_nerf_tiny

from aed_nerfstudio.nerfstudio_plugin.lip_response import MOST, response

SPREADS = np.array([1.0, 0.8, 0.2, 1.3])


@pytest.fixture
def recorded():
    return np.random.default_rng(0).normal(size=(400, 4))


def test_lips_are_told_more_as_they_follow_less_and_less_as_they_follow_more(recorded):
    shown = SPREADS * recorded + 3
    np.testing.assert_allclose(response(shown, recorded, ["neutral"] * 400), [1, 1.25, MOST, 1 / 1.3], atol=1e-6)


def test_what_does_not_follow_is_told_no_more(recorded):
    shown = 0.5 * np.random.default_rng(1).normal(size=(400, 4))
    shown[:, 0] = 0.8 * recorded[:, 0]
    np.testing.assert_allclose(response(shown, recorded, ["neutral"] * 400), [1.25, 1, 1, 1], atol=1e-6)


def test_labels_have_lips_of_their_own(recorded):
    """A smile that renders do not show is none of speech's business."""
    smiling = np.arange(400) % 2 == 0
    shown, labels = 0.8 * recorded, np.where(smiling, "happy", "neutral").tolist()
    recorded[smiling] += 5
    np.testing.assert_allclose(response(shown, recorded, labels), 1.25, atol=1e-6)


def test_presets():
    frames = [preset.config.pipeline.model.response_frames for preset in (aed_nerf, aed_nerf_tiny, aed_nerf_paper)]
    assert frames == [96, 0, 0]
