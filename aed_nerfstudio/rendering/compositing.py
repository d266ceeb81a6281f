"""Emission-absorption compositing of packed samples with a constant step."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from aed_nerfstudio.backends import Backend, resolve
from aed_nerfstudio.rendering import kernels
from aed_nerfstudio.rendering.ray_marching import PackedSamples


class Composited(NamedTuple):
    """What R rays add up to, and their samples' weights; rays without samples are zero."""

    rgb: Float[Tensor, "r 3"]
    """Sum of weight * colour, without a background."""
    accumulation: Float[Tensor, " r"]
    """Sum of weights."""
    depth: Float[Tensor, " r"]
    """Sum of weight * t; carries no gradient."""
    extra_sums: Float[Tensor, "r k"]
    """Plain sum over the samples, as RAD-NeRF sums its ambient coordinates."""
    weights: Float[Tensor, " m"]
    """Of the samples: weights_i = T_i (1 - exp(-sigma_i step))."""


def composite(
    sigmas: Float[Tensor, " m"],
    rgbs: Float[Tensor, "m 3"],
    extras: Float[Tensor, "m k"] | None,
    samples: PackedSamples,
    step: float,
    backend: Backend = "auto",
) -> Composited:
    """Composites samples into rays, differentiable in sigmas [M] (per world unit), rgbs [M, 3] and extras [M, K].

    step is the distance between samples; extras may be None (K = 0). backend: see `aed_nerfstudio.backends`.

    Raises:
        InputError: the backend cannot be had on the samples' device.
        ValueError: shapes that do not fit the samples.
    """
    sigmas, rgbs = sigmas.float(), rgbs.float()
    extras = sigmas.new_zeros(len(samples), 0) if extras is None else extras.float()
    n = len(samples)
    if sigmas.shape != (n,) or rgbs.shape != (n, 3) or extras.ndim != 2 or extras.shape[0] != n:
        shapes = [list(a.shape) for a in (sigmas, rgbs, extras)]
        raise ValueError(f"expected sigmas [{n}], rgbs [{n}, 3] and extras [{n}, K], got {shapes}")
    chosen = resolve(backend, sigmas.device).compositing
    if chosen == "torch":
        return composite_torch(sigmas, rgbs, extras, samples, step)
    chosen_kernels: type[CompositeKernels] = NumbaKernels
    if chosen == "triton":
        from aed_nerfstudio.rendering.compositing_triton import TritonKernels  # takes a second to import

        chosen_kernels = TritonKernels
    return Composited(*_Composite.apply(sigmas, rgbs, extras, samples.t, samples.ray_starts, step, chosen_kernels))


def composite_torch(
    sigmas: Float[Tensor, " m"],
    rgbs: Float[Tensor, "m 3"],
    extras: Float[Tensor, "m k"],
    samples: PackedSamples,
    step: float,
) -> Composited:
    """Composites by plain tensor operations, on any device and in its arguments' precision: the kernels' reference.

    The arguments are those of `composite`.
    """
    optical = sigmas * step
    # One running sum over all rays, from which each ray's start is taken off: in float32 that difference would lose the
    # digits of late rays.
    before = optical.double().cumsum(0) - optical.double()
    first_of_ray = samples.ray_starts[samples.ray_indices]
    transmittance = torch.exp(-(before - before[first_of_ray])).to(optical.dtype)
    weights = transmittance * (1.0 - torch.exp(-optical))

    def per_ray(values: Tensor) -> Tensor:
        zeros = values.new_zeros(samples.n_rays, *values.shape[1:])
        return zeros.index_add(0, samples.ray_indices, values)

    return Composited(
        rgb=per_ray(weights[:, None] * rgbs),
        accumulation=per_ray(weights),
        depth=per_ray(weights.detach() * samples.t),
        extra_sums=per_ray(extras),
        weights=weights,
    )


Tensors = tuple[Tensor, ...]


@runtime_checkable
class CompositeKernels(Protocol):
    """A backend's kernels, which overwrite `out`; all tensors are contiguous."""

    @staticmethod
    def forward(inputs: Tensors, step: float, out: Tensors) -> None:
        """Computes rgb, accumulation, depth, extra_sums and weights from sigmas, rgbs, extras, t and ray_starts."""

    @staticmethod
    def backward(inputs: Tensors, step: float, grads: Tensors, out: Tensors) -> None:
        """Computes the gradients of sigmas, rgbs and extras.

        inputs: sigmas, rgbs, weights, ray_starts. grads: of rgb, accumulation, extra_sums, weights.
        """


class NumbaKernels:
    """The `CompositeKernels` of the CPU."""

    @staticmethod
    def forward(inputs: Tensors, step: float, out: Tensors) -> None:
        sigmas, rgbs, extras, t, ray_starts = _arrays(inputs)
        kernels.composite_forward(sigmas, rgbs, extras, t, ray_starts, np.float32(step), *_arrays(out))

    @staticmethod
    def backward(inputs: Tensors, step: float, grads: Tensors, out: Tensors) -> None:
        sigmas, rgbs, weights, ray_starts = _arrays(inputs)
        kernels.composite_backward(sigmas, rgbs, weights, ray_starts, np.float32(step), *_arrays((*grads, *out)))


def _arrays(tensors: Tensors) -> list[np.ndarray]:
    return [tensor.numpy() for tensor in tensors]


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        sigmas: Tensor,
        rgbs: Tensor,
        extras: Tensor,
        t: Tensor,
        ray_starts: Tensor,
        step: float,
        chosen_kernels: type[CompositeKernels],
    ) -> Tensors:
        inputs = tuple(a.detach().contiguous() for a in (sigmas, rgbs, extras, t, ray_starts))
        sigmas, rgbs, extras, _, ray_starts = inputs
        n_rays = ray_starts.shape[0] - 1
        rgb, extra_sums = sigmas.new_empty(n_rays, 3), sigmas.new_empty(n_rays, extras.shape[1])
        accumulation, depth = sigmas.new_empty(n_rays), sigmas.new_empty(n_rays)
        out = (rgb, accumulation, depth, extra_sums, torch.empty_like(sigmas))
        chosen_kernels.forward(inputs, step, out)
        ctx.save_for_backward(sigmas, rgbs, out[-1], ray_starts)
        ctx.step, ctx.kernels = step, chosen_kernels
        ctx.mark_non_differentiable(depth)
        return out

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any,
        grad_rgb: Tensor,
        grad_accumulation: Tensor,
        _grad_depth: Tensor,
        grad_extra_sums: Tensor,
        grad_weights: Tensor,
    ) -> tuple[Tensor | None, ...]:
        sigmas, rgbs, weights, ray_starts = ctx.saved_tensors
        grads = tuple(a.contiguous() for a in (grad_rgb, grad_accumulation, grad_extra_sums, grad_weights))
        grad_extras = sigmas.new_empty(sigmas.shape[0], grad_extra_sums.shape[1])
        out = (torch.empty_like(sigmas), torch.empty_like(rgbs), grad_extras)
        ctx.kernels.backward((sigmas, rgbs, weights.detach(), ray_starts), ctx.step, grads, out)
        return *out, None, None, None, None
