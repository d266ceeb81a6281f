"""Renders as folders of PNG files."""

import json

import numpy as np
import pytest
from PIL import Image

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import MARK
from aed_nerfstudio.media.audio_io import read_audio
from aed_nerfstudio.media.png_sequence import PngSequence
from aed_nerfstudio.media.video_writer import SYNTHETIC_NOTE


def write(path, stop, error=None, settings=None, **options):
    with PngSequence(
        path, 20, (6, 4), np.ones(16000), transparent=True, metadata={"model": "anna"}, settings=settings, **options
    ) as out:
        first = out.frames_written
        for number in range(first, stop):
            out.write(np.full((4, 6, 4), (number, 2, 3, 100), np.uint8))
        if error:
            raise error
    return first


def test_frames_sound_and_description(tmp_path):
    folder = tmp_path / "frames"
    write(folder, 12)
    pictures = [f"{k:06d}.png" for k in range(12)]
    assert sorted(p.name for p in folder.iterdir()) == [MARK, *pictures, "audio.wav", "metadata.json"]
    with Image.open(folder / "000007.png") as image:
        assert image.mode == "RGBA" and image.getpixel((2, 2)) == (7, 2, 3, 100)
        assert image.text["Comment"] == SYNTHETIC_NOTE and image.text["model"] == "anna"
    about = json.loads((folder / "metadata.json").read_text())
    assert about["comment"] == SYNTHETIC_NOTE and about["model"] == "anna"
    assert (about["frames"], about["fps"], about["size"]) == (12, 20, [6, 4])
    assert read_audio(folder / "audio.wav").size == 12 * 800


def test_resumed(tmp_path):
    folder = tmp_path / "frames"
    with pytest.raises(KeyboardInterrupt):
        write(folder, 5, KeyboardInterrupt(), {"size": 6})
    assert read_audio(folder / "audio.wav").size == 5 * 800
    with pytest.raises(InputError, match=r"frames: was begun with size 6, not 7"):
        write(folder, 9, None, {"size": 7}, resume=True)
    assert write(folder, 9, None, {"size": 6}, resume=True) == 5
    assert len(list(folder.glob("*.png"))) == 9 and read_audio(folder / "audio.wav").size == 9 * 800
    assert write(folder, 3) == 0  # and without resume it begins anew
    assert len(list(folder.glob("*.png"))) == 3


def test_no_other_files_are_touched(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match=r"holiday\.jpg"):
        write(tmp_path, 3)
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.jpg"]
    with pytest.raises(InputError, match="is a file"):
        write(tmp_path / "holiday.jpg", 3)
    with pytest.raises(ValueError, match="uint8"), PngSequence(tmp_path / "new", 25, (6, 4)) as out:
        out.write(np.zeros((4, 6, 4), np.uint8))
