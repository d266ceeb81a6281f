"""Numba kernels of the multiresolution hash grid (2-D and 3-D, two features per entry).

Shapes: coordinates [N, D] in [0, 1], table [n_entries, 2], features [N, 2 * n_levels], all float32 and contiguous.
The kernels take coordinates that are already clamped; one far outside would read outside the table.
The layout arrays (scales, resolutions, offsets, hashed) are those of `HashGridLayout`.
"""

# pyright: reportCallIssue=false
# Numba's decorators change what a function takes, of which its types say nothing.

from __future__ import annotations

import numba
import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from aed_nerfstudio.fields.grid_function import GridFunction
from aed_nerfstudio.fields.grid_layout import HashGridLayout

f32 = np.float32
u32 = np.uint32

_HALF = f32(0.5)
_ZERO = f32(0)
_PRIME_Y = u32(2654435761)
_PRIME_Z = u32(805459861)
# Points handled together per level: the block's coordinates and outputs stay in L1 while one level's table is read.
_BLOCK = 512

# Multiplication and addition are not fused ("contract" is left out), so that a point falls into the same cell here and
# in the torch reference. NaNs are not assumed away ("nnan" is left out): `_cell` relies on comparing them.
_JIT = {"parallel": True, "cache": True, "fastmath": {"reassoc", "nsz", "arcp"}, "boundscheck": False}


# Both features of an entry are computed at once, as a vector, which LLVM does not find in a loop over them: 1.5 times
# as fast. Numba has no vectors, hence the instructions by hand.

_PAIR = ir.VectorType(ir.FloatType(), 2)


def _place(context, builder, kind, array, index):
    """Returns where pair number `index` of an array [.., 2] of float32 lies."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(builder.bitcast(data, _PAIR.as_pointer()), [index])


def _load(builder, place):
    value = builder.load(place)
    value.align = 4
    return value


def _shares(builder, fraction):
    """Returns the weights of the lower and of the upper corner along an axis, each twice, as a pair."""
    shares = []
    for share in (builder.fsub(ir.Constant(ir.FloatType(), 1.0), fraction), fraction):
        pair = ir.Constant(_PAIR, ir.Undefined)
        for lane in range(2):
            pair = builder.insert_element(pair, share, ir.Constant(ir.IntType(32), lane))
        shares.append(pair)
    return shares


def _entries(context, builder, kind, table, rows):
    """Loads the pairs of a table's rows."""
    places = (_place(context, builder, kind, table, row) for row in cgutils.unpack_tuple(builder, rows))
    return [_load(builder, place) for place in places]


def _between(builder, values, below, above):
    """Interpolates between neighbours along an axis: the first two values, the next two and so on."""
    return [
        builder.fadd(builder.fmul(below, values[i]), builder.fmul(above, values[i + 1]))
        for i in range(0, len(values), 2)
    ]


@intrinsic
def _interpolate(typing_context, table, rows, fractions, features, place):
    """Sets features[place] to the entries at a cell's corners, interpolated along x, then y, then z.

    table, features: [.., 2] float32. rows: of the corners, x fastest. fractions: one an axis. place: which pair of
    features.
    """

    def generate(context, builder, signature, arguments):
        table_kind, _, _, features_kind, _ = signature.args
        table, rows, fractions, features, place = arguments
        values = _entries(context, builder, table_kind, table, rows)
        for fraction in cgutils.unpack_tuple(builder, fractions):
            values = _between(builder, values, *_shares(builder, fraction))
        builder.store(values[0], _place(context, builder, features_kind, features, place)).align = 4
        return context.get_dummy_value()

    return types.void(table, rows, fractions, features, place), generate


@intrinsic
def _distribute(typing_context, grad, place, rows, fractions, grad_table):
    """Reverses `_interpolate`: adds the pair grad[place], by the corners' weights, to the entries at the corners."""

    def generate(context, builder, signature, arguments):
        grad_kind, _, _, _, table_kind = signature.args
        grad, place, rows, fractions, grad_table = arguments
        values = [_load(builder, _place(context, builder, grad_kind, grad, place))]
        for fraction in reversed(cgutils.unpack_tuple(builder, fractions)):
            shares = _shares(builder, fraction)
            values = [builder.fmul(share, value) for value in values for share in shares]
        for row, value in zip(cgutils.unpack_tuple(builder, rows), values, strict=True):
            entry = _place(context, builder, table_kind, grad_table, row)
            builder.store(builder.fadd(_load(builder, entry), value), entry).align = 4
        return context.get_dummy_value()

    return types.void(grad, place, rows, fractions, grad_table), generate


@intrinsic
def _slopes(typing_context, table, rows, fractions, grad, place):
    """Returns how fast the sum of grad[place] * `_interpolate`'s pair grows along x, y, (z), a cell: float32 each."""

    def generate(context, builder, signature, arguments):
        table_kind, _, _, grad_kind, _ = signature.args
        table, rows, fractions, grad, place = arguments
        given = _load(builder, _place(context, builder, grad_kind, grad, place))
        entries = _entries(context, builder, table_kind, table, rows)
        shares = [_shares(builder, fraction) for fraction in cgutils.unpack_tuple(builder, fractions)]
        slopes = []
        for along in range(len(shares)):
            values = entries
            for axis, (below, above) in enumerate(shares):
                if axis == along:
                    values = [builder.fsub(values[i + 1], values[i]) for i in range(0, len(values), 2)]
                else:
                    values = _between(builder, values, below, above)
            product = builder.fmul(values[0], given)
            lanes = [builder.extract_element(product, ir.Constant(ir.IntType(32), lane)) for lane in range(2)]
            slopes.append(builder.fadd(*lanes))
        return context.make_tuple(builder, signature.return_type, slopes)

    return types.UniTuple(types.float32, len(fractions))(table, rows, fractions, grad, place), generate


@numba.njit(inline="always")
def _cell(coordinate, scale):
    """Returns the lower corner and the fraction of one coordinate; a NaN has a NaN fraction, but a cell inside the
    table."""
    position = coordinate * scale + _HALF
    lower = u32(position) if position >= _ZERO else u32(0)
    return lower, position - f32(lower)


@numba.njit(inline="always")
def _wrap(index, entries):
    """Returns index % entries: the upper corners of the last half cell reach past the level, by less than its size."""
    return index - entries if index >= entries else index


@numba.njit(inline="always")
def _corners_2d(ix, iy, resolution, begin, entries, is_hashed):
    """Returns the table's rows of a cell's 4 corners, x fastest."""
    if is_hashed:
        mask = u32(entries - 1)
        jx = u32(ix + u32(1))
        hy = u32(iy * _PRIME_Y)
        ky = u32(hy + _PRIME_Y)
        return (
            begin + np.int64((ix ^ hy) & mask),
            begin + np.int64((jx ^ hy) & mask),
            begin + np.int64((ix ^ ky) & mask),
            begin + np.int64((jx ^ ky) & mask),
        )
    stride = np.int64(resolution)
    first = np.int64(ix) + stride * np.int64(iy)
    return (
        begin + _wrap(first, entries),
        begin + _wrap(first + 1, entries),
        begin + _wrap(first + stride, entries),
        begin + _wrap(first + stride + 1, entries),
    )


@numba.njit(inline="always")
def _corners_3d(ix, iy, iz, resolution, begin, entries, is_hashed):
    """Returns the table's rows of a cell's 8 corners, x fastest, then y."""
    if is_hashed:
        mask = u32(entries - 1)
        jx = u32(ix + u32(1))
        hy = u32(iy * _PRIME_Y)
        ky = u32(hy + _PRIME_Y)
        hz = u32(iz * _PRIME_Z)
        kz = u32(hz + _PRIME_Z)
        return (
            begin + np.int64((ix ^ hy ^ hz) & mask),
            begin + np.int64((jx ^ hy ^ hz) & mask),
            begin + np.int64((ix ^ ky ^ hz) & mask),
            begin + np.int64((jx ^ ky ^ hz) & mask),
            begin + np.int64((ix ^ hy ^ kz) & mask),
            begin + np.int64((jx ^ hy ^ kz) & mask),
            begin + np.int64((ix ^ ky ^ kz) & mask),
            begin + np.int64((jx ^ ky ^ kz) & mask),
        )
    row = np.int64(resolution)
    plane = row * row
    first = np.int64(ix) + row * np.int64(iy) + plane * np.int64(iz)
    return (
        begin + _wrap(first, entries),
        begin + _wrap(first + 1, entries),
        begin + _wrap(first + row, entries),
        begin + _wrap(first + row + 1, entries),
        begin + _wrap(first + plane, entries),
        begin + _wrap(first + plane + 1, entries),
        begin + _wrap(first + plane + row, entries),
        begin + _wrap(first + plane + row + 1, entries),
    )


@numba.njit(**_JIT)
def forward_2d(x, table, scales, resolutions, offsets, hashed, features):
    n_points, n_levels = x.shape[0], scales.shape[0]
    for block in numba.prange((n_points + _BLOCK - 1) // _BLOCK):
        for level in range(n_levels):
            scale, resolution, is_hashed = scales[level], resolutions[level], hashed[level]
            begin, entries = offsets[level], offsets[level + 1] - offsets[level]
            for n in range(block * _BLOCK, min(n_points, (block + 1) * _BLOCK)):
                ix, fx = _cell(x[n, 0], scale)
                iy, fy = _cell(x[n, 1], scale)
                rows = _corners_2d(ix, iy, resolution, begin, entries, is_hashed)
                _interpolate(table, rows, (fx, fy), features, n * n_levels + level)


@numba.njit(**_JIT)
def forward_3d(x, table, scales, resolutions, offsets, hashed, features):
    n_points, n_levels = x.shape[0], scales.shape[0]
    for block in numba.prange((n_points + _BLOCK - 1) // _BLOCK):
        for level in range(n_levels):
            scale, resolution, is_hashed = scales[level], resolutions[level], hashed[level]
            begin, entries = offsets[level], offsets[level + 1] - offsets[level]
            for n in range(block * _BLOCK, min(n_points, (block + 1) * _BLOCK)):
                ix, fx = _cell(x[n, 0], scale)
                iy, fy = _cell(x[n, 1], scale)
                iz, fz = _cell(x[n, 2], scale)
                rows = _corners_3d(ix, iy, iz, resolution, begin, entries, is_hashed)
                _interpolate(table, rows, (fx, fy, fz), features, n * n_levels + level)


# The gradient of the table is parallel over levels: each owns its rows, so no two threads add to the same entry.


@numba.njit(**_JIT)
def backward_table_2d(x, grad, scales, resolutions, offsets, hashed, grad_table):
    """Writes to grad_table [n_entries, 2] the table's gradient under that of the features, grad [N, 2L]."""
    n_levels = scales.shape[0]
    for level in numba.prange(n_levels):
        scale, resolution, is_hashed = scales[level], resolutions[level], hashed[level]
        begin, entries = offsets[level], offsets[level + 1] - offsets[level]
        grad_table[begin : begin + entries] = _ZERO
        for n in range(x.shape[0]):
            ix, fx = _cell(x[n, 0], scale)
            iy, fy = _cell(x[n, 1], scale)
            rows = _corners_2d(ix, iy, resolution, begin, entries, is_hashed)
            _distribute(grad, n * n_levels + level, rows, (fx, fy), grad_table)


@numba.njit(**_JIT)
def backward_table_3d(x, grad, scales, resolutions, offsets, hashed, grad_table):
    """Writes to grad_table [n_entries, 2] the table's gradient under that of the features, grad [N, 2L]."""
    n_levels = scales.shape[0]
    for level in numba.prange(n_levels):
        scale, resolution, is_hashed = scales[level], resolutions[level], hashed[level]
        begin, entries = offsets[level], offsets[level + 1] - offsets[level]
        grad_table[begin : begin + entries] = _ZERO
        for n in range(x.shape[0]):
            ix, fx = _cell(x[n, 0], scale)
            iy, fy = _cell(x[n, 1], scale)
            iz, fz = _cell(x[n, 2], scale)
            rows = _corners_3d(ix, iy, iz, resolution, begin, entries, is_hashed)
            _distribute(grad, n * n_levels + level, rows, (fx, fy, fz), grad_table)


@numba.njit(**_JIT)
def backward_x_2d(x, table, grad, scales, resolutions, offsets, hashed, grad_x):
    """Writes to grad_x [N, 2] the coordinates' gradient under that of the features, grad [N, 2L]."""
    n_points, n_levels = x.shape[0], scales.shape[0]
    for block in numba.prange((n_points + _BLOCK - 1) // _BLOCK):
        start, stop = block * _BLOCK, min(n_points, (block + 1) * _BLOCK)
        grad_x[start:stop] = _ZERO
        for level in range(n_levels):
            scale, resolution, is_hashed = scales[level], resolutions[level], hashed[level]
            begin, entries = offsets[level], offsets[level + 1] - offsets[level]
            for n in range(start, stop):
                ix, fx = _cell(x[n, 0], scale)
                iy, fy = _cell(x[n, 1], scale)
                rows = _corners_2d(ix, iy, resolution, begin, entries, is_hashed)
                along_x, along_y = _slopes(table, rows, (fx, fy), grad, n * n_levels + level)
                grad_x[n, 0] += scale * along_x
                grad_x[n, 1] += scale * along_y


@numba.njit(**_JIT)
def backward_x_3d(x, table, grad, scales, resolutions, offsets, hashed, grad_x):
    """Writes to grad_x [N, 3] the coordinates' gradient under that of the features, grad [N, 2L]."""
    n_points, n_levels = x.shape[0], scales.shape[0]
    for block in numba.prange((n_points + _BLOCK - 1) // _BLOCK):
        start, stop = block * _BLOCK, min(n_points, (block + 1) * _BLOCK)
        grad_x[start:stop] = _ZERO
        for level in range(n_levels):
            scale, resolution, is_hashed = scales[level], resolutions[level], hashed[level]
            begin, entries = offsets[level], offsets[level + 1] - offsets[level]
            for n in range(start, stop):
                ix, fx = _cell(x[n, 0], scale)
                iy, fy = _cell(x[n, 1], scale)
                iz, fz = _cell(x[n, 2], scale)
                rows = _corners_3d(ix, iy, iz, resolution, begin, entries, is_hashed)
                along_x, along_y, along_z = _slopes(table, rows, (fx, fy, fz), grad, n * n_levels + level)
                grad_x[n, 0] += scale * along_x
                grad_x[n, 1] += scale * along_y
                grad_x[n, 2] += scale * along_z


_FORWARD = {2: forward_2d, 3: forward_3d}
_BACKWARD_TABLE = {2: backward_table_2d, 3: backward_table_3d}
_BACKWARD_X = {2: backward_x_2d, 3: backward_x_3d}


class _NumbaKernels:
    """The `GridKernels` of the CPU."""

    @staticmethod
    def features(x: torch.Tensor, table: torch.Tensor, layout: HashGridLayout) -> torch.Tensor:
        features = torch.empty(x.shape[0], 2 * layout.n_levels)
        _FORWARD[layout.n_dims](x.numpy(), table.numpy(), *layout.arrays, features.numpy())
        return features

    @staticmethod
    def gradient_of_x(x: torch.Tensor, table: torch.Tensor, grad: torch.Tensor, layout: HashGridLayout) -> torch.Tensor:
        grad_x = torch.empty_like(x)
        _BACKWARD_X[layout.n_dims](x.numpy(), table.numpy(), grad.numpy(), *layout.arrays, grad_x.numpy())
        return grad_x

    @staticmethod
    def gradient_of_table(
        x: torch.Tensor, table: torch.Tensor, grad: torch.Tensor, layout: HashGridLayout
    ) -> torch.Tensor:
        grad_table = torch.empty_like(table)
        _BACKWARD_TABLE[layout.n_dims](x.numpy(), grad.numpy(), *layout.arrays, grad_table.numpy())
        return grad_table


def encode_numba(
    x: torch.Tensor, table: torch.Tensor, layout: HashGridLayout, rows: torch.Tensor | None = None
) -> torch.Tensor:
    """Encodes coordinates on the CPU: x [N, D] in [0, 1], table [n_entries, 2] -> features [N, 2L].

    rows: as `encode` takes them.
    """
    return GridFunction.apply(x.float(), table.float(), layout, _NumbaKernels, torch.float32, rows)
