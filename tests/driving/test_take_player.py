"""How the head goes over from take to take."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aed_nerfstudio.driving.head_motion import HeadMotion
from aed_nerfstudio.driving.head_pose import pose_vector, smooth, steps
from aed_nerfstudio.driving.take_player import SHORTEST, SPEED, TakePlayer, mixture, went_over
from tests.driving.test_head_motion import motion, seen_from

FRAMES = 200
TURNS = (0.0, 12.0, -35.0)


def still(*turns: float) -> HeadMotion:
    """Takes of heads that hold still, turned by so many degrees."""
    return motion(*((f"number {k}", [turn] * 10) for k, turn in enumerate(turns)))


def lively(seed: int = 0) -> HeadMotion:
    """Three takes of which each has a posture of its own and moves about it."""
    rng = np.random.default_rng(seed)
    takes = [
        (f"{posture}", list(posture + np.cumsum(rng.normal(0, 0.4, length))))
        for posture, length in zip(TURNS, (40, 70, 55), strict=True)
    ]
    return motion(*takes)


def degrees(poses: np.ndarray) -> np.ndarray:
    return Rotation.from_matrix(poses[:, :, :3]).as_euler("yxz", degrees=True)[:, 0]


def fastest(found: HeadMotion) -> np.ndarray:
    own = [steps(smooth(found.take(take).poses)).max(axis=0) for take in found.longest_first]
    return np.maximum(np.max(own, axis=0), SPEED / 25)


def test_one_take_is_played_as_it_is():
    found = lively()
    poses, eyes, _ = TakePlayer(found)(np.full(FRAMES, 1))
    order = ([*range(70), *range(68, 0, -1)] * 2)[:FRAMES]
    np.testing.assert_array_equal(poses, smooth(found.take(1).poses)[order])
    np.testing.assert_array_equal(eyes, found.take(1).eye_openness[order])
    assert poses.dtype == eyes.dtype == np.float32


def test_a_change_begins_and_ends_at_rest_and_is_half_done_in_the_middle():
    poses, *_ = TakePlayer(still(0.0, 8.0))(np.repeat([0, 1], 50))
    turns = degrees(poses)
    reach = round(SHORTEST * 25 / 2)
    np.testing.assert_allclose(turns[: 50 - reach], 0, atol=1e-4)
    np.testing.assert_allclose(turns[50 + reach :], 8, atol=1e-4)
    np.testing.assert_allclose(turns + turns[::-1], 8, atol=1e-3)  # the change lies between frames 49 and 50
    speed = np.diff(turns)
    assert (speed > -1e-4).all() and np.abs(np.diff(speed)).max() < 0.25  # no jerk
    assert speed[50 - reach - 1 : 50 - reach + 1].max() < 0.05 and speed[49] == speed.max() > 0.9


def test_outside_of_a_change_takes_are_played_to_the_last_bit():
    found = lively()
    player = TakePlayer(found)
    poses, eyes, _ = player(np.repeat([0, 1], 100))
    for take, kept in ((0, slice(0, 60)), (1, slice(140, 200))):
        alone, blinks, _ = player(np.full(FRAMES, take))
        np.testing.assert_array_equal(poses[kept], alone[kept])
        np.testing.assert_array_equal(eyes[kept], blinks[kept])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("held", [1, 2, 5, 12, 40])
def test_no_step_is_larger_than_the_persons_own(seed, held):
    """However often the take changes."""
    found = lively(seed)
    chosen = np.repeat(np.random.default_rng(seed).integers(0, 3, FRAMES // held + 1), held)[:FRAMES]
    poses, eyes, _ = TakePlayer(found)(chosen)
    assert (steps(poses) <= fastest(found) * 1.002 + 1e-6).all()
    assert np.abs(np.diff(eyes)).max() < 0.2 and 0 <= eyes.min() <= eyes.max() <= 1


def test_a_long_way_takes_longer():
    near, far = (degrees(TakePlayer(still(0.0, turn))(np.repeat([0, 1], 100))[0]) for turn in (5.0, 40.0))
    moving = [np.flatnonzero(np.abs(np.diff(turns)) > 1e-3) for turns in (near, far)]
    assert np.ptp(moving[0]) <= SHORTEST * 25 < 1.5 * 25 < np.ptp(moving[1]) < 2.5 * 25
    assert np.abs(np.diff(far)).max() <= np.degrees(SPEED[0]) / 25 * 1.002


def test_the_head_turns_in_front_of_the_camera():
    """It neither comes nearer nor leaves its place in the picture, as it would if the camera went the short way."""
    poses, *_ = TakePlayer(still(-40.0, 40.0))(np.repeat([0, 1], 100))
    assert np.ptp(degrees(poses)) == pytest.approx(80, abs=1e-3)
    places = pose_vector(poses)[:, 3:]
    np.testing.assert_allclose(places, places[:1].repeat(FRAMES, 0), atol=1e-5)


def test_the_heads_centre_goes_straight():
    """From one distance to another, while the head turns."""
    near, far = seen_from(0.0, 3.0), seen_from(30.0, 4.0)
    found = HeadMotion(
        np.stack([near] * 5 + [far] * 5), np.ones(10, np.float32), np.repeat([0, 1], 5).astype(np.int32), ("a b", "c d")
    )
    poses, *_ = TakePlayer(found)(np.repeat([0, 1], 100))
    vectors = pose_vector(poses)
    distances = np.exp(vectors[:, 5])
    assert (np.diff(distances) > -1e-6).all() and distances[[0, -1]] == pytest.approx([3, 4], abs=1e-5)
    assert np.abs(vectors[:, 3:5]).max() < 1e-5
    np.testing.assert_allclose((distances - 3) * 30, degrees(poses), atol=0.01)  # at one pace


def test_sound_shorter_than_a_change():
    found = still(0.0, 8.0)
    whole = degrees(TakePlayer(found)(np.repeat([0, 1], 50))[0])
    for frames in (2, 4, 6):
        poses, eyes, _ = TakePlayer(found)(np.repeat([0, 1], frames // 2))
        assert len(poses) == len(eyes) == frames
        np.testing.assert_allclose(degrees(poses), whole[50 - frames // 2 : 50 + frames // 2], atol=1e-4)
    assert len(TakePlayer(found)(np.array([1]))[0]) == 1


def test_who_is_called_from_side_to_side_stays_between():
    turns = degrees(TakePlayer(still(-10.0, 10.0))(np.arange(FRAMES) % 2)[0])
    assert np.abs(turns[10:-10]).max() < 0.5


def test_shares_sum_to_one_and_none_is_negative():
    rng = np.random.default_rng(1)
    chosen = np.repeat(rng.integers(0, 4, 40), rng.integers(1, 9, 40))
    for span in (15.0, 37.5, 100.0, 1000.0):
        shares = went_over(chosen[:, None] == np.arange(4), span)
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-8)
        assert shares.min() >= 0


def test_three_at_once_lie_between_all_of_them():
    poses = np.stack([np.stack([seen_from(turn)] * 3) for turn in (0.0, 10.0, 20.0)])
    shares = np.array([[0.25, 0.5, 0.25], [0.0, 0.0, 1.0], [0.0, 0.5, 0.5]])
    mixed = mixture(poses, shares)
    np.testing.assert_allclose(degrees(mixed), [10, 20, 15], atol=1e-4)
    np.testing.assert_array_equal(mixed[1], poses[2, 1])
