"""Sound and pictures that ask for days of time, or hold what is no sound."""

import wave
from fractions import Fraction

import av
import numpy as np
import pytest

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import read_audio
from aed_nerfstudio.media.output import check_room
from aed_nerfstudio.media.video_reader import probe, read_frames

pytestmark = pytest.mark.hostile


def float_wav(path, samples) -> None:
    """32-bit float, which the standard library does not write."""
    with av.open(str(path), "w", format="wav") as out:
        stream = out.add_stream("pcm_f32le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.asarray(samples, np.float32)[None], format="flt", layout="mono")
        frame.sample_rate = 16000
        out.mux([*stream.encode(frame), *stream.encode(None)])


def with_gap(path, seconds: float, kind: str) -> None:
    """A Matroska file of two frames that lie so far apart."""
    with av.open(str(path), "w", format="matroska") as out:
        if kind == "sound":
            stream = out.add_stream("pcm_s16le", rate=16000, layout="mono")
            frames = [av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.int16), "s16", "mono") for _ in range(2)]
            for frame in frames:
                frame.sample_rate = 16000
        else:
            stream = out.add_stream("ffv1", rate=25)
            stream.width = stream.height = 32
            stream.pix_fmt = "yuv420p"
            frames = [av.VideoFrame.from_ndarray(np.zeros((48, 32), np.uint8), "yuv420p") for _ in range(2)]
        for number, frame in enumerate(frames):
            frame.pts = None if kind == "sound" else number
            for packet in stream.encode(frame):
                packet.time_base, packet.pts = Fraction(1, 1000), round(1000 * seconds * number)
                packet.dts = packet.pts
                out.mux(packet)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -40.0])
def test_samples_that_are_none(tmp_path, value):
    samples = np.full(16000, 0.1, np.float32)
    samples[8000:8010] = value
    float_wav(tmp_path / "a.wav", samples)
    with pytest.raises(InputError, match=r"a\.wav: .* samples are no numbers or far .* at 0\.(49|50) s; export"):
        read_audio(tmp_path / "a.wav")


def test_sound_that_is_a_little_too_loud_is_clipped(tmp_path):
    float_wav(tmp_path / "a.wav", np.full(16000, 1.4))
    assert read_audio(tmp_path / "a.wav").max() == 1


@pytest.mark.parametrize("kind", ["sound", "pictures"])
@pytest.mark.parametrize("seconds", [300, 36_000])
def test_a_gap_of_hours_is_closed(tmp_path, kind, seconds):
    """However long it is: what comes out is as long as what the file holds."""
    with_gap(tmp_path / "a.mkv", seconds, kind)
    if kind == "sound":
        notes = []
        assert read_audio(tmp_path / "a.mkv", notes=notes).size == 2 * 16000
    else:
        notes = probe(tmp_path / "a.mkv").notes
        assert len(list(read_frames(tmp_path / "a.mkv"))) < 15
    assert len(notes) == 1 and "its clock jumps ahead by" in notes[0]


def test_a_disk_that_is_surely_too_small(tmp_path):
    check_room(tmp_path / "new" / "a.mp4", None, False, (512, 512), 250)
    with pytest.raises(InputError, match=r"a: .* MiB or more, and the disk has .*; make room"):
        check_room(tmp_path / "new" / "a", None, True, (4096, 4096), 10**8)


def test_an_empty_wav(tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
    with pytest.raises(InputError, match=r"a\.wav"):
        read_audio(tmp_path / "a.wav")
