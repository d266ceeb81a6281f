"""What a live avatar says and shows from frame to frame: queue, epochs, interruptions; without network and clock."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from aed_nerfstudio.audio.live_hearing import FRAME
from aed_nerfstudio.driving.track import FrameCondition
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.live.protocol import SOUND, Stamped, pcm16
from aed_nerfstudio.live.speech import LiveSpeech
from aed_nerfstudio.live.utterance import Listener, Utterance

MOST_WAITING = 16
"""Flows of speech that wait for their turn."""
AHEAD = 2 * FRAME
"""Samples that sound is before its listener at least, so that it comes in time. Speech that would come later is said
later: none of it is lost where the machine stood still, or when the time is made anew."""


@dataclass(frozen=True)
class Cut:
    """Everything of older epochs is void from a sample on."""

    epoch: int
    stamp: int


class Performer:
    """Takes speech from any thread, and is advanced by one.

    Frame n of the stream has the samples 640 n to 640 n + 639. Sound is taken in as many frames ahead of the pictures
    as the hearing looks ahead.

    Args:
        speech: the engine.
        deliver: is given what is for the listener, `Stamped` sound and `Cut`s, in order.
        position: tells the number of the sample that the listener hears now; that of the last `advance` when None.
    """

    def __init__(
        self,
        speech: LiveSpeech,
        deliver: Callable[[Stamped | Cut], None],
        position: Callable[[], int] | None = None,
    ) -> None:
        self.speech = speech
        self._deliver = deliver
        self._position = position
        self._lock = threading.RLock()
        self._queue: deque[Utterance] = deque()
        self._spoken: Utterance | None = None
        self._events: deque[tuple[int, Utterance, str, dict]] = deque()
        """Those to come, with the sample at which they do."""
        self._base = speech.emotion
        """The emotion that holds where an utterance says none."""
        self.epoch = 0
        self._played = 0

    # ---- from any thread

    def begin(self, listener: Listener | None = None, live: bool = False, interrupt: bool = False) -> Utterance:
        """Opens a flow of speech, which is said after those that wait, or at once where it interrupts.

        Raises:
            InputError: too many wait.
        """
        with self._lock:
            if interrupt:
                self.stop()
            if len(self._queue) >= MOST_WAITING:
                raise InputError(f"{MOST_WAITING} flows of speech wait already; wait for one to finish, or interrupt")
            utterance = Utterance(listener or (lambda event, facts: None), live)
            self._queue.append(utterance)
            return utterance

    def stop(self) -> None:
        """Ends all speech at once: what was made and not yet heard is void. A microphone is heard on, from now."""
        with self._lock:
            if self._position is not None:
                self._played = max(self._played, self._position())
            flows = [u for u in (self._spoken, *self._queue) if u is not None]
            flows += [utterance for _, utterance, _, _ in self._events]  # taken to their ends, though not yet heard
            self._spoken = None
            self._queue.clear()
            self._events.clear()
            frame = min(self._played // FRAME + 1, self.frames)
            self.speech.wind_back(frame)
            self.speech.emotion = self._base
            self.epoch += 1
            self._deliver(Cut(self.epoch, frame * FRAME))
            for utterance in {u.number: u for u in flows}.values():
                if utterance.live and not utterance.closed:
                    utterance.empty()
                    self._queue.append(utterance)
                    continue
                utterance.drop()
                utterance.listener("interrupted", {"sample": frame * FRAME})

    def feel(self, emotion: Float[np.ndarray, " dim"]) -> None:
        """Shows an emotion from now on, wherever an utterance does not say another; [dim]."""
        with self._lock:
            self._base = self.speech.emotion = emotion

    @property
    def speaking(self) -> bool:
        """Returns whether there is speech that was not yet heard to its end; an open microphone alone is none."""
        with self._lock:
            flows = (self._spoken, *self._queue)
            return bool(self._events) or any(u is not None and not u.live for u in flows)

    @property
    def waiting(self) -> int:
        """Returns how many flows wait for their turn."""
        return len(self._queue)

    # ---- from the engine's thread

    @property
    def frames(self) -> int:
        """Returns how many frames of sound were taken."""
        return self.speech.sound.end // FRAME

    def advance(self, until: int, played: int) -> int | None:
        """Takes all sound up to what the picture of a frame needs, and goes on to that frame.

        Args:
            until: number of the frame that is due.
            played: number of the sample that the listener hears.

        Returns:
            The number of the newest frame that can be shown; None where there is no new one.
        """
        with self._lock:
            self._played = max(self._played, played)
            while self.frames <= until + self.speech.hearing.ahead:
                self._take_frame()
            newest = None
            while self.speech.next_frame <= until:
                newest = self.speech.advance()
            self._tell()
            return newest

    def condition(self, frame: int) -> tuple[int, FrameCondition] | None:
        """Returns the epoch and the condition of a frame from `advance`; None where an interruption took it back."""
        with self._lock:
            if frame >= self.speech.next_frame:
                return None
            epoch, (sound, moment) = self.epoch, self.speech.around(frame)
        return epoch, self.speech.condition_of(sound, moment)  # takes long: nobody has to wait for it

    def _take_frame(self) -> None:
        """Takes the sound of one more frame: speech where there is some that comes in time, else silence."""
        self._choose()
        utterance, stamp = self._spoken, self.frames * FRAME
        first = utterance is not None and not utterance.started
        found = None if utterance is None or stamp < self._played + AHEAD else utterance.frame()
        if found is None or utterance is None:
            self.speech.push(np.zeros(FRAME, np.float32))
        else:
            samples, emotion, marks = found
            self.speech.push(samples)
            if emotion is not None:
                self.speech.emotion = emotion
            self._deliver(Stamped(SOUND, self.epoch, stamp, pcm16(samples)))
            if first:
                self._events.append((stamp, utterance, "started", {}))
            self._events.extend((stamp + FRAME, utterance, "chunk", {"mark": mark}) for mark in marks)
        if utterance is not None and utterance.exhausted:
            self._events.append((stamp + FRAME, utterance, "finished", {}))
            self._spoken = None
            self.speech.emotion = self._base

    def _choose(self) -> None:
        """Decides whose turn it is: an open microphone's where nothing else is to be said."""
        if self._spoken is not None and not self._spoken.live:
            return
        following = next((u for u in self._queue if not u.live), None)
        if following is None and self._spoken is None and self._queue:
            following = self._queue[0]
        if following is None:
            return
        self._queue.remove(following)
        if self._spoken is not None:
            self._queue.append(self._spoken)
        self._spoken = following

    def _tell(self) -> None:
        """Tells the events that the listener has come to."""
        while self._events and self._events[0][0] <= self._played:
            stamp, utterance, event, facts = self._events.popleft()
            utterance.listener(event, {"sample": stamp, **facts})
