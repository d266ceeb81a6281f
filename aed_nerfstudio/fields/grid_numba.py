"""Numba kernels of the multiresolution hash grid (2-D and 3-D, two features per entry).

Shapes: coordinates [N, D] in [0, 1], table [n_entries, 2], features [N, 2 * n_levels], all float32 and contiguous.
The kernels take coordinates that are already clamped; one far outside would read outside the table.
The layout arrays (scales, resolutions, offsets, hashed) are those of `HashGridLayout`.
"""

import numba
import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from aed_nerfstudio.fields.grid_function import GridFunction

f32 = np.float32
u32 = np.uint32

_HALF = f32(0.5)
_ZERO = f32(0)
_ONE = f32(1)
_PRIME_Y = u32(2654435761)
_PRIME_Z = u32(805459861)
# Points handled together per level: the block's coordinates and outputs stay in L1 while one level's table is read.
_BLOCK = 512

# Multiplication and addition are not fused ("contract" is left out), so that a point falls into the same cell here and
# in the torch reference. NaNs are not assumed away ("nnan" is left out): `_cell` relies on comparing them.
_JIT = {"parallel": True, "cache": True, "fastmath": {"reassoc", "nsz", "arcp"}, "boundscheck": False}


@intrinsic
def _interpolate(typing_context, table, rows, fractions, features, place):
    """features[place] = the entries at a cell's corners, interpolated along x, then y, then z.

    table, features: [.., 2] float32. rows: of the corners, x fastest. fractions: one an axis. place: which pair of
    features. Both features are computed at once, in a vector, which LLVM does not find in a loop over them: 1.5 times
    as fast.
    """
    signature = types.void(table, rows, fractions, features, place)

    def generate(context, builder, signature, arguments):
        pair, integer = ir.VectorType(ir.FloatType(), 2), ir.IntType(32)

        def at(array_type, array, index):
            data = context.make_array(array_type)(context, builder, array).data
            return builder.gep(builder.bitcast(data, pair.as_pointer()), [index])

        def both(value):
            vector = ir.Constant(pair, ir.Undefined)
            for lane in range(2):
                vector = builder.insert_element(vector, value, ir.Constant(integer, lane))
            return vector

        values = []
        for row in cgutils.unpack_tuple(builder, arguments[1]):
            values.append(builder.load(at(signature.args[0], arguments[0], row)))
            values[-1].align = 4
        one = ir.Constant(ir.FloatType(), 1.0)
        for fraction in cgutils.unpack_tuple(builder, arguments[2]):
            above, below = both(fraction), both(builder.fsub(one, fraction))
            values = [
                builder.fadd(builder.fmul(below, values[i]), builder.fmul(above, values[i + 1]))
                for i in range(0, len(values), 2)
            ]
        builder.store(values[0], at(signature.args[3], arguments[3], arguments[4])).align = 4
        return context.get_dummy_value()

    return signature, generate


@numba.njit(inline="always")
def _cell(coordinate, scale):
    """Lower corner and fraction of one coordinate. A NaN keeps a NaN fraction, but a cell inside the table."""
    position = coordinate * scale + _HALF
    lower = u32(position) if position >= _ZERO else u32(0)
    return lower, position - f32(lower)


@numba.njit(inline="always")
def _wrap(index, entries):
    """index % entries; the upper corners of the last half cell reach past the level, by less than its size."""
    return index - entries if index >= entries else index


@numba.njit(inline="always")
def _corners_2d(ix, iy, resolution, begin, entries, is_hashed):
    """Table rows of a cell's 4 corners, x fastest."""
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
    """Table rows of a cell's 8 corners, x fastest, then y."""
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
        for level in range(scales.shape[0]):
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
        for level in range(scales.shape[0]):
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
    """grad [N, 2L] -> grad_table [n_entries, 2], overwritten."""
    for level in numba.prange(scales.shape[0]):
        scale, resolution, is_hashed = scales[level], resolutions[level], hashed[level]
        begin, entries = offsets[level], offsets[level + 1] - offsets[level]
        grad_table[begin : begin + entries] = _ZERO
        for n in range(x.shape[0]):
            ix, fx = _cell(x[n, 0], scale)
            iy, fy = _cell(x[n, 1], scale)
            gx, gy = _ONE - fx, _ONE - fy
            c0, c1, c2, c3 = _corners_2d(ix, iy, resolution, begin, entries, is_hashed)
            for f in range(2):
                g = grad[n, 2 * level + f]
                low, high = gy * g, fy * g
                grad_table[c0, f] += gx * low
                grad_table[c1, f] += fx * low
                grad_table[c2, f] += gx * high
                grad_table[c3, f] += fx * high


@numba.njit(**_JIT)
def backward_table_3d(x, grad, scales, resolutions, offsets, hashed, grad_table):
    """grad [N, 2L] -> grad_table [n_entries, 2], overwritten."""
    for level in numba.prange(scales.shape[0]):
        scale, resolution, is_hashed = scales[level], resolutions[level], hashed[level]
        begin, entries = offsets[level], offsets[level + 1] - offsets[level]
        grad_table[begin : begin + entries] = _ZERO
        for n in range(x.shape[0]):
            ix, fx = _cell(x[n, 0], scale)
            iy, fy = _cell(x[n, 1], scale)
            iz, fz = _cell(x[n, 2], scale)
            gx, gy, gz = _ONE - fx, _ONE - fy, _ONE - fz
            c0, c1, c2, c3, c4, c5, c6, c7 = _corners_3d(ix, iy, iz, resolution, begin, entries, is_hashed)
            w00, w10, w01, w11 = gy * gz, fy * gz, gy * fz, fy * fz
            for f in range(2):
                g = grad[n, 2 * level + f]
                left, right = gx * g, fx * g
                grad_table[c0, f] += w00 * left
                grad_table[c1, f] += w00 * right
                grad_table[c2, f] += w10 * left
                grad_table[c3, f] += w10 * right
                grad_table[c4, f] += w01 * left
                grad_table[c5, f] += w01 * right
                grad_table[c6, f] += w11 * left
                grad_table[c7, f] += w11 * right


@numba.njit(**_JIT)
def backward_x_2d(x, table, grad, scales, resolutions, offsets, hashed, grad_x):
    """grad [N, 2L] -> grad_x [N, 2], overwritten."""
    n_points = x.shape[0]
    for block in numba.prange((n_points + _BLOCK - 1) // _BLOCK):
        start, stop = block * _BLOCK, min(n_points, (block + 1) * _BLOCK)
        grad_x[start:stop] = _ZERO
        for level in range(scales.shape[0]):
            scale, resolution, is_hashed = scales[level], resolutions[level], hashed[level]
            begin, entries = offsets[level], offsets[level + 1] - offsets[level]
            for n in range(start, stop):
                ix, fx = _cell(x[n, 0], scale)
                iy, fy = _cell(x[n, 1], scale)
                gx, gy = _ONE - fx, _ONE - fy
                c0, c1, c2, c3 = _corners_2d(ix, iy, resolution, begin, entries, is_hashed)
                a, b = grad[n, 2 * level], grad[n, 2 * level + 1]
                v0 = table[c0, 0] * a + table[c0, 1] * b
                v1 = table[c1, 0] * a + table[c1, 1] * b
                v2 = table[c2, 0] * a + table[c2, 1] * b
                v3 = table[c3, 0] * a + table[c3, 1] * b
                grad_x[n, 0] += scale * (gy * (v1 - v0) + fy * (v3 - v2))
                grad_x[n, 1] += scale * (gx * (v2 - v0) + fx * (v3 - v1))


@numba.njit(**_JIT)
def backward_x_3d(x, table, grad, scales, resolutions, offsets, hashed, grad_x):
    """grad [N, 2L] -> grad_x [N, 3], overwritten."""
    n_points = x.shape[0]
    for block in numba.prange((n_points + _BLOCK - 1) // _BLOCK):
        start, stop = block * _BLOCK, min(n_points, (block + 1) * _BLOCK)
        grad_x[start:stop] = _ZERO
        for level in range(scales.shape[0]):
            scale, resolution, is_hashed = scales[level], resolutions[level], hashed[level]
            begin, entries = offsets[level], offsets[level + 1] - offsets[level]
            for n in range(start, stop):
                ix, fx = _cell(x[n, 0], scale)
                iy, fy = _cell(x[n, 1], scale)
                iz, fz = _cell(x[n, 2], scale)
                gx, gy, gz = _ONE - fx, _ONE - fy, _ONE - fz
                c0, c1, c2, c3, c4, c5, c6, c7 = _corners_3d(ix, iy, iz, resolution, begin, entries, is_hashed)
                a, b = grad[n, 2 * level], grad[n, 2 * level + 1]
                v0 = table[c0, 0] * a + table[c0, 1] * b
                v1 = table[c1, 0] * a + table[c1, 1] * b
                v2 = table[c2, 0] * a + table[c2, 1] * b
                v3 = table[c3, 0] * a + table[c3, 1] * b
                v4 = table[c4, 0] * a + table[c4, 1] * b
                v5 = table[c5, 0] * a + table[c5, 1] * b
                v6 = table[c6, 0] * a + table[c6, 1] * b
                v7 = table[c7, 0] * a + table[c7, 1] * b
                along_x = gz * (gy * (v1 - v0) + fy * (v3 - v2)) + fz * (gy * (v5 - v4) + fy * (v7 - v6))
                along_y = gz * (gx * (v2 - v0) + fx * (v3 - v1)) + fz * (gx * (v6 - v4) + fx * (v7 - v5))
                along_z = gy * (gx * (v4 - v0) + fx * (v5 - v1)) + fy * (gx * (v6 - v2) + fx * (v7 - v3))
                grad_x[n, 0] += scale * along_x
                grad_x[n, 1] += scale * along_y
                grad_x[n, 2] += scale * along_z


_FORWARD = {2: forward_2d, 3: forward_3d}
_BACKWARD_TABLE = {2: backward_table_2d, 3: backward_table_3d}
_BACKWARD_X = {2: backward_x_2d, 3: backward_x_3d}


class _NumbaKernels:
    """`GridKernels` on the CPU."""

    @staticmethod
    def features(x, table, layout):
        features = torch.empty(x.shape[0], 2 * layout.n_levels)
        _FORWARD[layout.n_dims](x.numpy(), table.numpy(), *layout.arrays, features.numpy())
        return features

    @staticmethod
    def gradient_of_x(x, table, grad, layout):
        grad_x = torch.empty_like(x)
        _BACKWARD_X[layout.n_dims](x.numpy(), table.numpy(), grad.numpy(), *layout.arrays, grad_x.numpy())
        return grad_x

    @staticmethod
    def gradient_of_table(x, table, grad, layout):
        grad_table = torch.empty_like(table)
        _BACKWARD_TABLE[layout.n_dims](x.numpy(), grad.numpy(), *layout.arrays, grad_table.numpy())
        return grad_table


def encode_numba(x, table, layout):
    """x [N, D] in [0, 1], table [n_entries, 2] -> features [N, 2L], on the CPU."""
    return GridFunction.apply(x.float(), table.float(), layout, _NumbaKernels, torch.float32)
