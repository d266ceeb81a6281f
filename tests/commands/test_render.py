"""`aed render` and `aed`'s error line, with a stand-in for the trained avatar (test_round_trip.py has a real one)."""

import av
import numpy as np
import pytest

import aed_nerfstudio.avatar
from aed_nerfstudio.avatar import Avatar
from aed_nerfstudio.commands.main import main
from aed_nerfstudio.commands.render import Render
from aed_nerfstudio.dataset.schema import Camera, Clip, Dataset, Frame, write_image
from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import read_audio, write_wav
from aed_nerfstudio.media.video_reader import read_frames


class StandInModel:
    """Draws its head pose and emotion as grey levels, so that a test can read them from the frames."""

    device = "cpu"
    vocabulary = EmotionVocabulary()
    seen_labels = {("neutral", "medium"), ("happy", "weak")}

    def __init__(self):
        self.conditions = []

    def render_condition(self, camera, condition, background):
        self.conditions.append(condition)
        assert background.shape == (int(camera.height), int(camera.width), 3)
        assert np.isclose(float(camera.fx) / int(camera.width), 2.0)
        return {"rgb": background * 0 + float(condition.emotion[3])}


@pytest.fixture()
def avatar(tmp_path):
    frames = []
    for clip, count in (("short", 5), ("long", 12)):
        for index in range(count):
            pose = np.eye(4)
            pose[0, 3] = index
            openness = 0.1 * index
            frames.append(Frame(clip, index, pose.tolist(), [0, 0, 9, 9], [0, 0, 9, 9], openness))
    clips = [Clip("short", "a", 0, 5), Clip("long", "b", 0, 12)]
    dataset = Dataset(tmp_path, Camera(96, 96, 24, 20, 48, 40), clips, frames, [], [], "log-mel", 80)
    write_image(dataset.background, np.zeros((40, 48, 3), np.uint8))
    return Avatar(StandInModel(), dataset)


@pytest.fixture()
def speech(tmp_path):
    """One second and a bit: 27 frames."""
    path = tmp_path / "speech.wav"
    write_wav(path, 0.4 * np.sin(np.arange(17280) / 9))
    return path


@pytest.fixture()
def run(tmp_path, avatar, monkeypatch):
    """A config.yml whose avatar is the stand-in."""
    config = tmp_path / "config.yml"
    config.write_text("")
    monkeypatch.setattr(aed_nerfstudio.avatar.Avatar, "load", lambda path: avatar)
    return config


def test_track_plays_the_longest_clips_training_frames_forth_and_back(avatar):
    track = avatar.track(np.zeros(640 * 27, np.float32), avatar.vocabulary.encode("sad"))
    assert len(track) == 27
    across = np.array([condition.head_pose[0, 3] for condition in track])
    # 12 frames of which the last is for validation: 0..10 and back; smoothing draws the ends in.
    assert np.argmax(across) == 10 and np.argmin(across) in (0, 20)
    assert np.allclose(across[:11], across[10:21][::-1])
    assert np.allclose([track[i].eye_openness for i in (3, 10, 17)], [0.3, 1.0, 0.3])
    assert track[0].audio.shape == (8, 16, 80)


def test_still_pose_does_not_move_but_blinks(avatar):
    track = avatar.track(np.zeros(640 * 8, np.float32), avatar.vocabulary.encode("sad"), "still")
    assert np.ptp([condition.head_pose for condition in track], axis=0).max() == 0
    assert track[0].head_pose[0, 3] == pytest.approx(5, abs=0.01)
    assert track[0].eye_openness != track[5].eye_openness


def test_track_refuses_sound_shorter_than_a_frame(avatar):
    with pytest.raises(InputError, match="shorter"):
        avatar.track(np.zeros(100, np.float32), avatar.vocabulary.encode("sad"))


def test_frames_are_uint8_of_the_asked_size(avatar):
    track = avatar.track(np.zeros(640 * 2, np.float32), avatar.vocabulary.encode("happy"))
    frames = list(avatar.render(track, 96))
    assert [frame.shape for frame in frames] == [(80, 96, 3)] * 2
    assert frames[0].dtype == np.uint8 and frames[0].min() == 255


@pytest.mark.parametrize("size", [None, 33])
def test_writes_a_video_with_the_sound(run, speech, tmp_path, avatar, size):
    output = tmp_path / "new" / "talk.mp4"
    Render(run, speech, output, "happy", "0.5", size=size).main()
    with av.open(str(output)) as container:
        assert container.streams.audio and container.streams.video[0].width == (size or 48) + (size or 48) % 2
    assert sum(1 for _ in read_frames(output)) == 27
    assert abs(len(read_audio(output)) - 17280) <= 640
    assert np.allclose(avatar.model.conditions[0].emotion, avatar.vocabulary.encode("happy", 0.5))


def test_says_when_a_label_was_never_seen(run, speech, tmp_path, capsys):
    for emotion, intensity in (("sad", "weak"), ("happy", "strong"), ("happy", "weak"), ("neutral", "strong")):
        Render(run, speech, tmp_path / "talk.mp4", emotion, intensity).main()
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note:")]
    assert len(notes) == 2 and "no sad frames" in notes[0] and "no strong happy frames" in notes[1]


def test_unknown_emotion_names_the_known_ones(run, speech, tmp_path):
    with pytest.raises(InputError, match="happy"):
        Render(run, speech, tmp_path / "talk.mp4", "bored").main()
    assert not (tmp_path / "talk.mp4").exists()


def test_bad_input_is_one_line_and_exit_code_1(speech, tmp_path, capsys):
    missing = tmp_path / "missing.yml"
    with pytest.raises(SystemExit) as stop:
        main(["render", "--load-config", str(missing), "--audio", str(speech), "--output", str(tmp_path / "a.mp4")])
    error = capsys.readouterr().err
    assert stop.value.code == 1
    assert error.startswith("error: ") and str(missing) in error and error.count("\n") == 1


def test_a_run_without_checkpoint_is_named(tmp_path):
    (tmp_path / "config.yml").write_text("")
    with pytest.raises(InputError, match="no checkpoint"):
        Avatar.load(tmp_path / "config.yml")


def test_unexpected_command_line_ends_with_help(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["render", "--no-such-option"])
    assert stop.value.code != 0 and "no-such-option" in capsys.readouterr().err


def test_stand_in_matches_the_models_interface():
    from aed_nerfstudio.model.aed_nerf import AedNerfModel

    assert callable(AedNerfModel.render_condition)
