"""Emotion keyframes: what lies between them, and files that cannot be used."""

import json

import numpy as np
import pytest

from aed_nerfstudio.driving.emotion import EmotionVocabulary, parse_mixture
from aed_nerfstudio.driving.emotion_track import EmotionTrack
from aed_nerfstudio.errors import InputError

ALL = EmotionVocabulary()
SOME = EmotionVocabulary(
    recorded=(("neutral", "medium"), ("happy", "strong"), ("sad", "weak"), ("sad", "medium"), ("sad", "strong"))
)


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    return path


def test_json_and_csv_say_the_same(tmp_path):
    keyframes = [
        {"time": 0, "emotion": "neutral"},
        {"time": 1.5, "emotion": {"happy": 0.7, "sad": 0.3}, "intensity": "strong"},
        {"time": 4, "emotion": {"sad": 1}, "intensity": 0.25},
    ]
    a = EmotionTrack.read(write(tmp_path / "a.json", keyframes), ALL)
    table = "time,emotion,intensity\n0,neutral,\n\n1.5, happy:0.7+sad:0.3, strong\n4,sad,0.25\n"
    b = EmotionTrack.read(write(tmp_path / "b.csv", table), ALL)
    for t in np.linspace(-1, 6, 50):
        np.testing.assert_allclose(a(t), b(t), atol=1e-6)
    assert a.to_json() == b.to_json()
    c = EmotionTrack.read(write(tmp_path / "c.json", a.to_json()), ALL)
    np.testing.assert_allclose(a(2.2), c(2.2), atol=1e-6)


def test_between_keyframes(tmp_path):
    rows = "time,emotion,intensity\n1,happy,0\n3,happy,1\n5,sad,1\n"
    track = EmotionTrack.read(write(tmp_path / "a.csv", rows), ALL)
    for before in (-1, 0, 1):  # held before the first and after the last
        np.testing.assert_array_equal(track(before), ALL.encode("happy", 0))
    np.testing.assert_array_equal(track(99), ALL.encode("sad", 1.0))
    np.testing.assert_allclose(track(2), ALL.encode("happy", 0.5))  # through medium, not past it
    np.testing.assert_allclose(track(3.5), ALL.encode({"happy": 0.75, "sad": 0.25}, 1.0))
    assert track(3.5).dtype == np.float32


def test_two_keyframes_at_one_time_are_a_jump(tmp_path):
    rows = "time,emotion,intensity\n0,happy,1\n2,happy,1\n2,sad,1\n4,sad,1\n"
    track = EmotionTrack.read(write(tmp_path / "a.csv", rows), ALL)
    np.testing.assert_allclose(track(1.999), ALL.encode("happy", 1.0))
    np.testing.assert_allclose(track(2), ALL.encode("sad", 1.0))


def test_every_moment_is_a_mixture_of_what_was_recorded(tmp_path):
    rows = "time,emotion,intensity\n0,neutral,\n1,happy,1\n2,sad,0\n"
    track = EmotionTrack.read(write(tmp_path / "a.csv", rows), SOME)
    allowed = np.stack([SOME.encode(c, None if c == "neutral" else i) for c, i in SOME.recorded])
    for t in np.linspace(0, 2, 21):
        weights = np.linalg.lstsq(np.c_[allowed, np.ones(len(allowed))].T, [*track(t), 1.0], rcond=None)[0]
        np.testing.assert_allclose(weights @ allowed, track(t), atol=1e-6)
        assert weights.min() > -1e-6
    steps = np.diff([track(t) for t in np.linspace(0, 2, 201)], axis=0)
    assert np.abs(steps).max() < 0.03  # and it comes without jumps, from neutral too


def test_constant():
    np.testing.assert_array_equal(EmotionTrack.constant(ALL, "happy", 0.3)(7), ALL.encode("happy", 0.3))
    np.testing.assert_array_equal(EmotionTrack.constant(SOME)(0), SOME.encode())
    mixed = EmotionTrack.constant(ALL, "happy:3+sad:1", "weak")
    np.testing.assert_allclose(mixed(0), ALL.encode({"happy": 0.75, "sad": 0.25}, "weak"))


FAULTS = {
    "out of order": ("time,emotion\n0,sad\n3,sad\n2,sad\n", "line 4: time 2 comes after 3"),
    "unknown category": ("time,emotion\n0,sad\n1,bored\n", "line 3: unknown emotion bored"),
    "category not recorded": ("time,emotion\n0,angry\n", "line 2: no frame shows angry"),
    "intensity not recorded": ("time,emotion,intensity\n0,happy,0.2\n", "line 2: intensity 0.2 of happy"),
    "unknown intensity": ("time,emotion,intensity\n0,happy,huge\n", "line 2: unknown intensity huge"),
    "no time": ("time,emotion\nsoon,happy\n", "line 2: time must be seconds"),
    "negative time": ("time,emotion\n-1,happy\n", "line 2: time must be seconds"),
    "no emotion": ("time,emotion,intensity\n1,,1\n", "line 2: emotion missing"),
    "odd weights": ("time,emotion\n1,happy:x\n", "line 2: happy:x: is no emotion"),
    "columns": ("seconds,emotion\n1,happy\n", "line 1: the first line must be time,emotion,intensity"),
    "too many values": ("time,emotion\n1,happy,1,2\n", "line 2: has 4 values"),
    "a column twice": ("time,emotion,time\n1,sad,2\n", "line 1: the first line must be"),
    "nothing": ("time,emotion,intensity\n", "holds no keyframe"),
    "empty": ("", "holds no keyframe"),
}


@pytest.mark.parametrize("content, fault", FAULTS.values(), ids=FAULTS)
def test_faults_in_csv_name_file_and_line(tmp_path, content, fault):
    with pytest.raises(InputError, match=fault) as error:
        EmotionTrack.read(write(tmp_path / "a.csv", content), SOME)
    assert str(error.value).startswith(str(tmp_path / "a.csv"))


JSON_FAULTS = {
    "out of order": ('[{"time": 1, "emotion": "sad"},\n {"time": 0,\n "emotion": "sad"}]', "line 2: time 0 comes"),
    "unknown category": ('[\n\n{"time": 1, "emotion": {"bored": 1}}]', "line 3: unknown emotion bored"),
    "not recorded": ('[{"time": 1, "emotion": "happy", "intensity": 0.1}]', "line 1: intensity 0.1 of happy"),
    "misspelt": ('[{"time": 1, "emotions": "happy"}]', "line 1: unknown 'emotions'"),
    "missing": ('[\n{"time": 1}]', "line 2: emotion missing"),
    "odd weights": ('[{"time": 1, "emotion": {"sad": "much"}}]', "line 1: emotion must be"),
    "negative weights": ('[{"time": 1, "emotion": {"sad": -1}}]', "line 1: emotion weights must be positive"),
    "odd intensity": ('[{"time": 1, "emotion": "sad", "intensity": []}]', "line 1: intensity must be"),
    "true is no time": ('[{"time": true, "emotion": "sad"}]', "line 1: time must be"),
    "no object": ("[\n1]", "line 2: must be a keyframe"),
    "no list": ('{"time": 1}', "line 1: must be a list"),
    "broken": ('[{"time": 1, "emotion": "sad"},\n{"time" 2}]', "line 2: is no JSON"),
    "no comma": ('[{"time": 1, "emotion": "sad"}\n{"time": 2, "emotion": "sad"}]', "line 2: is no JSON"),
    "cut off": ('[{"time": 1, "emotion": "sad"}', "line 1: is no JSON"),
    "nothing": ("[]", "holds no keyframe"),
    "more": ('[{"time": 1, "emotion": "sad"}]\n\n[]', "line 3: is no JSON: something follows"),
}


@pytest.mark.parametrize("content, fault", JSON_FAULTS.values(), ids=JSON_FAULTS)
def test_faults_in_json_name_file_and_line(tmp_path, content, fault):
    with pytest.raises(InputError, match=fault) as error:
        EmotionTrack.read(write(tmp_path / "a.json", content), SOME)
    assert str(error.value).startswith(str(tmp_path / "a.json"))


def test_files_that_are_none(tmp_path):
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    for name, fault in (("lost.csv", ": no such"), ("a.txt", ": must be .csv or .json"), ("binary.csv", ".*no.* text")):
        with pytest.raises(InputError, match=f"{name}{fault}"):
            EmotionTrack.read(tmp_path / name, ALL)


def test_mixtures():
    assert parse_mixture("happy") == {"happy": 1.0}
    assert parse_mixture("happy:0.7 + sad:0.3") == {"happy": 0.7, "sad": 0.3}
    for text in ("", "happy:", "happy:-1", "happy:inf", "happy+happy", "+sad"):
        with pytest.raises(InputError, match="happy:0.7"):
            parse_mixture(text)
