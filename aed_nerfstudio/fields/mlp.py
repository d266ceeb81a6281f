"""The bias-free ReLU MLP all fields are made of, and the activation of the density."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class MLP(nn.Sequential):
    """Bias-free layers with ReLU between (RAD-NeRF's)."""

    def __init__(self, dim_in: int, hidden: int, dim_out: int, layers: int) -> None:
        sizes = [dim_in] + [hidden] * (layers - 1) + [dim_out]
        modules: list[nn.Module] = []
        for a, b in zip(sizes[:-1], sizes[1:], strict=True):
            modules += [nn.Linear(a, b, bias=False), nn.ReLU(inplace=True)]
        super().__init__(*modules[:-1])

    def conditioned(self, x: Tensor, condition: Tensor, counts: list[int]) -> Tensor:
        """The network of [x, condition], without ever building that input.

        x: [N, D]. condition: [C, E], D + E being the network's input size. counts: how many consecutive rows of x go
        with each condition; they sum to N.
        """
        rows = len(x)
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and rows:
            # In bfloat16 oneDNN compiles kernels for each number of rows and keeps them. Every step has another one,
            # so these grow by 10 MB a step, and scattered between them the heap cannot shrink: gigabytes in a training.
            extra = -rows % (1 << max(0, rows.bit_length() - 5))
            x, counts = functional.pad(x, (0, 0, 0, extra)), [*counts[:-1], counts[-1] + extra]
        first = self[0].weight
        hidden = functional.linear(x, first[:, : x.shape[1]])
        if condition.shape[1]:
            given = functional.linear(condition, first[:, x.shape[1] :])
            hidden = hidden + (given if len(counts) == 1 else spread(given, counts))
        for module in list(self)[1:]:
            hidden = module(hidden)
        return hidden[:rows]


def spread(rows: Tensor, counts: list[int]) -> Tensor:
    """Rows [C, E], each repeated: [sum(counts), E]. Its gradient is a plain sum, unlike `repeat_interleave`'s."""
    return torch.cat([row.expand(count, -1) for row, count in zip(rows, counts, strict=True)])


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
