"""A head's motion without the measurements' trembling: a prior on accelerations, as strong as the motion allows.

What is smoothed is a series of numbers, one a frame. Filtering is symmetric in time, so nothing lags.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solveh_banded
from scipy.ndimage import gaussian_filter1d, median_filter

NEIGHBOURHOOD = 4.0  # frames: over how many the strength of the motion is judged (a Gaussian's deviation)
STIFFEST = 300.0  # ratio of noise to acceleration (variances) that is not passed even by a head that stands still
FAR_OFF = 8.0  # deviations from the neighbours' median that no measurement's noise reaches


def smooth_motion(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The likeliest motion behind noisy measurements, in one take.

    The noise's variance comes from third differences of the whole take, of which a 4-Hz nod has little; the
    acceleration's from second differences around each frame, less what the noise explains of them. So a nod passes and
    a still head is still.

    Args:
        values: [F, D], each dimension by itself.
        known: bool [F]; other frames get the interpolation of their neighbours.

    Returns:
        float64 [F, D].
    """
    index = np.flatnonzero(known)
    out = np.array(values, np.float64)
    if index.size == 0:
        return out
    frames = np.arange(len(values))
    for d in range(out.shape[1]):
        series = np.interp(frames, index, out[index, d])
        out[:, d] = np.interp(frames, index, _smoothed(series, known)[index])
    return out


def _smoothed(series: np.ndarray, known: np.ndarray) -> np.ndarray:
    """One dimension [F] without gaps, of which the `known` frames were measured."""
    count = len(series)
    if count < 6:
        return series
    third = np.diff(series, 3)[known[3:] & known[:-3]] ** 2
    if not third.size or third.max() == 0:
        return series
    # A third difference makes 20 times its variance of white noise. The largest few are blunders.
    noise = third[third <= np.quantile(third, 0.97)].mean() / 20
    bend = gaussian_filter1d(np.diff(series, 2) ** 2, NEIGHBOURHOOD, mode="nearest")
    # White noise alone bends by 6 times its variance on average, and over a few frames by more.
    stiffness = noise / np.maximum(bend - 10 * noise, noise / STIFFEST)
    # Normal equations of |x - series|^2 + stiffness |second difference of x|^2, upper bands.
    bands = np.zeros((3, count))
    bands[2] = known + 1e-6
    for shift, share in ((0, 1.0), (1, 4.0), (2, 1.0)):
        bands[2, shift : count - 2 + shift] += share * stiffness
    bands[1, 1:-1] += -2 * stiffness
    bands[1, 2:] += -2 * stiffness
    bands[0, 2:] += stiffness
    return solveh_banded(bands, (known + 1e-6) * series)


def far_off(values: np.ndarray, known: np.ndarray, floor: float) -> np.ndarray:
    """Single measurements that the frames around them contradict: bool [F].

    values: [F, D]. known: bool [F]. floor: a deviation below which nothing is said.
    """
    out = np.zeros(len(values), bool)
    index = np.flatnonzero(known)
    if index.size < 7:
        return out
    part = np.asarray(values, np.float64)[index]
    apart = np.linalg.norm(part - median_filter(part, size=(5, 1), mode="nearest"), axis=1)
    out[index] = apart > max(floor, FAR_OFF * float(np.median(apart)))
    return out
