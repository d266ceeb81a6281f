"""The head motion of a recording: its typical pose, its takes, and the median behind the former."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aed_nerfstudio.driving.head_motion import HeadMotion, weighted_median


def seen_from(degrees: float, distance: float = 4.0) -> np.ndarray:
    """A camera that looks at the head's centre, the head turned to its side."""
    turn = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
    return np.concatenate([turn, distance * turn[:, 2:]], axis=1).astype(np.float32)


def motion(*takes: tuple[str, list[float]]) -> HeadMotion:
    """Takes by their labels and the turns of their frames, degrees."""
    turns = [turn for _, take in takes for turn in take]
    numbers = np.repeat(np.arange(len(takes)), [len(take) for _, take in takes])
    eyes = np.linspace(0, 1, len(turns), dtype=np.float32)
    labels = tuple(label for label, _ in takes)
    return HeadMotion(np.stack([seen_from(turn) for turn in turns]), eyes, numbers.astype(np.int32), labels)


def typical_turn(*takes: tuple[str, list[float]]) -> float:
    found = motion(*takes)
    pose = found.typical_pose
    assert any(np.array_equal(pose, recorded) for recorded in found.poses)  # a recorded one
    return Rotation.from_matrix(pose[:, :3]).as_euler("xyz", degrees=True)[1]


def test_every_label_counts_alike():
    """However many frames it has, in however many takes."""
    many = ("happy strong", [9.0, 10.0, 11.0] * 30)
    few = [("neutral medium", [-1.0, 0.0, 1.0]), ("sad weak", [0.0, 0.5])]
    assert abs(typical_turn(many, *few)) < 1.1
    again = [("happy strong", [9.0, 10.0, 11.0])] * 10
    assert abs(typical_turn(*again, *few)) < 1.1
    # Two labels of three look to the side.
    assert typical_turn(many, ("sad weak", [10.0, 10.5]), few[0]) == pytest.approx(10, abs=1.1)


def test_one_odd_take_does_not_move_it():
    usual = [(f"{emotion} strong", [-1.0, 0.0, 1.0]) for emotion in ("neutral", "happy", "sad", "angry")]
    assert typical_turn(*usual) == pytest.approx(0, abs=1e-3)
    for turn in (30.0, 80.0):  # however odd it is
        assert typical_turn(*usual, ("fearful strong", [turn] * 50)) == pytest.approx(0, abs=1.01)


def test_the_range_is_of_all_poses_and_falls_back_to_the_typical_one():
    found = motion(("neutral medium", [-5.0, 0.0, 5.0]))
    assert found.range.typical is found.typical_pose
    edge = found.poses[2]
    assert found.range.nearest(edge) is edge and found.range.nearest(seen_from(40.0)) is not edge


def test_the_pose_of_an_actor_whose_takes_are_held_differently():
    """One take of each of eight labels, the odd one out the longest by far."""
    held = (-14.0, -9.0, -6.0, -3.0, -2.0, -1.0, 7.0, 19.0)
    takes = [(f"{k} strong", [turn] * (10 if turn < 19 else 400)) for k, turn in enumerate(held)]
    assert -3.5 < typical_turn(*takes) < -1.5


def test_takes_one_by_one():
    found = motion(("neutral medium", [0.0]), ("happy strong", [1.0, 2.0, 3.0]), ("sad weak", [4.0, 5.0, 6.0]))
    assert found.longest_first == [1, 2, 0] and len(found) == 7  # the first of equals
    one = found.take(1)
    np.testing.assert_array_equal(one.poses, found.poses[1:4])
    np.testing.assert_array_equal(one.eye_openness, found.eye_openness[1:4])
    assert len(one) == 3 and one.takes.tolist() == [1, 1, 1] and one.labels == found.labels


def test_takes_without_training_frames_are_left_out():
    assert motion(("neutral medium", []), ("happy strong", [1.0]), ("sad weak", [])).longest_first == [1]


@pytest.mark.parametrize(
    ("values", "weights", "middle"),
    [
        ([3.0, 1.0, 2.0], [1.0, 1.0, 1.0], 2.0),
        ([3.0, 1.0, 2.0], [5.0, 1.0, 1.0], 3.0),
        ([3.0, 1.0, 2.0], [1.0, 5.0, 1.0], 1.0),
        ([1.0, 1000.0], [2.0, 1.0], 1.0),
        ([7.0], [0.1], 7.0),
        ([1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 1.0, 0.0], 3.0),
    ],
)
def test_weighted_medians(values, weights, middle):
    assert weighted_median(np.array(values), np.array(weights)) == middle


def test_a_median_with_whole_weights_is_that_of_repeated_values():
    rng = np.random.default_rng(0)
    for _ in range(20):
        values, weights = rng.normal(size=7), rng.integers(1, 5, 7)
        weights[0] += 1 - weights.sum() % 2  # an odd number has one in the middle
        assert weighted_median(values, weights.astype(float)) == np.median(np.repeat(values, weights))
