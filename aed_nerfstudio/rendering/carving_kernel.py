"""Numba kernel of `visual_hull` and `surface_shell` in occupancy.py."""

import numba
import numpy as np


@numba.njit(parallel=True, cache=True, boundscheck=False, error_model="numpy")
def agreed(distances, poses, focal, centre, needed, before, behind, cells):
    """Empties the cells of a grid over [-1, 1]^3 to which fewer than `needed` views agree.

    distances [N, H, W], along the rays through pixels: a view agrees to a cell whose centre is less than `before`
    nearer than that, and less than `behind` farther; and where there is none (NaN), also outside of the picture. poses
    [N, 3, 4]; focal, centre [2], pixels; cells [G, G, G] bool, in which those stay.
    """
    size, (views, height, width) = len(cells), distances.shape
    for i in numba.prange(size):
        for j in range(size):
            for k in range(size):
                votes = views if cells[i, j, k] else 0
                view = 0
                while view < views and votes >= needed:
                    pose = poses[view]
                    a = (2 * i + 1) / size - 1 - pose[0, 3]
                    b = (2 * j + 1) / size - 1 - pose[1, 3]
                    c = (2 * k + 1) / size - 1 - pose[2, 3]
                    depth = max(-(pose[0, 2] * a + pose[1, 2] * b + pose[2, 2] * c), 1e-6)
                    x = centre[0] + focal * (pose[0, 0] * a + pose[1, 0] * b + pose[2, 0] * c) / depth
                    y = centre[1] - focal * (pose[0, 1] * a + pose[1, 1] * b + pose[2, 1] * c) / depth
                    if 0 <= x < width and 0 <= y < height:
                        distance = distances[view, int(y), int(x)]
                        deep = np.sqrt(a * a + b * b + c * c) - distance
                        if deep <= -before or deep >= behind:
                            votes -= 1
                    view += 1
                cells[i, j, k] = cells[i, j, k] and votes >= needed
