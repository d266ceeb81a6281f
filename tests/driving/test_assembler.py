"""Conditions of frames: put together in one place, whoever asks for them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from aed_nerfstudio.avatar.portrait import Portrait
from aed_nerfstudio.dataset.schema import read_dataset
from aed_nerfstudio.driving.assembler import Assembler
from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.driving.emotion_track import EmotionTrack, keyframe
from aed_nerfstudio.driving.head_motion import HeadMotion
from aed_nerfstudio.driving.head_pose import SMOOTHING, smooth, steps
from aed_nerfstudio.driving.take_player import SPEED
from aed_nerfstudio.driving.track import FrameCondition
from tests.driving.test_head_motion import seen_from

SHORT, LONG = 3, 8
"""Frames of the two takes."""
FRAMES = 30
DIM = 5


@pytest.fixture(scope="module")
def motion() -> HeadMotion:
    """The second take is the longest and turns to one side; its eyes close."""
    turns = [0.0] * SHORT + list(np.linspace(0, 7, LONG))
    eyes = np.concatenate([np.ones(SHORT), np.linspace(1, 0.3, LONG)]).astype(np.float32)
    takes = np.repeat([0, 1], [SHORT, LONG]).astype(np.int32)
    return HeadMotion(np.stack([seen_from(turn) for turn in turns]), eyes, takes, ("neutral medium", "happy strong"))


@pytest.fixture(scope="module")
def assembler(motion) -> Assembler:
    return Assembler(motion, VOCABULARY)


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2 * FRAMES, DIM)).astype(np.float32)


VOCABULARY = EmotionVocabulary(("neutral", "happy"), ("medium", "strong"))
EMOTION, NEUTRAL = VOCABULARY.encode("happy", "strong"), VOCABULARY.encode("neutral")
FORTH_AND_BACK = [*range(LONG), *range(LONG - 2, 0, -1), *range(LONG), *range(LONG - 2, 0, -1), *range(LONG)][:FRAMES]


def poses(track) -> np.ndarray:
    return np.array([condition.head_pose for condition in track])


def eyes(track) -> list[float]:
    return [condition.eye_openness for condition in track]


def test_speech_plays_the_take_of_the_emotion_forth_and_back(assembler, motion, features):
    track = assembler.speech(features, EMOTION)
    assert len(track) == FRAMES and track[0].audio.shape == (8, 16, DIM)
    np.testing.assert_array_equal(poses(track), smooth(motion.poses[SHORT:])[FORTH_AND_BACK])
    np.testing.assert_allclose(eyes(track), motion.eye_openness[SHORT:][FORTH_AND_BACK], rtol=1e-6)
    assert all(np.array_equal(condition.emotion, EMOTION) and condition.appearance == 0 for condition in track)
    other = assembler.speech(features, NEUTRAL)
    np.testing.assert_array_equal(poses(other), smooth(motion.poses[:SHORT])[([0, 1, 2, 1] * FRAMES)[:FRAMES]])
    assert eyes(other) == [1.0] * FRAMES


def changing(seconds: float) -> np.ndarray:
    """Neutral at first, happy from the middle on."""
    return NEUTRAL if seconds < FRAMES / 50 else EMOTION


def test_where_the_emotion_changes_the_head_goes_over(assembler, features):
    calm, happy, both = (assembler.speech(features, emotion) for emotion in (NEUTRAL, EMOTION, changing))
    for known, kept in ((calm, slice(0, 7)), (happy, slice(-7, None))):
        np.testing.assert_array_equal(poses(both)[kept], poses(known)[kept])
        assert eyes(both)[kept] == eyes(known)[kept]
    assert (steps(poses(both)) <= SPEED / 25).all() and steps(poses(both))[10:20, 0].min() > 0
    assert [c.emotion is EMOTION for c in both] == [k >= FRAMES / 2 for k in range(FRAMES)]
    again = assembler.speech(features, changing)
    assert np.array_equal(poses(again), poses(both)) and eyes(again) == eyes(both)


def test_a_change_takes_as_long_at_any_frame_rate(assembler, features):
    usual, fast, slow = (poses(assembler.speech(features, changing, fps=fps)) for fps in (25, 50, 12.5))
    np.testing.assert_allclose(fast[::2], usual, atol=1e-6)
    np.testing.assert_allclose(slow, usual[::2], atol=1e-6)
    assert (steps(fast) <= SPEED / 50 * 1.001).all()


def test_a_still_head_holds_the_typical_pose_and_blinks(assembler, motion, features):
    track = assembler.speech(features, EMOTION, "still")
    assert all(np.array_equal(pose, motion.typical_pose) for pose in poses(track))
    assert eyes(track) == eyes(assembler.speech(features, EMOTION))


def test_poses_of_ones_own_are_smoothed_and_played_forth_and_back(assembler, features):
    own = np.stack([seen_from(turn) for turn in (0.0, 4.0, 1.0)])
    track = assembler.speech(features, EMOTION, own)
    np.testing.assert_array_equal(poses(track), smooth(own)[([0, 1, 2, 1] * FRAMES)[:FRAMES]])
    assert eyes(track) == eyes(assembler.speech(features, EMOTION))


def test_other_frame_rates_and_emotions_over_time(assembler, features, unchecked_shapes):
    asked = []
    track = assembler.speech(features, lambda time: asked.append(time) or EMOTION * time, fps=50)
    usual = assembler.speech(features, EMOTION)
    assert len(track) == 2 * FRAMES and asked == [k / 25 for k in range(FRAMES)]  # which takes to play
    np.testing.assert_allclose(track[40].head_pose, usual[20].head_pose, atol=1e-6)
    assert np.array_equal(track[40].audio, usual[20].audio) and track[40].emotion[1] == pytest.approx(0.8)
    assert asked[-1] == pytest.approx(40 / 50)


def test_a_clip_as_it_was_recorded(assembler, features):
    """Its own eyes and poses, the latter smoothed as all are that are played."""
    own = np.stack([seen_from(turn) for turn in np.sin(np.arange(FRAMES))])
    opened = np.linspace(0, 1, FRAMES)
    track = assembler.recorded(features, EMOTION, own, opened)
    assert len(track) == FRAMES
    np.testing.assert_array_equal(poses(track), smooth(own))
    np.testing.assert_allclose(eyes(track), opened)


def test_blinks_can_be_repeated_without_a_jump(assembler, motion):
    blinks = assembler.blinks(EMOTION)
    np.testing.assert_array_equal(blinks, motion.eye_openness[SHORT:][[*range(LONG), *range(LONG - 2, 0, -1)]])
    again = np.tile(blinks, 2)
    assert np.abs(np.diff(again)).max() == pytest.approx(0.1)
    one = HeadMotion(motion.poses[:1], motion.eye_openness[:1], motion.takes[:1], motion.labels)
    assert Assembler(one, VOCABULARY).blinks(EMOTION).tolist() == [1.0]
    assert assembler.blinks(NEUTRAL).tolist() == [1.0] * 4


@pytest.fixture
def condition(motion) -> FrameCondition:
    return FrameCondition(np.ones((8, 16, DIM), np.float32), EMOTION, motion.poses[-1], 0.5, 3)


def test_what_is_not_changed_stays(assembler, condition, motion):
    assert assembler.changed(condition) == condition  # the same arrays
    other = np.array([0.0, 1.0, 0.0])
    changed = assembler.changed(condition, emotion=other, still=True, eye_openness=0.0)
    assert changed.emotion is other and changed.eye_openness == 0.0 and changed.head_pose is motion.typical_pose
    assert changed.audio is condition.audio and changed.appearance == 3
    assert condition.emotion is EMOTION and condition.eye_openness == 0.5  # the given one is as it was


def test_the_torso_follows_a_camera_as_far_as_the_head_was_recorded(assembler, condition, motion):
    near, far = seen_from(3.0), seen_from(60.0)
    assert assembler.seen_from(condition, near).head_pose is near
    followed = assembler.seen_from(condition, far)
    np.testing.assert_array_equal(followed.head_pose, motion.range.nearest(far))
    assert not np.allclose(followed.head_pose, far, atol=0.1)
    assert followed.audio is condition.audio and followed.eye_openness == 0.5


@pytest.fixture(scope="module")
def shrugging(motion) -> HeadMotion:
    """The shoulders follow the head's turn, and sink all the while, which the head does not tell."""
    turns = np.array([0.0] * SHORT + list(np.linspace(0, 7, LONG)))
    return replace(motion, torso=np.stack([turns / 10, np.arange(SHORT + LONG) / 50], axis=1).astype(np.float32))


def shoulders(track) -> np.ndarray:
    return np.array([condition.torso for condition in track])


def test_shoulders_move_as_they_were_recorded_with_the_head(shrugging, features):
    assembler = Assembler(shrugging, VOCABULARY)
    played = shoulders(assembler.speech(features, EMOTION))
    own = gaussian_filter1d(shrugging.torso[SHORT:], SMOOTHING, axis=0, mode="nearest")
    np.testing.assert_allclose(played, own[FORTH_AND_BACK], atol=1e-6)
    fast = shoulders(assembler.speech(features, EMOTION, fps=50))
    np.testing.assert_allclose(fast[1:-1:2], (played[:-1] + played[1:])[: len(fast) // 2 - 1] / 2, atol=1e-6)
    over = shoulders(assembler.speech(features, changing))
    np.testing.assert_allclose(over[-7:], played[-7:], atol=1e-6)
    assert np.abs(np.diff(over, axis=0)).max() < 0.2  # without a jump


def test_still_shoulders_are_those_of_the_typical_pose(shrugging, features, condition):
    assembler = Assembler(shrugging, VOCABULARY)
    assert (shoulders(assembler.speech(features, EMOTION, "still")) == shrugging.typical_torso).all()
    assert assembler.changed(condition, still=True).torso is not None
    np.testing.assert_array_equal(shrugging.typical_torso, shrugging.torso[shrugging.typical_frame])


def test_shoulders_of_a_free_pose_are_those_that_go_with_it(shrugging, features, condition):
    assembler = Assembler(shrugging, VOCABULARY)
    own = np.stack([seen_from(turn) for turn in (0.5, 4.0, 6.0)])
    track = assembler.speech(features, EMOTION, own)
    told = np.stack([shrugging.torso_with(pose) for pose in poses(track)])
    np.testing.assert_array_equal(shoulders(track), told)
    seen = assembler.seen_from(replace(condition, torso=shrugging.torso[0]), seen_from(5.0))
    np.testing.assert_array_equal(seen.torso, shrugging.torso_with(seen_from(5.0)))
    assert seen.torso[0] == pytest.approx(0.5, abs=0.06)
    beyond = shrugging.torso_with(seen_from(80.0))
    assert (beyond <= shrugging.torso.max(axis=0)).all()


def test_without_a_measured_motion_there_is_none(assembler, motion, features, condition):
    tracks = [assembler.speech(features, EMOTION, how) for how in ("dataset", "still", motion.poses)]
    assert all(c.torso is None for track in tracks for c in track)
    assert assembler.seen_from(condition, seen_from(3.0)).torso is None


@pytest.fixture(scope="module")
def actor(data) -> Portrait:
    return Portrait.of(read_dataset(data))


def test_the_actor_moves_as_it_did_with_each_emotion(actor):
    """Neutral and happy are a clip each; what the training does not see is not played."""
    assembler, vocabulary = actor.assembler(), actor.vocabulary
    features = np.zeros((2 * 30, actor.feature_dim), np.float32)
    for take, emotion in enumerate(("neutral", "happy")):
        track = assembler.speech(features, EmotionTrack.constant(vocabulary, emotion))
        own = actor.motion.take(take)
        np.testing.assert_array_equal(poses(track), smooth(own.poses)[:30])
        np.testing.assert_allclose(eyes(track), own.eye_openness[:30], rtol=1e-6)


@pytest.mark.parametrize("gap", [0.05, 0.4, 1.0])
def test_the_actor_never_moves_faster_than_a_person(actor, gap):
    """Emotions that change at every moment, in cuts and in fades; played twice it is the same."""
    vocabulary = actor.vocabulary
    words = [keyframe(vocabulary, gap * (k // 2), ("neutral", "happy")[(k + 1) // 2 % 2], None) for k in range(60)]
    for moments in (words, words[::2]):  # two at one time are a cut
        emotion, features = EmotionTrack(vocabulary, moments), np.zeros((2 * 100, actor.feature_dim), np.float32)
        played = poses(actor.assembler().speech(features, emotion))
        assert (steps(played) <= SPEED / 25 * 1.002).all()
        np.testing.assert_array_equal(poses(actor.assembler().speech(features, emotion)), played)
