"""Which take goes with an emotion."""

import numpy as np
import pytest

from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.driving.take_choice import TakeChoice
from tests.driving.test_head_motion import motion

VOCABULARY = EmotionVocabulary()
TAKES = ("happy strong", "happy weak", "sad medium", "neutral strong", "happy weak", "neutral weak", "happy medium")
LENGTHS = (9, 2, 4, 3, 5, 6, 2)


def choice(labels=TAKES, lengths=LENGTHS, vocabulary=VOCABULARY) -> TakeChoice:
    takes = [(label, [0.0] * length) for label, length in zip(labels, lengths, strict=True)]
    return TakeChoice(motion(*takes), vocabulary)


@pytest.mark.parametrize(
    ("emotion", "intensity", "take"),
    [
        ("happy", "strong", 0),
        ("happy", 0.8, 0),
        ("happy", "weak", 4),  # the longer one of two
        ("happy", 0.6, 6),
        ("sad", "strong", 2),  # the nearest that there is
        ("neutral", None, 5),  # whatever its takes are called: it has no strength
        ("angry", "strong", 5),  # no such take: neutral's
        ({"happy": 0.7, "sad": 0.3}, 0.5, 6),
        ({"happy": 0.3, "sad": 0.7}, 0.5, 2),
        ({"neutral": 0.6, "happy": 0.4}, 1.0, 5),
        ({"neutral": 0.4, "happy": 0.6}, 1.0, 0),
    ],
)
def test_the_take_whose_label_fits(emotion, intensity, take):
    assert choice()(VOCABULARY.encode(emotion, intensity)) == take


def test_without_neutral_the_longest_of_all_stands_in():
    chosen = choice(("sad weak", "happy weak", "sad strong"), (2, 4, 4))
    assert chosen(VOCABULARY.encode("angry")) == 1


def test_labels_that_the_vocabulary_lacks_stand_in_at_most():
    """An avatar file may come from a stranger."""
    assert choice(("", "sad weak"), (9, 2))(VOCABULARY.encode("sad")) == 1
    assert choice(("glad weak", "sad weak"), (9, 2))(VOCABULARY.encode("happy")) == 0


def test_takes_without_training_frames_are_never_chosen():
    assert choice(("happy weak", "happy strong", "sad weak"), (0, 1, 0))(VOCABULARY.encode("happy", "weak")) == 1
    assert choice(("happy weak", "happy strong", "sad weak"), (0, 1, 0))(VOCABULARY.encode("sad", "weak")) == 1


def test_one_intensity_and_two_words():
    vocabulary = EmotionVocabulary(("calm", "very glad"), ("usual",))
    chosen = choice(("calm usual", "very glad usual"), (5, 2), vocabulary)
    assert [chosen(vocabulary.encode(name, "usual")) for name in ("calm", "very glad")] == [0, 1]


def takes_over(track: list) -> list[int]:
    """The takes in their order, for categories and intensities one after the other."""
    chosen = choice().over_time(np.stack([VOCABULARY.encode(*moment) for moment in track]))
    return [int(take) for k, take in enumerate(chosen) if k == 0 or take != chosen[k - 1]]


def test_a_category_that_hardly_prevails_changes_nothing():
    mixed = [({"happy": share, "sad": 1 - share}, 0.5) for share in np.linspace(0, 1, 101)]
    assert takes_over(mixed) == [2, 6] and takes_over(mixed[::-1]) == [6, 2]
    rng = np.random.default_rng(0)
    wavering = [({"happy": share, "sad": 1 - share}, 0.5) for share in rng.uniform(0.46, 0.54, 200)]
    assert takes_over([("happy", 0.5), *wavering]) == [6] and takes_over([("sad", 0.5), *wavering]) == [2]


def test_a_strength_that_wavers_keeps_the_take():
    rng = np.random.default_rng(0)
    for held, take in ((0.0, 4), (0.5, 6), (1.0, 0)):
        near = np.clip(held + rng.uniform(-0.37, 0.37, 200), 0, 1)
        assert takes_over([("happy", held), *(("happy", strength) for strength in near)]) == [take]


def test_a_label_that_is_held_has_its_own_take_wherever_one_comes_from():
    labels = {0.0: 4, 0.5: 6, 1.0: 0}
    for before in labels:
        for after, take in labels.items():
            assert takes_over([("happy", before), ("happy", after)])[-1] == take


def test_a_take_that_stands_in_goes_when_there_is_a_better_one():
    assert takes_over([("angry", 0.5), ("angry", 1.0), ("happy", 1.0), ("angry", 0.5), ("sad", 0.5)]) == [5, 0, 5, 2]
