"""How long pictures take on this machine, and what follows: the frame rate, and how early a picture is begun."""

from __future__ import annotations

import math
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
SLOWEST = 12
"""Frames from picture to picture at most: two a second."""


class Pace:
    """Follows what pictures cost; belongs to the thread that makes them, though all may read it."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)
        self._work: deque[float] = deque(maxlen=REMEMBERED)
        self.every = 1
        """Frames from picture to picture: 1 for all 25 a second."""
        self.lead = LEAST_LEAD
        """Seconds by which a picture is begun before it is due."""
        self.median = 0.0
        """Seconds from picture to picture, were they made one after the other."""

    def took(self, seconds: float, work: float) -> None:
        """Takes what a picture took, from its sound to its JPEG, and its longer part, hearing or painting, in seconds:
        the one goes on while the other does."""
        self._seconds.append(seconds)
        self._work.append(work)
        self.median = statistics.median(self._work)
        self.lead = min(max(LEAST_LEAD, 1.5 * max(self._seconds) + 0.04), MOST_LEAD)
        frames = self.median * FRAME_RATE
        if frames > BUSY * self.every:
            self.every = frames_between(self.median, BUSY)
        elif frames < EASY * (self.every - 1):
            self.every = frames_between(self.median, EASY)


def frames_between(seconds: float, share: float) -> int:
    """Returns how many frames there have to be from picture to picture, where one takes so many seconds and may take a
    share of the time between two."""
    return min(max(1, math.ceil(seconds * FRAME_RATE / share)), SLOWEST)
