"""The bias-free ReLU MLP all fields are made of, and the activation of the density."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MLP(nn.Sequential):
    """Bias-free layers with ReLU between (RAD-NeRF's)."""

    def __init__(self, dim_in: int, hidden: int, dim_out: int, layers: int) -> None:
        sizes = [dim_in] + [hidden] * (layers - 1) + [dim_out]
        modules: list[nn.Module] = []
        for a, b in zip(sizes[:-1], sizes[1:], strict=True):
            modules += [nn.Linear(a, b, bias=False), nn.ReLU(inplace=True)]
        super().__init__(*modules[:-1])


class _TruncatedExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(max=11.0).exp()

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * x.clamp(-11.0, 11.0).exp()


def truncated_exp(x: Tensor) -> Tensor:
    """exp clamped at e^11 (below the largest fp16 number, 65504), with gradient kept beyond the clamp."""
    return _TruncatedExp.apply(x)
