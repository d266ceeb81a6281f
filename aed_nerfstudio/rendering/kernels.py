"""Numba kernels of ray marching and compositing; see ray_marching.py and compositing.py for what they compute.

All floats are float32. Rays are independent, so every kernel is parallel over them.
"""

import numba
import numpy as np

f32 = np.float32

_ZERO = f32(0)
_ONE = f32(1)

# Directions closer to zero than this along an axis are parallel to that pair of faces.
PARALLEL_EPSILON = 1e-9
# Rays whose squared direction is not above this (or is NaN) have no samples.
DEGENERATE_DIRECTION = 1e-12
_PARALLEL = f32(PARALLEL_EPSILON)
_DEGENERATE = f32(DEGENERATE_DIRECTION)


# No fastmath here: `march` and `pack` must round as the torch reference does, for identical samples, and LLVM does not
# vectorise a fast `composite_backward` alike each time, so that the process that compiled it trained to other weights
# than those that load it from the cache. It gains nothing.
@numba.njit(parallel=True, cache=True, boundscheck=False)
def march(origins, directions, jitter, occupancy, low, high, near, step, t_samples, counts):
    """Finds the first t_samples.shape[1] samples of each ray that lie in occupied cells.

    origins, directions [R, 3], jitter [R] (in steps), occupancy [G, G, G] bool over [-1, 1]^3, low, high [3] ->
    t_samples [R, S] (only the first counts[r] of a row are written), counts [R] int64.
    """
    size = occupancy.shape[0]
    cells_per_unit = f32(size / 2)
    size_f = f32(size)
    for r in numba.prange(origins.shape[0]):
        counts[r] = 0
        dx, dy, dz = directions[r, 0], directions[r, 1], directions[r, 2]
        if not (dx * dx + dy * dy + dz * dz > _DEGENERATE):
            continue
        t_enter = near
        t_exit = f32(np.inf)
        for axis in range(3):
            d = directions[r, axis]
            if abs(d) < _PARALLEL:
                d = _PARALLEL
            a = (low[axis] - origins[r, axis]) / d
            b = (high[axis] - origins[r, axis]) / d
            t_enter = max(t_enter, min(a, b))
            t_exit = min(t_exit, max(a, b))
        # A NaN origin leaves the exit at infinity: without this the ray would be marched for ever.
        if not t_exit < f32(np.inf):
            continue
        first = t_enter + jitter[r] * step
        found = 0
        k = 0
        t = first
        while t < t_exit and found < t_samples.shape[1]:
            u = (origins[r, 0] + t * dx + _ONE) * cells_per_unit
            v = (origins[r, 1] + t * dy + _ONE) * cells_per_unit
            w = (origins[r, 2] + t * dz + _ONE) * cells_per_unit
            inside = u >= _ZERO and v >= _ZERO and w >= _ZERO and u < size_f and v < size_f and w < size_f
            if inside and occupancy[int(u), int(v), int(w)]:
                t_samples[r, found] = t
                found += 1
            k += 1
            t = first + f32(k) * step
        counts[r] = found


@numba.njit(parallel=True, cache=True, boundscheck=False)
def pack(origins, directions, t_samples, ray_starts, positions, t, ray_indices):
    """Packs the rows of `march`'s t_samples [R, S] into positions [M, 3], t [M], ray_indices [M]; M = ray_starts[R]."""
    for r in numba.prange(origins.shape[0]):
        start = ray_starts[r]
        for n in range(ray_starts[r + 1] - start):
            t_n = t_samples[r, n]
            t[start + n] = t_n
            ray_indices[start + n] = r
            for axis in range(3):
                positions[start + n, axis] = origins[r, axis] + t_n * directions[r, axis]


@numba.njit(parallel=True, cache=True, boundscheck=False)
def composite_forward(sigmas, rgbs, extras, t, ray_starts, step, rgb, accumulation, depth, extra_sums, weights):
    """Composites the samples of each ray, front to back.

    sigmas, t [M], rgbs [M, 3], extras [M, K] -> rgb [R, 3], accumulation, depth [R], extra_sums [R, K], weights [M].
    Every output is overwritten.
    """
    n_extras = extras.shape[1]
    for r in numba.prange(ray_starts.shape[0] - 1):
        transmittance = _ONE
        red, green, blue, total, distance = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
        for k in range(n_extras):
            extra_sums[r, k] = _ZERO
        for i in range(ray_starts[r], ray_starts[r + 1]):
            passed = np.exp(-sigmas[i] * step)
            weight = transmittance * (_ONE - passed)
            transmittance *= passed
            weights[i] = weight
            red += weight * rgbs[i, 0]
            green += weight * rgbs[i, 1]
            blue += weight * rgbs[i, 2]
            total += weight
            distance += weight * t[i]
            for k in range(n_extras):
                extra_sums[r, k] += extras[i, k]
        rgb[r, 0], rgb[r, 1], rgb[r, 2] = red, green, blue
        accumulation[r] = total
        depth[r] = distance


@numba.njit(parallel=True, cache=True, boundscheck=False)
def composite_backward(
    sigmas,
    rgbs,
    weights,
    ray_starts,
    step,
    grad_rgb,
    grad_accumulation,
    grad_extra_sums,
    grad_weights,
    grad_sigmas,
    grad_rgbs,
    grad_extras,
):
    """Computes the gradients of `composite_forward`'s inputs from those of its outputs.

    -> grad_sigmas [M], grad_rgbs [M, 3], grad_extras [M, K], all overwritten.

    With v_i the gradient of weight i and T_i the transmittance before sample i:
    dL/dsigma_i = step * (T_{i+1} v_i - sum_{j>i} w_j v_j).
    """
    n_extras = grad_extras.shape[1]
    for r in numba.prange(ray_starts.shape[0] - 1):
        start, stop = ray_starts[r], ray_starts[r + 1]
        red, green, blue, alpha = grad_rgb[r, 0], grad_rgb[r, 1], grad_rgb[r, 2], grad_accumulation[r]
        transmittance = _ONE
        for i in range(start, stop):
            transmittance *= np.exp(-sigmas[i] * step)
            # Kept here until the loop from the back needs it.
            grad_sigmas[i] = transmittance
            grad_rgbs[i, 0] = red * weights[i]
            grad_rgbs[i, 1] = green * weights[i]
            grad_rgbs[i, 2] = blue * weights[i]
            for k in range(n_extras):
                grad_extras[i, k] = grad_extra_sums[r, k]
        behind = _ZERO
        for i in range(stop - 1, start - 1, -1):
            value = red * rgbs[i, 0] + green * rgbs[i, 1] + blue * rgbs[i, 2] + alpha + grad_weights[i]
            grad_sigmas[i] = step * (grad_sigmas[i] * value - behind)
            behind += weights[i] * value
