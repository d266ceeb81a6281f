"""Pictures of a live avatar, ready to be sent, and the size at which this machine makes them fast enough."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import cv2

from aed_nerfstudio.audio.features import FRAME_RATE
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.live.pace import BUSY
from aed_nerfstudio.media.backgrounds import Background
from aed_nerfstudio.media.captions import MARK, Mark

if TYPE_CHECKING:
    from aed_nerfstudio.avatar.avatar import Avatar
    from aed_nerfstudio.driving.track import FrameCondition

SIZES = (96, 128, 160, 192, 256, 320, 384, 512)
"""Widths that are offered, pixels."""
MARGIN = 0.9
"""Share of what `pace.BUSY` allows that `auto` uses: sending needs some as well, and a page on this machine."""
QUALITY = 88
"""Of the JPEGs."""


class Painter:
    """Renders one picture after the other as a JPEG, with the visible mark.

    Args:
        avatar: whose.
        size: width in pixels.
        background: from `open_background`, not transparent; the recording's when None.
        marked: whether the mark is burned in.

    Raises:
        InputError: a transparent background, which JPEGs do not have.
    """

    def __init__(self, avatar: Avatar, size: int, background: Background | None = None, marked: bool = True) -> None:
        if background is not None and background.transparent:
            raise InputError("transparent: live pictures have no transparency; give a colour, such as green")
        self.size, self.background, self.marked = size, background, marked
        height, width = avatar.frame_size(size)
        self._mark = Mark(MARK, (width, height)) if marked else None
        self._condition: FrameCondition | None = None
        self._render = lambda: avatar.render(self._conditions(), size, background=background)
        self._pictures = self._render()

    def _conditions(self) -> Iterator[FrameCondition]:
        while self._condition is not None:
            yield self._condition

    def __call__(self, condition: FrameCondition) -> bytes:
        """Returns the JPEG of a condition's picture; one that fails does no harm to the next."""
        self._condition = condition
        try:
            picture = next(self._pictures)
        except BaseException:
            self._pictures = self._render()  # the one before is at its end
            raise
        if self._mark is not None:
            picture = self._mark(picture)
        done, coded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        assert done
        return coded.tobytes()


def fast_size(
    avatar: Avatar, conditions: Callable[[], Iterator[FrameCondition]], background: Background | None = None
) -> tuple[int, float]:
    """Returns the largest of `SIZES` at which this machine makes all frames now, while speech is heard, and the seconds
    that a picture takes there in nine of ten cases; the smallest size where there is none.

    conditions: hears a few frames of speech anew at each call, and gives their conditions; hearing takes time too.
    """
    found = SIZES[0], 0.0
    for size in SIZES:
        seconds = _seconds_a_picture(Painter(avatar, size, background), conditions())
        if seconds <= MARGIN * BUSY / FRAME_RATE or size == SIZES[0]:
            found = size, seconds
        if seconds > MARGIN * BUSY / FRAME_RATE:
            break
    return found


def _seconds_a_picture(painter: Painter, conditions: Iterator[FrameCondition]) -> float:
    """Returns the time from picture to picture in nine of ten cases, where the next is heard while one is painted, as
    `Engine` does. The first, which lays out what all have in common, does not count."""
    painter(next(conditions))

    def painted(condition: FrameCondition) -> float:
        painter(condition)
        return time.perf_counter()

    ends, running = [], None
    with ThreadPoolExecutor(1) as painting:
        for condition in conditions:
            if running is not None:
                ends.append(running.result())
            running = painting.submit(painted, condition)
        if running is not None:
            ends.append(running.result())
    seconds = sorted(after - before for before, after in itertools.pairwise(ends))
    return seconds[int(0.9 * len(seconds))]
