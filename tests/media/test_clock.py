"""Sound and picture from the same moment, whatever the clocks of a file do, and no more of them than it holds."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import av
import pytest

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.video_reader import probe, read_frames
from tests.media.clapper import FPS, clapper, claps_in


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def test_parts_whose_clocks_all_start_at_zero(tmp_path):
    parts = [clapper(tmp_path / f"{k}.ts", seconds, [1.0]) for k, seconds in enumerate((2.4, 3.0, 1.6))]
    path = joined(tmp_path / "a.ts", *parts)
    assert claps_in(path) == pytest.approx([1.0, 3.4, 6.4], abs=0.3)
    info = probe(path)
    assert info.duration == pytest.approx(7.0, abs=0.3) and len(list(read_frames(path))) == round(info.duration * FPS)
    assert [note.split("clock jumps ")[1][:4] for note in info.notes] == ["back", "back"]


@pytest.mark.parametrize("offset", [30.0, 7200.0, 90_000.0])
def test_a_clock_that_jumps_ahead(tmp_path, offset):
    path = joined(tmp_path / "a.ts", clapper(tmp_path / "0.ts", 2.4, [1.0]),
                  clapper(tmp_path / "1.ts", 2.4, [0.6], offset=offset))  # fmt: skip
    assert claps_in(path) == pytest.approx([1.0, 3.0], abs=0.2)
    assert probe(path).duration == pytest.approx(4.8, abs=0.2)


def test_jumps_there_and_back_again(tmp_path):
    parts = [clapper(tmp_path / f"{k}.ts", 2.0, [0.8], offset=o) for k, o in enumerate((500.0, 0.0, 3000.0, 100.0))]
    path = joined(tmp_path / "a.ts", *parts)
    assert claps_in(path) == pytest.approx([0.8, 2.8, 4.8, 6.8], abs=0.5)


def test_a_part_without_sound(tmp_path):
    """What is there keeps together, also after it."""
    parts = [clapper(tmp_path / f"{k}.ts", 2.0, [0.8] * sound, sound="aac" if sound else None, offset=o)
             for k, (sound, o) in enumerate([(True, 0.0), (False, 100.0), (True, 200.0)])]  # fmt: skip
    assert claps_in(joined(tmp_path / "a.ts", *parts)) == pytest.approx([0.8, 4.8], abs=0.4)


def test_a_pause_is_kept(tmp_path):
    """Seconds in which nothing was recorded are no jump: a separate recording of the sound goes on."""
    path = joined(tmp_path / "a.ts", clapper(tmp_path / "0.ts", 6.0, [1.0]),
                  clapper(tmp_path / "1.ts", 6.0, [1.0], offset=10.0))  # fmt: skip
    assert claps_in(path) == pytest.approx([1.0, 11.0], abs=0.15)
    assert not probe(path).notes


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".ts"])
@pytest.mark.parametrize("late", [(0.0, 0.0), (0.6, 0.0), (0.0, 0.6)])
def test_streams_that_begin_late(tmp_path, suffix, late):
    """MP4 says it by edit lists, others by their time stamps."""
    assert claps_in(clapper(tmp_path / f"a{suffix}", 4.0, [1.0, 3.0], late=late)) == pytest.approx([1.0, 3.0], abs=0.1)


def test_a_clock_that_does_not_start_at_zero(tmp_path):
    path = clapper(tmp_path / "a.ts", 3.0, [1.0], offset=4000.0)
    assert claps_in(path) == pytest.approx([1.0], abs=0.1) and not probe(path).notes


def repacked(source: Path, path: Path, moved) -> Path:
    """A copy in which `moved(kind, seconds)` gives each packet's time."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        copies = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        pictures = count()
        for packet in old.demux():
            if packet.size:
                base, kind = packet.time_base, packet.stream.type
                shown = float(packet.pts * base)
                decoded = shown if kind == "audio" else next(pictures) / FPS - 0.12  # not always told by Matroska
                packet.pts, packet.dts = (round(moved(kind, time) / base) for time in (shown, decoded))
                packet.stream = copies[packet.stream.index]
                new.mux(packet)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_gap_of_hours_in_any_container(tmp_path, suffix):
    whole = clapper(tmp_path / "0.mkv", 4.0, [1.0, 3.0])
    path = repacked(whole, tmp_path / f"a{suffix}", lambda kind, time: time + 40_000 * (time > 2.0))
    assert claps_in(path) == pytest.approx([1.0, 3.0], abs=0.15)
    assert len(probe(path).notes) == 1


def test_a_still_picture_while_the_sound_goes_on(tmp_path):
    """A recorder of screens writes no picture where nothing changes."""
    whole = clapper(tmp_path / "0.mkv", 40.0, [1.0, 38.0])
    path = tmp_path / "a.mkv"
    with av.open(str(whole)) as old, av.open(str(path), "w") as new:
        copies = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        for packet in old.demux():
            if not packet.size:
                continue
            if packet.stream.type == "audio" or not 3 <= float(packet.pts * packet.time_base) < 37:
                packet.stream = copies[packet.stream.index]
                new.mux(packet)
    info = probe(path)
    assert not info.notes and len(list(read_frames(path))) == pytest.approx(1000, abs=2)


@pytest.mark.parametrize("kind, seconds, message", [
    ("video", 7200, "the clocks of its pictures and its sound do not jump together"),
    ("audio", 7200, r"spreads 30\.\d s of contents over 72\d\d s; cut it there, or make a copy with a new clock"),
])  # fmt: skip
def test_one_clock_alone_jumps(tmp_path, kind, seconds, message):
    """Nobody can tell what belongs together."""
    whole = clapper(tmp_path / "0.mkv", 30.0, [1.0, 12.0, 28.0])
    path = repacked(whole, tmp_path / "a.mkv", lambda k, time: time + seconds * (k == kind and time > 8.0))
    with pytest.raises(InputError, match=rf"a\.mkv: {message}"):
        claps_in(path)


def test_contents_that_are_spread_thin(tmp_path):
    """Many gaps, none of which is long."""
    whole = clapper(tmp_path / "0.mkv", 4.0, [], sound=None)
    path = repacked(whole, tmp_path / "a.mkv", lambda kind, time: time + 9.0 * int(10 * time))
    with pytest.raises(InputError, match=r"a\.mkv: spreads .* s of contents over \d{3} s; cut it there"):
        next(read_frames(path))


def test_one_picture_that_stands_for_hours(tmp_path):
    """An MP4's table gives every picture a length of its own."""
    path = clapper(tmp_path / "a.mp4", 2.0, [], sound=None)
    data = bytearray(path.read_bytes())
    at = data.index(b"stts") + 8
    assert int.from_bytes(data[at : at + 4], "big") == 1 and int.from_bytes(data[at + 4 : at + 8], "big") == 50
    # From one entry (50 pictures of one length) to two would move all offsets, so the one length is made huge.
    data[at + 8 : at + 12] = (3600 * 12800).to_bytes(4, "big")
    path.write_bytes(data)
    try:
        shown = sum(1 for _ in read_frames(path, fps=1 / 60))
    except InputError as error:
        assert "it declares 2.0 s" in str(error)
    else:
        assert shown <= 2


def test_edit_lists_that_show_the_same_again(tmp_path):
    """A small file may not ask for hours by naming its seconds again and again."""
    path = clapper(tmp_path / "a.mp4", 2.0, [], sound=None)
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") - 4
    old = int.from_bytes(data[at : at + 4], "big")
    media = data[at + 16 : at + 28]
    times = 3000
    box = (16 + 12 * times).to_bytes(4, "big") + b"elst" + bytes(4) + times.to_bytes(4, "big") + bytes(media) * times
    grown = len(box) - old
    data[at : at + old] = box
    for name in (b"moov", b"trak", b"edts"):
        place = data.index(name) - 4
        data[place : place + 4] = (int.from_bytes(data[place : place + 4], "big") + grown).to_bytes(4, "big")
    path.write_bytes(data)
    try:
        shown = sum(1 for _ in read_frames(path))
    except InputError as error:
        assert "over and over" in str(error) or "contents over" in str(error)
    else:
        assert shown <= 1.5 * 50
