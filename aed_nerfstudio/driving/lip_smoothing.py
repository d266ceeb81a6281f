"""Smoothing of what the lips follow, over time (RAD-NeRF's `smooth_lips`)."""

from __future__ import annotations

import math
from typing import TypeVar

from aed_nerfstudio.audio.features import FRAME_RATE

T = TypeVar("T")  # tensors; this module needs no torch

KEPT = 0.35
"""Share of the frame before, at 25 frames a second (RAD-NeRF, ER-NeRF)."""
SMOOTHED = ("audio", "articulation")
MEMORY = 16 / FRAME_RATE
"""Seconds after which what was before counts for less than a ten-millionth."""


class LipSmoothing:
    """A running mean of the encoded audio and of the lip shape: call it with each frame's, in order."""

    def __init__(self, fps: float = FRAME_RATE) -> None:
        """fps: frames a second; the mean forgets as fast in seconds as at 25."""
        self._kept = KEPT ** (FRAME_RATE / fps)
        self.memory = math.ceil(MEMORY * fps)
        """Frames before one that are to be given before it."""
        self._before: dict | None = None

    def __call__(self, given: dict[str, T]) -> dict[str, T]:
        """given: from the model's `encode`. Returns the same with `SMOOTHED` replaced."""
        before = self._before or given
        mean = {key: self._kept * before[key] + (1 - self._kept) * given[key] for key in SMOOTHED}
        self._before = mean
        return {**given, **mean}
