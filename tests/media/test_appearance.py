"""Pictures come out as players show them, however a file stores them."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.face_finder import FaceFinder
from aed_nerfstudio.media.video_reader import fitted, probe, read_frames
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import head_motion
from aed_nerfstudio.synthetic.scene import Scene
from tests.media.clapper import turned

# The matrix of `turned`, and how a picture that is shown is stored for it.
TURNS = {
    "upright": ((1, 0, 0, 1), lambda p: p),
    "quarter clockwise": ((0, 1, -1, 0), lambda p: np.rot90(p)),
    "half": ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
    "quarter anti-clockwise": ((0, -1, 1, 0), lambda p: np.rot90(p, -1)),
    "mirrored": ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda p: p[::-1]),
    "transposed": ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2)),
    "transversed": ((0, -1, -1, 0), lambda p: np.rot90(p, 2).transpose(1, 0, 2)),
}
SHAPES = {"9:16": (180, 320), "4:5": (200, 250), "3:4": (192, 256), "1:1": (208, 208), "16:9": (320, 180),
          "odd": (215, 241)}  # fmt: skip
ASPECTS = (Fraction(1), Fraction(4, 3), Fraction(2))
YUV = {"codec": "libx264", "pix_fmt": "yuv420p", "options": {"crf": "4", "preset": "ultrafast"}}
FULL = {**YUV, "pix_fmt": "yuv444p"}


@pytest.fixture(scope="module")
def actor() -> np.ndarray:
    """The actor before a plain wall, [180, 180, 3]."""
    return Scene(Actor(4), 180, 11).render({"jawOpen": 0.3}, head_motion(5, 3)[2], landmarks=False).image


def write(
    path: Path,
    picture: np.ndarray,
    codec: str,
    pix_fmt: str,
    options: dict | None = None,
    count: int = 2,
    aspect: Fraction = ASPECTS[0],
    matrix: tuple | None = None,
    told: bool = True,
    **colours: int,
) -> Path:
    """A video of one picture, [H, W, 3] or [H, W, 4]; colours: FFmpeg's numbers of `colorspace` and others; told:
    whether the file says them."""
    form = "rgba" if picture.shape[2] == 4 else "rgb24"
    conversion = {f"dst_{name}": v for name, v in colours.items() if name in ("colorspace", "color_range")}
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.sample_aspect_ratio = aspect
        for name, value in colours.items() if told else ():
            setattr(stream.codec_context, name, value)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), form)
            frame = frame.reformat(format=pix_fmt, **conversion)
            if not told:
                frame.colorspace = 2
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path if matrix is None else turned(path, *matrix)


def framed(actor: np.ndarray, width: int, height: int) -> np.ndarray:
    """The actor in the middle of a picture of that size."""
    side = actor.shape[0]
    left, top = max(0, width - side) // 2, max(0, height - side) // 2
    rows, columns = (max(0, n - side) for n in (height, width))
    padded = np.pad(actor, ((top, rows - top), (left, columns - left), (0, 0)), mode="edge")
    return padded[:height, :width]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_actor_in_every_shape_turn_and_pixel_aspect(tmp_path, actor, shape):
    """What is read is the picture that was stored turned and squeezed, with its landmarks within a pixel."""
    width, height = SHAPES[shape]
    picture = framed(actor, width, height)
    with FaceFinder() as finder:
        wanted = finder.landmarks(picture)
        for (turn, (matrix, stored)), aspect in product(TURNS.items(), ASPECTS):
            lying = stored(picture)
            squeezed = cv2.resize(lying, (round(lying.shape[1] / aspect), lying.shape[0]), interpolation=cv2.INTER_AREA)
            path = write(tmp_path / "a.mp4", squeezed, **FULL, aspect=aspect, matrix=matrix)
            info = probe(path)
            found = list(read_frames(path))
            assert len(found) == 2 and found[0].shape[1::-1] == (info.width, info.height), (turn, aspect)
            assert abs(info.width - width) <= 1 and abs(info.height - height) <= 1, (turn, aspect)
            same = cv2.resize(found[0], (width, height))
            assert np.abs(same.astype(float) - picture).mean() < 4, (turn, aspect)
            marks = finder.landmarks(same)
            assert np.linalg.norm(marks - wanted, axis=1).mean() < 1, (turn, aspect)
            small = next(read_frames(path, longest=100))
            assert small.shape[1::-1] == fitted((info.width, info.height), 100) and max(small.shape) == 100
            assert np.abs(cv2.resize(small, (width, height)).astype(float) - picture).mean() < 9, (turn, aspect)


@pytest.mark.parametrize("matrix, rotation", [(TURNS[name][0], angle) for name, angle in (
    ("upright", 0), ("quarter clockwise", 270), ("half", 180), ("quarter anti-clockwise", 90), ("mirrored", None),
    ("transposed", None))])  # fmt: skip
def test_the_rotation_is_told(tmp_path, actor, matrix, rotation):
    assert probe(write(tmp_path / "a.mp4", actor, **YUV, matrix=matrix)).rotation == rotation


@pytest.mark.parametrize("full", [1, 2])  # FFmpeg's numbers of limited and full range
@pytest.mark.parametrize("matrix", [1, 5, 6, 7])
def test_colours_by_range_and_matrix(tmp_path, actor, full, matrix):
    path = write(tmp_path / "a.mp4", actor, **FULL, color_range=full, colorspace=matrix)
    assert np.abs(next(read_frames(path)).astype(float) - actor).mean() < 2


def test_large_pictures_that_do_not_say_their_colours_are_bt709(tmp_path, actor):
    """As players take them, and small ones are BT.601."""
    for height, matrix in ((720, 1), (360, 5)):
        picture = cv2.resize(actor, (640, height))
        path = write(tmp_path / "a.mp4", picture, **FULL, colorspace=matrix, told=False)
        with av.open(str(path)) as video:
            assert next(video.decode(video=0)).colorspace == 2
        assert np.abs(next(read_frames(path)).astype(float) - picture).mean() < 1


@pytest.mark.parametrize("transfer, name", [(18, "HLG"), (16, "PQ")])
def test_high_dynamic_range_is_mapped_and_said(tmp_path, actor, transfer, name):
    grey = np.linspace(0, 255, 96).astype(np.uint8)[None, :, None].repeat(64, 0).repeat(3, 2)
    # Without frames that wait for later ones: once FFmpeg refused a packet of two that did ("Invalid argument").
    options = {"x265-params": "log-level=error:crf=4:bframes=0"}
    path = write(tmp_path / "a.mkv", grey, "libx265", "yuv420p10le", options,
                 colorspace=9, color_primaries=9, color_trc=transfer)  # fmt: skip
    assert f"is HDR ({name}), and is tone-mapped to SDR" in probe(path).notes[0]
    row = next(read_frames(path))[32].astype(float)
    plain = grey[32].astype(float)
    assert np.abs(row - row.mean(axis=1, keepdims=True)).max() < 6, "greys stay grey"
    assert (np.diff(row[:, 1]) >= -1).all() and row[-1, 1] > 240 and row[0, 1] < 5
    assert np.abs(row - plain).mean() > 8, "it is not shown as if it were SDR"


def test_interlaced_pictures_are_made_whole(tmp_path):
    """A bright bar moves between the two fields of a frame: combs before, none after."""

    def picture(place: int) -> np.ndarray:
        out = np.full((96, 128, 3), 40, np.uint8)
        out[:, place : place + 30] = 220
        return out

    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "4", "x264-params": "tff=1"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for k in range(10):
            both = picture(8 * k)
            both[1::2] = picture(8 * k + 4)[1::2]
            frame = av.VideoFrame.from_ndarray(both, "rgb24").reformat(format="yuv420p")
            frame.pts = k
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert any("is interlaced" in note for note in probe(path).notes)
    found = list(read_frames(path))
    assert len(found) == 10
    for frame in found[1:-1]:
        rows = frame[20:76, :, 1].astype(float)
        assert np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean() < 3


@pytest.mark.parametrize("suffix, codec, pix_fmt", [
    (".mov", "qtrle", "argb"), (".mov", "prores_ks", "yuva444p10le"), (".mov", "png", "rgba"),
    (".webm", "libvpx-vp9", "yuva420p"), (".webm", "libvpx", "yuva420p"),
])  # fmt: skip
def test_transparent_pictures_are_laid_over_black_and_that_is_said(tmp_path, actor, suffix, codec, pix_fmt):
    alpha = np.full(actor.shape[:2], 255, np.uint8)
    alpha[:90], alpha[:40] = 128, 0
    path = write(tmp_path / f"a{suffix}", np.dstack([actor, alpha]), codec, pix_fmt, {"crf": "4", "auto-alt-ref": "0"}
                 if suffix == ".webm" else {})  # fmt: skip
    assert any("is transparent, and is laid over black" in note for note in probe(path).notes)
    wanted = actor * (alpha[..., None] / 255)
    assert np.abs(next(read_frames(path)).astype(float) - wanted).mean() < 5


def test_pictures_that_change_their_size_are_refused_there(tmp_path, actor):
    parts = [write(tmp_path / f"{k}.ts", framed(actor, *size), **YUV, count=20)
             for k, size in enumerate([(180, 180), (240, 180)])]  # fmt: skip
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    found = []
    with pytest.raises(InputError, match=r"both\.ts: its pictures change from 180x180 to 240x180 pixels; cut it there"):
        found += (frame.shape for frame in read_frames(path))
    assert set(found) <= {(180, 180, 3)}


def test_pixels_of_no_shape(tmp_path, actor):
    path = write(tmp_path / "a.mp4", actor, **YUV, aspect=Fraction(50))
    with pytest.raises(InputError, match=r"a\.mp4: its pixels are 50 as wide as high; set the true ratio"):
        probe(path)
