"""What the panel's settings do to the picture, without a viewer: the avatar that the page's tests show, in process."""

import contextlib
import dataclasses

import numpy as np
import pytest
import torch
from nerfstudio.cameras.cameras import Cameras

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.dataset.schema import read_dataset
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import read_audio
from aed_nerfstudio.media.video_reader import read_frames
from aed_nerfstudio.synthetic.record import unseen_speech
from aed_nerfstudio.viewer import backdrops
from aed_nerfstudio.viewer.film import write_film
from aed_nerfstudio.viewer.performance import Performance, Setting
from aed_nerfstudio.viewer.playback import wav
from aed_nerfstudio.viewer.speech import SILENT_SECONDS, Recordings, speech_of_upload


@pytest.fixture(scope="module")
def avatar(run):
    return Avatar.load(run / "config.yml")


@pytest.fixture(scope="module")
def recordings(data):
    return Recordings(read_dataset(data))


@pytest.fixture
def performance(avatar, recordings):
    speech = recordings.first(avatar.portrait)
    return Performance(avatar.renderer, speech, Setting(avatar.vocabulary.encode("neutral")))


def window(width: int, height: int, recorded, pose=None) -> Cameras:
    """The browser's camera as nerfstudio makes it."""
    focal = recorded.fl_y * height / recorded.h
    pose = torch.eye(4)[None, :3] if pose is None else torch.from_numpy(pose)[None]
    return Cameras(pose, fx=focal, fy=focal, cx=width / 2, cy=height / 2, width=width, height=height)


def test_a_clip_is_shown_as_it_was_recorded(performance, track):
    """The same condition as the dataset's own frame gives, but for the smoothed pose."""
    own = track[7]
    condition = performance.condition(7)
    assert np.array_equal(condition.audio, own.audio) and condition.eye_openness == pytest.approx(own.eye_openness)
    assert np.abs(condition.head_pose - own.head_pose).max() < 0.05
    assert len(performance) == track.clips.count(track.clips[0])
    assert [performance.frame_at(share) for share in (-1, 0, 0.5, 1, 2)] == [0, 0, 20, 39, 39]


def test_the_clips_with_training_frames_can_be_chosen(avatar, recordings, data):
    assert recordings.names == [clip.name for clip in read_dataset(data).clips]
    happy = recordings.speech(recordings.names[1], avatar.portrait)
    assert happy.name == recordings.names[1] and len(happy.track) == 40 and len(happy.samples) > 30 * 640


def test_without_a_recording_it_is_silent_until_it_is_given_sound(avatar):
    alone = Recordings()
    speech = alone.first(avatar.portrait)
    assert alone.names == [] and speech.samples is None and len(speech.track) == 25 * SILENT_SECONDS
    performance = Performance(avatar.renderer, speech, Setting(avatar.vocabulary.encode("happy")))
    assert np.ptp([performance.condition(k).eye_openness for k in range(len(performance))]) > 0.3  # it blinks
    assert performance.picture(9, 32, 32)["accumulation"].max() > 0.1


def test_what_was_not_recorded_moves_as_the_take_of_the_emotion_that_is_set(avatar, recordings):
    calm, happy = (avatar.vocabulary.encode(emotion) for emotion in ("neutral", "happy"))
    performance = Performance(avatar.renderer, Recordings().first(avatar.portrait), Setting(calm))
    features = performance.speech.track.features
    for emotion in (calm, happy, calm):
        performance.setting = Setting(emotion)
        played = avatar.portrait.assembler().speech(features, emotion)
        for frame in (0, 30):
            condition = performance.condition(frame)
            assert np.array_equal(condition.head_pose, played[frame].head_pose)
            assert condition.eye_openness == played[frame].eye_openness
    performance.speech = recordings.speech(recordings.names[0], avatar.portrait)  # a clip keeps its own
    moved = performance.condition(3).head_pose
    performance.setting = Setting(happy)
    assert np.array_equal(performance.condition(3).head_pose, moved)


def test_the_recordings_picture_stands_in_the_middle_of_any_window(performance):
    recorded = performance.renderer.portrait.camera
    for width, height in ((96, 48), (48, 48), (48, 96)):
        images = performance.framed(3, window(width, height, recorded))
        rgb = images["rgb"]
        assert all(image.shape[:2] == (height, width) for image in images.values())
        alone = performance.picture(3, 48, 48)["rgb"]
        left, top = (width - 48) // 2, (height - 48) // 2
        assert torch.equal(rgb[top : top + 48, left : left + 48], alone)
        assert rgb.sum() == pytest.approx(alone.sum().item(), rel=1e-5)  # and nothing else is


def test_poses(performance):
    recorded = performance.renderer.portrait.camera
    elsewhere = performance.speech.track[0].head_pose.copy()
    elsewhere[0, 3] += 1.0
    browser = window(48, 48, recorded, elsewhere)
    set_pose = lambda pose: setattr(performance, "setting", dataclasses.replace(performance.setting, pose=pose))  # noqa: E731
    played = [performance.framed(frame, browser)["accumulation"] for frame in (0, 20)]
    set_pose("still")
    still = [performance.condition(frame).head_pose for frame in (0, 20)]
    assert np.array_equal(*still) and np.array_equal(still[0], performance.renderer.portrait.motion.typical_pose)
    assert not np.array_equal(*(performance.speech.track[frame].head_pose for frame in (0, 20)))
    set_pose("free")
    free = performance.framed(0, browser)["accumulation"]
    centre = lambda alpha: (alpha[..., 0].sum(0) * torch.arange(48)).sum() / alpha.sum()  # noqa: E731
    assert centre(free) < centre(played[0]) - 3  # the camera is at the right, so the head at the left
    # The torso stays within what was recorded.
    assert np.abs(performance.condition(0, elsewhere).head_pose - elsewhere).max() > 0.1
    assert performance.seen_by(0, window(30, 20, recorded, elsewhere))["rgb"].shape == (20, 30, 3)


def test_emotion_eyes_torso_and_background(performance, avatar):
    vocabulary = avatar.vocabulary
    as_set = performance.condition(3)
    assert np.array_equal(as_set.emotion, vocabulary.encode("neutral"))
    happy = vocabulary.encode("happy")
    performance.setting = Setting(happy, eyes=0.25, torso=False, background=backdrops.plain((255, 0, 0)))
    changed = performance.condition(3)
    assert np.array_equal(changed.emotion, happy) and changed.eye_openness == 0.25
    images = performance.picture(3, 32, 32)
    empty = images["alpha"][..., 0] == 0
    assert empty.any() and torch.equal(images["rgb"][empty], torch.tensor([1.0, 0, 0]).expand(int(empty.sum()), 3))


def test_a_checkerboard_is_two_greys():
    board = backdrops.checkerboard(48)
    assert board.shape == (48, 48, 3) and len(board.unique()) == 2 and board[0, 0, 0] != board[0, 2, 0]


def test_an_upload_says_what_it_does(avatar):
    samples, told = unseen_speech(2.0), []
    speech = speech_of_upload(avatar.portrait, "a b.wav", wav(samples), 1, lambda *step: told.append(step))
    assert len(speech.track) == 50 and speech.name == "a b.wav"
    assert np.abs(speech.samples - samples).max() < 1e-3
    assert [share for _, share in told] == sorted(share for _, share in told) and told[-1][1] == 1
    # Longer than any clip's training part: the head goes back and forth.
    poses = np.array([speech.track[i].head_pose for i in range(50)])
    assert len(np.unique(poses.reshape(50, -1), axis=0)) < 50 and np.abs(np.diff(poses, axis=0)).max() < 0.2


@pytest.mark.parametrize(
    ("front_end", "content", "named"),
    [
        ("file/deepspeech", None, "ready features (file/deepspeech"),
        (None, b"nothing", "a.wav: "),
        (None, wav(np.zeros(100)), "shorter than one frame"),
        (None, wav(np.zeros(61 * 16000)), "longer than 1 min"),
    ],
)
def test_uploads_that_cannot_be_used_are_one_line(avatar, front_end, content, named):
    portrait = dataclasses.replace(avatar.portrait, front_end=front_end or avatar.portrait.front_end)
    content = wav(unseen_speech(0.5)) if content is None else content
    with pytest.raises(InputError) as raised:
        speech_of_upload(portrait, "a.wav", content, 1, lambda *_: None)
    assert named in str(raised.value) and "/tmp" not in str(raised.value)


def test_a_film(performance, tmp_path):
    performance.setting = dataclasses.replace(performance.setting, background=backdrops.plain((0, 0, 255)))
    told, path = [], tmp_path / "new" / "film.mp4"
    tell = lambda *step: told.append(step) or True  # noqa: E731
    assert write_film(path, performance, 32, None, contextlib.nullcontext(), tell)
    frames = list(read_frames(path))
    assert len(frames) == 40 == told[-1][0] and frames[0].shape == (32, 32, 3)
    rgb = (performance.picture(5, 32, 32)["rgb"].clamp(0, 1) * 255).numpy()
    assert np.abs(frames[5] - rgb).mean() < 6
    samples, heard = performance.speech.samples, read_audio(path)
    count = min(len(samples), len(heard))
    assert np.corrcoef(samples[:count], heard[:count])[0, 1] > 0.9


def test_a_stopped_film_leaves_nothing(performance, tmp_path):
    path = tmp_path / "film.mp4"
    assert not write_film(path, performance, 32, None, contextlib.nullcontext(), lambda done, _: done < 3)
    assert not list(tmp_path.iterdir())
