"""Whether a mouth follows what is heard, without a pretrained network."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Integer

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.dataset.schema import FPS

MAXIMUM_SHIFT = 5  # frames
FLOOR_DB = 40  # below the loudest frame: what is quieter is silence
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS


def centred(values: Float[np.ndarray, " f"], groups: Integer[np.ndarray, " f"]) -> Float[np.ndarray, " f"]:
    """Returns values less the mean of their group; groups: whole numbers from 0."""
    counts = np.maximum(np.bincount(groups), 1)
    return values - (np.bincount(groups, values) / counts)[groups]


def correlation(a: np.ndarray, b: np.ndarray, groups: np.ndarray | None = None) -> float | None:
    """Returns Pearson's r of two series over the frames where both are known; None for fewer than 3 or a constant one.

    a, b: [F], NaN where unknown. groups: [F] whole numbers from 0; the mean of each group is taken off first, so that
    only what varies within the groups counts.
    """
    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < 3:
        return None
    a, b = a[known].astype(np.float64), b[known].astype(np.float64)
    if groups is not None:
        a, b = centred(a, groups[known]), centred(b, groups[known])
    if min(np.ptp(a), np.ptp(b)) < 1e-9:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def loudness(samples: Float[np.ndarray, " n"], frames: int) -> Float[np.ndarray, " {frames}"]:
    """Returns the level of every frame's 40 ms in dB, at most FLOOR_DB below the loudest; samples: at 16 kHz."""
    padded = np.zeros(frames * SAMPLES_PER_FRAME)
    padded[: min(len(samples), len(padded))] = samples[: len(padded)]
    level = 20 * np.log10(np.sqrt(np.square(padded.reshape(frames, SAMPLES_PER_FRAME)).mean(axis=1)) + 1e-8)
    return np.maximum(level, level.max() - FLOOR_DB)


def shifted_levels(
    level: Float[np.ndarray, " count"], frames: Integer[np.ndarray, " f"]
) -> Float[np.ndarray, "shifts f"]:
    """Returns what is heard around frames: row k has the level k - MAXIMUM_SHIFT frames earlier, NaN outside the clip.

    level: of the whole clip. frames: numbers within the clip. Returns 2 * MAXIMUM_SHIFT + 1 rows.
    """
    padded = np.pad(level, MAXIMUM_SHIFT, constant_values=np.nan)
    shifts = np.arange(-MAXIMUM_SHIFT, MAXIMUM_SHIFT + 1)
    return padded[np.asarray(frames)[None] - shifts[:, None] + MAXIMUM_SHIFT]


def audio_mouth_correlation(
    levels: np.ndarray, opening: np.ndarray, groups: np.ndarray | None = None
) -> tuple[float | None, int]:
    """Returns the highest correlation of loudness and mouth opening within 5 frames' shift.

    levels: from `shifted_levels` (those of several clips side by side). opening: [F], NaN where unknown. groups: see
    `correlation`.
    Returns: Pearson's r, and the frames by which the mouth comes after the sound (negative: before).
    """
    best: tuple[float | None, int] = (None, 0)
    for shift in sorted(range(-MAXIMUM_SHIFT, MAXIMUM_SHIFT + 1), key=abs):
        r = correlation(levels[shift + MAXIMUM_SHIFT], opening, groups)
        if r is not None and (best[0] is None or r > best[0]):
            best = r, shift
    return best
