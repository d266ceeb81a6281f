"""How long pictures take on this machine, and what follows: the frame rate, and how early a picture is begun."""

from __future__ import annotations

import statistics
from collections import deque

from aed_nerfstudio.audio.features import FRAME_RATE

LEAST_LEAD, MOST_LEAD = 0.1, 1.5
"""Seconds that pictures and sound are made before they are due at the listener."""
REMEMBERED = 25
"""Pictures whose times count."""
BUSY = 0.9
"""Share of the time between two pictures that making one may take."""
EASY = 0.75
"""The same, before the frame rate rises again: else it would change to and fro where a picture takes just as long."""
STEPS = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
"""Frames from picture to picture: 25, 20, 16.7, 12.5, 8.3, 6.3, 4.2, 3.1 and 2.1 pictures a second."""


class Pace:
    """Follows what pictures cost; belongs to the thread that makes them, though all may read it."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)
        self.every = STEPS[0]
        """Frames from picture to picture, one of `STEPS`."""
        self.lead = LEAST_LEAD
        """Seconds by which a picture is begun before it is due."""
        self.median = 0.0
        """Seconds that a picture takes."""

    def took(self, seconds: float) -> None:
        """Takes what a picture took, from its sound to its JPEG."""
        self._seconds.append(seconds)
        self.median = statistics.median(self._seconds)
        slow = sorted(self._seconds)[-2:][0]  # one alone is late whatever is done, and would hold up those that follow
        self.lead = min(max(LEAST_LEAD, 1.5 * slow + 0.04), MOST_LEAD)
        self.every = max(_step(self.median, BUSY), min(self.every, _step(self.median, EASY)))

    def shows(self, frame: int, last: int) -> bool:
        """Returns whether a picture of a frame is made, where the last one was of another."""
        return frame // self.every > last // self.every


def _step(seconds: float, share: float) -> float:
    """Returns how many frames there have to be from picture to picture, where one takes so many seconds and may take a
    share of the time between two."""
    return next((step for step in STEPS if seconds * FRAME_RATE <= share * step), STEPS[-1])
