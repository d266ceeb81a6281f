"""Backgrounds: colours, pictures, videos, nothing."""

import os
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.backgrounds import open_background
from aed_nerfstudio.media.video_writer import VideoWriter


def first(name, size=(8, 6), fps=25, start=0, count=1):
    return list(islice(open_background(str(name)).frames(size, fps, start), count))


def test_names():
    assert open_background("original") is None
    assert open_background("transparent").transparent
    for name, colour in (("lime", (0, 255, 0)), ("#102030", (16, 32, 48)), ("rgb(1, 2, 3)", (1, 2, 3))):
        (frame,) = first(name)
        assert frame.shape == (6, 8, 3) and frame.dtype == np.uint8 and (frame == colour).all()


def test_a_picture_fills_the_frame(tmp_path):
    wide = np.zeros((60, 200, 3), np.uint8)
    wide[:, 60:140] = (0, 0, 255)  # the middle, which a frame of 4:3 shows
    Image.fromarray(wide).save(tmp_path / "wide.png")
    (frame,) = first(tmp_path / "wide.png", (80, 60))
    assert frame.shape == (60, 80, 3) and (frame == (0, 0, 255)).all()
    (larger,) = first(tmp_path / "wide.png", (400, 300))
    assert larger.shape == (300, 400, 3) and (larger[150, 200] == (0, 0, 255)).all()


def test_a_phones_picture_stands_upright(tmp_path):
    picture = Image.fromarray(np.repeat(np.arange(0, 240, 6, dtype=np.uint8)[:, None], 40, 1))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    picture.save(tmp_path / "phone.jpg", exif=exif)
    (frame,) = first(tmp_path / "phone.jpg", (40, 40))
    assert frame[2].mean() > frame[-3].mean()


def test_a_video_is_repeated(tmp_path):
    path = tmp_path / "loop.mp4"
    with VideoWriter(path, 25, (32, 24)) as out:
        for number in range(10):
            out.write(np.full((24, 32, 3), 20 * number, np.uint8))

    def shown(**options):
        return [round(float(f.mean()) / 20) for f in first(path, (16, 12), **options)]

    assert shown(count=24) == [*range(10), *range(10), *range(4)]
    assert shown(count=9, start=7) == [7, 8, 9, *range(6)]
    assert shown(count=4, start=1_000_008) == [8, 9, 0, 1]  # without decoding a hundred thousand rounds
    assert shown(count=6, fps=50) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    "name, content, fault",
    [
        ("bluish", None, "bluish: is no colour .* and no picture's or video's file"),
        ("a.png", b"\x89PNG\r\n\x1a\nbroken", "a.png"),
        ("a.mp4", b"no video", "a.mp4: not a readable video"),
    ],
)
def test_refusals(tmp_path, monkeypatch, name, content, fault):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=fault):
        open_background(name)


def test_a_second_picture_in_a_phones_jpeg_is_no_film(tmp_path):
    red, green = (Image.new("RGB", (32, 32), colour) for colour in ("red", "lime"))
    red.save(tmp_path / "a.mpo", save_all=True, append_images=[green])
    (frame,) = first(tmp_path / "a.mpo")
    assert frame[..., 0].min() > 200 and frame[..., 1].max() < 50


@pytest.mark.hostile
def test_what_is_no_picture_is_not_waited_for_or_decoded(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    Image.new("1", (16_000, 8_000)).save(tmp_path / "bomb.png")  # 3 kB, and 400 MB as a picture
    Image.new("RGB", (64, 64), "red").save(tmp_path / "page.eps")
    for name, words in (
        (tmp_path / "pipe", "pipe: is a pipe and not a file"),
        (tmp_path, "is a folder and not a file"),
        (tmp_path / "bomb.png", "bomb.png: 16000 x 8000 pixels are too many"),
        (tmp_path / "page.eps", "page.eps: not a readable video"),
        ("rgb(300, 0, 0)", "is no colour"),
        ("a" * 5000, "is no colour"),
        ("a\0b", "is no colour"),
    ):
        with pytest.raises(InputError, match=words) as error:
            open_background(str(name))
        assert len(str(error.value)) < 600
