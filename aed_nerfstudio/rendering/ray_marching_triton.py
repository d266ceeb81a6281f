"""Triton kernels of ray marching; see ray_marching.py for what they compute, and kernels.py for the same in Numba.

A program handles a block of rays. All floats are float32, and none of their operations are fused: each rounding must be
the one of the torch reference, for identical samples.
"""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
# Triton's types say that the functions of its language never return, which is so outside kernels, and that constants of
# a kernel must be wrapped, which its launcher does.

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from aed_nerfstudio.backends import interpreted
from aed_nerfstudio.rendering.kernels import DEGENERATE_DIRECTION, PARALLEL_EPSILON

# A program of the interpreter costs the same however wide it is.
_WIDTH = 1024 if interpreted() else 128
_EXACT: dict[str, Any] = {"width": _WIDTH, "enable_fp_fusion": False}
_PARALLEL = tl.constexpr(PARALLEL_EPSILON)
_DEGENERATE = tl.constexpr(DEGENERATE_DIRECTION)


@triton.jit
def _axis(origins, directions, aabb, ray, inside, axis: tl.constexpr):
    """Returns origin and direction along an axis, and where the ray enters and leaves the box's slab there."""
    o = tl.load(origins + 3 * ray + axis, mask=inside, other=0.0)
    d = tl.load(directions + 3 * ray + axis, mask=inside, other=0.0)
    safe = tl.where(tl.abs(d) < _PARALLEL, _PARALLEL, d)
    a = tl.div_rn(tl.load(aabb + axis) - o, safe)
    b = tl.div_rn(tl.load(aabb + 3 + axis) - o, safe)
    return o, d, tl.minimum(a, b), tl.maximum(a, b)


@triton.jit
def _cell(o, d, t, size):
    """Returns the places of samples along an axis, in cells."""
    return (o + t * d + 1.0) * (size * 0.5)


@triton.jit
def march(
    origins, directions, jitter, occupancy, aabb, t_samples, counts, n_rays, near, step,
    size: tl.constexpr, max_samples, width: tl.constexpr,
):  # fmt: skip
    """Finds the first max_samples samples of each ray that lie in occupied cells.

    origins, directions [R, 3], jitter [R] (in steps), occupancy [G, G, G] bool over [-1, 1]^3, aabb [6] -> t_samples
    [R, S] (only the first counts[r] of a row are written), counts [R] int64.
    """
    ray = tl.program_id(0).to(tl.int64) * width + tl.arange(0, width)
    inside = ray < n_rays
    ox, dx, enter_x, leave_x = _axis(origins, directions, aabb, ray, inside, 0)
    oy, dy, enter_y, leave_y = _axis(origins, directions, aabb, ray, inside, 1)
    oz, dz, enter_z, leave_z = _axis(origins, directions, aabb, ray, inside, 2)
    enter = tl.maximum(tl.maximum(tl.maximum(enter_x, enter_y), enter_z), near)
    leave = tl.minimum(tl.minimum(leave_x, leave_y), leave_z)
    first = enter + tl.load(jitter + ray, mask=inside, other=0.0) * step
    # What is infinite or not a number has no end, and would be marched for ever.
    valid = inside & (dx * dx + dy * dy + dz * dz > _DEGENERATE) & (leave < float("inf"))

    found = tl.zeros((width,), tl.int64)
    number = tl.zeros((width,), tl.float32)
    t = first
    live = valid & (t < leave) & (found < max_samples)
    while tl.max(live.to(tl.int32), 0) > 0:
        u, v, w = _cell(ox, dx, t, size), _cell(oy, dy, t, size), _cell(oz, dz, t, size)
        within = live & (u >= 0) & (v >= 0) & (w >= 0) & (u < size) & (v < size) & (w < size)
        cell = (u.to(tl.int32) * size + v.to(tl.int32)) * size + w.to(tl.int32)
        taken = within & (tl.load(occupancy + cell, mask=within, other=0) != 0)
        tl.store(t_samples + ray * max_samples + found, t, mask=taken)
        found += taken.to(tl.int64)
        number += 1.0
        t = first + number * step
        live = valid & (t < leave) & (found < max_samples)
    tl.store(counts + ray, found, mask=inside)


@triton.jit
def pack(
    origins, directions, t_samples, ray_starts, positions, t, ray_indices, n_rays, max_samples, width: tl.constexpr
):
    """Packs the rows of `march`'s t_samples [R, S] into positions [M, 3], t [M], ray_indices [M]; M = ray_starts[R]."""
    ray = tl.program_id(0).to(tl.int64) * width + tl.arange(0, width)
    inside = ray < n_rays
    start = tl.load(ray_starts + ray, mask=inside, other=0)
    count = tl.load(ray_starts + ray + 1, mask=inside, other=0) - start
    ox = tl.load(origins + 3 * ray, mask=inside, other=0.0)
    oy = tl.load(origins + 3 * ray + 1, mask=inside, other=0.0)
    oz = tl.load(origins + 3 * ray + 2, mask=inside, other=0.0)
    dx = tl.load(directions + 3 * ray, mask=inside, other=0.0)
    dy = tl.load(directions + 3 * ray + 1, mask=inside, other=0.0)
    dz = tl.load(directions + 3 * ray + 2, mask=inside, other=0.0)
    for k in range(tl.max(count, 0)):
        here = inside & (k < count)
        t_k = tl.load(t_samples + ray * max_samples + k, mask=here, other=0.0)
        i = start + k
        tl.store(t + i, t_k, mask=here)
        tl.store(ray_indices + i, ray, mask=here)
        tl.store(positions + 3 * i, ox + t_k * dx, mask=here)
        tl.store(positions + 3 * i + 1, oy + t_k * dy, mask=here)
        tl.store(positions + 3 * i + 2, oz + t_k * dz, mask=here)


def find(
    origins: torch.Tensor,
    directions: torch.Tensor,
    occupancy: torch.Tensor,
    aabb: torch.Tensor,
    step: float,
    max_samples: int,
    near: float,
    jitter: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Marches rays, given what `march_rays` has prepared: see `find_samples` for what it returns."""
    o, d = origins.contiguous(), directions.contiguous()
    n_rays, device = len(o), o.device
    t_samples = torch.empty(n_rays, max_samples, device=device)
    counts = torch.empty(n_rays, dtype=torch.int64, device=device)
    if n_rays:
        cells = occupancy.contiguous().view(torch.uint8)
        inputs = (o, d, jitter.contiguous(), cells, aabb.contiguous(), t_samples, counts)
        with torch.cuda.device_of(o):
            march[(triton.cdiv(n_rays, _WIDTH),)](
                *inputs, n_rays, near, step, size=len(cells), max_samples=max_samples, **_EXACT
            )
    return t_samples, counts


def march_and_pack(
    origins: torch.Tensor,
    directions: torch.Tensor,
    occupancy: torch.Tensor,
    aabb: torch.Tensor,
    step: float,
    max_samples: int,
    near: float,
    jitter: torch.Tensor,
    capacity: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Marches rays, given what `march_rays` has prepared, and packs their samples.

    Returns: positions, t, ray_indices and ray_starts of `PackedSamples`, and how many samples there are, []. With a
    capacity the first so many, padded with zeros; without, all, for which the host waits for the device.
    """
    o, d = origins.contiguous(), directions.contiguous()
    n_rays, device = len(o), o.device
    t_samples, counts = find(o, d, occupancy, aabb, step, max_samples, near, jitter)
    ray_starts = torch.zeros(n_rays + 1, dtype=torch.int64, device=device)
    torch.cumsum(counts, 0, out=ray_starts[1:])
    wanted = ray_starts[-1].clone()
    if capacity is None:
        capacity = int(wanted)
    ray_starts.clamp_(max=capacity)
    positions = torch.zeros(capacity, 3, device=device)
    t = torch.zeros(capacity, device=device)
    ray_indices = torch.zeros(capacity, dtype=torch.int64, device=device)
    if n_rays and capacity:
        with torch.cuda.device_of(o):
            pack[(triton.cdiv(n_rays, _WIDTH),)](
                o, d, t_samples, ray_starts, positions, t, ray_indices, n_rays, max_samples, **_EXACT
            )
    return positions, t, ray_indices, ray_starts, wanted
