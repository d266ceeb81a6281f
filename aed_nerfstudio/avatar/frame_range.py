"""Parts of a track, named by the numbers of their frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from aed_nerfstudio.driving.track import FrameCondition
from aed_nerfstudio.errors import InputError


def check_frames(frames: range, count: int) -> None:
    """Makes sure that frames run forwards, and are all among `count`.

    Raises:
        InputError: they do not, or are not.
    """
    if frames.step < 1:
        raise InputError(f"frames {frames_text(frames)}: the step must be 1 or more, not {frames.step}")
    if frames and not (frames[0] >= 0 and frames[-1] < count):
        raise InputError(f"frames {frames_text(frames)}: must be from 0 to below {count}, which the track has")


def part_of_track(track: Sequence[FrameCondition], frames: range, memory: int) -> Iterator[tuple[int, FrameCondition]]:
    """Yields the numbers and conditions of a part of a track, and of `memory` frames before each of it.

    Raises:
        InputError: the track does not have these frames.
    """
    check_frames(frames, len(track))
    following = 0
    for number in frames:
        for each in range(max(following, number - memory), number + 1):
            yield each, track[each]
        following = number + 1


def frames_text(frames: range) -> str:
    """Returns a range as errors show it, A:B or A:B:STEP."""
    return f"{frames.start}:{frames.stop}" + (f":{frames.step}" if frames.step != 1 else "")
