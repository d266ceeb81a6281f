"""Emission-absorption compositing of packed samples with a constant step."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from aed_nerfstudio.backends import Backend, resolve
from aed_nerfstudio.rendering import kernels
from aed_nerfstudio.rendering.ray_marching import PackedSamples


class Composited(NamedTuple):
    """Per-ray sums; rays without samples are zero. weights_i = T_i (1 - exp(-sigma_i step))."""

    rgb: Tensor
    """[R, 3], sum of weight * colour, without a background."""
    accumulation: Tensor
    """[R], sum of weights."""
    depth: Tensor
    """[R], sum of weight * t; carries no gradient."""
    extra_sums: Tensor
    """[R, K], plain sum over the samples, as RAD-NeRF sums its ambient coordinates."""
    weights: Tensor
    """[M]."""


def composite(
    sigmas: Tensor,
    rgbs: Tensor,
    extras: Tensor | None,
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
    if chosen == "numba":
        return Composited(*_NumbaComposite.apply(sigmas, rgbs, extras, samples.t, samples.ray_starts, step))
    if chosen == "triton":
        from aed_nerfstudio.rendering.compositing_triton import composite_triton  # takes a second to import

        return Composited(*composite_triton(sigmas, rgbs, extras, samples.t, samples.ray_starts, step))
    return composite_torch(sigmas, rgbs, extras, samples, step)


def composite_torch(sigmas: Tensor, rgbs: Tensor, extras: Tensor, samples: PackedSamples, step: float) -> Composited:
    """Reference compositing, on any device and in the precision of its arguments, which are those of `composite`."""
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


class _NumbaComposite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, sigmas, rgbs, extras, t, ray_starts, step):
        sigmas, rgbs = sigmas.detach().contiguous(), rgbs.detach().contiguous()
        n_rays = ray_starts.shape[0] - 1
        rgb = torch.empty(n_rays, 3)
        accumulation, depth = torch.empty(n_rays), torch.empty(n_rays)
        extra_sums = torch.empty(n_rays, extras.shape[1])
        weights = torch.empty_like(sigmas)
        kernels.composite_forward(
            sigmas.numpy(),
            rgbs.numpy(),
            extras.detach().contiguous().numpy(),
            t.contiguous().numpy(),
            ray_starts.contiguous().numpy(),
            np.float32(step),
            rgb.numpy(),
            accumulation.numpy(),
            depth.numpy(),
            extra_sums.numpy(),
            weights.numpy(),
        )
        ctx.save_for_backward(sigmas, rgbs, weights, ray_starts)
        ctx.step = step
        ctx.mark_non_differentiable(depth)
        return rgb, accumulation, depth, extra_sums, weights

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_rgb, grad_accumulation, _grad_depth, grad_extra_sums, grad_weights):
        sigmas, rgbs, weights, ray_starts = ctx.saved_tensors
        grad_sigmas, grad_rgbs = torch.empty_like(sigmas), torch.empty_like(rgbs)
        grad_extras = sigmas.new_empty(sigmas.shape[0], grad_extra_sums.shape[1])
        kernels.composite_backward(
            sigmas.numpy(),
            rgbs.numpy(),
            weights.detach().numpy(),
            ray_starts.contiguous().numpy(),
            np.float32(ctx.step),
            grad_rgb.contiguous().numpy(),
            grad_accumulation.contiguous().numpy(),
            grad_extra_sums.contiguous().numpy(),
            grad_weights.contiguous().numpy(),
            grad_sigmas.numpy(),
            grad_rgbs.numpy(),
            grad_extras.numpy(),
        )
        return grad_sigmas, grad_rgbs, grad_extras, None, None, None
