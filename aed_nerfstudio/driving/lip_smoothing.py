"""Smoothing of what the lips follow, over time (RAD-NeRF's `smooth_lips`)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from aed_nerfstudio.audio.features import FRAME_RATE

if TYPE_CHECKING:
    from aed_nerfstudio.fields.head_field import EncodedCondition

KEPT = 0.35
"""Share of the frame before, at 25 frames a second (RAD-NeRF, ER-NeRF)."""
MEMORY = 16 / FRAME_RATE
"""Seconds after which what was before counts for less than a ten-millionth."""


class LipSmoothing:
    """A running mean of the encoded audio and of the lip shape: call it with each frame's, in order."""

    def __init__(self, fps: float = FRAME_RATE) -> None:
        """Takes the frames a second, fps; the mean forgets as fast in seconds as at 25."""
        self._kept = KEPT ** (FRAME_RATE / fps)
        self.memory = math.ceil(MEMORY * fps)
        """Frames before one that are to be given before it."""
        self._before: EncodedCondition | None = None

    def __call__(self, encoded: EncodedCondition) -> EncodedCondition:
        """Returns the same with the audio and the lip shape smoothed; encoded: from the network's `encode`."""
        before = self._before or encoded
        self._before = encoded._replace(
            audio=self._kept * before.audio + (1 - self._kept) * encoded.audio,
            articulation=self._kept * before.articulation + (1 - self._kept) * encoded.articulation,
        )
        return self._before
