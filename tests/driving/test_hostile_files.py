"""Files for `aed render` that ask for the memory of a continent, or hold numbers that no computer has."""

import json
import time

import numpy as np
import pytest

from aed_nerfstudio.driving.camera_path import CameraPath
from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.driving.emotion_track import EmotionTrack
from aed_nerfstudio.driving.pose_file import read_poses
from aed_nerfstudio.errors import InputError

pytestmark = pytest.mark.hostile
WORDS = EmotionVocabulary(("neutral", "happy"), ("weak", "strong"), (("neutral", "weak"), ("happy", "strong")))


def test_a_camera_path_of_whole_numbers(tmp_path):
    pose = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 4, 0, 0, 0, 1]
    whole = {"render_width": 64, "render_height": 64, "fps": 24, "camera_type": "perspective"}
    views = [{"camera_to_world": pose, "fov": 20, "render_time": "junk"}]
    (tmp_path / "a.json").write_text(json.dumps({**whole, "camera_path": views}))
    path = CameraPath.read(tmp_path / "a.json")
    assert path.poses.dtype == np.float32 and path.camera(0.5).camera_to_worlds[0, 2, 3] == 4


DEEP = "[" * 100_000
TRACKS = {
    "time.json": ('[{"time": 1%s, "emotion": "happy"}]' % ("0" * 400), "line 1: time must be seconds"),
    "weight.json": ('[{"time": 0, "emotion": {"happy": 1%s}}]' % ("0" * 400), "line 1: emotion must be"),
    "digits.json": ('[{"time": 0, "emotion": {"happy": 1%s}}]' % ("0" * 5000), "line 1: emotion must be"),
    "words.csv": ("time,emotion\n0," + "a:1+" * 20_000 + "b", "line 2: a:1.a:1"),
    "word.csv": ("time,emotion\n0," + "a" * 90_000, "line 2: unknown emotion"),
    "strong.csv": ("time,emotion,intensity\n0,happy," + "9" * 90_000, "line 2: unknown intensity"),
    "deep.json": ('[{"time": 0, "emotion": ' + DEEP, "line 1: is no JSON"),
    "field.csv": ("time,emotion\n0," + "a" * 200_000, "line 2: no CSV"),
    "zero.csv": ("time,emotion\n1e999,happy", "line 2: time must be seconds"),
}


@pytest.mark.parametrize("name", TRACKS)
def test_a_track(tmp_path, name):
    text, words = TRACKS[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=rf"{name}, {words}") as error:
        EmotionTrack.read(tmp_path / name, WORDS)
    assert len(str(error.value)) < 600


def test_a_pose_file_that_asks_for_terabytes(tmp_path):
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000, 3, 4), }".ljust(117) + "\n"
    for name, shape in (("a.npy", header), ("b.npy", header.replace("(100000000000, 3, 4)", "(1200000000000,)    "))):
        (tmp_path / name).write_bytes(b"\x93NUMPY\x01\0" + len(shape).to_bytes(2, "little") + shape.encode())
        with pytest.raises(InputError, match=rf"{name}: "):
            read_poses(tmp_path / name)
    np.save(tmp_path / "c.npy", np.full((2, 3, 4), "x"))
    (tmp_path / "d.json").write_text(json.dumps([[10**400] * 12]))
    for name in ("c.npy", "d.json"):
        with pytest.raises(InputError, match=name):
            read_poses(tmp_path / name)


@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_the_time_of_a_track_grows_as_its_length_does(tmp_path, suffix):
    rows = [{"time": k, "emotion": "happy", "intensity": "strong"} for k in range(30_000)]
    text = json.dumps(rows, indent=1) if suffix == "json" else "time,emotion,intensity\n" + "".join(
        f"{row['time']},happy,strong\n" for row in rows)  # fmt: skip
    (tmp_path / f"a.{suffix}").write_text(text)
    start = time.process_time()
    track = EmotionTrack.read(tmp_path / f"a.{suffix}", WORDS)
    shown = [track(k + 0.5) for k in range(0, 30_000, 10)]
    assert len(track.to_json()) == 30_000 and np.isfinite(shown).all()
    assert time.process_time() - start < 20  # two seconds; it was a minute


def test_a_camera_path_of_more_pixels_than_any_screen(tmp_path):
    view = {"camera_to_world": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 4, 0, 0, 0, 1], "fov": 20}
    path = {"render_width": 16_000, "render_height": 16_000, "fps": 24, "camera_path": [view]}
    (tmp_path / "a.json").write_text(json.dumps(path))
    with pytest.raises(InputError, match=r"a\.json: render_width must be such that a picture has at most"):
        CameraPath.read(tmp_path / "a.json")
