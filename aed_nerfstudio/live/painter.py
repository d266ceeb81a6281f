"""Pictures of a live avatar, ready to be sent, and the size at which this machine makes them fast enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
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
SLOWEST_CHOSEN = 0.9 * 0.05
"""Seconds that a picture may take in nine of ten cases at the size that `auto` takes: 20 pictures a second, and a tenth
for sending them and for a page on this machine."""
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
    """Returns the largest of `SIZES` at which this machine makes 20 pictures a second now, while speech is heard, and
    the seconds that a picture takes there in nine of ten cases; the smallest size where there is none.

    conditions: hears a few frames of speech anew at each call, and gives their conditions; hearing takes time too.
    """
    found = SIZES[0], 0.0
    for size in SIZES:
        seconds = _seconds_a_picture(Painter(avatar, size, background), conditions())
        if seconds <= SLOWEST_CHOSEN or size == SIZES[0]:
            found = size, seconds
        if seconds > SLOWEST_CHOSEN:
            break
    return found


def _seconds_a_picture(painter: Painter, conditions: Iterator[FrameCondition]) -> float:
    """Returns what hearing and painting a frame take in nine of ten cases. The first, which lays out what all have in
    common, does not count."""
    painter(next(conditions))
    seconds, start = [], time.perf_counter()
    for condition in conditions:
        painter(condition)
        seconds.append(-start + (start := time.perf_counter()))
    return sorted(seconds)[int(0.9 * len(seconds))]
