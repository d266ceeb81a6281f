"""Pictures of a live avatar, ready to be sent, and the size at which this machine makes them fast enough."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import cv2

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.backgrounds import Background
from aed_nerfstudio.media.captions import MARK, Mark

if TYPE_CHECKING:
    from aed_nerfstudio.avatar.avatar import Avatar
    from aed_nerfstudio.driving.track import FrameCondition

SIZES = (96, 128, 160, 192, 256, 320, 384, 512)
"""Widths that are offered, pixels."""
FAST_ENOUGH = 20.0
"""Frames a second that `auto` asks for."""
QUALITY = 88
"""Of the JPEGs: half a bit a pixel more than what shows."""


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
        self._pictures = avatar.render(self._conditions(), size, background=background)

    def _conditions(self) -> Iterator[FrameCondition]:
        while self._condition is not None:
            yield self._condition

    def __call__(self, condition: FrameCondition) -> bytes:
        """Returns the JPEG of a condition's picture."""
        self._condition = condition
        picture = next(self._pictures)
        if self._mark is not None:
            picture = self._mark(picture)
        done, coded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        assert done
        return coded.tobytes()


def fast_size(avatar: Avatar, conditions: list[FrameCondition]) -> tuple[int, float]:
    """Returns the largest of `SIZES` that this machine renders fast enough now, and the frames a second measured at it;
    the smallest where none is.

    conditions: of a few frames that differ, as in speech.
    """
    found = SIZES[0], 0.0
    for size in SIZES:
        painter = Painter(avatar, size)
        painter(conditions[0])  # which lays out what all have in common
        seconds = []
        for condition in conditions:
            start = time.perf_counter()
            painter(condition)
            seconds.append(time.perf_counter() - start)
        rate = 1 / statistics.median(seconds)
        if rate < FAST_ENOUGH and size != SIZES[0]:
            return found
        found = size, rate
        if rate < FAST_ENOUGH:
            return found
    return found
