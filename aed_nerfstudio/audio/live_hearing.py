"""What an avatar hears in a stream without an end: features of the last seconds, with a bounded look-ahead."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Float32

from aed_nerfstudio.audio.feature_files import is_file_front_end
from aed_nerfstudio.audio.features import FRAME_RATE, SAMPLE_RATE, STEP, STEPS_PER_FRAME, front_end_named
from aed_nerfstudio.audio.front_end import LIVE_BEFORE, LOOKAHEAD
from aed_nerfstudio.errors import InputError

FRAME = STEP * STEPS_PER_FRAME
"""Samples of a frame."""
WINDOW_FRAMES = round(LIVE_BEFORE * FRAME_RATE)
"""Frames of sound that are heard at once, beside the look-ahead."""


def lookahead_frames(seconds: float) -> int:
    """Returns the look-ahead in whole frames of 40 ms, rounded up."""
    return math.ceil(round(seconds * FRAME_RATE, 6))


class LiveHearing:
    """Hears the sound around one frame of a stream.

    The answer depends on the last two seconds only and not on what was heard before. So a stream neither drifts nor
    remembers a gap, and may be wound back. All stretches have one length, for Moonshine's states depend on the place.

    Args:
        front_end: the one that the avatar was trained on.
        lookahead: seconds of sound after a frame's end that are waited for; whole frames are taken.

    Raises:
        InputError: the front end is unknown, lacks its weights, or is one of ready files, which no stream has.
    """

    def __init__(self, front_end: str, lookahead: float = LOOKAHEAD) -> None:
        if is_file_front_end(front_end):
            raise InputError(f"this avatar was trained on ready features ({front_end}), which live sound does not "
                             "give; train one with --audio-features moonshine")  # fmt: skip
        chosen = front_end_named(front_end)
        chosen.prepare()
        self._extract = chosen.window or chosen.extract
        self.ahead = lookahead_frames(lookahead)
        """Frames of sound after a frame that it needs."""
        self.samples = (WINDOW_FRAMES + self.ahead) * FRAME
        """Length of the stretches of sound that are heard."""
        self.index = WINDOW_FRAMES - 1
        """Number, in such a stretch, of the frame that it is about."""
        self._silence: np.ndarray | None = None

    def __call__(self, sound: Float[np.ndarray, " samples"]) -> Float32[np.ndarray, "steps dim"]:
        """Returns the features of a stretch of sound, [samples] -> float32 [2 * frames, dim]."""
        if sound.any():
            return self._features(sound)
        if self._silence is None:
            self._silence = self._features(sound)
        return self._silence

    def _features(self, sound: np.ndarray) -> np.ndarray:
        steps = sound.size // STEP
        return np.ascontiguousarray(self._extract(np.ascontiguousarray(sound, np.float32))[:steps], np.float32)


class SoundMemory:
    """The last seconds of a stream of sound, addressed by the numbers of its samples; before the first is silence."""

    def __init__(self, seconds: float = 12.0) -> None:
        """Takes how much is remembered, in seconds."""
        self._ring = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
        self.end = 0
        """Number of the sample after the last one."""

    def append(self, samples: Float[np.ndarray, " n"]) -> None:
        """Adds sound, float [n] at 16 kHz, of less than what is remembered."""
        places = (self.end + np.arange(samples.size)) % self._ring.size
        self._ring[places] = samples
        self.end += samples.size

    def cut(self, end: int) -> None:
        """Forgets all from a sample on, which was remembered until now."""
        self.end = min(end, self.end)

    def stretch(self, end: int, count: int) -> Float32[np.ndarray, " count"]:
        """Returns the `count` samples before number `end`, float32; silence where there was none yet."""
        places = np.arange(end - count, end)
        known = (places >= 0) & (places >= self.end - self._ring.size) & (places < self.end)
        return np.where(known, self._ring[places % self._ring.size], np.float32(0))
