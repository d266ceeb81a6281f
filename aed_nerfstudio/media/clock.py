"""The times in a media file, mended: one time line for pictures and sound, without jumps.

Recordings that were joined start again at zero or an hour later; broken ones lack hours. The times of all packets are
read before anything is decoded. Where the clock jumps, what follows is put behind what came before, by the same amount
for pictures and sound, so that they keep belonging together; and no file fills more time than it has contents for.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import av.container
import av.stream
import numpy as np

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.containers import open_media, picture_stream, picture_streams, sound_streams
from aed_nerfstudio.outside import regular_file

BACK = 0.5
"""Seconds: a clock that goes back further has jumped; by less, pictures are out of order or packets overlap."""
AHEAD = 10.0
"""Seconds: a clock that goes ahead further has jumped; what is missing for less is a pause."""
TOGETHER = 1.5
"""Seconds by which a part's sound may begin before its pictures, or end after them."""
STRETCH = 1.5
"""A file may fill so many times the time that it has contents for."""
STANDING = 1.0
"""Seconds that any picture may stand; longer only where half of the others do."""
REORDERED = 16
"""Packets within which pictures may come out of order."""
MOST_AGAIN = 10_000
"""Packets that an edit list may repeat."""
MEND = ("cut it there, or make a copy with a new clock: `ffmpeg -i IN -vf setpts=N/FRAME_RATE/TB -af asetpts=N/SR/TB "
        "OUT.mp4`")  # fmt: skip


@dataclass(frozen=True)
class Clock:
    """The mend of a file's times.

    ends: seconds from the zero to the end of every stream, by its index in the file. standing: seconds that the last
    picture may stand. notes: what was mended.
    """

    ends: dict[int, float]
    standing: float
    notes: tuple[str, ...]
    shifts: dict[int, np.ndarray]
    """By index: float [N], the seconds that are added to the times of its N packets."""

    def packets(self, container: av.container.InputContainer, stream: av.stream.Stream) -> Iterator[av.Packet]:
        """Yields the packets of a stream, with times that count from the time line's zero."""
        shifts = self.shifts[stream.index]
        for number, packet in enumerate(container.demux(stream)):
            if packet.time_base and number < len(shifts):
                ticks = round(shifts[number] / packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts + ticks
                packet.dts = None if packet.dts is None else packet.dts + ticks
            yield packet


def read_clock(path: Path, picture: int | None = None) -> Clock:
    """Reads the clock of a file. All of the file is read, the first time that it is asked for.

    Args:
        path: a media file.
        picture: index of the stream of pictures whose clock it is; the default one when None.

    Raises:
        InputError: the file cannot be read, the clocks of its streams contradict each other, or it fills far more time
            than it has contents for.
    """
    status = regular_file(path, "give a video or audio file").stat()
    return _read_clock(path, picture, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class _Run:
    """A run of packets of one stream without a jump.

    begin and end are seconds on the file's clock, order is their middle place among all packets.
    """

    begin: float
    end: float
    order: float

    @classmethod
    def over(cls, runs: list[_Run]) -> _Run:
        """Puts several together as one."""
        return cls(min(r.begin for r in runs), max(r.end for r in runs), float(np.median([r.order for r in runs])))


@dataclass(frozen=True)
class _Packets:
    """The N packets of one stream in the file's order.

    order: [N], places among the packets of all streams. shown: float [N] seconds, NaN where they are not told or an
    edit list leaves the packet out. lengths: float [N] seconds that its contents last. standing: the longest that one
    may. usual: seconds from packet to packet.
    """

    index: int
    order: np.ndarray
    shown: np.ndarray
    lengths: np.ndarray
    standing: float
    usual: float

    @property
    def contents(self) -> float:
        """Returns the seconds that there are contents for."""
        return float(self.lengths.sum())

    def runs(self) -> tuple[np.ndarray, list[_Run]]:
        """Finds the runs between jumps, and for every packet the number of its run; -1 before the first one.

        Around a jump, pictures of both sides may be mixed, because they are stored in the order of decoding.
        """
        back = max(BACK, REORDERED * self.usual)
        numbers = np.full(len(self.shown), -1)
        ends: list[float] = []
        last: list[int] = []
        run = -1
        for n, (time, length) in enumerate(zip(self.shown.tolist(), self.lengths.tolist(), strict=True)):
            if np.isfinite(time):
                near = [len(ends) - 1, *(run for run in (len(ends) - 2,) if run >= 0 and n - last[run] <= REORDERED)]
                run = next((run for run in near if ends and -back <= time - ends[run] <= AHEAD), len(ends))
                if run == len(ends):
                    ends.append(time)
                    last.append(n)
                ends[run], last[run] = max(ends[run], time + length), n
            numbers[n] = run
        return numbers, [self._run(numbers == run) for run in range(len(ends))]

    def _run(self, mine: np.ndarray) -> _Run:
        """Returns the run of the packets that a mask tells."""
        shown = self.shown[mine]
        return _Run(float(np.nanmin(shown)), float(np.nanmax(shown + self.lengths[mine])),
                    float(np.median(self.order[mine])))  # fmt: skip


@lru_cache(maxsize=16)
def _read_clock(path: Path, picture: int | None, *_: int) -> Clock:
    with open_media(path) as container:
        main = [picture_stream(container, path, picture)] if picture_streams(container) else []
        streams = [*main, *sound_streams(container)]
        if not streams:
            raise InputError(f"{path}: holds neither pictures nor sound; give a video or audio file")
        packets = _read_packets(path, container, streams)
        starts = [float(s.start_time * s.time_base) for s in streams if s.start_time is not None]
    shifts: dict[int, np.ndarray] = {found.index: np.zeros(len(found.shown)) for found in packets}
    numbers, runs = {}, {}
    for found in packets:
        numbers[found.index], runs[found.index] = found.runs()
    timed = [found for found in packets if runs[found.index]]
    if not timed:
        return Clock(dict.fromkeys(shifts, 0.0), STANDING, (), shifts)
    parts = _parts(timed[0].index, runs)
    owners = {found.index: [_owner(path, run, parts) for run in runs[found.index]] for found in timed}
    inside = [[run for i, mine in owners.items() for run, p in zip(runs[i], mine, strict=True) if p == part]
              for part in range(len(parts))]  # fmt: skip
    begins = [min(run.begin for run in found) for found in inside]
    # What comes before a stream's stated start is the encoder's warming up.
    zero = min((start for start in starts if abs(start - begins[0]) < STANDING), default=begins[0])
    moves, end, notes = [-zero], 0.0, []
    for part, begin in enumerate(begins):
        if part:
            moves.append(end - begin)
            jump = begin - parts[part - 1].end
            notes.append(f"{path.name}: its clock jumps {'ahead' if jump > 0 else 'back'} by {abs(jump):.1f} s at "
                         f"{end:.1f} s; what follows is put right behind")  # fmt: skip
        end = max(run.end for run in inside[part]) + moves[part]
    contents = max(found.contents for found in packets)
    if end > STRETCH * contents + STANDING:
        raise InputError(f"{path}: spreads {contents:.1f} s of contents over {end:.0f} s; {MEND}")
    ends = dict.fromkeys(shifts, 0.0)
    for found in timed:
        by_run = np.array([moves[part] for part in owners[found.index]])
        shifts[found.index] = by_run[np.maximum(numbers[found.index], 0)]
        ends[found.index] = max(run.end + move for run, move in zip(runs[found.index], by_run.tolist(), strict=True))
    return Clock(ends, timed[0].standing, tuple(notes), shifts)


def _read_packets(path: Path, container: av.container.InputContainer, streams: list) -> list[_Packets]:
    """Reads what the packets of the streams say of themselves."""
    rows = {stream.index: array("d") for stream in streams}
    edited = "mov" in container.format.name
    seen: set[tuple[int, int | None]] = set()
    again = 0
    for order, packet in enumerate(container.demux(streams)):
        scale = float(packet.time_base or 0)
        stamp = packet.dts if packet.dts is not None else packet.pts
        place = (packet.stream.index, packet.pos)
        repeated = edited and place in seen
        if edited:
            seen.add(place)
        again += repeated
        if again > max(MOST_AGAIN, len(seen)):
            raise InputError(f"{path}: its edit list shows the same contents over and over; export it again")
        told = stamp is not None and not packet.is_discard
        shown = stamp if packet.pts is None else packet.pts
        rows[packet.stream.index].extend((
            order,
            scale * stamp if told and stamp is not None else np.nan,
            scale * shown if told and shown is not None else np.nan,
            scale * (packet.duration or 0),
            told and not repeated,
        ))  # fmt: skip
    return [_packets(stream, rows[stream.index]) for stream in streams]


def _packets(stream: av.stream.Stream, rows: array) -> _Packets:
    """Makes a stream's packets of the rows that were noted: place, stamp, time shown, length and whether it counts."""
    order, stamps, shown, lengths, counted = np.array(rows).reshape(-1, 5).T
    at = np.flatnonzero(np.isfinite(stamps))
    steps = np.diff(stamps[at])
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    standing = min(max(STANDING, STRETCH * usual), AHEAD)
    # Where a length is not told, it reaches to the next one.
    following = np.full(len(stamps), usual)
    following[at[:-1]] = np.where(steps > 0, steps, usual)
    lengths = np.where(lengths > 0, lengths, following)
    lengths = np.where(lengths <= standing, lengths, min(usual, standing) or standing) * counted
    return _Packets(stream.index, order, shown, lengths, standing, usual)


def _parts(main: int, runs: dict[int, list[_Run]]) -> list[_Run]:
    """Returns the parts of a file.

    They are the runs of its main stream, put together where other contents fill the gap between them.
    """
    others = [run for index, theirs in runs.items() if index != main for run in theirs]
    groups = [[runs[main][0]]]
    for run in runs[main][1:]:
        before = groups[-1][-1]
        gap = run.begin - before.end
        filled = max((min(other.end, run.begin) - max(other.begin, before.end) for other in others), default=0.0)
        if gap > 0 and filled >= 0.5 * gap:
            groups[-1].append(run)
        else:
            groups.append([run])
    return [_Run.over(group) for group in groups]


def _owner(path: Path, run: _Run, parts: list[_Run]) -> int:
    """Returns the number of the part that a run belongs to.

    It is told by its times, and where several fit by its place in the file.
    """
    if len(parts) == 1:
        return 0
    # Before the first part and after the last one there may be anything.
    fitting = [number for number, part in enumerate(parts)
               if (number == 0 or part.begin - run.begin <= TOGETHER)
               and (number == len(parts) - 1 or run.end - part.end <= TOGETHER)]  # fmt: skip
    if not fitting:
        raise InputError(f"{path}: the clocks of its pictures and its sound do not jump together ({run.begin:.1f} to "
                         f"{run.end:.1f} s); {MEND}")  # fmt: skip
    return min(fitting, key=lambda number: abs(parts[number].order - run.order))
