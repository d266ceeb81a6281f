"""Whether a mouth follows what is heard, without a pretrained network."""

from __future__ import annotations

import numpy as np

from aed_nerfstudio.dataset.schema import FPS
from aed_nerfstudio.driving.audio import SAMPLE_RATE

MAXIMUM_SHIFT = 5  # frames
FLOOR_DB = 40  # below the loudest frame: what is quieter is silence


def correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Pearson's r of two series over the frames where both are known; None for fewer than 3 or a constant one."""
    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < 3 or np.std(a[known]) == 0 or np.std(b[known]) == 0:
        return None
    return float(np.corrcoef(a[known], b[known])[0, 1])


def loudness(samples: np.ndarray, frames: int) -> np.ndarray:
    """Level of every frame's 40 ms in dB, at most FLOOR_DB below the loudest: float [n] at 16 kHz -> [frames]."""
    step = SAMPLE_RATE // FPS
    padded = np.zeros(frames * step)
    padded[: min(len(samples), len(padded))] = samples[: len(padded)]
    level = 20 * np.log10(np.sqrt(np.square(padded.reshape(frames, step)).mean(axis=1)) + 1e-8)
    return np.maximum(level, level.max() - FLOOR_DB)


def audio_mouth_correlation(samples: np.ndarray, opening: np.ndarray) -> tuple[float | None, int]:
    """The highest correlation of loudness and mouth opening within 5 frames' shift.

    samples: float [n] at 16 kHz. opening: [F], NaN where unknown.
    Returns: Pearson's r, and the frames by which the mouth comes after the sound (negative: before).
    """
    level = loudness(samples, len(opening))
    best: tuple[float | None, int] = (None, 0)
    for shift in sorted(range(-MAXIMUM_SHIFT, MAXIMUM_SHIFT + 1), key=abs):
        early, late = (level, opening) if shift >= 0 else (opening, level)
        r = correlation(early[: len(early) - abs(shift)], late[abs(shift) :])
        if r is not None and (best[0] is None or r > best[0]):
            best = r, shift
    return best
