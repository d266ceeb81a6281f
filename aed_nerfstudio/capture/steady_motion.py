"""A head's motion without the measurements' trembling: a prior on accelerations, as strong as the motion allows.

What is smoothed is a series of numbers, one a frame. Filtering is symmetric in time, so nothing lags.
"""

from __future__ import annotations

from math import comb

import numpy as np
from scipy.linalg import solveh_banded
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, median_filter

# Noise over acceleration (variances) from a head that stands still to one that is thrown about; in between by thirds.
STIFFNESS = 300.0 / 3.0 ** np.arange(9)
NEIGHBOURHOOD = 3.0  # frames: over how many it is judged what smoothing took away (a Gaussian's deviation)
NOISE_NEIGHBOURHOOD = 12.0  # the same for the noise
DIFFERENCE = 6  # order; even
TAKEN_AWAY = 3.5  # deviations of what noise alone would make of that
FAR_OFF = 8.0  # deviations from the neighbours' median that no measurement's noise reaches


def smooth_motion(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Returns the likeliest motion behind noisy measurements, in one take.

    Every frame is smoothed as strongly as it can be before what is taken away around it looks like more than noise
    (Lepski's rule). So a nod passes and a still head is still. The noise's variance comes from sixth differences, of
    which even a 3-Hz nod has next to nothing.

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
    """Fills the gaps of one dimension [F], of which the `known` frames were measured."""
    if len(series) < 2 * DIFFERENCE:
        return series
    noise = _noise(series, known)
    if noise.max() == 0:
        return series
    level = np.zeros(len(series), int)
    for k, stiffness in enumerate(STIFFNESS):
        away = known * (series - _solve(series, known, np.full(len(series) - 2, stiffness)))
        wrong = _is_motion(away, noise) & (level == k)
        # Its neighbours bend the curve as well.
        level[maximum_filter1d(wrong, int(2 * NEIGHBOURHOOD) + 1) & (level == k)] = k + 1
    chosen = np.log(STIFFNESS)[np.minimum(level, len(STIFFNESS) - 1)]
    return _solve(series, known, np.exp(gaussian_filter1d(chosen, NEIGHBOURHOOD, mode="nearest"))[1:-1])


def _noise(series: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Returns the variance of the white noise in a series [F] around every frame: [F]."""
    squares = np.diff(series, DIFFERENCE) ** 2 / comb(2 * DIFFERENCE, DIFFERENCE)
    whole = np.convolve(known, np.ones(DIFFERENCE + 1), "valid") > DIFFERENCE
    if not whole.any():
        return np.zeros(len(series))
    squares = np.minimum(squares, np.quantile(squares[whole], 0.97))  # the largest few are blunders
    over, under = (gaussian_filter1d(v, NOISE_NEIGHBOURHOOD, mode="nearest") for v in (squares * whole, 1.0 * whole))
    return np.pad(over / np.maximum(under, 1e-3), (DIFFERENCE // 2, DIFFERENCE // 2), mode="edge")


def _is_motion(away: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Returns where what was taken away [F] leans to one side, or swings by more, than noise of this variance [F]: bool
    [F].
    """
    count = 2 * np.sqrt(np.pi) * NEIGHBOURHOOD  # frames that the Gaussian averages over
    lean = np.abs(gaussian_filter1d(away, NEIGHBOURHOOD, mode="constant"))
    swing = gaussian_filter1d(away**2, NEIGHBOURHOOD, mode="constant")
    return (lean > TAKEN_AWAY * np.sqrt(noise / count)) | (swing > noise * (1 + TAKEN_AWAY * np.sqrt(2 / count)))


def _solve(series: np.ndarray, known: np.ndarray, stiffness: np.ndarray) -> np.ndarray:
    """Returns what minimises |x - series|^2 over the known frames + stiffness [F - 2] * |second difference of x|^2."""
    count = len(series)
    bands = np.zeros((3, count))  # of the normal equations, upper form
    bands[2] = known + 1e-6
    for shift, share in ((0, 1.0), (1, 4.0), (2, 1.0)):
        bands[2, shift : count - 2 + shift] += share * stiffness
    bands[1, 1:-1] += -2 * stiffness
    bands[1, 2:] += -2 * stiffness
    bands[0, 2:] += stiffness
    return solveh_banded(bands, (known + 1e-6) * series)


def far_off(values: np.ndarray, known: np.ndarray, floor: float) -> np.ndarray:
    """Finds single measurements that the frames around them contradict: bool [F].

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
