"""A z-buffer of triangles, on the CPU."""

from __future__ import annotations

import math

import numba


@numba.njit(cache=True)
def rasterise(screen, triangles, drawn, size, ids, bary, inverse_depth):
    """Draws triangles [T, 3] of the vertices screen [V, 3] (x, y in pixels, 1 / depth) where drawn, bool [T].

    Overwrites ids [S, S] with the triangle that is seen (-1: none), bary [S, S, 2] with the shares of its first two
    vertices, in perspective, and inverse_depth [S, S] with 1 / depth (0 where none).
    """
    ids[:] = -1
    inverse_depth[:] = 0.0
    for t in range(triangles.shape[0]):
        if not drawn[t]:
            continue
        a, b, c = screen[triangles[t, 0]], screen[triangles[t, 1]], screen[triangles[t, 2]]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if abs(area) < 1e-12:
            continue
        x0 = max(0, int(math.ceil(min(a[0], b[0], c[0]) - 0.5)))
        x1 = min(size - 1, int(math.floor(max(a[0], b[0], c[0]) - 0.5)))
        y0 = max(0, int(math.ceil(min(a[1], b[1], c[1]) - 0.5)))
        y1 = min(size - 1, int(math.floor(max(a[1], b[1], c[1]) - 0.5)))
        for py in range(y0, y1 + 1):
            for px in range(x0, x1 + 1):
                x, y = px + 0.5, py + 0.5
                u = ((b[0] - x) * (c[1] - y) - (b[1] - y) * (c[0] - x)) / area
                v = ((c[0] - x) * (a[1] - y) - (c[1] - y) * (a[0] - x)) / area
                w = 1.0 - u - v
                if u < 0 or v < 0 or w < 0:
                    continue
                q = u * a[2] + v * b[2] + w * c[2]
                if q > inverse_depth[py, px]:
                    inverse_depth[py, px] = q
                    ids[py, px] = t
                    bary[py, px, 0] = u * a[2] / q
                    bary[py, px, 1] = v * b[2] / q
