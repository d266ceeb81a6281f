"""The occupancy grid of the head, on nerfacc's estimator; everything but `sampling` runs on the CPU as well."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from nerfacc import OccGridEstimator
from torch import Tensor

from aed_nerfstudio.backends import Backend
from aed_nerfstudio.rendering.carving_kernel import agreed
from aed_nerfstudio.rendering.ray_marching import PackedSamples, march_rays

# Points per call of the density function while the grid is updated: small, because each call may see another frame.
_CHUNK_POINTS = 1 << 15


class HeadOccupancy(OccGridEstimator):
    """A grid of one level over [-1, 1]^3. Until the first update every cell that is not carved away is occupied.

    backend: of `march`.
    """

    def __init__(self, resolution: int = 128, backend: Backend = "auto") -> None:
        box = torch.tensor([-1.0, -1.0, -1.0, 1.0, 1.0, 1.0])
        super().__init__(roi_aabb=box, resolution=resolution, levels=1)
        self.occs: Tensor
        self.binaries: Tensor
        self.allowed: Tensor
        self.binaries.fill_(True)
        self.backend: Backend = backend
        self.register_buffer("allowed", torch.ones_like(self.binaries))

    def carve(self, keep: Bool[Tensor, "x y z"]) -> None:
        """Leaves the cells where keep, bool [X, Y, Z], is False empty for ever (see `visual_hull`)."""
        self.allowed &= keep
        self.binaries &= keep

    def march(
        self,
        origins: Float[Tensor, "r 3"],
        directions: Float[Tensor, "r 3"],
        aabb: Float[Tensor, " 6"],
        step: float,
        max_samples: int,
        near: float = 0.05,
        jitter: Float[Tensor, " r"] | None = None,
    ) -> PackedSamples:
        """Returns the samples in occupied cells; arguments as in `march_rays`."""
        return march_rays(origins, directions, self.binaries[0], aabb, step, max_samples, near, jitter, self.backend)

    def sampling(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Marches with nerfacc's own kernels, which exist for CUDA only."""
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
        """Refreshes, every `every` steps, the grid from density_fn: positions [N, 3] -> densities [N] or [N, 1].

        A cell is occupied when its decayed maximum density exceeds min(mean density, threshold), as in RAD-NeRF, or
        when one of its 26 neighbours is. nerfacc expects density * step here; densities per world unit are kept
        instead, so that `threshold` is RAD-NeRF's. Before warmup_steps all cells are evaluated, then a random quarter
        and the occupied ones; carved cells never are. Returns whether the grid was refreshed.
        """
        if step % every:
            return False
        size = self.allowed.shape[-1]

        def densities(positions: Tensor) -> Tensor:
            x, y, z = ((positions + 1) * (size / 2)).long().clamp(0, size - 1).unbind(-1)
            inside = self.allowed[0, x, y, z]
            out = positions.new_zeros(len(positions), 1)
            if inside.any():
                parts = [density_fn(chunk).reshape(-1, 1).float() for chunk in positions[inside].split(_CHUNK_POINTS)]
                out[inside] = torch.cat(parts)
            return out

        self._update(step, densities, occ_thre=threshold, ema_decay=decay, warmup_steps=warmup_steps)
        allowed = self.allowed.flatten()
        if allowed.any():
            self.binaries = (self.occs > self.occs[allowed].mean().clamp(max=threshold)).view_as(self.binaries)
        # Lips are thin and move between frames: without a margin, a closed mouth's cells cull the open one.
        self.binaries = dilate(self.binaries) & self.allowed
        return True

    @torch.no_grad()
    def _sample_uniform_and_occupied_cells(self, n: int) -> list[Tensor]:
        """Draws cells as nerfacc does, but each once.

        Of a cell that is drawn twice, the order of threads would decide what is kept.
        """
        cells = [drawn.unique() for drawn in super()._sample_uniform_and_occupied_cells(n)]
        return [level[torch.randperm(len(level), device=level.device)] for level in cells]

    @torch.no_grad()
    def tighten(self, density_fns: Iterable[Callable[[Tensor], Tensor]], threshold: float = 1.0) -> None:
        """Empties the occupied cells that no density exceeds the threshold in, once nothing moves them any more.

        The updates keep the neighbours of what is occupied, for what may yet come to be there: samples of every ray
        before the surface.

        Args:
            density_fns: positions [N, 3] -> densities [N], for many conditions; each is asked for one point of every
                cell still undecided, in turn one of its eight octants' centres.
            threshold: density, per world unit; RAD-NeRF's step through one of 1 hides 3 % of what is behind it.
        """
        size = self.binaries.shape[-1]
        kept = torch.zeros_like(self.binaries)
        cells = torch.nonzero(self.binaries[0])
        octants = torch.cartesian_prod(*[torch.tensor([0.25, 0.75], device=cells.device)] * 3)
        for number, density_fn in enumerate(density_fns):
            if len(cells):
                points = (cells + octants[number % 8]) * (2 / size) - 1
                dense = torch.cat([density_fn(part).reshape(-1) > threshold for part in points.split(_CHUNK_POINTS)])
                kept[(0, *cells[dense].unbind(-1))] = True
                cells = cells[~dense]
        self.binaries = kept


def dilate(cells: Bool[Tensor, "*n x y z"]) -> Bool[Tensor, "*n x y z"]:
    """Grows the true cells of a bool [..., X, Y, Z] by one cell, diagonals included."""
    for axis in (-3, -2, -1):
        size = cells.shape[axis]
        grown = cells.clone()
        grown.narrow(axis, 1, size - 1).logical_or_(cells.narrow(axis, 0, size - 1))
        grown.narrow(axis, 0, size - 1).logical_or_(cells.narrow(axis, 1, size - 1))
        cells = grown
    return cells


def visual_hull(
    masks: Bool[Tensor, "n h w"],
    camera_to_worlds: Float[Tensor, "n rows 4"],
    focal: float,
    centre: tuple[float, float],
    resolution: int,
    share: float = 0.9,
) -> Bool[Tensor, "x y z"]:
    """Returns the cells of a grid over [-1, 1]^3 that the silhouettes of an object allow.

    Args:
        masks: bool [N, H, W], True where the object is seen; give them the margin that the cells should have.
        camera_to_worlds: float [N, 3 or 4, 4], OpenGL.
        focal: focal length, pixels.
        centre: principal point, pixels.
        resolution: cells along an axis.
        share: of the views, which must see the cell's centre inside the silhouette; below 1 because masks err. A view
            in which the centre lies outside the picture says nothing and counts as if it did.

    Returns:
        bool [resolution] * 3.
    """
    distances = torch.where(masks, float("nan"), float("inf"))  # everything is too near where nothing is seen
    return surface_shell(distances, camera_to_worlds, focal, centre, resolution, 0.0, 0.0, share)


def surface_shell(
    distances: Float[Tensor, "n h w"],
    camera_to_worlds: Float[Tensor, "n rows 4"],
    focal: float,
    centre: tuple[float, float],
    resolution: int,
    before: float,
    behind: float,
    share: float = 0.9,
    among: Bool[Tensor, "x y z"] | None = None,
) -> Bool[Tensor, "x y z"]:
    """Returns the cells of a grid over [-1, 1]^3 that lie near an object's surface.

    Args:
        distances: of the surface along the rays through pixels, [N, H, W]; NaN where it is not known. Cells that a view
            sees there count as near.
        camera_to_worlds, focal, centre, resolution, share: as for `visual_hull`.
        before: how far a cell may be from the surface on the camera's side, units.
        behind: the same on the other side.
        among: cells that matter; no other is returned. All when None.

    Returns:
        bool [resolution] * 3.
    """

    cells = np.ones([resolution] * 3, bool) if among is None else among.cpu().numpy().copy()
    poses = camera_to_worlds[:, :3].cpu().numpy().astype(np.float64)
    needed = share * len(poses)
    agreed(distances.cpu().numpy(), poses, focal, np.array(centre), needed, before, behind, cells)
    return torch.from_numpy(cells).to(distances.device)
