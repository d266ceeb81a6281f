"""The times in a media file, mended: one time line for pictures and sound, without jumps.

Recordings that were joined start again at zero or an hour later; broken ones lack hours. The times of all packets are
read before anything is decoded. Where the clock jumps, what follows is put behind what came before, by the same amount
for pictures and sound, so that they keep belonging together; and no file fills more time than it has contents for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import numpy as np

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.containers import open_media, picture_stream, picture_streams, sound_streams

BACK = 0.5
"""Seconds: a clock that goes back further has jumped; by less, pictures are out of order or packets overlap."""
AHEAD = 10.0
"""Seconds: a clock that goes ahead further has jumped; what is missing for less is a pause."""
TOGETHER = 5.0
"""Seconds by which a part's sound may begin before its pictures, or end after them."""
STRETCH = 1.5
"""A file may fill so many times the time that it has contents for."""
STANDING = 1.0
"""Seconds that any picture may stand; longer only where half of the others do."""
MOST_AGAIN = 10_000
"""Packets that an edit list may repeat."""
MEND = ("cut it there, or make a copy with a new clock: `ffmpeg -i IN -vf setpts=N/FRAME_RATE/TB -af asetpts=N/SR/TB "
        "OUT.mp4`")  # fmt: skip


@dataclass(frozen=True)
class Clock:
    """What mends the times of a file.

    ends: seconds from the zero to the end of every stream, by its index in the file. standing: seconds that the last
    picture may stand. notes: what was mended.
    """

    ends: dict[int, float]
    standing: float
    notes: tuple[str, ...]
    shifts: dict[int, tuple[list[int], list[float]]]
    """By index: numbers of packets, and the seconds that are added to the times from them on."""

    def packets(self, container: av.container.InputContainer, stream: av.stream.Stream) -> Iterator[av.Packet]:
        """The packets of a stream, with times that count from the time line's zero."""
        firsts, shifts = self.shifts[stream.index]
        for number, packet in enumerate(container.demux(stream)):
            if packet.time_base:
                ticks = round(shifts[bisect_right(firsts, number) - 1] / packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts + ticks
                packet.dts = None if packet.dts is None else packet.dts + ticks
            yield packet


def read_clock(path: Path, picture: int | None = None) -> Clock:
    """The clock of a file. All of the file is read, the first time that it is asked for.

    Args:
        path: a media file.
        picture: index of the stream of pictures whose clock it is; the default one when None.

    Raises:
        InputError: the file cannot be read, the clocks of its streams contradict each other, or it fills far more time
            than it has contents for.
    """
    with open_media(path):  # which says what is wrong with it
        status = path.stat()
    return _read_clock(path, picture, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class _Run:
    """Packets of one stream without a jump: from the number `first` on; seconds on the file's clock.

    order: the middle one's place among the packets of all streams.
    """

    first: int
    begin: float
    end: float
    order: float


@dataclass(frozen=True)
class _Packets:
    """The N packets of one stream in the file's order.

    order: int [N], places among the packets of all streams. stamps, shown: float [N] seconds of decoding and of being
    shown, NaN where they are not told or an edit list leaves the packet out. lengths: float [N] seconds that its
    contents last. standing: the longest that one may.
    """

    index: int
    order: np.ndarray
    stamps: np.ndarray
    shown: np.ndarray
    lengths: np.ndarray
    standing: float

    @property
    def contents(self) -> float:
        """Seconds that there are contents for."""
        return float(self.lengths.sum())

    def run(self, first: int, end: int) -> _Run:
        """The packets from `first` to before `end`, at least one with a time."""
        shown, part = self.shown[first:end], slice(first, end)
        return _Run(first, float(np.nanmin(shown)), float(np.nanmax(shown + self.lengths[part])),
                    float(np.median(self.order[part])))  # fmt: skip

    def runs(self) -> list[_Run]:
        """The packets between jumps; none where no time is told."""
        at = np.flatnonzero(np.isfinite(self.shown))
        steps = np.diff(self.stamps[at])
        jumps = at[1:][(steps < -BACK) | (steps - self.lengths[at[:-1]] > AHEAD)]
        borders = [0, *jumps.tolist(), len(self.shown)]
        return [self.run(a, b) for a, b in zip(borders[:-1], borders[1:], strict=True)] if at.size else []


@lru_cache(maxsize=16)
def _read_clock(path: Path, picture: int | None, *_: int) -> Clock:
    with open_media(path) as container:
        main = [picture_stream(container, path, picture)] if picture_streams(container) else []
        streams = [*main, *sound_streams(container)]
        if not streams:
            raise InputError(f"{path}: holds neither pictures nor sound; give a video or audio file")
        packets = _read_packets(path, container, streams)
        untimed = {stream.index: ([0], [0.0]) for stream in streams}
        starts = [float(s.start_time * s.time_base) for s in streams if s.start_time is not None]
    runs = {found.index: found.runs() for found in packets}
    if not any(runs.values()):
        return Clock(dict.fromkeys(untimed, 0.0), STANDING, (), untimed)
    first = next(found for found in packets if runs[found.index])
    parts = _parts(first, runs)
    owners = {index: [_owner(path, run, parts) for run in found] for index, found in runs.items()}
    begins = [min(run.begin for i in runs for run, p in zip(runs[i], owners[i], strict=True) if p == part)
              for part in range(len(parts))]  # fmt: skip
    # What comes before a stream's stated start is the encoder's warming up.
    zero = min((start for start in starts if abs(start - begins[0]) < STANDING), default=begins[0])
    moves, end, notes = [-zero], 0.0, []
    for part, begin in enumerate(begins):
        if part:
            moves.append(end - begin)
            jump = begin - parts[part - 1].end
            notes.append(f"{path.name}: its clock jumps {'ahead' if jump > 0 else 'back'} by {abs(jump):.1f} s at "
                         f"{end:.1f} s; what follows is put right behind")  # fmt: skip
        end = max(run.end + moves[part] for i in runs for run, p in zip(runs[i], owners[i], strict=True) if p == part)
    contents = max(found.contents for found in packets)
    if end > STRETCH * contents + STANDING:
        raise InputError(f"{path}: spreads {contents:.1f} s of contents over {end:.0f} s; {MEND}")
    shifts = {index: ([run.first for run in found], [moves[p] for p in owners[index]])
              for index, found in runs.items() if found}  # fmt: skip
    ends = {index: max((run.end + moves[p] for run, p in zip(found, owners[index], strict=True)), default=0.0)
            for index, found in runs.items()}  # fmt: skip
    return Clock(ends, first.standing, tuple(notes), {**untimed, **shifts})


def _read_packets(path: Path, container: av.container.InputContainer, streams: list) -> list[_Packets]:
    """What the packets of the streams say of themselves."""
    rows: dict[int, list[tuple]] = {stream.index: [] for stream in streams}
    edited = "mov" in container.format.name
    seen: set[tuple[int, int | None]] = set()
    again = 0
    for order, packet in enumerate(container.demux(streams)):
        scale = float(packet.time_base or 0)
        stamp = packet.dts if packet.dts is not None else packet.pts
        place = (packet.stream.index, packet.pos)
        repeated = edited and place in seen
        seen.add(place)
        again += repeated
        if again > max(MOST_AGAIN, len(seen)):
            raise InputError(f"{path}: its edit list shows the same contents over and over; export it again")
        told = stamp is not None and not packet.is_discard
        rows[packet.stream.index].append((
            order,
            scale * stamp if told else np.nan,
            scale * (stamp if packet.pts is None else packet.pts) if told else np.nan,
            scale * (packet.duration or 0),
            told and not repeated,
        ))  # fmt: skip
    return [_packets(stream, rows[stream.index]) for stream in streams]


def _packets(stream: av.stream.Stream, rows: list[tuple]) -> _Packets:
    order, stamps, shown, lengths, counted = np.array(rows, np.float64).reshape(-1, 5).T
    at = np.flatnonzero(np.isfinite(stamps))
    steps = np.diff(stamps[at])
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    standing = min(max(STANDING, STRETCH * usual), AHEAD)
    # Where a length is not told, it reaches to the next one.
    following = np.full(len(stamps), usual)
    following[at[:-1]] = np.where(steps > 0, steps, usual)
    lengths = np.minimum(np.where(lengths > 0, lengths, following), standing) * counted
    return _Packets(stream.index, order, stamps, shown, lengths, standing)


def _parts(main: _Packets, runs: dict[int, list[_Run]]) -> list[_Run]:
    """The parts of a file: what lies between the jumps of its main stream, gaps that other contents fill left in."""
    found = runs[main.index]
    firsts = [found[0].first]
    for before, after in zip(found[:-1], found[1:], strict=True):
        gap = after.begin - before.end
        others = [run for index, theirs in runs.items() if index != main.index for run in theirs]
        filled = max((min(run.end, after.begin) - max(run.begin, before.end) for run in others), default=0.0)
        if gap < 0 or filled < 0.5 * gap:
            firsts.append(after.first)
    ends = [*firsts[1:], len(main.shown)]
    return [main.run(a, b) for a, b in zip(firsts, ends, strict=True)]


def _owner(path: Path, run: _Run, parts: list[_Run]) -> int:
    """Number of the part that a run belongs to: by its times, and where several fit by its place in the file."""
    if len(parts) == 1:
        return 0
    misfits = [max(part.begin - run.begin, run.end - part.end) for part in parts]
    fitting = [number for number, misfit in enumerate(misfits) if misfit <= TOGETHER]
    if not fitting:
        raise InputError(f"{path}: the clocks of its pictures and its sound do not jump together ({run.begin:.1f} to "
                         f"{run.end:.1f} s); {MEND}")  # fmt: skip
    return min(fitting, key=lambda number: abs(parts[number].order - run.order))
