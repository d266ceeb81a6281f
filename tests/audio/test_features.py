"""Audio front ends and the windows cut from their features."""

import functools
import subprocess
import sys

import numpy as np
import pytest

from aed_nerfstudio.audio import features as audio
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import read_audio


@pytest.fixture(scope="module")
def speech():
    return read_audio(audio.speech_wavs()["beckett.wav"])[: 16000 * 6]


@pytest.fixture(scope="module")
def of_speech(speech):
    """The features of the speech by a front end's name."""
    return functools.cache(lambda name: audio.extract_features(speech, 150, name))


@pytest.mark.parametrize("name", ["moonshine", "moonshine-live", "log-mel"])
def test_shapes_scale_and_independence_of_length(speech, of_speech, name):
    features = of_speech(name)
    assert features.shape == (300, audio.FRONT_ENDS[name].dim) and features.dtype == np.float32
    assert 0.3 < np.sqrt((features**2).mean()) < 3.0
    shorter = audio.extract_features(speech[: 16000 * 5], 75, name)
    assert np.abs(shorter[:120] - features[:120]).max() < 1e-3
    assert audio.extract_features(speech[:100], 3, name).shape == (6, features.shape[1])
    assert audio.extract_features(speech[:0], 3, name).shape == (6, features.shape[1])
    assert audio.extract_features(speech, 0, name).shape == (0, features.shape[1])


@pytest.mark.parametrize(("name", "reach"), [("moonshine", 6), ("moonshine-live", 25), ("log-mel", 6)])
def test_features_keep_time_with_the_sound(speech, of_speech, name, reach):
    # A tenth of a second of speech is replaced by other speech: the features change most in steps 150..154.
    changed = speech.copy()
    changed[48000:49600] = speech[20000:21600]
    change = np.abs(audio.extract_features(changed, 150, name) - of_speech(name)).mean(1)
    assert 147 <= int(change.argmax()) <= 157
    centre = (change**2 * np.arange(300)).sum() / (change**2).sum()
    assert abs(centre - 152) < reach  # a live stream has heard two seconds, and hardly anything of what comes


def test_log_mel_of_a_click_is_in_its_step():
    for step in (0, 151, 3005):  # beyond the first block of 3000 steps, too
        click = np.zeros(320 * 3100, np.float32)
        click[320 * step + 120 : 320 * step + 200] = np.sin(np.arange(80))
        assert int(audio.extract_features(click, 1550, "log-mel").mean(1).argmax()) == step


def test_moonshine_is_centred_on_its_steps(speech, of_speech):
    # Steps of the speech are reversed; what changes most is up to the words, but on the whole it lies around them.
    steps = range(30, 280, 30)
    changed = speech.copy()
    for step in steps:
        changed[320 * step : 320 * (step + 1)] = speech[320 * (step + 1) - 1 : 320 * step - 1 : -1]
    change = np.square(audio.extract_features(changed, 150, "moonshine") - of_speech("moonshine")).mean(1)
    near = np.arange(-12, 13)
    late = [np.average(near, weights=change[step + near]) for step in steps]
    assert abs(np.mean(late)) < 0.7


def test_unknown_front_end():
    with pytest.raises(InputError, match="moonshine"):
        audio.extract_features(np.zeros(100), 1, "nothing")
    with pytest.raises(InputError, match="wav2vec2, whisper, xls-r, file"):
        audio.check_front_end("nothing")


def test_front_ends_that_come_with_packages_are_ready():
    for name in ("moonshine", "log-mel", "none"):
        audio.check_front_end(name)


def test_nothing_heavy_is_loaded_before_it_is_needed():
    code = "import sys, aed_nerfstudio.audio.features as a; a.check_front_end('moonshine'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "aed_nerfstudio.audio.torchaudio_pipelines" in loaded
    assert not {"torch", "torchaudio", "onnxruntime", "moonshine_voice"} & set(loaded)


def test_no_front_end_is_zeros_of_the_right_length():
    assert np.array_equal(audio.extract_features(np.ones(320 * 3), 5, "none"), np.zeros((10, 1)))


def test_register(monkeypatch):
    monkeypatch.setattr(audio, "FRONT_ENDS", dict(audio.FRONT_ENDS))
    audio.register_front_end(audio.AudioFrontEnd("ramp", 1, lambda x: np.arange(len(x) // 320)[:, None]))
    assert audio.extract_features(np.zeros(320 * 3), 3, "ramp")[:, 0].tolist() == [0, 1, 2, 2, 2, 2]


def test_windows():
    features = np.arange(1, 41, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)
    windows = audio.cut_windows(features)
    assert windows.shape == (20, 16, 3)
    assert windows[10, :, 0].tolist() == list(range(13, 29))  # steps 12..27 hold 13..28
    assert windows[0, :, 0].tolist() == [0] * 8 + list(range(1, 9))
    assert windows[19, :, 0].tolist() == list(range(31, 41)) + [0] * 6
    around = audio.windows_at(features, 10)
    assert np.array_equal(around, windows[6:14])
    assert not audio.windows_at(features, 1)[:3].any()
    assert np.array_equal(audio.windows_at(features, 1)[3:], windows[:5])
    assert not audio.windows_at(features, 19)[5:].any()
    with pytest.raises(IndexError):
        audio.windows_at(features, 20)


def test_windows_between_frames():
    features = np.arange(1, 41, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)
    half = audio.windows_at(features, 10.25)
    assert half[4, :, 0].tolist() == [k + 0.5 for k in range(13, 29)]  # half a step later than frame 10's
    np.testing.assert_array_equal(half[5, :14], half[4, 2:])
    start, end = audio.windows_at(features, 0.25)[4, :, 0], audio.windows_at(features, 19.75)[4, :, 0]
    assert start[:8].tolist() == [0] * 8  # before the sound: no mixture of silence and sound
    assert start[8] == 1.5
    assert end[-9:].tolist() == [39.5, 40] + [0] * 7
    assert not audio.windows_at(features, 19.75)[5:].any()
