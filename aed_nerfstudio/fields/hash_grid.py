"""Multiresolution hash grid in instant-ngp's layout, on any backend of `aed_nerfstudio.backends`."""

from __future__ import annotations

from itertools import accumulate, pairwise

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from aed_nerfstudio.backends import Backend, resolve
from aed_nerfstudio.fields.grid_layout import HASH_PRIMES, HashGridLayout
from aed_nerfstudio.fields.grid_numba import encode_numba


def encode_torch(
    x: Float[Tensor, "n d"], table: Float[Tensor, "entries f"], layout: HashGridLayout
) -> Float[Tensor, "n features"]:
    """Encodes coordinates by plain tensor operations, differentiable in both arguments: the reference of the kernels.

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
        level_features = x.new_zeros(len(x), layout.n_features)
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


def encode(
    x: Float[Tensor, "n d"],
    table: Float[Tensor, "entries f"],
    layout: HashGridLayout,
    backend: Backend = "auto",
    rows: Int64[Tensor, " m"] | None = None,
) -> Float[Tensor, "n features"]:
    """Encodes coordinates: x [N, D] in [0, 1] (clamped), table [n_entries, F] -> features [N, L * F].

    The features are differentiable in both arguments. rows [M] are those of x whose gradient is asked for (None: all):
    our kernels leave the others' at zero, which saves time.

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
        return encode_numba(x, table, layout, rows)
    # Both are imported when used: Triton takes a second to, and tiny-cuda-nn is seldom there.
    if chosen == "triton":
        from aed_nerfstudio.fields.grid_triton import encode_triton

        return encode_triton(x, table, layout, rows)
    from aed_nerfstudio.fields.grid_tcnn import encode_tcnn

    return encode_tcnn(x, table, layout)


def rows_of_parts(rows: Int64[Tensor, " m"], counts: list[int]) -> list[Int64[Tensor, " part"]]:
    """Returns the rows [M], in order, that fall into parts of `counts` rows each, counted from each part's first."""
    starts = [0, *accumulate(counts)]
    cuts = torch.searchsorted(rows, rows.new_tensor(starts)).tolist()
    return [rows[a:b] - start for (a, b), start in zip(pairwise(cuts), starts, strict=False)]


class HashGrid(nn.Module):
    """A trainable grid; `params` is flat, [n_entries * n_features], in tiny-cuda-nn's order on every backend."""

    params: nn.Parameter

    def __init__(self, layout: HashGridLayout, backend: Backend = "auto"):
        super().__init__()
        self.layout = layout
        self.backend: Backend = backend
        self.params = nn.Parameter(torch.empty(layout.n_entries * layout.n_features))
        nn.init.uniform_(self.params, -1e-4, 1e-4)

    @property
    def n_outputs(self) -> int:
        """Returns how many features a point has, L * F."""
        return self.layout.n_outputs

    def forward(self, x: Float[Tensor, "n d"], rows: Int64[Tensor, " m"] | None = None) -> Float[Tensor, "n features"]:
        """Encodes coordinates x [N, D] in [0, 1] (clamped) -> features [N, L * F]; rows: as `encode` takes them."""
        return encode(x, self.params.view(-1, self.layout.n_features), self.layout, self.backend, rows)
