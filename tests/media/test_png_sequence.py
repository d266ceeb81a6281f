"""Renders as folders of PNG files."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import MARK
from aed_nerfstudio.media.audio_io import read_audio
from aed_nerfstudio.media.png_sequence import PngSequence
from aed_nerfstudio.media.provenance import SYNTHETIC_NOTE


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


@pytest.mark.hostile
def test_pictures_of_the_users_are_not_taken_for_ours(tmp_path):
    """Whatever they are called."""
    folder = tmp_path / "holiday"
    folder.mkdir()
    (folder / "000000.png").write_bytes(b"the sea")
    with pytest.raises(InputError, match="pictures that this program has not made"):
        write(folder, 3)
    assert (folder / "000000.png").read_bytes() == b"the sea" and [p.name for p in tmp_path.iterdir()] == ["holiday"]
    for name in (".frames.frames", ".frames.shown", ".frames.before"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("years")
        (tmp_path / "frames").mkdir(exist_ok=True)
        with pytest.raises(InputError, match="left as it is"):
            write(tmp_path / "frames", 3)
        assert (tmp_path / name / "thesis.txt").read_text() == "years"
        (tmp_path / name / "thesis.txt").unlink()


@pytest.mark.hostile
def test_an_earlier_sequence_stays_until_the_new_one_is_whole(tmp_path):
    folder = tmp_path / "frames"
    write(folder, 4)
    before = (folder / "000002.png").read_bytes()
    for error in (RuntimeError(), InputError("full")):
        with pytest.raises(type(error)):
            write(folder, 2, error)
        assert len(list(folder.glob("*.png"))) == 4 and (folder / "000002.png").read_bytes() == before
    with pytest.raises(InputError, match=r"notes\.txt"), PngSequence(folder, 20, (6, 4)) as out:
        out.write(np.zeros((4, 6, 3), np.uint8))
        (folder / "notes.txt").write_text("mine")  # somebody put it there meanwhile
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.hostile
def test_killed_at_any_step_a_sequence_can_be_resumed_and_the_earlier_one_is_not_lost(tmp_path, killed):
    def content(place):
        return {p.name: p.read_bytes() for p in place.iterdir()}

    folder = tmp_path / "frames"
    write(tmp_path / "whole", 3)
    whole = content(tmp_path / "whole")
    for number in range(0, 99, 2):
        shutil.rmtree(folder, ignore_errors=True)
        write(folder, 2)
        earlier = content(folder)
        ended = killed(lambda: write(folder, 3, resume=True), number)
        places = [p for p in (folder, tmp_path / ".frames.before", tmp_path / ".frames.frames") if p.exists()]
        assert any(content(place) in (earlier, whole) for place in places)
        write(folder, 3, resume=True)
        assert content(folder) == whole and sorted(p.name for p in tmp_path.iterdir()) == ["frames", "whole"]
        if ended:
            break
    assert ended and number > 20


@pytest.mark.hostile
def test_a_full_disk(small_disk):
    disk = small_disk(32)
    write(disk / "frames", 2)
    before = (disk / "frames" / "000001.png").read_bytes()
    with pytest.raises(InputError, match=r"\d\.png: cannot be written \(No space left on device\); make room"):
        write(disk / "frames", 50)
    assert len(list((disk / "frames").glob("*.png"))) == 2
    assert (disk / "frames" / "000001.png").read_bytes() == before
    assert not list(disk.rglob("*.aed-part*"))
