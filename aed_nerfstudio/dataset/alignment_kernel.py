"""Numba kernel of `aed_nerfstudio.dataset.torso_motion`: a picture aligned with some pixels of a reference."""

import math

import numba
import numpy as np

LEAST_SEEN = 0.3
"""Share of the compared pixels that a frame must show."""
STILL = 2e-5
"""Half widths: a round that moves less is the last one."""
FURTHEST = 1.0
"""Half widths, and changes of size: a fit beyond is none."""
STIFFNESS = 1e-3
"""How firmly turn, size and shear keep to none where the picture says nothing of them, over what it says of a shift."""


@numba.njit(cache=True)
def compare(points, values, picture, found, lack, seen):
    """Writes by how much a picture [H, W, 3] differs from the reference where a map [2, 3] has its points [N, 2], into
    lack [N, 2], and how far it may be compared there, into seen [N]; returns the mean of that. Outside it is nought."""
    height, width = picture.shape[:2]
    for n in range(len(points)):
        x = found[0, 0] * points[n, 0] + found[0, 1] * points[n, 1] + found[0, 2]
        y = found[1, 0] * points[n, 0] + found[1, 1] * points[n, 1] + found[1, 2]
        u, v = (x + 1) * (width / 2) - 0.5, (y * width + height) / 2 - 0.5
        first = second = third = 0.0
        if -1 < u < width and -1 < v < height:
            i, j = math.floor(u), math.floor(v)
            for row, down in ((j, 1 - (v - j)), (j + 1, v - j)):
                for column, right in ((i, 1 - (u - i)), (i + 1, u - i)):
                    if 0 <= row < height and 0 <= column < width:
                        first += down * right * picture[row, column, 0]
                        second += down * right * picture[row, column, 1]
                        third += down * right * picture[row, column, 2]
        lack[n, 0], lack[n, 1], seen[n] = first - values[n, 0], second - values[n, 1], third
    return seen.mean()


@numba.njit(cache=True)
def _reach(lack, seen):
    """Returns the difference at which a pixel's weight is halved: thrice the median of those that are seen."""
    kept = np.empty(2 * len(seen))
    count = 0
    for n in range(len(seen)):
        if seen[n] > 0.5:
            kept[count], kept[count + 1] = abs(lack[n, 0]), abs(lack[n, 1])
            count += 2
    return max(0.01, 3 * np.median(kept[:count])) if count else 0.01


@numba.njit(cache=True)
def _step(jacobian, lack, seen):
    """Returns the motion [6] by which a round of Gauss and Newton changes the reference, with Cauchy's weights."""
    reach = _reach(lack, seen)
    weighted, away = np.empty((2 * len(seen), 6), np.float32), np.empty(2 * len(seen), np.float32)
    for n in range(len(seen)):
        for value in range(2):
            weight = seen[n] / (1 + (lack[n, value] / reach) ** 2)
            away[2 * n + value] = lack[n, value]
            for a in range(6):
                weighted[2 * n + value, a] = weight * jacobian[n, value, a]
    normal = (weighted.T @ jacobian.reshape(-1, 6)).astype(np.float64)
    right = (weighted.T @ away).astype(np.float64)
    stiff = STIFFNESS * normal[0, 0]
    for a in range(6):
        normal[a, a] += 1e-9 + (stiff if a > 1 else 0.0)
    return np.linalg.solve(normal, right)


@numba.njit(cache=True)
def _moved_back(found, step, middle):
    """Returns a map [2, 3] after the inverse of a motion [6] about a middle [2]."""
    a, b, c, d = 1 + step[2], step[3], step[4], 1 + step[5]
    x = step[0] - step[2] * middle[0] - step[3] * middle[1]
    y = step[1] - step[4] * middle[0] - step[5] * middle[1]
    size = a * d - b * c
    back = np.array([[d, -b, b * y - d * x], [-c, a, c * x - a * y]]) / (size if size else np.nan)
    result = np.empty((2, 3))
    for row in range(2):
        for column in range(3):
            result[row, column] = found[row, 0] * back[0, column] + found[row, 1] * back[1, column]
        result[row, 2] += found[row, 2]
    return result


@numba.njit(cache=True)
def fit(points, values, jacobian, middle, picture, start, rounds):
    """Returns the map [2, 3] that a picture is aligned by, and how far the two differ then; infinite where too little
    of the reference is seen, or the map is none.

    points [N, 2], half widths from the picture's middle; values [N, 2] of the reference there; jacobian [N, 2, 6] of
    these by the motion; middle [2] that it turns about; picture [H, W, 3], the third value whether it may be compared;
    start [2, 3]: a map; rounds: of Gauss and Newton, at most.
    """
    lack, seen, found = np.empty((len(points), 2)), np.empty(len(points)), start
    for _ in range(rounds):
        if compare(points, values, picture, found, lack, seen) < LEAST_SEEN:
            return start, np.inf
        step = _step(jacobian, lack, seen)
        furthest = np.abs(step).max()
        if not furthest <= FURTHEST:
            return start, np.inf
        found = _moved_back(found, step, middle)
        if furthest < STILL:
            break
    if not compare(points, values, picture, found, lack, seen) >= LEAST_SEEN or not np.isfinite(found).all():
        return found, np.inf
    total = 0.0
    for n in range(len(seen)):
        total += seen[n] * (abs(lack[n, 0]) + abs(lack[n, 1]))
    return found, total / seen.sum()
