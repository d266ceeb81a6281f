"""The video writer: sound in step, tags, and what is left behind when it is stopped."""

import av
import numpy as np
import pytest

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import read_audio
from aed_nerfstudio.media.provenance import SYNTHETIC_NOTE
from aed_nerfstudio.media.video_reader import probe, read_frames
from aed_nerfstudio.media.video_writer import VideoWriter

FRAME = np.full((49, 65, 3), (200, 60, 120), np.uint8)


@pytest.mark.parametrize("seconds", [0.5, 1.6, 5.0])
def test_sound_is_as_long_as_video_and_in_step(tmp_path, seconds):
    path = tmp_path / "a.mp4"
    samples = np.zeros(round(16000 * seconds), np.float32)
    samples[4000:] = 0.3 * np.sin(np.arange(samples.size - 4000) * 0.17)
    with VideoWriter(path, 25, (65, 49), samples) as out:
        for _ in range(40):
            out.write(FRAME)
    info = probe(path)
    assert (info.width, info.height, info.has_audio) == (66, 50, True)
    assert info.duration == pytest.approx(1.6)
    back = read_audio(path)
    assert abs(back.size - 25600) <= 640
    assert abs(int(np.argmax(np.abs(back) > 0.1)) - 4000) < 160
    frames = list(read_frames(path))
    assert len(frames) == 40
    assert np.abs(frames[20].astype(int)[20, 20] - FRAME[0, 0]).max() <= 4
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


KINDS = {
    "mp4": ("a.mp4", None, False, ("h264", "yuv420p", "aac")),
    "mov": ("a.mov", None, False, ("h264", "yuv420p", "aac")),
    "mkv": ("a.mkv", None, False, ("h264", "yuv420p", "aac")),
    "webm": ("a.webm", None, False, ("vp9", "yuv420p", "opus")),
    "webm with alpha": ("a.webm", None, True, ("vp9", "yuva420p", "opus")),
    "prores": ("a.mov", "prores", False, ("prores", "yuv422p10le", "pcm_s16le")),
    "prores with alpha": ("a.mov", None, True, ("prores", "yuva444p12le", "pcm_s16le")),  # 4444 is read with 12 bits
}


def decoded(path, codec):
    """The frames with their alpha, which FFmpeg's own VP9 decoder drops."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if codec != "vp9":
            return list(container.decode(stream))
        decoder = av.codec.CodecContext.create("libvpx-vp9", "r")
        return [f for packet in container.demux(stream) for f in decoder.decode(packet if packet.size else None)]


@pytest.mark.parametrize("name, form, transparent, expected", KINDS.values(), ids=KINDS)
def test_every_format(tmp_path, name, form, transparent, expected):
    path = tmp_path / name
    samples = np.zeros(16000, np.float32)
    samples[4000:] = 0.3 * np.sin(np.arange(12000) * 0.17)
    frame = np.full((48, 64, 4), (200, 60, 120, 255), np.uint8)
    frame[:, :, 3] = 4 * np.arange(64)
    frame = frame if transparent else frame[..., :3]
    options = {"metadata": {"model": "anna"}, "form": form, "transparent": transparent}
    with VideoWriter(path, 30, (64, 48), samples, **options) as out:
        for _ in range(30):
            out.write(frame)
    codec, pixels, sound = expected
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        tags = {key.lower(): value for key, value in container.metadata.items()}  # Matroska's are capitals
        assert (video.codec_context.name, audio.codec_context.name) == (codec, sound)
        assert (video.average_rate, video.width, video.height) == (30, 64, 48)
        assert container.duration == pytest.approx(1e6, abs=7e4)  # Matroska counts the sound's encoder delay
        assert tags["comment"] == SYNTHETIC_NOTE and tags["model"] == "anna"
    frames = decoded(path, codec)
    assert len(frames) == 30 and {f.format.name for f in frames} == {pixels}
    assert [round(30 * f.time) for f in frames] == list(range(30))
    back = frames[15].to_ndarray(format="rgba")[24].astype(int)
    assert np.abs(back[8:, :3] - (200, 60, 120)).max() <= 4
    assert np.abs(back[:, 3] - (4 * np.arange(64) if transparent else 255)).max() <= (12 if codec == "vp9" else 3)
    heard = read_audio(path)
    assert abs(heard.size - 16000) <= 700 and abs(int(np.argmax(np.abs(heard) > 0.1)) - 4000) < 160


def test_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError), VideoWriter(path, 25, (65, 49)) as out:
        out.write(FRAME)
        raise RuntimeError
    assert path.read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 1


def test_interrupt_keeps_a_playable_file(tmp_path):
    path = tmp_path / "a.mp4"
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, 25, (65, 49), np.zeros(160000)) as out:
        for _ in range(7):
            out.write(FRAME)
        raise KeyboardInterrupt
    assert len(list(read_frames(path))) == 7
    assert abs(read_audio(path).size - 7 * 640) <= 640


def test_refusals(unchecked_shapes, tmp_path):
    with pytest.raises(InputError, match="none"):
        VideoWriter(tmp_path / "none" / "a.mp4")
    with pytest.raises(InputError, match="a.txt"):
        VideoWriter(tmp_path / "a.txt")
    with pytest.raises(InputError, match="no frame"), VideoWriter(tmp_path / "a.mp4", 25, (64, 48)):
        pass
    with pytest.raises(InputError, match="16384"):
        VideoWriter(tmp_path / "a.mp4", 25, (20000, 48))
    with pytest.raises(ValueError, match="uint8"), VideoWriter(tmp_path / "a.mp4", 25, (64, 48)) as out:
        out.write(np.zeros((48, 64, 3), np.float32))
    assert not list(tmp_path.iterdir())
