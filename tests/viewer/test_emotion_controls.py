"""The emotion controls offer what was recorded and nothing else; a real viser server, without a browser."""

import numpy as np
import pytest
import viser

from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.viewer.emotion_controls import NONE, EmotionControls

RECORDED = (
    ("neutral", "weak"),
    *(("happy", intensity) for intensity in ("weak", "medium", "strong")),
    ("angry", "strong"),
    ("sad", "weak"),
)


@pytest.fixture
def controls():
    server = viser.ViserServer(port=0, verbose=False)
    yield EmotionControls(server.gui, EmotionVocabulary(recorded=RECORDED), lambda: None)
    server.stop()


def pick(controls, category: str, second: str = NONE, share: float = 0.5, intensity: float = 0.5) -> np.ndarray:
    """As a browser does it, one after the other."""
    controls.second.value = NONE
    controls.category.value = category
    controls._choose()
    controls.second.value = second
    controls._choose()
    controls.share.value, controls.intensity.value = share, intensity
    return controls.vector


def test_labels_without_frames_are_not_offered(controls):
    assert controls.category.options == ("neutral", "angry", "happy", "sad")  # not fearful


def test_only_what_shares_a_strength_is_blended(controls):
    pick(controls, "happy")
    assert controls.second.options == (NONE, "neutral", "angry", "sad")
    pick(controls, "angry")
    assert controls.second.options == (NONE, "neutral", "happy")  # sad was recorded weak only
    pick(controls, "happy", "angry")
    controls.category.value = "sad"
    controls._choose()
    assert controls.second.value == NONE  # what no longer goes is let go


def test_intensity_is_held_within_what_was_recorded(controls):
    vocabulary = controls.vocabulary
    assert np.array_equal(pick(controls, "happy", intensity=0.3), vocabulary.encode("happy", 0.3))
    assert np.array_equal(pick(controls, "angry", intensity=0.3), vocabulary.encode("angry", "strong"))
    assert controls.intensity.disabled
    blend = pick(controls, "happy", "neutral", share=0.25, intensity=0.8)
    assert np.allclose(blend, vocabulary.encode({"happy": 0.75, "neutral": 0.25}, 0.8))
    assert not controls.intensity.disabled and not controls.share.disabled
    assert np.array_equal(pick(controls, "neutral", intensity=1), vocabulary.encode("neutral"))
    assert controls.intensity.disabled


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_blend_of_one_is_that_one(controls, share):
    one = "sad" if share else "happy"
    assert np.array_equal(pick(controls, "happy", "sad", share, 0.0), controls.vocabulary.encode(one, 0.0))
