"""`aed render`: what is wrong with its files is said before an avatar is loaded, or at the latest before a frame."""

import json

import numpy as np
import pytest

from aed_nerfstudio.commands.render import Render
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import write_wav

pytestmark = pytest.mark.hostile


def never():
    raise AssertionError("the avatar is loaded")


def nan(path):
    array = np.zeros((20, 8), np.float32)
    array[7] = np.nan
    np.save(path, array)


FILES = {
    "audio_features_file": {
        "lost.npy": (lambda path: None, "no such file"),
        "long.npy": (lambda path: np.save(path, np.zeros((500, 8), np.float32)), "does not fit 10 frames"),
        "nan.npy": (nan, "not finite in 1 of 20"),
        "text.npy": (lambda path: path.write_text("no"), "no .npy file"),
    },
    "emotion_track": {
        "a.json": (lambda path: path.write_text("[" * 100_000), "line 1: is no JSON"),
        "a.csv": (lambda path: path.write_text("time,emotion\n0," + "a" * 200_000), "line 2: no CSV"),
    },
    "pose": {"a.npy": (lambda path: np.save(path, np.zeros(4)), "has shape")},
    "camera_path": {"a.json": (lambda path: path.write_text(json.dumps({"render_width": 10**400})), "render_width")},
    "background": {"a.jpg": (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 99), "a.jpg")},
    "c2pa": {"a.pem": (lambda path: path.write_text("no"), "a.pem")},
}
CASES = [(option, name) for option, names in FILES.items() for name in names]


@pytest.mark.parametrize(("option", "name"), CASES)
def test_before_the_avatar_is_loaded(tmp_path, run, option, name):
    write, words = FILES[option][name]
    path, sound, output = tmp_path / name, tmp_path / "a.wav", tmp_path / "out.mp4"
    write(path)
    write_wav(sound, 0.4 * np.sin(np.arange(10 * 640) / 9))
    given = {option: str(path) if option in ("pose", "background") else path}
    if option == "c2pa":
        pytest.importorskip("c2pa")
        given["c2pa_key"] = path
    with pytest.raises(InputError, match=words):
        Render(load_config=run / "config.yml", audio=sound, output=output, **given).main(never)
    assert not output.exists()
