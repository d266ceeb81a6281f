"""The formats that people's cameras and programs write: pictures upright and in their colours, sound in step."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from aed_nerfstudio.media.video_reader import probe, read_frames
from tests.media.clapper import clapper, claps_in, turned

CLOCKWISE, HALF, ANTICLOCKWISE, MIRROR = (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1)
CORNERS = {None: (0, 0), CLOCKWISE: (0, -1), HALF: (-1, -1), ANTICLOCKWISE: (-1, 0), MIRROR: (0, -1)}
"""Where the upper left corner is shown: row and column."""
X265 = {"x265-params": "log-level=error"}
# Container; codec and format of the pictures; codec, rate and layout of the sound; matrix, pixel aspect, full range.
TABLE = [
    # phones
    ("mp4", "libx264", "yuv420p", "aac", 48000, "mono", CLOCKWISE, "1", False),
    ("mp4", "libx265", "yuv420p", "aac", 44100, "stereo", CLOCKWISE, "1", False),
    ("mov", "libx265", "yuv420p10le", "aac", 44100, "mono", ANTICLOCKWISE, "1", False),
    ("mov", "libx264", "yuvj420p", "aac", 48000, "stereo", HALF, "1", True),
    ("mp4", "libx264", "yuv420p", "aac", 32000, "stereo", MIRROR, "1", False),
    ("3gp", "h263", "yuv420p", "aac", 16000, "mono", None, "12/11", False),
    ("mp4", "libsvtav1", "yuv420p", "libopus", 48000, "stereo", None, "1", False),
    # cameras
    ("mp4", "libx264", "yuv422p10le", "pcm_s16le", 48000, "stereo", None, "1", False),
    ("mov", "prores_ks", "yuv422p10le", "pcm_s24le", 48000, "stereo", CLOCKWISE, "1", False),
    ("mov", "mjpeg", "yuvj422p", "pcm_s16le", 32000, "mono", None, "1", True),
    ("mov", "dnxhd", "yuv422p", "alac", 48000, "stereo", None, "1", False),
    ("ts", "libx264", "yuv420p", "ac3", 48000, "5.1", None, "4/3", False),
    ("ts", "mpeg2video", "yuv420p", "mp2", 48000, "stereo", None, "1", False),
    ("mpg", "mpeg2video", "yuv420p", "mp2", 44100, "stereo", None, "1", False),
    ("avi", "mjpeg", "yuvj420p", "pcm_s16le", 44100, "stereo", None, "1", True),
    ("avi", "mpeg4", "yuv420p", "libmp3lame", 44100, "stereo", None, "1", False),
    ("mxf", "mpeg2video", "yuv422p", "pcm_s16le", 48000, "mono", None, "1", False),
    # recorders of screens and meetings, downloads
    ("webm", "libvpx", "yuv420p", "libopus", 48000, "mono", None, "1", False),
    ("webm", "libvpx-vp9", "yuv420p", "libopus", 48000, "stereo", None, "1", False),
    ("webm", "libsvtav1", "yuv420p", "libopus", 48000, "stereo", None, "1", False),
    ("mkv", "libx264", "yuv444p", "flac", 48000, "stereo", None, "2", False),
    ("mkv", "libx265", "yuv420p", "eac3", 48000, "5.1", None, "1", False),
    ("mkv", "ffv1", "bgr0", "pcm_f32le", 48000, "stereo", None, "1", False),
    ("mkv", "libx264", "yuv420p", "aac", 48000, "7.1", None, "1", False),
    ("flv", "flv", "yuv420p", "libmp3lame", 44100, "mono", None, "1", False),
    ("wmv", "wmv2", "yuv420p", "wmav2", 44100, "stereo", None, "1", False),
    ("mp4", "mpeg4", "yuv420p", "libmp3lame", 48000, "stereo", None, "1", False),
    ("mp4", "libx264", "yuv420p", "aac", 8000, "mono", None, "4/3", False),
    ("mp4", "libx264", "yuv420p", "aac", 96000, "stereo", None, "1", False),
]
OPTIONS = {"libx265": X265, "libsvtav1": {"preset": "12", "svtav1-params": "enable-overlays=0"},
           "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"}, "libvpx": {"deadline": "realtime"},
           "dnxhd": {"profile": "dnxhr_sq"}, "libx264": {"preset": "ultrafast"}}  # fmt: skip


@pytest.mark.parametrize("row", TABLE, ids=lambda row: "-".join(map(str, row[:6])))
def test_what_people_record(tmp_path, row):
    """Upright with the marked corner where it belongs, of the right shape, grey where it is grey, sound in step."""
    container, picture, pix_fmt, sound, rate, layout, matrix, aspect, full = row
    width, height = (352, 288) if picture == "h263" else (720, 576) if container == "mxf" else (256, 144)
    path = clapper(
        tmp_path / f"a.{container}", 2.0, [0.4, 1.2], size=(width, height), picture=picture, pix_fmt=pix_fmt,
        options=OPTIONS.get(picture), sound=sound, rate=rate, layout=layout, aspect=Fraction(aspect), full=full,
    )  # fmt: skip
    if matrix is not None:
        turned(path, *matrix)
    assert claps_in(path) == pytest.approx([0.4, 1.2], abs=0.1)
    info = probe(path)
    shown = np.array([round(width * Fraction(aspect)), height])
    assert (info.width, info.height) == tuple(shown[::-1] if matrix in (CLOCKWISE, ANTICLOCKWISE) else shown)
    frames = list(read_frames(path))
    assert len(frames) == pytest.approx(50, abs=3)
    assert {frame.shape for frame in frames} == {(info.height, info.width, 3)}
    flash, dark = frames[12].astype(float), frames[25].astype(float)
    assert np.abs(flash[info.height // 2, info.width // 2] - 230).max() < 14
    assert np.abs(dark[info.height // 2, info.width // 2] - 10).max() < 14
    reds = [(r, c) for r in (0, -1) for c in (0, -1) if flash[9 * r + 4 * (r == 0), 9 * c + 4 * (c == 0), 1] < 120]
    assert reds == [CORNERS[matrix]]
    red = flash[9 * reds[0][0] + 4 * (reds[0][0] == 0), 9 * reds[0][1] + 4 * (reds[0][1] == 0)]
    assert np.abs(red - (220, 0, 0)).max() < 30
