import numpy as np
import pytest

from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.errors import InputError

vocabulary = EmotionVocabulary()
some = EmotionVocabulary(recorded=(("neutral", "medium"), ("happy", "strong"), ("sad", "weak"), ("sad", "medium")))


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


@pytest.mark.parametrize(
    "arguments, mend",
    [
        (("angry",), "neutral, happy (strong), sad (weak, medium)"),
        (("happy", "weak"), "happy (strong)"),
        (("sad", 0.9), "outside what was recorded"),
        (({"happy": 1, "fearful": 1},), "no frame shows fearful"),
        (({"happy": 1, "sad": 1}, 0.5), "outside what was recorded"),
    ],
)
def test_what_was_not_recorded_is_refused(arguments, mend):
    with pytest.raises(InputError) as caught:
        some.encode(*arguments)
    assert mend in str(caught.value)


def test_without_an_intensity_the_recorded_middle_is_taken():
    np.testing.assert_array_equal(some.encode("happy")[5:], [0, 0, 1])
    np.testing.assert_array_equal(some.encode("sad")[5:], [0, 1, 0])
    np.testing.assert_array_equal(vocabulary.encode("sad")[5:], [0, 1, 0])
    np.testing.assert_array_equal(some.encode(), some.encode("neutral", "strong"))
    first = EmotionVocabulary(recorded=(("sad", "strong"),))
    np.testing.assert_array_equal(first.encode(), first.encode("sad", "strong"))


def test_between_recorded_intensities_everything_goes():
    np.testing.assert_allclose(some.encode("sad", 0.25)[5:], [0.5, 0.5, 0])
