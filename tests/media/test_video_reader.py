"""The video reader on real files."""

from fractions import Fraction

import av
import numpy as np
import pytest

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import write_wav
from aed_nerfstudio.media.video_reader import probe, read_frames
from aed_nerfstudio.media.video_writer import VideoWriter


def make(path, times_ms, size=(64, 48)):
    """A video whose frame i is grey of level 5 i + 10, shown from times_ms[i] on."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=1000, options={"crf": "5"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for i, ms in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 5 * i + 10, np.uint8), format="rgb24")
            frame.pts, frame.time_base = ms, Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def shown(path, fps=25.0):
    """The index of the source frame in each frame read."""
    return [round((float(frame.mean()) - 10) / 5) for frame in read_frames(path, fps)]


def test_same_rate_is_identity(tmp_path):
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 25, (64, 48)) as out:
        for i in range(20):
            out.write(np.full((48, 64, 3), 5 * i + 10, np.uint8))
    info = probe(path)
    assert (info.width, info.height, info.fps, info.has_audio, info.rotation) == (64, 48, 25.0, False, 0)
    assert info.duration == pytest.approx(0.8)
    assert shown(path) == list(range(20))
    frame = next(read_frames(path))
    assert frame.shape == (48, 64, 3) and frame.dtype == np.uint8


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_thirty_to_twenty_five(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with VideoWriter(path, 30, (64, 48)) as out:
        for i in range(30):
            out.write(np.full((48, 64, 3), 5 * i + 10, np.uint8))
    assert shown(path) == [int(k * 30 / 25 + 0.06) for k in range(25)]


def test_variable_rate(tmp_path):
    times = [0, 40, 80, 200, 240, 250, 260, 400, 440]
    path = make(tmp_path / "a.mkv", times)
    got = shown(path)
    want = [max(i for i, ms in enumerate(times) if ms <= 40 * k) for k in range(12)]
    assert got[:12] == want


def test_late_video_repeats_first_frame(tmp_path):
    path = tmp_path / "late.mkv"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = out.add_stream("pcm_s16le", rate=16000, layout="mono")
        block = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.int16), format="s16", layout="mono")
        block.sample_rate, block.pts, block.time_base = 16000, 0, Fraction(1, 16000)
        out.mux(sound.encode(block))
        for i in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * i + 10, np.uint8), format="rgb24")
            frame.pts, frame.time_base = i + 5, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    assert probe(path).has_audio
    assert shown(path) == [0] * 5 + list(range(10))


def test_rotation(tmp_path):
    path = tmp_path / "a.mp4"
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, :32] = 200  # the left half is bright
    with VideoWriter(path, 25, (64, 48)) as out:
        for _ in range(3):
            out.write(picture)
    # A phone's portrait matrix (a quarter turn clockwise), put into the track header.
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    matrix = [0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30]
    data[at : at + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in matrix)
    path.write_bytes(data)
    info = probe(path)
    assert (info.width, info.height, info.rotation) == (48, 64, 270)
    frame = next(read_frames(path))
    assert frame.shape == (64, 48, 3)
    assert frame[:24].mean() > 180 and frame[40:].mean() < 20  # clockwise: left goes up


def test_bad_inputs(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("this is no video\n" * 50)
    wav = tmp_path / "sound.wav"
    write_wav(wav, np.zeros(1600))
    image = tmp_path / "image.png"
    from PIL import Image

    Image.new("RGB", (16, 16)).save(image)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    for path in (tmp_path / "missing.mp4", tmp_path, text, wav, image, empty):
        with pytest.raises(InputError, match=path.name):
            next(read_frames(path))
        with pytest.raises(InputError, match=path.name):
            probe(path)


def test_truncated(tmp_path):
    path = tmp_path / "whole.mp4"
    rng = np.random.default_rng(0)
    with VideoWriter(path, 25, (64, 48)) as out:
        for _ in range(100):
            out.write(rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    data = path.read_bytes()
    for share in (0.01, 0.5):
        cut = tmp_path / f"cut{share}.mp4"
        cut.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(InputError, match=cut.name):
            list(read_frames(cut))
