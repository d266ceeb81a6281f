"""The multiresolution hash grid on tiny-cuda-nn, for GPUs; imported only where `tinycudann` is.

The parameters stay those of `HashGrid`, whose order is tiny-cuda-nn's own: its native module is given them with every
call and keeps none. Its float32 grid is used, so that features and gradients are those of the other backends; the
half-precision one needs a scaled loss and half the memory traffic.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.fields.grid_layout import HashGridLayout

# exp2f of a GPU may err by this share of its result.
_MARGIN = np.float32(1 + 2.0**-21)


def level_scales(growth: np.float32, layout: HashGridLayout) -> Float[np.ndarray, " levels"]:
    """Returns the levels' scales, [L] float32, as tiny-cuda-nn computes them, in float32 throughout."""
    levels = np.arange(layout.n_levels, dtype=np.float32)
    return np.exp2(levels * np.log2(growth)) * np.float32(layout.base_resolution) - np.float32(1)


def encoding_config(layout: HashGridLayout) -> dict:
    """Returns tiny-cuda-nn's configuration of a layout.

    tiny-cuda-nn takes the scales' growth in float32, where a scale that should be 31 may come out as 31.000002 and its
    level a vertex wider, which moves all entries behind it. A growth smaller by a few units in the last place gives
    the layout's own resolutions, and shifts positions at the finest level by a thousandth of a cell.
    """
    growth = np.float32(np.exp(np.log(layout.top_resolution / layout.base_resolution) / max(layout.n_levels - 1, 1)))
    dense = ~layout.hashed
    for _ in range(64):
        largest = (level_scales(growth, layout) + np.float32(1)) * _MARGIN - np.float32(1)
        # Resolutions of hashed levels are of no consequence. The first level's scale is exact.
        wider = np.ceil(largest) + 1 > layout.resolutions
        if not (wider & dense)[1:].any():
            break
        growth = np.nextafter(growth, np.float32(0))
    return {
        "otype": "HashGrid",
        "n_levels": layout.n_levels,
        "n_features_per_level": layout.n_features,
        "log2_hashmap_size": layout.log2_size,
        "base_resolution": layout.base_resolution,
        "per_level_scale": float(growth),
        "interpolation": "Linear",
    }


@functools.cache
def _native(layout: HashGridLayout, device: torch.device):
    """Returns tiny-cuda-nn's module of a layout, without parameters."""
    from tinycudann.modules import _C  # pyright: ignore[reportMissingImports]  # seldom installed

    module = _C.create_encoding(layout.n_dims, encoding_config(layout), _C.Precision.Fp32)
    expected = layout.n_entries * layout.n_features
    if module.n_params() != expected:
        raise InputError(
            f"backend tcnn: this tiny-cuda-nn lays {layout} out in {module.n_params()} parameters, not {expected}; "
            "use backend triton or torch"
        )
    return module


def encode_tcnn(
    x: Float[Tensor, "n d"], table: Float[Tensor, "entries 2"], layout: HashGridLayout
) -> Float[Tensor, "n features"]:
    """Encodes coordinates on a GPU: x [N, D] in [0, 1] (clamped), table [n_entries, 2] -> features [N, 2L].

    The features are differentiable in both arguments.
    """
    from tinycudann.modules import _C, _module_function  # pyright: ignore[reportMissingImports]  # seldom installed

    n_points, block = x.shape[0], int(_C.batch_size_granularity())
    padding = -n_points % block if n_points else block
    x = functional.pad(x.float().clamp(0.0, 1.0), (0, 0, 0, padding)).contiguous()
    params = table.float().reshape(-1).contiguous()
    features = _module_function.apply(_native(layout, x.device), x, params, 1.0)  # in float32 no loss is scaled
    return features[:n_points, : layout.n_outputs]
