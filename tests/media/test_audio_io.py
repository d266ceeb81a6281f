"""Reading and writing sound."""

from fractions import Fraction

import av
import numpy as np
import pytest

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import is_silent, read_audio, write_wav
from aed_nerfstudio.media.video_writer import VideoWriter


def tone(seconds, rate=16000, level=0.5):
    return (level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def test_wav_round_trip(tmp_path):
    path = tmp_path / "a.wav"
    samples = tone(0.5)
    write_wav(path, samples)
    back = read_audio(path)
    assert back.dtype == np.float32 and back.shape == samples.shape
    assert np.abs(back - samples).max() < 1e-3
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_stereo_other_rate(tmp_path):
    path = tmp_path / "a.wav"
    left = tone(1.0, 44100)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=44100, layout="stereo")
        both = (np.stack([left, np.zeros_like(left)], 1).reshape(1, -1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(both, format="s16", layout="stereo")
        frame.sample_rate = 44100
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    back = read_audio(path)
    assert abs(back.size - 16000) < 32
    assert np.abs(back[200:15800] - tone(1.0, level=0.25)[200:15800]).max() < 0.01


def test_late_audio_and_gap(tmp_path):
    path = tmp_path / "late.mkv"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = out.add_stream("pcm_s16le", rate=16000, layout="mono")
        for i in range(50):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for start in (8000, 24000):
            block = np.full((1, 4000), 9000, np.int16)
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    back = read_audio(path)
    loud = np.abs(back) > 0.1
    assert back.size == 28000
    assert not loud[:8000].any() and loud[8000:12000].all()
    assert not loud[12000:24000].any() and loud[24000:].all()


@pytest.mark.hostile
def test_no_more_is_decoded_than_is_taken(tmp_path):
    """Neither what a header declares, nor stretches that lie over one another; gaps of hours are closed."""
    write_wav(tmp_path / "long.wav", np.zeros(3 * 16000))
    minutes = tuple(16000 * 540 * k for k in range(4))  # nine of silence, again and again
    for name, starts in (("gap.mka", (0, 16000 * 3600 * 55)), ("gaps.mka", minutes), ("over.mka", (0,) * 9)):
        with av.open(str(tmp_path / name), "w", format="matroska") as out:
            sound = out.add_stream("pcm_s16le", rate=16000, layout="mono")
            for start in starts:
                frame = av.AudioFrame.from_ndarray(np.full((1, 4000), 9000, np.int16), format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
                out.mux(sound.encode(frame))
            out.mux(sound.encode(None))
    for name in ("long.wav", "over.mka"):
        with pytest.raises(InputError, match=f"{name}: its sound is longer than 0.03"):
            read_audio(tmp_path / name, longest=2.0)
    assert read_audio(tmp_path / "long.wav", longest=3.0).size == 48000
    for name, parts in (("gap.mka", 2), ("gaps.mka", 4)):
        notes = []
        samples = read_audio(tmp_path / name, longest=2.0, notes=notes)
        assert samples.size == parts * 4000 and (samples[10:-10] > 0.2).all()
        assert len(notes) == parts - 1 and all("jumps ahead" in note for note in notes)


@pytest.mark.hostile
def test_a_playlist_is_not_followed(tmp_path):
    write_wav(tmp_path / "secret.wav", tone(1.0))
    (tmp_path / "list.wav").write_text("ffconcat version 1.0\nfile secret.wav\n")
    with pytest.raises(InputError, match="is a playlist"):
        read_audio(tmp_path / "list.wav")


def test_bad_inputs(tmp_path):
    silent = tmp_path / "silent.mp4"
    with VideoWriter(silent, 25, (64, 48)) as out:
        out.write(np.zeros((48, 64, 3), np.uint8))
    text = tmp_path / "text.wav"
    text.write_text("no sound\n" * 50)
    for path in (silent, text, tmp_path / "missing.wav"):
        with pytest.raises(InputError, match=path.name):
            read_audio(path)
    with pytest.raises(InputError, match="folder"):
        write_wav(text / "a.wav", np.zeros(10))
    with pytest.raises(ValueError):
        write_wav(tmp_path / "a.wav", np.zeros((10, 2)))


def test_is_silent():
    assert is_silent(np.zeros(0)) and is_silent(np.zeros(5000)) and is_silent(np.full(5000, 1e-4))
    speech = np.zeros(160000)
    speech[80000:82000] = 0.1
    assert not is_silent(speech)
