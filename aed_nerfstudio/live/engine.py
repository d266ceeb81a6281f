"""The thread that keeps a live avatar going: in time with its listener's clock, however fast the machine is."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from aed_nerfstudio.audio.features import FRAME_RATE, SAMPLE_RATE
from aed_nerfstudio.audio.live_hearing import FRAME
from aed_nerfstudio.errors import reason
from aed_nerfstudio.live.pace import Pace
from aed_nerfstudio.live.performer import Cut, Performer
from aed_nerfstudio.live.play_clock import PlayClock
from aed_nerfstudio.live.protocol import PICTURE, Stamped

if TYPE_CHECKING:
    from aed_nerfstudio.live.painter import Painter
    from aed_nerfstudio.live.speech import LiveSpeech

COUNTED = 25
"""Pictures that the rate is told of."""
CATCH_UP = 5.0
"""Seconds that the listener may be ahead of what was made, where this machine stood still."""
IDLE = 0.02
"""Seconds between two looks at the clock where nobody listens."""


class Engine:
    """Advances the stream as its listener's clock does, and renders what of it the machine manages.

    Sound is never left out. Where a picture takes longer than a frame, only every second, third, ... frame is rendered.

    Args:
        speech: the streaming engine.
        painter: makes the pictures; may be replaced at any time.
        deliver: is given what is for the listener, in order, from this thread or one that interrupts.
        now: a clock in seconds.
    """

    def __init__(
        self,
        speech: LiveSpeech,
        painter: Painter,
        deliver: Callable[[Stamped | Cut], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.performer = Performer(speech, deliver, lambda: self.position)
        self.painter = painter
        self._deliver = deliver
        self._now = now
        self._clock = PlayClock(now)
        self._clock.release(held=True)
        self._clock_lock = threading.Lock()
        self.listened = False
        """Whether somebody sees the pictures."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live avatar", daemon=True)
        self._pace = Pace()
        self._shown: deque[float] = deque(maxlen=COUNTED)
        """When the last pictures were made."""
        self.pictures = self.left_out = self.failed = 0
        """Pictures that were made, frames that none was made of while somebody saw them, and pictures that could not be
        made."""

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def end(self) -> None:
        """Ends the thread, within the time of a picture."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(1.5)

    # ---- the listener

    def attach(self) -> int:
        """Begins to be listened to; returns the number of the sample that is to be heard first."""
        with self._clock_lock:
            self._clock.release()
            self.listened = True
            return self._clock.position

    def detach(self) -> None:
        """Goes on by this machine's clock, without pictures."""
        with self._clock_lock:
            self._clock.release()
            self.listened = False

    def report(self, position: float) -> None:
        """Takes the number of the sample that the listener hears; nonsense is bounded by what was made."""
        most = self.performer.frames * FRAME + CATCH_UP * SAMPLE_RATE
        with self._clock_lock:
            self._clock.report(min(max(position, 0.0), most))

    @property
    def position(self) -> int:
        """Returns the number of the sample that is heard now."""
        with self._clock_lock:
            return self._clock.position

    # ---- its figures

    @property
    def rate(self) -> float:
        """Returns the pictures a second lately."""
        shown = tuple(self._shown)
        if len(shown) < 2 or self._now() - shown[-1] > 2:
            return 0.0
        return (len(shown) - 1) / max(shown[-1] - shown[0], 1e-6)

    def status(self) -> dict[str, object]:
        """Returns the figures for people, as JSON values."""
        return {
            "fps": round(self.rate, 1),
            "picture_ms": round(1000 * self._pace.median, 1),
            "latency_ms": round(1000 * (self._pace.lead + self.performer.speech.hearing.ahead / FRAME_RATE)),
            "left_out": self.left_out,
            "failed": self.failed,
            "size": self.painter.size,
            "speaking": self.performer.speaking,
            "waiting": self.performer.waiting,
            "epoch": self.performer.epoch,
        }

    # ---- the thread

    def _run(self) -> None:
        last = -1
        while not self._ended.is_set():
            try:
                last, wait = self.step(last)
            except Exception as error:  # whatever it is, the stream goes on
                print(f"live: {reason(error)}", flush=True)
                wait = 1.0
            if wait > 0:
                self._ended.wait(wait)

    def step(self, last: int) -> tuple[int, float]:
        """Does what is due now.

        Args:
            last: number of the frame that was shown last.

        Returns:
            The number of the frame that was shown last, and how many seconds nothing is due.
        """
        busy = self.listened or self.performer.speaking
        with self._clock_lock:
            if not busy:
                self._clock.release(held=True)
            elif not self.listened:
                self._clock.resume()
            played = self._clock.position
        if not busy:
            return last, IDLE
        due = (played + round(self._pace.lead * SAMPLE_RATE)) // FRAME
        before = self.performer.speech.next_frame
        frame = self.performer.advance(due, played)
        if frame is None:
            return last, ((due + 1) * FRAME - played) / SAMPLE_RATE - self._pace.lead
        if not self.listened:
            return frame, 0.0
        last = min(last, before - 1)  # after an interruption frames come again
        shown = self._pace.shows(frame, last)
        self.left_out += frame - before + (not shown)
        if not shown:
            return last, 0.0
        self._show(frame)
        return frame, 0.0

    def _show(self, frame: int) -> None:
        """Renders a frame and delivers it, unless it was taken back meanwhile."""
        start = time.perf_counter()
        found = self.performer.condition(frame)
        if found is None:
            return
        try:
            picture = self.painter(found[1])
        except Exception as error:  # one picture less: the sound goes on
            self.failed += 1
            if self.failed == 1:
                print(f"a picture could not be made: {reason(error)}", flush=True)
            return
        self._pace.took(time.perf_counter() - start)
        self.pictures += 1
        self._shown.append(self._now())
        self._deliver(Stamped(PICTURE, found[0], frame * FRAME, picture))
