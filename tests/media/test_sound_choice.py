"""Which of several sound tracks and channels is heard."""

from __future__ import annotations

import wave
from fractions import Fraction

import av
import numpy as np
import pytest

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import is_silent, read_audio, write_wav

RATE = 16000
DEFAULT = av.stream.Disposition.default


def tone(hertz: float, level: float = 0.5, seconds: float = 1.0) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def strength(samples: np.ndarray, hertz: float) -> float:
    """Level of a tone in a sound."""
    times = np.arange(len(samples)) / RATE
    return 2 * abs(np.mean(samples * np.exp(-2j * np.pi * hertz * times)))


def write(path, tracks: list[np.ndarray], layout: str = "mono", default: int | None = None):
    """tracks: each [C, n]; default: the one that is marked."""
    with av.open(str(path), "w") as out:
        streams = [out.add_stream("pcm_f32le", rate=RATE, layout=layout) for _ in tracks]
        for number, stream in enumerate(streams):
            stream.disposition = DEFAULT if number == default else av.stream.Disposition(0)
        for stream, track in zip(streams, tracks, strict=True):
            packed = np.ascontiguousarray(track.T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, "flt", layout)
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            out.mux([*stream.encode(frame), *stream.encode(None)])
    return path


SILENCE = np.zeros((1, RATE), np.float32)


@pytest.mark.parametrize("default, silent, heard, reason", [
    (0, (), 300, "the default one"), (1, (), 400, "the default one"), (2, (), 500, "the default one"),
    (0, (0,), 400, "the first that is not silent"), (1, (0, 1), 500, "the first that is not silent"),
    (1, (1,), 300, "the first that is not silent"),
])  # fmt: skip
def test_the_default_track_or_the_first_with_sound(tmp_path, default, silent, heard, reason):
    tracks = [SILENCE if k in silent else tone(300 + 100 * k)[None] for k in range(3)]
    notes: list[str] = []
    samples = read_audio(write(tmp_path / "a.mkv", tracks, default=default), notes=notes)
    assert strength(samples, heard) > 0.4
    assert len(notes) == 1 and "has 3 sound tracks; stream" in notes[0] and reason in notes[0]


def test_all_tracks_are_silent(tmp_path):
    assert is_silent(read_audio(write(tmp_path / "a.mkv", [SILENCE, SILENCE], default=1)))


def test_opposite_channels_do_not_cancel(tmp_path):
    left = tone(300)
    for right in (-left, -0.97 * left, -left + tone(1000, 0.01)):
        samples = read_audio(write(tmp_path / "a.wav", [np.stack([left, right])], "stereo"))
        assert strength(samples, 300) > 0.45
    both = read_audio(write(tmp_path / "a.wav", [np.stack([left, tone(500)])], "stereo"))
    assert strength(both, 300) == pytest.approx(0.25, abs=0.01) == strength(both, 500)


def test_surround_is_mixed_by_what_its_channels_are_for(tmp_path):
    """FL FR FC LFE BL BR: the voice is in the middle, and bass is none."""
    levels = np.array([0.2, 0.2, 0.5, 0.9, 0.2, 0.2])
    channels = np.stack([tone(300 + 100 * k, level) for k, level in enumerate(levels)])
    samples = read_audio(write(tmp_path / "a.mkv", [channels], "5.1"))
    found = np.array([strength(samples, 300 + 100 * k) for k in range(6)])
    assert found[2] > 2 * found[[0, 1, 4, 5]].max() and found[3] < 0.001 and found[[0, 1, 4, 5]].min() > 0.01
    lone = read_audio(write(tmp_path / "b.mkv", [np.stack([tone(500) * (k == 2) for k in range(6)])], "5.1"))
    assert strength(lone, 500) == pytest.approx(0.5, abs=0.01), "channels that are empty do not make it quiet"


@pytest.mark.parametrize("layout, count", [("7.1", 8), ("hexadecagonal", 16)])
def test_many_channels(tmp_path, layout, count):
    samples = read_audio(write(tmp_path / "a.mkv", [np.stack([tone(440, 0.3)] * count)], layout))
    assert strength(samples, 440) == pytest.approx(0.3, abs=0.01)


@pytest.mark.hostile
@pytest.mark.parametrize("rate", [1, 999, 4_000_000])
def test_a_rate_that_no_sound_has(tmp_path, rate):
    with wave.open(str(tmp_path / "a.wav"), "wb") as out:
        out.setparams((1, 2, rate, 0, "NONE", ""))
        out.writeframes(bytes(20_000))
    with pytest.raises(InputError, match=rf"a\.wav: claims {rate} samples of sound a second"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.hostile
@pytest.mark.parametrize("name", ["http:me.wav", "concat:a.wav|b.wav", "file:a.wav", "-i.wav", "a%03d.wav", "b#c.wav"])
def test_names_that_mean_something_to_ffmpeg(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / name, tone(300))
    assert strength(read_audio(name), 300) > 0.45
