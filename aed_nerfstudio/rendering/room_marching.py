"""Ray marching into rooms of a fixed size: as many samples for the same work, whatever the rays meet.

What a training step does is then the same for each step, and the host need not know how many samples there are.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from aed_nerfstudio.backends import Backend
from aed_nerfstudio.rendering.ray_marching import PackedSamples, checked_rays, find_samples


@dataclass
class RoomySamples:
    """The samples of R rays in G groups, those of a group in a room of its own.

    `samples` are of R + G rays: of each group its R_g rays and one that takes what is left of the room, group after
    group. Samples of the latter have t and position 0 and must be given no density.
    """

    samples: PackedSamples
    rays: Int64[Tensor, " m"]
    """The ray of each sample, as it was given; some ray for what is left."""
    real: Bool[Tensor, " m"]
    """Whether it is a sample of a ray."""
    places: Int64[Tensor, " r"]
    """Where each given ray is among those of `samples`."""
    order: Int64[Tensor, " r_and_g"]
    """The given ray of each one of `samples`; R or more for what takes the rest."""
    wanted: Int64[Tensor, " g"]
    """How many samples each group has; where that is more than its room, the last are left out."""

    def in_order(self, values: Float[Tensor, "r _"], rest: float) -> Float[Tensor, "r_and_g _"]:
        """Returns values of the given rays [R, K] in the order of `samples`; rest: for those that take the rest."""
        filled = torch.cat([values, values.new_full((len(self.order) - len(values), values.shape[1]), rest)])
        return filled[self.order]


@torch.no_grad()
def march_into_rooms(
    rooms: tuple[int, ...],
    groups: Int64[Tensor, " r"],
    origins: Float[Tensor, "r 3"],
    directions: Float[Tensor, "r 3"],
    occupancy: Bool[Tensor, "g g g"],
    aabb: Float[Tensor, " 6"],
    step: float,
    max_samples: int,
    near: float = 0.05,
    jitter: Float[Tensor, " r"] | None = None,
    backend: Backend = "auto",
) -> RoomySamples:
    """Marches as `march_rays`, without waiting for the device.

    Args:
        rooms: for how many samples each group has room.
        groups: of each ray, 0 to G - 1.

    Raises:
        InputError, ValueError: as `find_samples`; or shapes that do not fit each other.
    """
    rays = checked_rays(origins, directions, occupancy, aabb, step, max_samples, near, jitter)
    t_samples, counts = find_samples(rays, backend)
    n_rays, n_groups, device = len(groups), len(rooms), groups.device
    numbers = torch.arange(n_groups, device=device)
    begins = _begins(rooms, device)
    wanted = (counts[:, None] * (groups[:, None] == numbers)).sum(0)
    # Stable, so that what takes the rest of a room comes behind the group's rays.
    group, order = torch.sort(torch.cat([groups, numbers]), stable=True)
    found = torch.cat([counts, torch.zeros_like(numbers)])[order]
    before = found.cumsum(0) - found - (wanted.cumsum(0) - wanted)[group]
    starts = torch.minimum(begins[group] + before, begins[group + 1])
    ray_starts = torch.cat([starts, begins[-1:]])
    slot = torch.arange(sum(rooms), device=device)
    row = torch.searchsorted(ray_starts, slot, right=True) - 1
    ray = order[row]
    real = ray < n_rays
    ray = ray.clamp(max=n_rays - 1)
    t = t_samples[ray, (slot - ray_starts[row]).clamp(max=max_samples - 1)]
    t = torch.where(real, t, 0.0)
    positions = torch.where(real[:, None], rays.origins[ray] + t[:, None] * rays.directions[ray], 0.0)
    places = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=device))
    return RoomySamples(PackedSamples(positions, t, row, ray_starts), ray, real, places[:n_rays], order, wanted)


@functools.lru_cache(maxsize=64)
def _begins(rooms: tuple[int, ...], device: torch.device) -> Int64[Tensor, " g_and_1"]:
    """Returns where each room begins, and the end of the last; kept, for a CUDA graph sends nothing to the device."""
    return torch.tensor([0, *rooms]).cumsum(0).to(device)
