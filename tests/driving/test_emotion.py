import numpy as np
import pytest

from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.errors import InputError

vocabulary = EmotionVocabulary()


def test_labels_are_one_hot():
    np.testing.assert_array_equal(vocabulary.encode("happy", "strong"), [0, 0, 0, 1, 0, 0, 0, 1])


def test_intensity_is_continuous_between_labels():
    np.testing.assert_allclose(vocabulary.encode("sad", 0.25)[5:], [0.5, 0.5, 0])
    np.testing.assert_allclose(vocabulary.encode("sad", 1.0)[5:], [0, 0, 1])


def test_categories_mix():
    np.testing.assert_allclose(vocabulary.encode({"happy": 3, "sad": 1}, 0.5)[:5], [0, 0, 0, 0.75, 0.25])


def test_neutral_has_one_intensity():
    np.testing.assert_array_equal(vocabulary.encode("neutral", "strong"), vocabulary.encode("neutral", "weak"))


@pytest.mark.parametrize("arguments", [("bored", "weak"), ("happy", "huge"), ("happy", 1.5), ({"happy": -1.0}, 0.5)])
def test_unknown_labels_are_refused(arguments):
    with pytest.raises(InputError):
        vocabulary.encode(*arguments)
