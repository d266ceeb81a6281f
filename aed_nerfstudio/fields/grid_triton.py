"""Triton kernels of the multiresolution hash grid (2-D and 3-D, two features per entry).

Shapes and layout as in grid_numba.py; sums are float32 whatever the table's and the features' type. A program handles
a block of points: one level of them in `forward_features` and `backward_table`, all levels in `backward_x`, which sums
over them.
"""

# pyright: reportGeneralTypeIssues=false
# Triton's types say that the functions of its language never return, which is so outside kernels.

from __future__ import annotations

import functools

import torch
import triton
import triton.language as tl

from aed_nerfstudio.backends import interpreted
from aed_nerfstudio.fields.grid_function import GridFunction
from aed_nerfstudio.fields.grid_layout import HashGridLayout

# A program of the interpreter costs the same however wide it is.
_WIDTHS = [(8192, 4)] if interpreted() else [(128, 4), (256, 4), (256, 8), (512, 8)]
_CONFIGS = [triton.Config({"width": width}, num_warps=warps) for width, warps in _WIDTHS]
# The sums of the table's gradient are sorted, which a program of the interpreter pays for by its width.
_SORTING = [triton.Config({"width": 512}, num_warps=4)] if interpreted() else _CONFIGS
# Points differ in number from call to call: they are no key, else every call would tune anew.
_TUNED = {"configs": _CONFIGS, "key": ["n_dims"]}


@triton.jit
def level_of(level, scales, resolutions, begins, sizes, hashed):
    return (
        tl.load(scales + level),
        tl.load(resolutions + level),
        tl.load(begins + level),
        tl.load(sizes + level),
        tl.load(hashed + level),
    )


@triton.jit
def _cells(x, point, inside, scale, n_dims: tl.constexpr):
    """Returns lower corners and fractions, of three axes always: the third of 2-D points is 0 with a fraction of 0."""
    ix, fx = cell_of(tl.load(x + point * n_dims, mask=inside, other=0.0), scale)
    iy, fy = cell_of(tl.load(x + point * n_dims + 1, mask=inside, other=0.0), scale)
    iz, fz = ix * 0, tl.zeros_like(fx)
    if n_dims == 3:
        iz, fz = cell_of(tl.load(x + point * n_dims + 2, mask=inside, other=0.0), scale)
    return ix, iy, iz, fx, fy, fz


@triton.jit
def cell_of(x, scale):
    """Returns the lower corners and fractions of coordinates; a NaN has a NaN fraction, but a cell inside the table."""
    position = x * scale + 0.5
    lower = tl.where(position >= 0.0, position, 0.0).to(tl.int32)
    return lower, position - lower.to(tl.float32)


@triton.jit
def row_of(ix, iy, iz, corner, resolution, begin, size, is_hashed):
    """Returns the table's row of a cell's corner; bit 0 of its number: the upper one in x, bit 1: in y, bit 2: in z."""
    jx = ix + (corner & 1)
    jy = iy + ((corner >> 1) & 1)
    jz = iz + ((corner >> 2) & 1)
    dense = jx + resolution * (jy + resolution * jz)
    # The upper corners of the last half cell reach past the level, by less than its size.
    dense = tl.where(dense >= size, dense - size, dense)
    # instant-ngp's hash, whose products wrap at 32 bits.
    hash = jx.to(tl.uint32) ^ (jy.to(tl.uint32) * 2654435761) ^ (jz.to(tl.uint32) * 805459861)
    hashed = (hash & (size - 1).to(tl.uint32)).to(tl.int32)
    return begin + tl.where(is_hashed != 0, hashed, dense)


@triton.jit
def _share(fraction, upper: tl.constexpr):
    """Returns the weight of a corner along an axis."""
    if upper:
        return fraction
    return 1.0 - fraction


@triton.autotune(**_TUNED)
@triton.jit
def forward_features(
    x, table, features, scales, resolutions, begins, sizes, hashed, n_points, n_levels,
    n_dims: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    """Writes the features [N, 2L] of coordinates. Grid: blocks of points, levels."""
    level = tl.program_id(1)
    point = tl.program_id(0).to(tl.int64) * width + tl.arange(0, width)
    inside = point < n_points
    scale, resolution, begin, size, is_hashed = level_of(level, scales, resolutions, begins, sizes, hashed)
    ix, iy, iz, fx, fy, fz = _cells(x, point, inside, scale, n_dims)
    first, second = tl.zeros_like(fx), tl.zeros_like(fx)
    for corner in tl.static_range(1 << n_dims):
        entry = table + 2 * row_of(ix, iy, iz, corner, resolution, begin, size, is_hashed)
        weight = _share(fx, corner & 1) * _share(fy, corner & 2) * _share(fz, corner & 4)
        first += weight * tl.load(entry, mask=inside, other=0.0)
        second += weight * tl.load(entry + 1, mask=inside, other=0.0)
    out = features + 2 * (point * n_levels + level)
    tl.store(out, first, mask=inside)
    tl.store(out + 1, second, mask=inside)


@triton.jit
def _sorted(key, lane, width: tl.constexpr):
    """Returns the keys of a block in ascending order. Bitonic, by gathering: the interpreter takes minutes for
    `tl.sort`."""
    length = 2
    while length <= width:
        apart = length // 2
        while apart > 0:
            other = tl.gather(key, lane ^ apart, 0)
            lower = ((lane & apart) == 0) == ((lane & length) == 0)
            key = tl.where(lower, tl.minimum(key, other), tl.maximum(key, other))
            apart = apart // 2
        length = length * 2
    return key


@triton.jit
def _sums_of_runs(value, cell, lane):
    """Sums the columns of value [W, C] over runs of rows with equal cells [W]: the last row of a run has its sum.

    In doubling steps, as many as the longest run needs: one for points in cells of their own.
    """
    apart = 1
    same = (lane >= apart) & (tl.gather(cell, tl.maximum(lane - apart, 0), 0) == cell)
    while tl.max(same.to(tl.int32), axis=0) != 0:
        from_row = tl.broadcast_to(tl.maximum(lane - apart, 0)[:, None], value.shape)
        value += tl.where(same[:, None], tl.gather(value, from_row, 0), 0.0)
        apart = apart * 2
        same = (lane >= apart) & (tl.gather(cell, tl.maximum(lane - apart, 0), 0) == cell)
    return value


@triton.autotune(configs=_SORTING, key=["n_dims"], reset_to_zero=["grad_table"])
@triton.jit
def backward_table(
    x, grad, grad_table, scales, resolutions, begins, sizes, hashed, n_points, n_levels,
    n_dims: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    """Adds to grad_table [n_entries, 2] the table's gradient under that of the features, grad [N, 2L], in no fixed
    order. Grid: blocks of points, levels.

    A block sorts its points by cell and adds once what those of a cell give to a corner. Points crowd into few cells
    (all of them, in the grid of the audio), and additions to one entry wait for each other.
    """
    level = tl.program_id(1)
    first_point = tl.program_id(0).to(tl.int64) * width
    lane = tl.arange(0, width)
    inside = first_point + lane < n_points
    scale, resolution, begin, size, is_hashed = level_of(level, scales, resolutions, begins, sizes, hashed)
    ix, iy, iz, fx, fy, fz = _cells(x, first_point + lane, inside, scale, n_dims)
    cell = ix.to(tl.int64) | (iy.to(tl.int64) << 18) | (iz.to(tl.int64) << 36)
    nowhere = tl.full((width,), 1 << 53, tl.int64)
    key = _sorted(tl.where(inside, cell, nowhere) * width + lane, lane, width)
    cell = key // width
    point = first_point + key % width
    inside = cell < nowhere
    # Again, now in the order of cells.
    ix, iy, iz, fx, fy, fz = _cells(x, point, inside, scale, n_dims)
    given = grad + 2 * (point * n_levels + level)
    first = tl.load(given, mask=inside, other=0.0)
    second = tl.load(given + 1, mask=inside, other=0.0)
    column = tl.arange(0, 2 << n_dims)[None, :]  # both features of the first corner, of the second and so on
    corner, feature = column >> 1, column & 1
    value = tl.where((corner & 1) != 0, fx[:, None], 1.0 - fx[:, None])
    value *= tl.where((corner & 2) != 0, fy[:, None], 1.0 - fy[:, None])
    value *= tl.where((corner & 4) != 0, fz[:, None], 1.0 - fz[:, None])
    value *= tl.where(feature == 0, first[:, None], second[:, None])
    value = _sums_of_runs(value, cell, lane)
    next_cell = tl.gather(cell, tl.minimum(lane + 1, width - 1), 0)
    last = inside & ((lane == width - 1) | (next_cell != cell))
    row = row_of(ix[:, None], iy[:, None], iz[:, None], corner, resolution, begin, size, is_hashed)
    tl.atomic_add(grad_table + 2 * row + feature, value, mask=last[:, None], sem="relaxed")


@triton.autotune(**_TUNED)
@triton.jit
def backward_x(
    x, table, grad, grad_x, scales, resolutions, begins, sizes, hashed, n_points, n_levels,
    n_dims: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    """Writes to grad_x [N, D] the coordinates' gradient under that of the features, grad [N, 2L]. Grid: blocks of
    points."""
    point = tl.program_id(0).to(tl.int64) * width + tl.arange(0, width)
    inside = point < n_points
    along_x = tl.zeros((width,), tl.float32)
    along_y = tl.zeros((width,), tl.float32)
    along_z = tl.zeros((width,), tl.float32)
    for level in range(n_levels):
        scale, resolution, begin, size, is_hashed = level_of(level, scales, resolutions, begins, sizes, hashed)
        ix, iy, iz, fx, fy, fz = _cells(x, point, inside, scale, n_dims)
        given = grad + 2 * (point * n_levels + level)
        first = scale * tl.load(given, mask=inside, other=0.0)
        second = scale * tl.load(given + 1, mask=inside, other=0.0)
        for corner in tl.static_range(1 << n_dims):
            entry = table + 2 * row_of(ix, iy, iz, corner, resolution, begin, size, is_hashed)
            value = first * tl.load(entry, mask=inside, other=0.0)
            value += second * tl.load(entry + 1, mask=inside, other=0.0)
            wx, wy, wz = _share(fx, corner & 1), _share(fy, corner & 2), _share(fz, corner & 4)
            along_x += value * wy * wz * (2 * (corner & 1) - 1)
            along_y += value * wx * wz * (2 * ((corner >> 1) & 1) - 1)
            along_z += value * wx * wy * (2 * ((corner >> 2) & 1) - 1)
    tl.store(grad_x + point * n_dims, along_x, mask=inside)
    tl.store(grad_x + point * n_dims + 1, along_y, mask=inside)
    if n_dims == 3:
        tl.store(grad_x + point * n_dims + 2, along_z, mask=inside)


@functools.cache
def layout_arrays(layout: HashGridLayout, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Returns the layout on a device, in the order in which the kernels take it."""
    sizes = layout.offsets[1:] - layout.offsets[:-1]
    arrays = (
        layout.scales,
        layout.resolutions.astype("int32"),
        layout.offsets[:-1],
        sizes.astype("int32"),
        layout.hashed.astype("int32"),
    )
    return tuple(torch.from_numpy(array).to(device) for array in arrays)


def _launch(kernel, tensors, layout, n_points, levels):
    if not n_points:
        return
    # Without fusion of multiplication and addition a point falls into the same cell as in the other backends.
    with torch.cuda.device_of(tensors[0]):
        kernel[lambda meta: (triton.cdiv(n_points, meta["width"]), levels)](
            *tensors,
            *layout_arrays(layout, tensors[0].device),
            n_points,
            layout.n_levels,
            n_dims=layout.n_dims,
            enable_fp_fusion=False,
        )


class _TritonKernels:
    """The `GridKernels` of a GPU."""

    @staticmethod
    def features(x: torch.Tensor, table: torch.Tensor, layout: HashGridLayout) -> torch.Tensor:
        features = table.new_empty(x.shape[0], 2 * layout.n_levels)
        _launch(forward_features, (x, table, features), layout, x.shape[0], layout.n_levels)
        return features

    @staticmethod
    def gradient_of_x(x: torch.Tensor, table: torch.Tensor, grad: torch.Tensor, layout: HashGridLayout) -> torch.Tensor:
        grad_x = torch.empty_like(x)
        _launch(backward_x, (x, table, grad, grad_x), layout, x.shape[0], 1)
        return grad_x

    @staticmethod
    def gradient_of_table(
        x: torch.Tensor, table: torch.Tensor, grad: torch.Tensor, layout: HashGridLayout
    ) -> torch.Tensor:
        grad_table = torch.zeros_like(table, dtype=torch.float32)
        _launch(backward_table, (x, grad, grad_table), layout, x.shape[0], layout.n_levels)
        return grad_table


def encode_triton(
    x: torch.Tensor, table: torch.Tensor, layout: HashGridLayout, rows: torch.Tensor | None = None
) -> torch.Tensor:
    """Encodes coordinates on a GPU (or in Triton's interpreter): x [N, D] in [0, 1], table [n_entries, 2] -> [N, 2L].

    Under autocast (`--mixed-precision True`) the table is read in its type and the features have it. rows: as `encode`
    takes them.
    """
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
    return GridFunction.apply(x.float(), table.float(), layout, _TritonKernels, dtype, rows)
