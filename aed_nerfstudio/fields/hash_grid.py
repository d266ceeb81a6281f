"""Multiresolution hash grid in instant-ngp's layout, on any backend of `aed_nerfstudio.backends`."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from aed_nerfstudio.backends import Backend, resolve
from aed_nerfstudio.fields.grid_numba import encode_numba

HASH_PRIMES = (1, 2654435761, 805459861)


@dataclass(frozen=True)
class HashGridLayout:
    """Where every level's entries lie in the table, as in tiny-cuda-nn's HashGrid.

    Level l interpolates at x * scales[l] + 0.5. A level whose resolution ** n_dims entries fit in 2 ** log2_size stores
    them densely (x fastest); a larger one is hashed into 2 ** log2_size entries.
    """

    n_dims: int
    n_levels: int = 16
    n_features: int = 2
    log2_size: int = 16
    base_resolution: int = 16
    top_resolution: int = 2048
    scales: np.ndarray = field(init=False, repr=False, compare=False)
    """[L] float32, cells along an axis of [0, 1]."""
    resolutions: np.ndarray = field(init=False, repr=False, compare=False)
    """[L] uint32, vertices along an axis."""
    offsets: np.ndarray = field(init=False, repr=False, compare=False)
    """[L + 1] int64, first entry of each level, then the total."""
    hashed: np.ndarray = field(init=False, repr=False, compare=False)
    """[L] bool."""

    def __post_init__(self):
        if self.n_dims not in (2, 3):
            raise ValueError(f"a hash grid has 2 or 3 dimensions, not {self.n_dims}")
        if self.n_levels < 1 or self.n_features < 1 or not 3 <= self.log2_size <= 31:
            raise ValueError("a hash grid needs at least one level, one feature and 3 <= log2_size <= 31")
        if not 2 <= self.base_resolution <= self.top_resolution:
            raise ValueError(f"bad resolutions, from {self.base_resolution} to {self.top_resolution}")
        growth = math.exp(math.log(self.top_resolution / self.base_resolution) / max(self.n_levels - 1, 1))
        # Rounded to float32 before the ceiling, so that the top level's 2047.0000000001 does not become 2049 vertices.
        scales = np.array([self.base_resolution * growth**level - 1 for level in range(self.n_levels)], np.float32)
        resolutions = np.ceil(scales).astype(np.int64) + 1
        vertices = resolutions**self.n_dims
        entries = np.minimum((vertices + 7) // 8 * 8, 2**self.log2_size)
        object.__setattr__(self, "scales", scales)
        object.__setattr__(self, "resolutions", resolutions.astype(np.uint32))
        object.__setattr__(self, "offsets", np.concatenate([[0], np.cumsum(entries)]).astype(np.int64))
        object.__setattr__(self, "hashed", vertices > 2**self.log2_size)

    @property
    def n_entries(self) -> int:
        return int(self.offsets[-1])

    @property
    def n_outputs(self) -> int:
        return self.n_levels * self.n_features

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(scales, resolutions, offsets, hashed), in the order the kernels take them."""
        return self.scales, self.resolutions, self.offsets, self.hashed


def encode_torch(x: Tensor, table: Tensor, layout: HashGridLayout) -> Tensor:
    """Reference encoding, differentiable in both arguments.

    x [N, D] (clamped to [0, 1]), table [n_entries, F] -> features [N, L * F], float32, or float64 with such a table.
    """
    x = x.to(torch.promote_types(table.dtype, torch.float32)).clamp(0.0, 1.0)
    features = []
    for level in range(layout.n_levels):
        begin, end = int(layout.offsets[level]), int(layout.offsets[level + 1])
        resolution = int(layout.resolutions[level])
        position = x * float(layout.scales[level]) + 0.5
        lower = position.detach().nan_to_num(0.0).floor()
        fraction = position - lower
        lower = lower.long()
        level_features = 0.0
        for corner in range(2**layout.n_dims):
            weight = torch.ones_like(fraction[:, 0])
            index = torch.zeros_like(lower[:, 0])
            for axis in range(layout.n_dims):
                upper = (corner >> axis) & 1
                weight = weight * (fraction[:, axis] if upper else 1.0 - fraction[:, axis])
                coordinate = lower[:, axis] + upper
                if layout.hashed[level]:
                    # The low bits of a 64-bit product are those of instant-ngp's wrapping 32-bit one.
                    index = index ^ (coordinate * HASH_PRIMES[axis])
                else:
                    index = index + coordinate * resolution**axis
            # index_select rather than table[...]: its gradient is a plain index_add, without sorting on the GPU.
            entries = table.index_select(0, begin + index % (end - begin))
            level_features = level_features + weight[:, None] * entries
        features.append(level_features)
    return torch.cat(features, dim=-1)


def encode(x: Tensor, table: Tensor, layout: HashGridLayout, backend: Backend = "auto") -> Tensor:
    """x [N, D] in [0, 1] (clamped), table [n_entries, F] -> features [N, L * F], differentiable in both.

    Raises:
        InputError: the backend cannot be had on the table's device.
        ValueError: coordinates of another size or device, or F is not 2 on a backend other than torch.
    """
    if x.ndim != 2 or x.shape[1] != layout.n_dims:
        raise ValueError(f"expected coordinates [N, {layout.n_dims}], got {list(x.shape)}")
    if x.device != table.device:
        raise ValueError(f"coordinates on {x.device}, grid on {table.device}")
    chosen = resolve(backend, x.device).grids
    if chosen == "torch":
        return encode_torch(x, table, layout)
    if layout.n_features != 2:
        raise ValueError(f"the {chosen} backend has 2 features an entry, not {layout.n_features}; use torch")
    if chosen == "numba":
        return encode_numba(x, table, layout)
    # Both are imported when used: Triton takes a second to, and tiny-cuda-nn is seldom there.
    if chosen == "triton":
        from aed_nerfstudio.fields.grid_triton import encode_triton

        return encode_triton(x, table, layout)
    from aed_nerfstudio.fields.grid_tcnn import encode_tcnn

    return encode_tcnn(x, table, layout)


class HashGrid(nn.Module):
    """Trainable grid; `params` is flat, [n_entries * n_features], in tiny-cuda-nn's order on every backend."""

    def __init__(self, layout: HashGridLayout, backend: Backend = "auto"):
        super().__init__()
        self.layout = layout
        self.backend = backend
        self.params = nn.Parameter(torch.empty(layout.n_entries * layout.n_features))
        nn.init.uniform_(self.params, -1e-4, 1e-4)

    @property
    def n_outputs(self) -> int:
        return self.layout.n_outputs

    def forward(self, x: Tensor) -> Tensor:
        """x [N, D] in [0, 1] (clamped) -> features [N, L * F]."""
        return encode(x, self.params.view(-1, self.layout.n_features), self.layout, self.backend)
