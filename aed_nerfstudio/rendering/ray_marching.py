"""Constant-step ray marching through an occupancy grid over [-1, 1]^3.

Sample k of a ray is at t = t_enter + (jitter + k) * step, where t_enter is the near plane or the entry into the axis-
aligned clipping box, whichever is farther. The first max_samples samples that lie in occupied cells are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from aed_nerfstudio.backends import Backend, resolve
from aed_nerfstudio.rendering import kernels

# Candidates (rays times steps) that the torch marcher holds at once; bounds its memory to some 200 MB.
_CHUNK_CANDIDATES = 1 << 22


@dataclass
class PackedSamples:
    """The M samples of R rays, ray by ray and front to back."""

    positions: Float[Tensor, "m 3"]
    """World coordinates."""
    t: Float[Tensor, " m"]
    """Distances along the ray, in lengths of its direction."""
    ray_indices: Int64[Tensor, " m"]
    """The ray of each sample."""
    ray_starts: Int64[Tensor, " r_and_1"]
    """[R + 1]; ray r has samples ray_starts[r] up to ray_starts[r + 1]."""

    @property
    def n_rays(self) -> int:
        """Returns how many rays there are, R."""
        return self.ray_starts.shape[0] - 1

    def __len__(self) -> int:
        return self.t.shape[0]


@torch.no_grad()
def march_rays(
    origins: Float[Tensor, "r 3"],
    directions: Float[Tensor, "r 3"],
    occupancy: Bool[Tensor, "g g g"] | UInt8[Tensor, "g g g"],
    aabb: Float[Tensor, " 6"],
    step: float,
    max_samples: int,
    near: float = 0.05,
    jitter: Float[Tensor, " r"] | None = None,
    backend: Backend = "auto",
) -> PackedSamples:
    """Returns the samples of rays in occupied cells; not differentiable.

    Args:
        origins, directions: [R, 3] in world units; a direction need not be normalised, t is in its lengths.
        occupancy: [G, G, G] bool or uint8, indexed x, y, z, over [-1, 1]^3.
        aabb: [6] box (low, then high) that the rays are clipped to.
        step: distance between samples, in t.
        max_samples: most samples per ray.
        near: smallest t.
        jitter: [R] in [0, 1), shifts each ray's samples by that part of a step; None is 0.
        backend: see `aed_nerfstudio.backends`; all give the same samples.

    Raises:
        InputError: the backend cannot be had on the rays' device.
        ValueError: shapes that do not fit each other, or a step that is not positive.
    """
    arguments = checked_rays(origins, directions, occupancy, aabb, step, max_samples, near, jitter)
    chosen = resolve(backend, origins.device).marching
    return {"numba": _march_rays_numba, "triton": _march_rays_triton, "torch": _march_rays_torch}[chosen](arguments)


@torch.no_grad()
def march_rays_within(
    capacity: int,
    origins: Float[Tensor, "r 3"],
    directions: Float[Tensor, "r 3"],
    occupancy: Bool[Tensor, "g g g"] | UInt8[Tensor, "g g g"],
    aabb: Float[Tensor, " 6"],
    step: float,
    max_samples: int,
    near: float = 0.05,
) -> tuple[PackedSamples, Tensor]:
    """Marches as `march_rays` on Triton, without waiting for the device, which alone knows how many samples there are.

    Returns: the first `capacity` samples, and rows of zeros that belong to no ray behind them where there are fewer;
    how many there are, int64 [].

    Raises:
        ValueError: as `march_rays`.
    """
    from aed_nerfstudio.rendering.ray_marching_triton import march_and_pack  # not installed everywhere

    arguments = checked_rays(origins, directions, occupancy, aabb, step, max_samples, near, None)
    *packed, wanted = march_and_pack(*arguments, capacity=capacity)
    return PackedSamples(*packed), wanted


class Rays(NamedTuple):
    """What the marchers take, float32, all on the rays' device; see `march_rays`."""

    origins: Float[Tensor, "r 3"]
    directions: Float[Tensor, "r 3"]
    occupancy: Bool[Tensor, "g g g"]
    aabb: Float[Tensor, " 6"]
    step: float
    max_samples: int
    near: float
    jitter: Float[Tensor, " r"]


def checked_rays(
    origins: Tensor,
    directions: Tensor,
    occupancy: Tensor,
    aabb: Tensor,
    step: float,
    max_samples: int,
    near: float,
    jitter: Tensor | None,
) -> Rays:
    """Returns what the marchers take of what `march_rays` was given; ValueError where it does not fit together."""
    if origins.shape != directions.shape or origins.ndim != 2 or origins.shape[1] != 3:
        raise ValueError(f"expected rays [R, 3], got {list(origins.shape)} and {list(directions.shape)}")
    if occupancy.ndim != 3 or len(set(occupancy.shape)) != 1:
        raise ValueError(f"expected an occupancy cube, got {list(occupancy.shape)}")
    if not step > 0 or max_samples < 0:
        raise ValueError(f"need step > 0 and max_samples >= 0, got {step} and {max_samples}")
    origins, directions = origins.float(), directions.float()
    if jitter is None:
        jitter = torch.zeros_like(origins[:, 0])
    jitter = jitter.to(origins).reshape(-1)
    if jitter.shape[0] != origins.shape[0]:
        raise ValueError(f"expected {origins.shape[0]} jitters, got {jitter.shape[0]}")
    aabb = aabb.to(origins)
    occupancy = occupancy.to(origins.device).bool()
    # near and step are rounded once, the same for all marchers.
    near, step = float(np.float32(near)), float(np.float32(step))
    return Rays(origins, directions, occupancy, aabb, step, max_samples, near, jitter)


def _find_numba(rays: Rays) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distances of the samples of each ray [R, S] and how many of a row there are [R], int64."""
    origins, directions, occupancy, aabb, step, max_samples, near, jitter = rays
    n_rays = origins.shape[0]
    # Mostly untouched memory when rays have few samples, so its size costs address space only.
    t_samples = np.empty((n_rays, max_samples), np.float32)
    counts = np.empty(n_rays, np.int64)
    kernels.march(
        origins.detach().contiguous().numpy(),
        directions.detach().contiguous().numpy(),
        jitter.detach().contiguous().numpy(),
        occupancy.contiguous().numpy(),
        aabb[:3].contiguous().numpy(),
        aabb[3:].contiguous().numpy(),
        np.float32(near),
        np.float32(step),
        t_samples,
        counts,
    )
    return t_samples, counts


def _march_rays_numba(rays: Rays) -> PackedSamples:
    t_samples, counts = _find_numba(rays)
    ray_starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=ray_starts[1:])
    n_samples = int(ray_starts[-1])
    positions = np.empty((n_samples, 3), np.float32)
    t = np.empty(n_samples, np.float32)
    ray_indices = np.empty(n_samples, np.int64)
    o, d = (part.detach().contiguous().numpy() for part in rays[:2])
    kernels.pack(o, d, t_samples, ray_starts, positions, t, ray_indices)
    positions, t, ray_indices, ray_starts = map(torch.from_numpy, (positions, t, ray_indices, ray_starts))
    return PackedSamples(positions, t, ray_indices, ray_starts)


def find_samples(rays: Rays, backend: Backend) -> tuple[Float[Tensor, "r s"], Int64[Tensor, " r"]]:
    """Returns the distances of each ray's samples [R, max_samples] and how many of a row there are [R]; the rest of a
    row is undefined. The host waits for nothing.

    Raises:
        InputError: the backend cannot be had on the rays' device.
        ValueError: it is torch, which waits for the device.
    """
    chosen = resolve(backend, rays.origins.device).marching
    if chosen == "numba":
        t_samples, counts = _find_numba(rays)
        return torch.from_numpy(t_samples), torch.from_numpy(counts)
    if chosen == "torch":
        raise ValueError("the torch backend asks the device how many samples there are")
    from aed_nerfstudio.rendering.ray_marching_triton import find  # not installed everywhere

    return find(*rays)


def _march_rays_triton(rays: Rays) -> PackedSamples:
    from aed_nerfstudio.rendering.ray_marching_triton import march_and_pack  # not installed everywhere

    return PackedSamples(*march_and_pack(*rays)[:-1])


def _march_rays_torch(rays: Rays) -> PackedSamples:
    """Marches by plain tensor operations, on any device: the kernels' reference."""
    origins, directions, occupancy, aabb, step, max_samples, near, jitter = rays
    size = occupancy.shape[0]
    step_t = torch.tensor(step, dtype=torch.float32, device=origins.device)
    parallel = torch.tensor(kernels.PARALLEL_EPSILON, dtype=torch.float32, device=origins.device)
    safe = torch.where(directions.abs() < parallel, parallel, directions)
    a, b = (aabb[:3] - origins) / safe, (aabb[3:] - origins) / safe
    t_enter = torch.minimum(a, b).amax(dim=-1).clamp(min=near)
    t_exit = torch.maximum(a, b).amin(dim=-1)
    squared = directions[:, 0] * directions[:, 0] + directions[:, 1] * directions[:, 1]
    squared = squared + directions[:, 2] * directions[:, 2]
    first = t_enter + jitter * step_t
    hit = (squared > kernels.DEGENERATE_DIRECTION) & (first < t_exit)
    hit_rays = torch.nonzero(hit)[:, 0]

    ray_parts, t_parts = [], []
    if len(hit_rays):
        n_steps = int(((t_exit - first)[hit_rays].max() / step_t).ceil().item()) + 2
        ks = torch.arange(n_steps, dtype=torch.float32, device=origins.device)
        for chunk in hit_rays.split(max(1, _CHUNK_CANDIDATES // n_steps)):
            t = first[chunk, None] + ks * step_t
            keep = t < t_exit[chunk, None]
            flat_index = torch.zeros(t.shape, dtype=torch.long, device=t.device)
            for axis in range(3):
                cell = (origins[chunk, axis, None] + t * directions[chunk, axis, None] + 1.0) * (size / 2)
                keep &= (cell >= 0) & (cell < size)
                flat_index = flat_index * size + cell.clamp(0, size - 1).long()
            keep &= occupancy.reshape(-1)[flat_index]
            keep &= keep.cumsum(dim=1) <= max_samples
            row, column = torch.nonzero(keep, as_tuple=True)
            ray_parts.append(chunk[row])
            t_parts.append(t[row, column])
    ray_indices = torch.cat(ray_parts) if ray_parts else hit_rays
    t = torch.cat(t_parts) if t_parts else origins.new_zeros(0)

    ray_starts = torch.zeros(origins.shape[0] + 1, dtype=torch.long, device=origins.device)
    ray_starts[1:] = torch.bincount(ray_indices, minlength=origins.shape[0]).cumsum(0)
    positions = origins[ray_indices] + t[:, None] * directions[ray_indices]
    return PackedSamples(positions, t, ray_indices, ray_starts)
