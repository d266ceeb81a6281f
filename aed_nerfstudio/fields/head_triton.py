"""Triton kernel of the head field's networks under one condition: from looked-up features to density and colour.

A program takes a block of samples through all layers, whose outputs lie in registers and shared memory, and looks a_g
up in between. Forward only.
"""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
# Triton's types say that the functions of its language never return, which is so outside kernels, and that constants of
# a kernel must be wrapped, which its launcher does.

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from aed_nerfstudio.backends import interpreted
from aed_nerfstudio.fields.grid_layout import HashGridLayout
from aed_nerfstudio.fields.grid_triton import cell_of, layout_arrays, level_of, row_of
from aed_nerfstudio.fields.mlp import MLP

# A program of the interpreter costs the same however wide it is.
_WIDTHS = [(1024, 4)] if interpreted() else [(64, 4), (128, 8)]
_CONFIGS = [triton.Config({"width": width}, num_warps=warps) for width, warps in _WIDTHS]
# The interpreter knows bfloat16, but no products of it; those of the same numbers in float32 are the same.
_MULTIPLIED = {torch.float32: tl.float32, torch.bfloat16: tl.float32 if interpreted() else tl.bfloat16}


class HeadNetworks(NamedTuple):
    """The networks of a head field, whose names these are."""

    compress: MLP
    density: MLP
    colour: MLP
    shading: MLP | None


@triton.jit
def _rows(features, point, inside, count: tl.constexpr):
    """Returns the features of samples, [W, count], of [N, count]."""
    column = tl.arange(0, count)[None, :]
    return tl.load(features + point[:, None] * count + column, mask=inside[:, None], other=0.0)


@triton.jit
def _linear(x, layer, rows: tl.constexpr, columns: tl.constexpr, kind: tl.constexpr):
    """Returns x [W, rows] times weights [rows, columns], to whose type x is rounded; sums are float32.

    Float32 is multiplied as three products of TensorFloat-32, which is as exact.
    """
    weights = tl.load(layer + tl.arange(0, rows)[:, None] * columns + tl.arange(0, columns)[None, :])
    return tl.dot(x.to(weights.dtype).to(kind), weights.to(kind), input_precision="tf32x3")


@triton.jit
def _output(h, layer, columns: tl.constexpr):
    """Returns h [W, columns] times weights [columns]: one output of a last layer, [W]."""
    return tl.sum(h * tl.load(layer + tl.arange(0, columns))[None, :].to(tl.float32), axis=1)


@triton.jit
def _activated(h, by_condition, columns: tl.constexpr):
    """Returns what a first layer gives with what the condition adds to it, [columns], through the ReLU."""
    return tl.maximum(h + tl.load(by_condition + tl.arange(0, columns))[None, :], 0.0)


@triton.jit
def _tanh(x):
    fallen = tl.exp(-2.0 * tl.abs(x))
    return tl.where(x < 0, -1.0, 1.0) * (1.0 - fallen) / (1.0 + fallen)


@triton.jit
def _looked_up(u, v, table, scales, resolutions, begins, sizes, hashed, n_levels: tl.constexpr):
    """Returns the first and the second features of all levels of a 2-D grid, [W, L] each, at coordinates [W]."""
    level = tl.arange(0, n_levels)[None, :]
    scale, resolution, begin, size, is_hashed = level_of(level, scales, resolutions, begins, sizes, hashed)
    ix, fx = cell_of(u[:, None], scale)
    iy, fy = cell_of(v[:, None], scale)
    first, second = tl.zeros_like(fx), tl.zeros_like(fx)
    for corner in tl.static_range(4):
        weight = (fx if corner & 1 else 1.0 - fx) * (fy if corner & 2 else 1.0 - fy)
        entry = table + 2 * row_of(ix, iy, ix * 0, corner, resolution, begin, size, is_hashed)
        first += weight * tl.load(entry)
        second += weight * tl.load(entry + 1)
    return first, second


@triton.autotune(configs=_CONFIGS, key=["n_moved", "shaded", "kind"])
@triton.jit
def head_networks(
    x_g, moved, view, table, scales, resolutions, begins, sizes, hashed, layer, by_condition,
    ambient, logits, density, rgb, n_points,
    n_levels: tl.constexpr, n_moved: tl.constexpr, n_view: tl.constexpr, shaded: tl.constexpr, hidden: tl.constexpr,
    kind: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    """Writes a_l [N, 2], its value before tanh [N, 2], densities [N] and colours [N, 3] of samples.

    x_g [N, 2 n_levels], moved [N, n_moved]: of the expression's grid, if there is one; view [N, n_view]; table: of the
    sound's grid, then its layout; layer: `_packed`; by_condition [3, hidden]: what it adds to the first layers of
    compress, density and colour; shaded: whether there is a smooth shading; kind: what is multiplied. Grid: blocks of
    samples.
    """
    point = tl.program_id(0).to(tl.int64) * width + tl.arange(0, width)
    inside = point < n_points
    n_spatial: tl.constexpr = 2 * n_levels
    x, seen = _rows(x_g, point, inside, n_spatial), _rows(view, point, inside, n_view)

    h = _activated(_linear(x, layer, n_spatial, hidden, kind), by_condition, hidden)
    layer += n_spatial * hidden
    h = tl.maximum(_linear(h, layer, hidden, hidden, kind), 0.0)
    layer += hidden * hidden
    first, second = _output(h, layer, hidden), _output(h, layer + hidden, hidden)
    layer += 2 * hidden
    tl.store(logits + 2 * point, first, mask=inside)
    tl.store(logits + 2 * point + 1, second, mask=inside)
    first, second = _tanh(first), _tanh(second)
    tl.store(ambient + 2 * point, first, mask=inside)
    tl.store(ambient + 2 * point + 1, second, mask=inside)
    u, v = (first + 1.0) / 2.0, (second + 1.0) / 2.0
    first, second = _looked_up(u, v, table, scales, resolutions, begins, sizes, hashed, n_levels)

    h = _linear(x, layer, n_spatial, hidden, kind)
    layer += n_spatial * hidden
    h += _linear(first, layer, n_levels, hidden, kind)
    layer += n_levels * hidden
    h += _linear(second, layer, n_levels, hidden, kind)
    layer += n_levels * hidden
    if n_moved:
        h += _linear(_rows(moved, point, inside, n_moved), layer, n_moved, hidden, kind)
        layer += n_moved * hidden
    h = tl.maximum(_linear(_activated(h, by_condition + hidden, hidden), layer, hidden, hidden, kind), 0.0)
    layer += hidden * hidden
    tl.store(density + point, tl.exp(tl.minimum(_output(h, layer, hidden), 11.0)), mask=inside)
    _colour(x, seen, _linear(h, layer + hidden, hidden, hidden, kind), layer + hidden + hidden * hidden,
            by_condition + 2 * hidden, rgb, point, inside, n_spatial, n_view, shaded, hidden, kind)  # fmt: skip


@triton.jit
def _colour(
    x, seen, h, layer, by_code, rgb, point, inside,
    n_spatial: tl.constexpr, n_view: tl.constexpr, shaded: tl.constexpr, hidden: tl.constexpr, kind: tl.constexpr,
):  # fmt: skip
    """Writes the colours of samples with x_g, directions, and what the density network gives to colours [W, hidden]."""
    if shaded:
        shade = _linear(seen, layer, n_view, hidden, kind)
        layer += n_view * hidden
        shade = tl.maximum(shade + _linear(x, layer, n_spatial, hidden, kind), 0.0)
        layer += n_spatial * hidden
        of_shade = layer
        layer += 3 * hidden
        h = _linear(h, layer, hidden, hidden, kind)
    else:
        h = _linear(h, layer, hidden, hidden, kind) + _linear(seen, layer + hidden * hidden, n_view, hidden, kind)
        layer += n_view * hidden
    h = _activated(h, by_code, hidden)
    layer += hidden * hidden
    for channel in tl.static_range(3):
        value = _output(h, layer + channel * hidden, hidden)
        if shaded:
            value += _output(shade, of_shade + channel * hidden, hidden)
        tl.store(rgb + 3 * point + channel, 1.0 / (1.0 + tl.exp(-value)), mask=inside)


def _packed(networks: HeadNetworks, n_spatial: int, n_moved: int, n_view: int, dtype: torch.dtype) -> Tensor:
    """Returns all weights in the order in which the kernel takes them, [inputs, hidden]: layers by their inputs, last
    layers by their outputs. Zeros fill up what is narrower: the shading, and what of x_g it does not see."""
    compress, density, colour = ([layer.weight for layer in net.layers] for net in networks[:3])
    of_place, of_sound = density[0][:, :n_spatial].T, density[0][:, n_spatial : 2 * n_spatial].T
    of_moved = density[0][:, 2 * n_spatial : 2 * n_spatial + n_moved].T
    rows = [compress[0][:, :n_spatial].T, compress[1].T, compress[2], of_place, of_sound[::2], of_sound[1::2], of_moved]
    rows += [density[1].T, density[2][:1], density[2][1:].T]
    hidden = len(density[1])
    if networks.shading is None:
        rows += [colour[0][:, n_view : n_view + hidden].T, colour[0][:, :n_view].T]
    else:
        first, last = (layer.weight for layer in networks.shading.layers)
        narrow = hidden - len(first)
        rows += [functional.pad(first.T, (0, narrow, 0, n_view + n_spatial - first.shape[1]))]
        rows += [functional.pad(last, (0, narrow)), colour[0][:, :hidden].T]
    return torch.cat([*rows, colour[1]]).to(dtype)


def evaluate(
    networks: HeadNetworks,
    features: tuple[Tensor, Tensor | None, Tensor],
    conditions: tuple[Tensor, Tensor, Tensor],
    table: Tensor,
    layout: HashGridLayout,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Evaluates N samples of one frame, without gradients.

    Args:
        networks: of the field, 64 wide.
        features: x_g [N, 32], those of the expression's grid [N, 16] (None: there is none) and directions [N, 16].
        conditions: what enters compress, density and colour beside those, [1, E] each.
        table: of the sound's grid, [n_entries, 2].
        layout: of that grid, of 16 levels.
        dtype: float32 or bfloat16: of what is multiplied; sums are float32.

    Returns: what `HeadField.forward` does.
    """
    x_g, moved, view = features
    n_points, n_moved = len(x_g), 0 if moved is None else moved.shape[1]
    read = x_g.contiguous(), (x_g if moved is None else moved).contiguous(), view.contiguous()
    firsts = [net.layers[0].weight for net in networks[:3]]
    sums = [functional.linear(c, w[:, w.shape[1] - c.shape[1] :]) for c, w in zip(conditions, firsts, strict=True)]
    packed = _packed(networks, x_g.shape[1], n_moved, view.shape[1], dtype)
    ambient, logits = x_g.new_empty(n_points, 2), x_g.new_empty(n_points, 2)
    density, rgb = x_g.new_empty(n_points), x_g.new_empty(n_points, 3)
    if n_points:
        with torch.cuda.device_of(x_g):
            head_networks[lambda meta: (triton.cdiv(n_points, meta["width"]),)](
                *(*read, table, *layout_arrays(layout, x_g.device)),
                *(packed, torch.cat(sums), ambient, logits, density, rgb, n_points),
                n_levels=layout.n_levels,
                n_moved=n_moved,
                n_view=view.shape[1],
                shaded=networks.shading is not None,
                hidden=packed.shape[1],
                kind=_MULTIPLIED[dtype],
            )
    return density, rgb, ambient, logits
