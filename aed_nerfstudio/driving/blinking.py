"""Blinks for a stream without an end: as often as the person's own, at other moments, each as it was recorded."""

from __future__ import annotations

import bisect

import numpy as np

from aed_nerfstudio.driving.head_motion import HeadMotion

BEFORE, AFTER = 3, 6
"""Frames around the moment at which an eye is most closed that belong to its blink."""
DEPTH = 0.25
"""By how much an eye closes at least, of 1 (open), in what is counted as a blink."""
PAUSE = 12
"""Frames between two blinks at least."""
USUAL = 100
"""Frames between two blinks of a person of whom none was recorded: at rest adults blink every 4 s (Bentivoglio
1997)."""
PLAIN = np.array([0.8, 0.35, 0.05, 0.3, 0.6, 0.85])
"""Such a person's blink: what is left of the openness, frame by frame."""


def recorded_blinks(motion: HeadMotion) -> list[np.ndarray]:
    """Returns the blinks of a recording, each as shares [BEFORE + 1 + AFTER] of how open the eyes are between them."""
    found = []
    for number in motion.longest_first:
        eyes = motion.take(number).eye_openness
        usual = max(float(np.median(eyes)), 1e-3)
        low = eyes < usual - DEPTH
        edges = np.flatnonzero(np.diff(np.r_[False, low, False].astype(np.int8)))
        for first, last in edges.reshape(-1, 2):
            middle = first + int(eyes[first:last].argmin())
            if BEFORE <= middle < len(eyes) - AFTER and last - first <= BEFORE + AFTER:
                found.append(np.clip(eyes[middle - BEFORE : middle + AFTER + 1] / usual, 0, 1))
    return found


class Blinking:
    """How open the eyes are at any frame of a stream, as a share of how open they usually are."""

    def __init__(self, motion: HeadMotion, seed: int = 0) -> None:
        """Takes a recording's motion, and a seed for the moments of the blinks."""
        shapes = recorded_blinks(motion)
        mean = min(max(len(motion) / len(shapes), 2 * PAUSE), 500) if shapes else USUAL
        self._shapes = shapes or [PLAIN]
        self._mean = mean - PAUSE
        self._draw = np.random.default_rng(seed)
        self._starts: list[int] = []
        self._which: list[int] = []

    def __call__(self, frame: int) -> float:
        """Returns the share, 0 (closed) to 1, at a frame; frames may come again that came within the last minute."""
        while not self._starts or self._starts[-1] <= frame:
            self._starts.append((self._starts or [0])[-1] + PAUSE + int(self._draw.exponential(self._mean)))
            self._which.append(int(self._draw.integers(len(self._shapes))))
            if len(self._starts) > 200:
                del self._starts[:100], self._which[:100]
        place = bisect.bisect_right(self._starts, frame) - 1
        if place < 0:
            return 1.0
        shape, since = self._shapes[self._which[place]], frame - self._starts[place]
        return float(shape[since]) if since < len(shape) else 1.0
