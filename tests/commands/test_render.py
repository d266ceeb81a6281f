"""`aed render`, the avatar's driving track and the error line of `aed`."""

import contextlib
import json
import shutil

import numpy as np
import pytest
import torch

from aed_nerfstudio.audio.features import cut_windows
from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.commands.eval import Eval
from aed_nerfstudio.commands.main import main
from aed_nerfstudio.commands.render import Render
from aed_nerfstudio.dataset.schema import read_dataset
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import read_audio, write_wav
from aed_nerfstudio.media.video_reader import read_frames

SAMPLES = 640  # of a frame


@pytest.fixture(scope="module")
def avatar(run):
    return Avatar.load(run / "config.yml")


@pytest.fixture()
def speech(tmp_path):
    """Two frames and a bit: three frames."""
    path = tmp_path / "speech.wav"
    write_wav(path, 0.4 * np.sin(np.arange(round(2.8 * SAMPLES)) / 9))
    return path


@pytest.mark.parametrize("emotion", ["neutral", "happy"])
def test_track_plays_the_training_frames_of_the_emotions_clip_forth_and_back(emotion, avatar, data):
    dataset = read_dataset(data)
    (clip,) = (clip.name for clip in dataset.clips if clip.emotion == emotion)
    frames = [frame for frame in dataset.frames if frame.clip == clip]
    first_held_out = 40 - 40 // 11
    count = 2 * first_held_out
    track = avatar.track(np.zeros(SAMPLES * count, np.float32), avatar.vocabulary.encode(emotion))
    assert len(track) == count
    centres = np.array([condition.head_pose[:, 3] for condition in track])
    last = first_held_out - 1
    assert np.allclose(centres[:last], centres[2 * last : last : -1])
    recorded = np.array([frame.camera_to_world for frame in frames])[: last + 1, :3, 3]
    assert np.abs(centres[: last + 1] - recorded).max() < 0.1  # smoothed, but the same motion
    eyes = [condition.eye_openness for condition in track]
    assert np.allclose(eyes[: last + 1], [frame.eye_openness for frame in frames[: last + 1]])
    assert track[0].audio.shape == (8, 16, dataset.feature_dim)


def test_still_pose_does_not_move_but_blinks(avatar):
    track = avatar.track(np.zeros(SAMPLES * 37, np.float32), avatar.vocabulary.encode("happy"), "still")
    assert np.ptp([condition.head_pose for condition in track], axis=0).max() == 0
    assert np.ptp([condition.eye_openness for condition in track]) > 0.3


def test_track_refuses_sound_shorter_than_a_frame(avatar):
    with pytest.raises(InputError, match="shorter"):
        avatar.track(np.zeros(100, np.float32), avatar.vocabulary.encode("happy"))


def test_frames_are_uint8_of_the_asked_size(avatar):
    track = avatar.track(np.zeros(SAMPLES * 2, np.float32), avatar.vocabulary.encode("happy"))
    frames = list(avatar.render(track, 96))
    assert [frame.shape for frame in frames] == [(96, 96, 3)] * 2
    assert frames[0].dtype == np.uint8 and frames[0].std() > 1


def test_emotion_and_audio_change_the_picture(avatar):
    samples = np.random.default_rng(0).normal(0, 0.1, SAMPLES * 20).astype(np.float32)
    vectors = [avatar.vocabulary.encode(name, 1.0) for name in ("happy", "neutral")]
    happy, neutral = (avatar.track(samples, vector, "still")[10] for vector in vectors)
    silent = avatar.track(np.zeros_like(samples), vectors[0], "still")[10]
    face, other, quiet = (avatar.images(condition)["rgb"] for condition in (happy, neutral, silent))
    assert (face - other).abs().max() > 0.002 and (face - quiet).abs().max() > 0.0005


def test_a_wider_camera_sees_the_same_picture_and_more(avatar, track):
    from nerfstudio.cameras.cameras import Cameras

    condition, camera = track[3], avatar.portrait.camera
    pose = torch.from_numpy(condition.head_pose)[None]
    wide = Cameras(pose, camera.fl_x, camera.fl_y, camera.cx + 16, camera.cy, camera.w + 32, camera.h)
    seen = avatar.renderer.render(wide, condition)["rgb"]
    usual = avatar.images(condition)["rgb"]
    assert seen.shape == (camera.h, camera.w + 32, 3)
    torch.testing.assert_close(seen[:, 16:-16], usual, atol=2e-3, rtol=0)
    # A background that differs in every pixel arrives unmoved, row by row: what the torso adds is the same for both.
    noise = torch.rand(2, camera.h, camera.w, 3, generator=torch.Generator().manual_seed(0))
    one, other = (avatar.images(condition, background=background) for background in noise)
    free = (1 - one["accumulation"]) > 0.99
    change = (one["torso"] - other["torso"]) * free
    expected = (noise[0] - noise[1]) * free
    shares = (change * expected).sum(-1) / expected.square().sum(-1).clamp_min(1e-6)
    assert ((change - shares[..., None] * expected).abs() < 1e-4).all() and shares[free[..., 0]].mean() > 0.05


@pytest.mark.parametrize("size", [None, 33])
def test_writes_a_video_with_the_sound(run, speech, tmp_path, size):
    output = tmp_path / "new" / "talk.mp4"
    strongly = {"emotion": "happy", "intensity": "1.0"}
    Render(load_config=run / "config.yml", audio=speech, output=output, **strongly, size=size).main()
    frames = list(read_frames(output))
    assert len(frames) == 3 and frames[0].shape[1] == (size or 64) + (size or 64) % 2
    assert abs(len(read_audio(output)) - 2.8 * SAMPLES) <= SAMPLES


@pytest.mark.parametrize("label", [("sad", "weak"), ("happy", "weak"), ("happy", "0.5")])
def test_a_label_that_was_not_recorded_is_refused_with_those_that_were(run, speech, tmp_path, label):
    emotion, intensity = label
    flags = {"load_config": run / "config.yml", "audio": speech, "output": tmp_path / "talk.mp4"}
    with pytest.raises(InputError, match="this avatar has neutral, happy .strong.$"):
        Render(**flags, emotion=emotion, intensity=intensity).main()
    assert not (tmp_path / "talk.mp4").exists()


def test_unknown_emotion_names_the_known_ones(run, speech, tmp_path):
    with pytest.raises(InputError, match="happy"):
        Render(load_config=run / "config.yml", audio=speech, output=tmp_path / "talk.mp4", emotion="bored").main()
    assert not (tmp_path / "talk.mp4").exists()


@contextlib.contextmanager
def features_called(data, name):
    """While it lasts, the dataset says that its audio features are of another front end."""
    path = data / "dataset.json"
    whole = path.read_text()
    info = json.loads(whole)
    info["audio"]["front_end"] = name
    path.write_text(json.dumps(info))
    try:
        yield
    finally:
        path.write_text(whole)


def copy_run(run, output, change):
    """A copy of a run's folder with other contents of its checkpoint's `pipeline`; its config.yml."""
    folder = output.joinpath(*run.parts[-3:])
    shutil.copytree(run, folder)
    (path,) = folder.glob("nerfstudio_models/step-*.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint["pipeline"])
    torch.save(checkpoint, path)
    return folder / "config.yml"


def trained_on(name):
    """Changes a checkpoint into one of another front end."""

    def change(state):
        extra = state["_model._extra_state"]
        extra["front_end"] = extra["portrait"]["facts"]["front_end"] = name

    return change


@pytest.fixture
def deepspeech(run, data, tmp_path):
    """The run as if it had been trained on features from files; its config.yml."""
    with features_called(data, "file/deepspeech"):
        yield copy_run(run, tmp_path, trained_on("file/deepspeech"))


def test_the_checkpoint_remembers_its_front_end(run, data):
    (path,) = run.glob("nerfstudio_models/step-*.ckpt")
    found = torch.load(path, weights_only=True)["pipeline"]["_model._extra_state"]
    info = json.loads((data / "dataset.json").read_text())
    facts = found.pop("portrait")["facts"]
    assert found == {**{name: info["audio"][name] for name in ("front_end", "feature_dim")}, "consent": info["consent"]}
    assert all(facts[name] == info["audio"][name] for name in ("front_end", "feature_dim"))


def test_a_dataset_of_another_front_end_is_refused(run, data, speech, tmp_path, trained):
    with features_called(data, "wav2vec2"):
        with pytest.raises(InputError, match="wav2vec2.*trained on .*--audio-features ") as error:
            Render(load_config=run / "config.yml", audio=speech, output=tmp_path / "talk.mp4", data=data).main()
        assert str(data) in str(error.value)
        # Where none is named, the checkpoint's own is taken.
        Render(load_config=run / "config.yml", audio=speech, output=tmp_path / "talk.mp4", size=16).main()
        printed = trained(data, tmp_path, "--load-dir", run / "nerfstudio_models", fails=True)
    assert "Traceback" not in printed and str(error.value) in " ".join(printed.split())


def test_a_run_on_ready_features_refuses_others(run, data, tmp_path):
    config = copy_run(run, tmp_path, trained_on("file/hubert"))
    with pytest.raises(InputError, match="trained on file/hubert .*--audio-features file/hubert --features-file"):
        Avatar.load(config, data=data)
    assert Avatar.load(config).portrait.front_end == "file/hubert"


def test_checkpoints_that_do_not_name_their_front_end(run, tmp_path):
    def older(state):
        del state["_model._extra_state"]

    Avatar.load(copy_run(run, tmp_path / "older", older))

    def narrower(state):
        older(state)
        state["_model.feature_mean"] = state["_model.feature_mean"][1:]

    with pytest.raises(InputError, match="trained on other ones"):
        Avatar.load(copy_run(run, tmp_path / "narrower", narrower))


def test_an_avatar_of_ready_features_speaks_a_file(deepspeech, speech, tmp_path):
    avatar = Avatar.load(deepspeech)
    dim, samples = avatar.portrait.feature_dim, read_audio(speech)
    said = {"load_config": deepspeech, "audio": speech, "output": tmp_path / "talk.mp4", "emotion": "happy"}
    for refused in (
        lambda: avatar.track(samples, avatar.vocabulary.encode("happy")),
        Render(**said).main,
        Eval(load_config=deepspeech, output=tmp_path / "evaluation", audio=speech).main,
    ):
        with pytest.raises(InputError, match="file/deepspeech.*--audio-features-file"):
            refused()
    path = tmp_path / "aud.npy"
    ready = np.random.default_rng(0).normal(size=(6, dim)).astype(np.float32)
    np.save(path, ready[:, 1:])
    with pytest.raises(InputError, match=f"not the {dim}"):
        Render(**said, audio_features_file=path).main()
    assert not (tmp_path / "talk.mp4").exists()
    np.save(path, cut_windows(ready))
    np.testing.assert_array_equal(avatar.features(samples, path), ready)
    Render(**said, audio_features_file=path).main()
    assert len(list(read_frames(tmp_path / "talk.mp4"))) == 3
    assert np.abs(read_audio(tmp_path / "talk.mp4")).max() > 0.2


def test_a_feature_file_for_an_avatar_that_hears_itself_is_refused(run, speech, tmp_path):
    path = tmp_path / "aud.npy"
    np.save(path, np.zeros((6, 29), np.float32))
    flags = {"load_config": run / "config.yml", "audio_features_file": path}
    with pytest.raises(InputError, match="leave out --audio-features-file"):
        Render(**flags, audio=speech, output=tmp_path / "talk.mp4").main()
    with pytest.raises(InputError, match="--audio$"):
        Eval(**flags, output=tmp_path / "evaluation").main()


def test_bad_input_is_one_line_and_exit_code_1(speech, tmp_path, capsys):
    missing = tmp_path / "missing.yml"
    with pytest.raises(SystemExit) as stop:
        main(["render", "--load-config", str(missing), "--audio", str(speech), "--output", str(tmp_path / "a.mp4")])
    error = capsys.readouterr().err
    assert stop.value.code == 1
    assert error.startswith("error: ") and str(missing) in error and error.count("\n") == 1


def test_a_run_without_checkpoint_is_named(run, tmp_path):
    shutil.copy(run / "config.yml", tmp_path)
    with pytest.raises(InputError, match="no checkpoint"):
        Avatar.load(tmp_path / "config.yml")


def test_unexpected_command_line_ends_with_help(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["render", "--no-such-option"])
    assert stop.value.code != 0 and "no-such-option" in capsys.readouterr().err
