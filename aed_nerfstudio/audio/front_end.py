"""What every audio front end is, and the 50-Hz steps that all of them give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SAMPLE_RATE = 16000
STEP = 320  # samples per 50-Hz step
LIVE_BEFORE = 2.0
"""Seconds of sound up to a frame's end that a live stream hears at once: Moonshine's states follow the lips with two
seconds as well as with four."""
LOOKAHEAD = 0.12
"""Seconds of sound after a frame's end that a live stream waits for by default; see the table in docs/live.md."""


@dataclass(frozen=True)
class AudioFrontEnd:
    """A way from sound to features.

    extract: float32 [n] mono at 16 kHz -> float32 [steps, dim] at 50 Hz (about n / 320 steps), in any units, because
    the model standardises them; beside arrays of the result's length, its memory must not grow with n.
    prepare: finds or downloads what `extract` needs, without loading it; InputError where that fails.
    window: as `extract`, of one stretch of a few seconds of a live stream, where that is done in another way.
    """

    name: str
    dim: int
    extract: Callable[[np.ndarray], np.ndarray]
    prepare: Callable[[], object] = lambda: None
    window: Callable[[np.ndarray], np.ndarray] | None = None


def count_steps(samples: np.ndarray) -> int:
    """Returns how many 50-Hz steps samples [n] reach into."""
    return -(-samples.size // STEP)
