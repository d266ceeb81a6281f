"""Pictures that are cut off, of another size or none at all are found before training."""

import shutil
import struct
import zlib

import cv2
import numpy as np
import pytest

from aed_nerfstudio.dataset.picture_files import fault
from aed_nerfstudio.dataset.schema import check_pictures, read_dataset, read_image
from aed_nerfstudio.errors import InputError

pytestmark = pytest.mark.hostile
NOISE = np.random.default_rng(0).integers(0, 255, (64, 48, 3), np.uint8)


@pytest.fixture
def copied(data, tmp_path):
    return shutil.copytree(data, tmp_path / "data", ignore=shutil.ignore_patterns(".frames"))


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_where_a_picture_ends(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), NOISE)
    whole = path.read_bytes()
    assert fault(path) is None and fault(path, (48, 64)) is None and read_image(path).shape == (64, 48, 3)
    path.write_bytes(whole + b"\0" * 10)  # as some writers fill up a block
    assert fault(path) is None
    assert "48 x 64 pixels, expected 64 x 48" in fault(path, (64, 48)) and "more than 32" in fault(path, largest=32)
    for cut in (0, 3, 10, 100, len(whole) // 2, len(whole) - 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert fault(path) is not None
        with pytest.raises(InputError, match=rf"a\.{suffix} is "):
            read_image(path)


def test_a_long_header_of_a_jpeg(tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), NOISE)
    whole = (tmp_path / "a.jpg").read_bytes()
    profile = b"".join(b"\xff\xe2" + struct.pack(">H", 60_000) + b"\0" * 59_998 for _ in range(3))
    (tmp_path / "b.jpg").write_bytes(whole[:2] + profile + whole[2:])
    assert fault(tmp_path / "b.jpg", (48, 64)) is None
    for junk in (b"\xff\xd8\xff" + b"\xff" * 9000 + b"\xff\xd9", b"\xff\xd8\xff\xe0\0\0" * 900 + b"\xff\xd9"):
        (tmp_path / "c.jpg").write_bytes(junk)
        assert fault(tmp_path / "c.jpg") == "is damaged: it does not say its size"


def bomb(path, side=32_704) -> None:
    """A PNG of one bit a pixel: small as a file, a gigabyte as a picture."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(side * (side // 8 + 1)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def test_a_bomb_is_not_decoded(copied):
    bomb(copied / "background.png")
    dataset = read_dataset(copied)
    for read in (dataset.static_background, lambda: read_image(copied / "background.png")):
        with pytest.raises(InputError, match=r"background\.png has 32704 x 32704 pixels"):
            read()


@pytest.mark.parametrize("name", ["images/happy_strong/00002.jpg", "torso/happy_strong/00003.png", "background.png"])
def test_training_does_not_begin_with_a_picture_that_is_cut_off(copied, name):
    check_pictures(read_dataset(copied))
    path = copied / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=rf"{name} is damaged: it is cut off; run `aed process` again"):
        check_pictures(read_dataset(copied))


def test_training_says_so(copied, trained, tmp_path):
    path = copied / "images/happy_strong/00007.jpg"
    path.write_bytes(path.read_bytes()[:700])
    printed = trained(copied, tmp_path / "runs", fails=True)
    assert "images/happy_strong/00007.jpg is damaged: it is cut off" in printed and "Traceback" not in printed
    assert not list((tmp_path / "runs").rglob("*.ckpt"))
