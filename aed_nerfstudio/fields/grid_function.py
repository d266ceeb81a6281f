"""The autograd Function of every grid whose kernels are ours; the kernels are a backend's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from aed_nerfstudio.fields.hash_grid import HashGridLayout


class GridKernels(Protocol):
    """A backend's kernels: coordinates x [N, D] in [0, 1], table [n_entries, 2], grad [N, 2L]; contiguous, and float32
    but for the table where `GridFunction` was given another type."""

    def features(self, x: Tensor, table: Tensor, layout: HashGridLayout) -> Tensor:
        """[N, 2L], of the table's type."""

    def gradient_of_x(self, x: Tensor, table: Tensor, grad: Tensor, layout: HashGridLayout) -> Tensor:
        """[N, D]."""

    def gradient_of_table(self, x: Tensor, table: Tensor, grad: Tensor, layout: HashGridLayout) -> Tensor:
        """[n_entries, 2]."""


class GridFunction(torch.autograd.Function):
    """Features [N, 2L] of coordinates x [N, D] from a table [n_entries, 2], both float32; gradients of first order.

    dtype: that the table is converted to, and the features have; gradients stay float32.
    """

    @staticmethod
    def forward(ctx, x, table, layout, kernels, dtype):
        # Clamped once here: in the kernels it would be repeated for every level, at a tenth to a fifth of their speed.
        clamped, table = x.detach().clamp(0.0, 1.0).contiguous(), table.detach().to(dtype).contiguous()
        # Coordinates outside [0, 1] get no gradient, as from torch's clamp.
        outside = clamped != x if ctx.needs_input_grad[0] else None
        ctx.save_for_backward(clamped, table, outside)
        ctx.layout, ctx.kernels = layout, kernels
        return kernels.features(clamped, table, layout)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, table, outside = ctx.saved_tensors
        grad = grad.contiguous().float()
        grad_x = grad_table = None
        if ctx.needs_input_grad[0]:
            grad_x = ctx.kernels.gradient_of_x(x, table, grad, ctx.layout).masked_fill_(outside, 0.0)
        if ctx.needs_input_grad[1]:
            grad_table = ctx.kernels.gradient_of_table(x, table, grad, ctx.layout)
        return grad_x, grad_table, None, None, None
