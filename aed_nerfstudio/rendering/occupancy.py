"""Occupancy grid of the head, on nerfacc's estimator; everything but `sampling` runs on the CPU as well."""

from collections.abc import Callable

import torch
from nerfacc import OccGridEstimator
from torch import Tensor

from aed_nerfstudio.rendering.ray_marching import PackedSamples, march_rays

# Points per call of the density function while the grid is updated: 128^3 at once would not fit beside a model.
_CHUNK_POINTS = 1 << 18


class HeadOccupancy(OccGridEstimator):
    """Single-level grid over [-1, 1]^3. Until the first update every cell counts as occupied."""

    def __init__(self, resolution: int = 128):
        super().__init__(roi_aabb=[-1.0, -1.0, -1.0, 1.0, 1.0, 1.0], resolution=resolution, levels=1)
        self.binaries.fill_(True)

    def march(
        self,
        origins: Tensor,
        directions: Tensor,
        aabb: Tensor,
        step: float,
        max_samples: int,
        near: float = 0.05,
        jitter: Tensor | None = None,
    ) -> PackedSamples:
        """Samples in occupied cells; arguments as in `march_rays`."""
        return march_rays(origins, directions, self.binaries[0], aabb, step, max_samples, near, jitter)

    def sampling(self, *args, **kwargs):
        """nerfacc's own marcher, which exists for CUDA only."""
        if self.device.type != "cuda":
            raise NotImplementedError("nerfacc's sampling needs CUDA; use HeadOccupancy.march, which runs anywhere")
        return super().sampling(*args, **kwargs)

    @torch.no_grad()
    def update(
        self,
        step: int,
        density_fn: Callable[[Tensor], Tensor],
        decay: float = 0.95,
        threshold: float = 10.0,
        warmup_steps: int = 256,
        every: int = 16,
    ) -> bool:
        """Every `every` steps, refreshes the grid from density_fn: positions [N, 3] -> densities [N] or [N, 1].

        A cell is occupied when its decayed maximum density exceeds min(mean density, threshold), as in RAD-NeRF, or
        when one of its 26 neighbours is. nerfacc expects density * step here; densities per world unit are kept
        instead, so that `threshold` is RAD-NeRF's. Before warmup_steps all cells are evaluated, then a random quarter
        and the occupied ones. Returns whether the grid was refreshed.
        """
        if step % every:
            return False

        def densities(positions: Tensor) -> Tensor:
            parts = [density_fn(chunk).reshape(-1, 1).float() for chunk in positions.split(_CHUNK_POINTS)]
            return torch.cat(parts)

        self._update(step, densities, occ_thre=threshold, ema_decay=decay, warmup_steps=warmup_steps)
        # Lips are thin and move between frames: without a margin, a closed mouth's cells cull the open one.
        self.binaries = dilate(self.binaries)
        return True


def dilate(cells: Tensor) -> Tensor:
    """Grows the true cells of a bool [..., X, Y, Z] by one cell, diagonals included."""
    for axis in (-3, -2, -1):
        size = cells.shape[axis]
        grown = cells.clone()
        grown.narrow(axis, 1, size - 1).logical_or_(cells.narrow(axis, 0, size - 1))
        grown.narrow(axis, 0, size - 1).logical_or_(cells.narrow(axis, 1, size - 1))
        cells = grown
    return cells
