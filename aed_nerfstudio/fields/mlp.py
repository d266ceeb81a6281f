"""The bias-free ReLU MLP all fields are made of, and the activation of the density."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_BLOCK = 1 << 14
"""Rows that a CPU takes through all layers at once: their hidden layers stay in its caches, and in memory that is used
again, where larger ones are given back to the system and asked for anew each time."""


class MLP(nn.Sequential):
    """A chain of bias-free layers with ReLU between them (RAD-NeRF's)."""

    def __init__(self, dim_in: int, hidden: int, dim_out: int, layers: int) -> None:
        sizes = [dim_in] + [hidden] * (layers - 1) + [dim_out]
        modules: list[nn.Module] = []
        for a, b in zip(sizes[:-1], sizes[1:], strict=True):
            modules += [nn.Linear(a, b, bias=False), nn.ReLU(inplace=True)]
        super().__init__(*modules[:-1])

    @property
    def layers(self) -> list[nn.Linear]:
        """Returns the layers, without the activations between them."""
        return [module for module in self if isinstance(module, nn.Linear)]

    def conditioned(
        self, parts: Sequence[Float[Tensor, "n _"]], condition: Float[Tensor, "c e"], counts: list[int]
    ) -> Float[Tensor, "n dim_out"]:
        """Returns the network's output for [*parts, condition], without ever building that input.

        Args:
            parts: [N, D1], [N, D2], ...; these sizes and E together are the network's input size.
            condition: of C frames, [C, E].
            counts: how many consecutive rows go with each condition; they sum to N.
        """
        parts = [part for part in parts if part.shape[1]]  # some torch cannot pad what is without columns
        rows = len(parts[0])
        device = parts[0].device
        half = device.type == "cpu" and torch.is_autocast_enabled("cpu")
        extra = whole_rows(rows) - rows if half else 0
        if extra:
            parts = [functional.pad(part, (0, 0, 0, extra)) for part in parts]
            counts = [*counts[:-1], counts[-1] + extra]
        if len(counts) == 1 and not torch.is_grad_enabled() and _can_fuse(device):
            return self._fused(parts, condition)[:rows]
        x = torch.cat(parts, -1) if len(parts) > 1 else parts[0]
        first = self.layers[0].weight
        hidden = functional.linear(x, first[:, : x.shape[1]])
        if condition.shape[1]:
            by_condition = functional.linear(condition, first[:, x.shape[1] :])
            hidden = hidden + (by_condition if len(counts) == 1 else spread(by_condition, counts))
        for module in list(self)[1:]:
            hidden = module(hidden)
        return hidden[:rows]

    def _fused(self, parts: Sequence[Tensor], condition: Tensor) -> Tensor:
        """Returns what `conditioned` does with one condition, each layer's sum and ReLU done where oneDNN writes it.

        On its own each of them takes as long as the product.
        """
        first, *others = (layer.weight for layer in self.layers)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else first.dtype
        size = sum(part.shape[1] for part in parts)
        bias = functional.linear(condition, first[:, size:])[0].to(dtype) if condition.shape[1] else None
        # Contiguous, else oneDNN takes its slowest way.
        weights = [weight.to(dtype).contiguous() for weight in (first[:, :size], *others)]
        outputs = []
        for block in zip(*(part.split(_BLOCK) for part in parts), strict=True):
            hidden = torch.cat([part.to(dtype) for part in block], -1) if len(parts) > 1 else block[0].to(dtype)
            for number, weight in enumerate(weights):
                after = "none" if number == len(weights) - 1 else "relu"
                hidden = torch.ops.mkldnn._linear_pointwise(hidden, weight, None if number else bias, after, [], "")
            outputs.append(hidden)
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def whole_rows(rows: int) -> int:
    """Returns at least so many rows, and one of few numbers: at most a sixteenth more.

    In bfloat16 oneDNN compiles kernels for each number of rows and keeps them. Every step has another one, so these
    grow by 10 MB a step, and scattered between them the heap cannot shrink: gigabytes in a training.
    """
    return rows + -rows % (1 << max(0, rows.bit_length() - 5))


@functools.cache
def _can_fuse(device: torch.device) -> bool:
    """Returns whether PyTorch has oneDNN's fused layers, which its own compiler uses, on a device."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    try:
        row, weight = torch.ones(1, 2), torch.ones(2, 2)
        result = torch.ops.mkldnn._linear_pointwise(row, weight, torch.tensor([-3.0, 1.0]), "relu", [], "")
    except (AttributeError, RuntimeError, TypeError):  # not there, or with other arguments: it is no public operation
        return False
    return result.tolist() == [[0.0, 3.0]]


def spread(rows: Float[Tensor, "c e"], counts: list[int]) -> Float[Tensor, "n e"]:
    """Repeats each of rows [C, E] as often as its count says: [sum(counts), E].

    The gradient is a plain sum, unlike `repeat_interleave`'s.
    """
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


def truncated_exp(x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Returns exp(x) clamped at e^11 (below the largest fp16 number, 65504), with gradient kept beyond the clamp."""
    return _TruncatedExp.apply(x)
