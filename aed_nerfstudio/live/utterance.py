"""One flow of speech on its way to the avatar: sound that comes in at any pace, and goes out in frames."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float32

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.audio.live_hearing import FRAME
from aed_nerfstudio.errors import InputError

AT_ONCE = 2 * FRAME
"""Samples that are there before a flow begins to play, and goes on after it ran dry: network packets come in bursts."""
LATE, WANTED = 6 * FRAME, 2 * FRAME
"""Of a live flow more than `LATE` samples never wait: its clock is faster than the listener's, or it was held up. It
then goes on with the last `WANTED`."""
MOST_SECONDS = 120
"""Of sound that waits in one flow."""

Listener = Callable[[str, dict], None]
"""Is told a flow's events: `started`, `chunk` (a part has been said), `finished` or `interrupted`, and facts."""
_numbers = itertools.count(1)


@dataclass
class _Part:
    """Consecutive sound, the emotion that begins with its first sample, and what is told when its last was played."""

    samples: np.ndarray
    emotion: np.ndarray | None
    mark: object = None


@dataclass(eq=False)
class Utterance:
    """Sound that belongs together; may be filled by one thread while another takes from it."""

    listener: Listener = lambda event, facts: None
    live: bool = False
    """Whether it is of a microphone: then what comes late is left out rather than heard late."""
    number: int = field(default_factory=lambda: next(_numbers))
    started: bool = False
    closed: bool = False
    left_out: int = 0
    """Samples of a live flow that came too late."""
    _parts: deque[_Part] = field(default_factory=deque)
    _waiting: int = 0
    _flowing: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def waiting(self) -> int:
        """Returns how many samples wait."""
        return self._waiting

    def put(
        self, samples: Float[np.ndarray, " n"], emotion: Float[np.ndarray, " dim"] | None = None, mark: object = None
    ) -> None:
        """Adds sound, float [n] mono at 16 kHz.

        Args:
            samples: the sound.
            emotion: shown from its first sample on; as before when None.
            mark: told with the event `chunk` when the last of it was played; None: no event.

        Raises:
            InputError: more than two minutes wait already.
        """
        with self._lock:
            if self.closed:
                return
            if self._waiting + samples.size > MOST_SECONDS * SAMPLE_RATE and not self.live:
                raise InputError(f"more than {MOST_SECONDS} s of speech wait to be said; send it as it is played")
            self._parts.append(_Part(samples, emotion, mark))
            self._waiting += samples.size
            if self.live and self._waiting > LATE:
                self.left_out += self._waiting - WANTED
                self._take(self._waiting - WANTED)

    def close(self) -> None:
        """Says that no more comes."""
        self.closed = True

    def empty(self) -> None:
        """Forgets what waits."""
        with self._lock:
            self._waiting = 0
            self._parts.clear()

    def drop(self) -> None:
        """Forgets what waits, and takes no more."""
        self.closed = True
        self.empty()

    @property
    def exhausted(self) -> bool:
        """Returns whether all was taken, and no more comes."""
        return self.closed and not self._parts

    def frame(self) -> tuple[Float32[np.ndarray, " 640"], np.ndarray | None, list[object]] | None:
        """Returns a frame's sound, [640], the emotion that begins with it, and the marks of what ends in it; None where
        it has to wait for more."""
        with self._lock:
            if not self._parts:
                self._flowing = False
                return None
            if not self.closed and self._waiting < (FRAME if self._flowing else AT_ONCE):
                self._flowing = False
                return None
            self._flowing = self.started = True
            samples, emotion, marks = self._take(FRAME)
            return np.pad(samples, (0, FRAME - samples.size)), emotion, marks

    def _take(self, count: int) -> tuple[np.ndarray, np.ndarray | None, list[object]]:
        """Takes up to so many samples; with the last emotion that begins, and the marks that end, within them."""
        taken: list[np.ndarray] = [np.zeros(0, np.float32)]
        emotion, marks = None, []
        while self._parts and (count > 0 or not self._parts[0].samples.size):
            part = self._parts[0]
            taken.append(part.samples[:count])
            emotion = part.emotion if part.emotion is not None else emotion
            rest = part.samples[count:]
            count -= taken[-1].size
            self._waiting -= taken[-1].size
            if rest.size:
                part.samples, part.emotion = rest, None
            else:
                self._parts.popleft()
                if part.mark is not None:
                    marks.append(part.mark)
        return np.concatenate(taken).astype(np.float32), emotion, marks
