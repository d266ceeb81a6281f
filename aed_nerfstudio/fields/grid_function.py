"""The autograd Function of every grid whose kernels are ours; the kernels are a backend's."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

from aed_nerfstudio.fields.grid_layout import HashGridLayout


@runtime_checkable
class GridKernels(Protocol):
    """What a backend's kernels compute from coordinates x [N, D] in [0, 1], table [n_entries, 2] and grad [N, 2L].

    All are contiguous, and float32 but for the table where `GridFunction` was given another type.
    """

    @staticmethod
    def features(
        x: Float[Tensor, "n d"], table: Float[Tensor, "entries 2"], layout: HashGridLayout
    ) -> Float[Tensor, "n features"]:
        """Returns the features [N, 2L], of the table's type."""
        ...

    @staticmethod
    def gradient_of_x(
        x: Float[Tensor, "n d"],
        table: Float[Tensor, "entries 2"],
        grad: Float[Tensor, "n features"],
        layout: HashGridLayout,
    ) -> Float[Tensor, "n d"]:
        """Returns the gradient of the coordinates, [N, D]."""
        ...

    @staticmethod
    def gradient_of_table(
        x: Float[Tensor, "n d"],
        table: Float[Tensor, "entries 2"],
        grad: Float[Tensor, "n features"],
        layout: HashGridLayout,
    ) -> Float[Tensor, "entries 2"]:
        """Returns the gradient of the table, [n_entries, 2]."""
        ...


class GridFunction(torch.autograd.Function):
    """Looks up the features [N, 2L] of coordinates x [N, D] in a table [n_entries, 2], both float32.

    Gradients are of first order and float32; `dtype` is the type that the table is converted to and the features have.
    `rows` [M] are those of x whose gradient is asked for; that of the others is zero. None: all.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Float[Tensor, "n d"],
        table: Float[Tensor, "entries 2"],
        layout: HashGridLayout,
        kernels: type[GridKernels],
        dtype: torch.dtype,
        rows: Int64[Tensor, " m"] | None,
    ) -> Float[Tensor, "n features"]:
        # Clamped once here: in the kernels it would be repeated for every level, at a tenth to a fifth of their speed.
        clamped, table = x.detach().clamp(0.0, 1.0).contiguous(), table.detach().to(dtype).contiguous()
        # Coordinates outside [0, 1] get no gradient, as from torch's clamp.
        outside = clamped != x if ctx.needs_input_grad[0] else None
        ctx.save_for_backward(clamped, table, outside, rows)
        ctx.layout, ctx.kernels = layout, kernels
        return kernels.features(clamped, table, layout)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, "n features"]) -> tuple[Tensor | None, ...]:
        x, table, outside, rows = ctx.saved_tensors
        grad = grad.contiguous().float()
        grad_x = grad_table = None
        if ctx.needs_input_grad[0]:
            some = (x, grad) if rows is None else (x[rows], grad[rows])
            found = ctx.kernels.gradient_of_x(some[0], table, some[1], ctx.layout)
            grad_x = found if rows is None else torch.zeros_like(x).index_copy_(0, rows, found)
            grad_x.masked_fill_(outside, 0.0)
        if ctx.needs_input_grad[1]:
            grad_table = ctx.kernels.gradient_of_table(x, table, grad, ctx.layout)
        return grad_x, grad_table, None, None, None, None
