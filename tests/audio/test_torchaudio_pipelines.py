"""torchaudio's pipelines as front ends: small networks of random weights, loaded as the real ones are."""

import pickle

import numpy as np
import pytest
import torch
import torchaudio

from aed_nerfstudio.audio import features as audio
from aed_nerfstudio.audio import torchaudio_pipelines
from aed_nerfstudio.audio.torchaudio_pipelines import ADDRESS, Pipeline
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import read_audio

BUNDLES = {"wav2vec2": "WAV2VEC2_ASR_BASE_960H", "hubert": "HUBERT_BASE", "xls-r": "WAV2VEC2_XLSR_300M"}
KERNELS = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))
SMALL = {
    "encoder_embed_dim": 32,
    "encoder_num_heads": 2,
    "encoder_ff_interm_features": 32,
    "encoder_pos_conv_groups": 4,
    "extractor_conv_layer_config": [(16, *sizes) for sizes in KERNELS],
}
DIMS = {"wav2vec2": 29, "hubert": 32, "xls-r": 32}


@pytest.fixture(scope="module")
def speech():
    return np.resize(read_audio(audio.speech_wavs()["beckett.wav"]), 16000 * 30)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty TORCH_HOME on a machine without network; its folder of weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    torchaudio_pipelines._loaded.cache_clear()
    yield tmp_path / "hub" / "checkpoints"
    torchaudio_pipelines._loaded.cache_clear()


def write_weights(name, folder, monkeypatch):
    """Makes torchaudio's network a small one, and writes random weights where its own would be."""
    bundle = getattr(torchaudio.pipelines, BUNDLES[name])
    for key, value in SMALL.items():
        monkeypatch.setitem(bundle._params, key, value)
    torch.manual_seed(0)
    state = torchaudio.models.wav2vec2_model(**bundle._params).state_dict()
    for key in ("aux.weight", "aux.bias") if "aux.weight" in state else ():
        # The published files have three more outputs, which torchaudio removes.
        state[key] = torch.cat([state[key][:1], torch.zeros(3, *state[key].shape[1:]), state[key][1:]])
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / bundle._path)
    return folder / bundle._path


@pytest.fixture(params=list(BUNDLES))
def name(request, home, monkeypatch):
    """A front end whose weights lie ready."""
    write_weights(request.param, home, monkeypatch)
    audio.check_front_end(request.param)
    return request.param


def test_dimensions_are_those_of_the_real_networks():
    assert audio.FRONT_ENDS["wav2vec2"].dim == len(torchaudio.pipelines.WAV2VEC2_ASR_BASE_960H.get_labels())
    for name in ("hubert", "xls-r"):
        bundle = getattr(torchaudio.pipelines, BUNDLES[name])
        assert audio.FRONT_ENDS[name].dim == bundle._params["encoder_embed_dim"]


def test_two_steps_a_frame_for_any_length(name, speech):
    for frames, samples in ((1, 1), (3, 1000), (5, 3200), (300, 16000 * 12), (301, 16000 * 12 + 321)):
        features = audio.extract_features(speech[:samples], frames, name)
        assert features.shape == (2 * frames, DIMS[name]) and features.dtype == np.float32
        assert np.isfinite(features).all()


def test_a_click_moves_the_step_it_falls_into(name, speech):
    speech = speech[: 16000 * 8]
    before = audio.extract_features(speech, 200, name)
    for step in (3, 151, 380):
        clicked = speech.copy()
        clicked[step * 320 + 120 : step * 320 + 200] += 0.5 * np.sin(np.arange(80, dtype=np.float32))
        change = np.abs(audio.extract_features(clicked, 200, name) - before).mean(1)
        assert abs(int(change.argmax()) - step) <= 1


def test_far_sound_changes_nothing(name, speech):
    changed = speech.copy()
    changed[:16000] = 0
    one, other = (audio.extract_features(samples, 750, name) for samples in (speech, changed))
    assert np.array_equal(one[500:], other[500:]) and not np.allclose(one[:500], other[:500])


def test_windows_fade_into_each_other(home, monkeypatch, speech):
    write_weights("hubert", home, monkeypatch)
    pipeline = Pipeline("HUBERT_BASE", 2)
    padded = np.pad(speech, 40)
    windows = [pipeline.encode(padded[first * 320 : (first + 600) * 320 + 80]) for first in (0, 300)]
    first, second = windows[0][400:500], windows[1][100:200]
    assert np.abs(first - second).max() > 1e-3  # a cut here would be heard
    share = (np.arange(100)[:, None] + 0.5) / 100
    features = pipeline.extract(speech)
    np.testing.assert_allclose(features[400:500], (1 - share) * first + share * second, atol=1e-5)
    np.testing.assert_allclose(features[:400], windows[0][:400], atol=1e-5)
    # The last window ends with the sound.
    last = pipeline.encode(padded[900 * 320 : 1500 * 320 + 80])
    np.testing.assert_allclose(features[1100:], last[200:], atol=1e-5)


@pytest.mark.parametrize("name", list(BUNDLES))
def test_missing_weights_without_network_are_one_clear_line(home, monkeypatch, capsys, name):
    write_weights(name, home, monkeypatch).unlink()
    bundle = getattr(torchaudio.pipelines, BUNDLES[name])
    with pytest.raises(InputError) as error:
        audio.check_front_end(name)
    text = str(error.value)
    assert str(home / bundle._path) in text and ADDRESS + bundle._path in text and "TORCH_HOME" in text
    assert "\n" not in text and not list(home.glob("*"))
    with pytest.raises(InputError, match="TORCH_HOME"):
        audio.extract_features(np.zeros(16000), 25, name)
    # The address is torchaudio's own.
    with pytest.raises(OSError):
        bundle.get_model()
    assert f'"{ADDRESS}{bundle._path}"' in "".join(capsys.readouterr())  # on stderr until torch 2.4


def test_weights_are_downloaded_once(home, tmp_path, monkeypatch, speech):
    source = write_weights("wav2vec2", tmp_path / "server", monkeypatch)
    monkeypatch.setattr(torchaudio_pipelines, "ADDRESS", f"{source.parent.as_uri()}/")
    audio.check_front_end("wav2vec2")
    source.unlink()
    assert audio.extract_features(speech[:16000], 25, "wav2vec2").std() > 0


class Mischief:
    def __reduce__(self):
        return exec, ("raise SystemExit('code of the file was run')",)


@pytest.mark.parametrize("damage", ["cut", "text", "other network", "code"])
def test_damaged_weights_are_named(home, monkeypatch, speech, damage):
    path = write_weights("wav2vec2", home, monkeypatch)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "text":
        path.write_text("<html>404</html>")
    elif damage == "other network":
        torch.save({"weight": torch.zeros(3)}, path)
    else:
        path.write_bytes(pickle.dumps(Mischief()))
    with pytest.raises(InputError, match="damaged") as error:
        audio.extract_features(speech[:16000], 25, "wav2vec2")
    assert str(path) in str(error.value)
