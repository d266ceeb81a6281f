"""Where a sound is that plays elsewhere."""

from __future__ import annotations

import time


class Clock:
    """Seconds into a sound: set when it is known, and run by our own clock in between.

    Args:
        length: of the sound, seconds.
    """

    def __init__(self, length: float) -> None:
        self.length = length
        self.loop = False
        self.running = False
        self._place, self._at = 0.0, 0.0

    def set(self, place: float) -> None:
        """Sets where the sound is now."""
        self._place, self._at = place, time.monotonic()

    def start(self, place: float) -> None:
        self.set(place)
        self.running = True

    def stop(self) -> None:
        self.set(self.now())
        self.running = False

    def now(self) -> float:
        """Returns where the sound is, 0 to `length`."""
        place = self._place + (time.monotonic() - self._at if self.running else 0.0)
        if self.loop and self.running:
            return place % self.length
        return min(max(place, 0.0), self.length)

    @property
    def ended(self) -> bool:
        return self.running and not self.loop and self.now() >= self.length
