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
MARGIN = 100  # steps of a window that `cross_fade` does not use, at each side
FADE = 100  # steps in which it goes from one to the next


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


def cross_fade(steps: int, chunk: int, encode: Callable[[int, int], np.ndarray]) -> np.ndarray:
    """Returns the states of a sound of so many steps, float32 [steps, dim], from windows of at most `chunk` steps.

    A state is used where its window holds 2 s or more of the sound on both sides, and where two such windows overlap
    they are cross-faded: memory is bounded, a step depends on the sound of two windows and on nothing else, and windows
    meet without jumps. The last one ends with the sound, so that none has to be filled up with silence.

    encode: gives the states of the steps from a first one to before a last one, float32 [last - first, dim].
    """
    total = np.zeros((steps, 0), np.float32)
    shares = np.zeros((steps, 1), np.float32)
    for first in (*range(0, max(0, steps - chunk), chunk - 2 * MARGIN - FADE), max(0, steps - chunk)):
        last = min(first + chunk, steps)
        states = encode(first, last)
        weight = _weight(first, last, steps)[:, None]
        if not total.shape[1]:  # how many numbers a step has, the first states say
            total = np.zeros((steps, states.shape[1]), np.float32)
        total[first:last] += weight * states
        shares[first:last] += weight
    return total / shares


def _weight(first: int, last: int, steps: int) -> np.ndarray:
    """Returns how much of a window's steps is used, float32 [last - first].

    0 in its margins, but none at the sound's ends.
    """
    step = np.arange(first, last) + 0.5
    rise = 1.0 if first == 0 else (step - first - MARGIN) / FADE
    fall = 1.0 if last == steps else (last - MARGIN - step) / FADE
    return np.clip(np.minimum(rise, fall) * np.ones(len(step)), 0, 1).astype(np.float32)
