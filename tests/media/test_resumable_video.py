"""Videos that are interrupted and continued."""

import subprocess

import av
import numpy as np
import pytest

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import remove_parts
from aed_nerfstudio.media import resumable_video
from aed_nerfstudio.media.audio_io import read_audio
from aed_nerfstudio.media.resumable_video import ResumableVideo

RATE = 16000
SOUND = (0.3 * np.sin(2 * np.pi * 440 * np.arange(4 * RATE) / RATE)).astype(np.float32)


@pytest.fixture(autouse=True)
def short_segments(monkeypatch):
    monkeypatch.setattr(resumable_video, "SEGMENT", 8)


def frame(number, channels=3):
    """A grey that tells the frame's number; alpha where asked for."""
    picture = np.full((32, 48, channels), 6 * number + 20, np.uint8)
    if channels == 4:
        picture[..., 3] = 255 - 4 * number
    return picture


def numbers(path, transparent=False):
    """Frame numbers and times that a file shows."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if "alpha_mode" in stream.metadata:  # FFmpeg's own VP9 decoder drops alpha
            decoder = av.codec.CodecContext.create("libvpx-vp9", "r")
            frames = [f for p in container.demux(stream) for f in decoder.decode(p if p.size else None)]
        else:
            frames = list(container.decode(stream))
    if frames[0].format.name.startswith("yuva"):
        alpha = [f.to_ndarray(format="rgba")[..., 3].mean() for f in frames]
        np.testing.assert_allclose(alpha, 255 - 4.0 * np.arange(len(frames)), atol=3)
    assert frames[0].format.name.startswith("yuva") == transparent
    grey = [f.to_ndarray(format="rgb24").mean() for f in frames]
    return [round((g - 20) / 6) for g in grey], [f.time for f in frames]


def write(path, stop, error=None, settings=None, **options):
    channels = 4 if options.get("transparent") else 3
    with ResumableVideo(path, 30, (48, 32), SOUND, settings=settings or {"size": 48}, **options) as out:
        first = out.frames_written
        for number in range(first, stop):
            out.write(frame(number, channels))
        if error:
            raise error
    return first


KINDS = [("a.mp4", None, False), ("a.mkv", None, False), ("a.mov", "prores", True), ("a.webm", None, True)]


@pytest.mark.parametrize("name, form, transparent", KINDS, ids=["mp4", "mkv", "prores", "webm"])
def test_a_resumed_video_is_as_if_never_interrupted(tmp_path, name, form, transparent):
    path, options = tmp_path / name, {"form": form, "transparent": transparent}
    with pytest.raises(KeyboardInterrupt):
        write(path, 19, KeyboardInterrupt(), **options)
    assert numbers(path, transparent)[0] == list(range(19))  # playable as far as it came
    assert read_audio(path).size == pytest.approx(19 / 30 * RATE, abs=700)
    assert write(path, 35, resume=True, **options) == 19
    whole = tmp_path / f"whole{path.suffix}"
    write(whole, 35, **options)
    (found, times), (expected, at) = numbers(path, transparent), numbers(whole, transparent)
    assert found == expected == list(range(35))
    np.testing.assert_allclose(times, at, atol=1e-6)
    heard = read_audio(path)
    np.testing.assert_array_equal(heard, read_audio(whole))  # coded in one piece
    assert np.abs(heard[2000:16000] - SOUND[2000:16000]).max() < 0.05
    assert {p.name for p in tmp_path.iterdir()} == {path.name, whole.name}


def test_any_other_end_keeps_the_frames_and_what_was_there(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError):
        write(path, 11, RuntimeError())
    assert path.read_bytes() == b"before"
    assert write(path, 20, resume=True) == 11
    assert numbers(path)[0] == list(range(20))


def test_what_a_killed_program_leaves_can_be_resumed(tmp_path):
    path = tmp_path / "a.mp4"
    out = ResumableVideo(path, 30, (48, 32), SOUND, settings={"size": 48})
    for number in range(12):
        out.write(frame(number))
    del out  # never left
    assert write(path, 20, resume=True) == 8  # its whole segments
    assert numbers(path)[0] == list(range(20))


def test_other_settings_are_refused_and_named(tmp_path):
    path = tmp_path / "a.mp4"
    with pytest.raises(KeyboardInterrupt):
        write(path, 11, KeyboardInterrupt())
    with pytest.raises(InputError, match=r"a\.mp4: was begun with size 48, not 64; .*--resume"):
        write(path, 20, settings={"size": 64}, resume=True)
    assert write(path, 20, resume=True) == 11  # nothing was lost by asking


def test_without_resume_it_begins_anew(tmp_path):
    path = tmp_path / "a.mp4"
    with pytest.raises(KeyboardInterrupt):
        write(path, 11, KeyboardInterrupt())
    assert write(path, 3, settings={"size": 64}) == 0
    assert numbers(path)[0] == [0, 1, 2]
    assert write(path, 5, resume=True) == 0  # a complete video has nothing to go on with


def test_an_interrupt_before_the_first_frame_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.mp4", 0, KeyboardInterrupt())
    with pytest.raises(InputError, match="no frame"):
        write(tmp_path / "a.mp4", 0)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named_before_any_work(tmp_path):
    with pytest.raises(InputError, match="lost"):
        ResumableVideo(tmp_path / "lost" / "a.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.hostile
def test_a_folder_of_the_users_is_not_taken_for_the_segments(tmp_path):
    mine = tmp_path / ".a.mp4.segments" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("years")
    for resume in (False, True):
        with pytest.raises(InputError, match=r"\.a\.mp4\.segments: .*left as it is"):
            write(tmp_path / "a.mp4", 3, resume=resume)
    assert mine.read_text() == "years" and [p.name for p in tmp_path.iterdir()] == [mine.parent.name]


@pytest.mark.hostile
def test_killed_at_any_step_a_video_can_be_resumed(tmp_path, killed):
    path = tmp_path / "a.mkv"
    write(tmp_path / "whole.mkv", 19)
    whole = numbers(tmp_path / "whole.mkv")
    for number in range(0, 99, 3):
        path.write_bytes(b"before")
        ended = killed(lambda: write(path, 19, resume=True), number)
        assert ended or path.read_bytes() == b"before" or numbers(path) == whole
        write(path, 19, resume=True)
        assert numbers(path) == whole
        remove_parts(path)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mkv", "whole.mkv"]
        if ended:
            break
    assert ended and number > 10


@pytest.mark.hostile
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm"])
def test_a_full_disk_keeps_what_was_there_and_the_frames_so_far(small_disk, name):
    disk = small_disk(200)
    path = disk / name
    path.write_bytes(b"before")
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    with pytest.raises(InputError, match=r": cannot be written \(No space left on device\); make room on its disk"):
        with ResumableVideo(path, 30, (200, 200), settings={}, resume=True) as out:
            for _ in range(99):
                out.write(np.roll(noise, out.frames_written, axis=0))
    assert path.read_bytes() == b"before" and not list(disk.rglob("*.aed-part*"))
    subprocess.run(["mount", "-o", "remount,size=9m", str(disk)], check=True)  # room is made
    with ResumableVideo(path, 30, (200, 200), settings={}, resume=True) as out:
        assert out.frames_written > 0 and out.frames_written % 8 == 0
        out.write(noise[:, :, ::-1])
