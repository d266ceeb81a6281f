"""The clock of a live avatar: the number of the sample that its listener hears now."""

from __future__ import annotations

from collections.abc import Callable

from aed_nerfstudio.audio.features import SAMPLE_RATE

PATIENCE = 2.0
"""Seconds without a report after which the listener's clock counts as stopped."""
STEP = 8000
"""Samples, half a second: a report that is off by more is a jump, by less a drift that is followed gently."""


class PlayClock:
    """Follows the browser's audio clock, by its reports; between two, and without a listener, runs by this machine's.

    The two clocks differ by up to 1 ms in ten seconds. Each report corrects the position, so that the difference never
    adds up; the position never runs backwards.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        """Takes a clock in seconds that never runs backwards, such as `time.monotonic`."""
        self._now = now
        self._base, self._at = 0.0, now()
        self._last = 0
        self._held = False
        self._reported: float | None = None

    @property
    def position(self) -> int:
        """Returns the number of the sample that is heard now."""
        passed = self._now() - self._at
        if self._held:
            passed = 0.0
        elif self._reported is not None:
            passed = min(passed, PATIENCE)  # its audio device has stopped: so does the stream
        self._last = max(self._last, int(self._base + passed * SAMPLE_RATE))
        return self._last

    def report(self, position: float) -> None:
        """Takes what the listener hears now, in samples; nonsense, such as what has not been made yet, is bounded by
        whoever knows that."""
        self._held = False
        here = self.position
        off = position - here
        self._base = position if abs(off) > STEP else here + off / 4
        self._at = self._reported = self._now()

    def release(self, held: bool = False) -> None:
        """Goes on by this machine's clock, for there is no listener any more; held: stands still instead."""
        self._base, self._at, self._reported = float(self.position), self._now(), None
        self._held = held

    def resume(self) -> None:
        """Goes on from where it was held."""
        if self._held:
            self._held, self._at = False, self._now()
