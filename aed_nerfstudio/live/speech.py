"""The streaming engine: sound in, in chunks of any size, and the conditions of frames out, at 25 a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float32

from aed_nerfstudio.audio.live_hearing import FRAME, LOOKAHEAD, LiveHearing, SoundMemory

if TYPE_CHECKING:
    from aed_nerfstudio.avatar.portrait import Portrait
    from aed_nerfstudio.driving.live_motion import Moment
    from aed_nerfstudio.driving.track import FrameCondition

KEPT_FRAMES = 250
"""Frames that can be wound back."""


class LiveSpeech:
    """One stream of sound and the frames that go with it, counted in samples: frame f begins with sample 640 f.

    Example::

        speech = LiveSpeech(avatar.portrait)
        for chunk in microphone:                 # float32 [n], 16 kHz mono
            speech.push(chunk)
            while speech.ready:
                picture = next(avatar.render([speech.condition(speech.advance())]))

    Args:
        portrait: of the avatar.
        emotion: that it begins with, from `EmotionVocabulary.encode`; the default one when None.
        lookahead: seconds of sound after a frame's end that it waits for.
        lip_gain: see `FrameCondition.lip_gain`.

    Raises:
        InputError: see `LiveHearing`.
    """

    def __init__(
        self,
        portrait: Portrait,
        emotion: Float[np.ndarray, " dim"] | None = None,
        lookahead: float = LOOKAHEAD,
        lip_gain: float = 1.0,
    ) -> None:
        self.hearing = LiveHearing(portrait.front_end, lookahead)
        self.sound = SoundMemory()
        self.emotion = portrait.vocabulary.encode() if emotion is None else emotion
        """Shown from the next frame on, within 0.3 s."""
        self._assembler = portrait.assembler()
        self._motion = self._assembler.live()
        self._moments: dict[int, Moment] = {}
        self._lip_gain = lip_gain
        self.next_frame = 0
        """Number of the frame that `advance` gives next."""

    def push(self, samples: Float[np.ndarray, " n"]) -> None:
        """Adds sound, float [n] mono at 16 kHz in -1..1; what is no number becomes silence, what is beyond is
        clipped."""
        samples = np.clip(np.nan_to_num(np.asarray(samples, np.float32), posinf=0.0, neginf=0.0), -1, 1)
        for first in range(0, samples.size, FRAME):
            self.sound.append(samples[first : first + FRAME])

    @property
    def ready(self) -> bool:
        """Returns whether there is sound enough for the next frame."""
        return self.sound.end >= (self.next_frame + 1 + self.hearing.ahead) * FRAME

    def advance(self) -> int:
        """Goes on by a frame, and returns its number; its condition need not be asked for."""
        frame, before = self.next_frame, self._moments.get(self.next_frame - 1)
        self._moments[frame] = (
            self._motion.first(self.emotion, frame) if before is None else self._motion.after(before, self.emotion)
        )
        self._moments.pop(frame - KEPT_FRAMES, None)
        self.next_frame += 1
        return frame

    def condition(self, frame: int) -> FrameCondition:
        """Returns what drives a frame that `advance` has given within the last seconds."""
        return self.condition_of(*self.around(frame))

    def around(self, frame: int) -> tuple[Float32[np.ndarray, " samples"], Moment]:
        """Returns a copy of the sound around a frame, and its moment: all that its condition hangs on."""
        end = (frame + 1 + self.hearing.ahead) * FRAME
        return self.sound.stretch(end, self.hearing.samples), self._moments[frame]

    def condition_of(self, sound: Float32[np.ndarray, " samples"], moment: Moment) -> FrameCondition:
        """Returns the condition of what `around` gave; the stream may go on meanwhile."""
        return self._assembler.moment(self.hearing(sound), self.hearing.index, moment, self._lip_gain)

    def wind_back(self, frame: int) -> None:
        """Forgets the sound and the frames from a frame on, which was within the last seconds: others take their
        place."""
        self.sound.cut(frame * FRAME)
        for number in range(frame, self.next_frame):
            self._moments.pop(number, None)
        self.next_frame = min(frame, self.next_frame)
