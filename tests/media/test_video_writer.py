"""The video writer: sound in step, tags, and what is left behind when it is stopped."""

import av
import numpy as np
import pytest

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import read_audio
from aed_nerfstudio.media.video_reader import probe, read_frames
from aed_nerfstudio.media.video_writer import SYNTHETIC_NOTE, VideoWriter

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


def test_tags(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 25, (64, 48), metadata={"emotion": "happy"}) as out:
        out.write(np.zeros((48, 64, 3), np.uint8))
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.metadata["comment"] == SYNTHETIC_NOTE
        assert container.metadata["emotion"] == "happy"


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


def test_refusals(tmp_path):
    with pytest.raises(InputError, match="none"):
        VideoWriter(tmp_path / "none" / "a.mp4")
    with pytest.raises(InputError, match="a.txt"):
        VideoWriter(tmp_path / "a.txt")
    with pytest.raises(InputError, match="no frame"), VideoWriter(tmp_path / "a.mp4", 25, (64, 48)):
        pass
    with pytest.raises(ValueError, match="uint8"), VideoWriter(tmp_path / "a.mp4", 25, (64, 48)) as out:
        out.write(np.zeros((48, 64, 3), np.float32))
    assert not list(tmp_path.iterdir())
