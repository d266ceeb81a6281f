"""The stream with the face among several."""

from __future__ import annotations

import av
import numpy as np
import pytest

from aed_nerfstudio.capture.camera_choice import choose_stream
from aed_nerfstudio.media.video_reader import probe, read_frames
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import head_motion
from aed_nerfstudio.synthetic.scene import Scene

DEFAULT = av.stream.Disposition.default


@pytest.fixture(scope="module")
def actor():
    return Scene(Actor(4), 160, 11).render({"jawOpen": 0.3}, head_motion(5, 3)[2], landmarks=False).image


def write(path, pictures, default):
    with av.open(str(path), "w") as out:
        streams = [out.add_stream("libx264", rate=25, options={"preset": "ultrafast"}) for _ in pictures]
        for number, (stream, picture) in enumerate(zip(streams, pictures, strict=True)):
            stream.height, stream.width = picture.shape[:2]
            stream.pix_fmt, stream.disposition = "yuv420p", DEFAULT if number == default else av.stream.Disposition(0)
        for k in range(50):
            for stream, picture in zip(streams, pictures, strict=True):
                frame = av.VideoFrame.from_ndarray(picture, "rgb24")
                frame.pts = k
                out.mux(stream.encode(frame))
        for stream in streams:
            out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("default, faces, chosen, reason", [
    (1, (0, 1), 1, "the default one"), (0, (0, 1), 0, "the default one"), (0, (1,), 1, "shows no face"),
    (1, (0,), 0, "shows no face"), (1, (), 1, "the default one"),
])  # fmt: skip
def test_the_default_stream_or_the_one_with_a_face(tmp_path, actor, default, faces, chosen, reason):
    wall = np.full((120, 200, 3), 90, np.uint8)
    path = write(tmp_path / "a.mp4", [actor if k in faces else wall for k in range(2)], default)
    warnings: list[str] = []
    assert choose_stream(path, warnings) == chosen
    assert len(warnings) == 1 and "has 2 picture tracks" in warnings[0] and reason in warnings[0]
    wanted = actor if chosen in faces else wall
    info = probe(path, chosen)
    assert (info.height, info.width) == wanted.shape[:2]
    assert np.abs(next(read_frames(path, stream=chosen)).astype(float) - wanted).mean() < 6


def test_one_stream_is_not_looked_at(tmp_path, actor):
    warnings: list[str] = []
    assert choose_stream(write(tmp_path / "a.mp4", [actor], 0), warnings) == 0 and not warnings
