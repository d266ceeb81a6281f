"""Emission-absorption compositing of packed samples with a constant step."""

from typing import NamedTuple, Protocol

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
    if chosen == "torch":
        return composite_torch(sigmas, rgbs, extras, samples, step)
    chosen_kernels = NumbaKernels
    if chosen == "triton":
        from aed_nerfstudio.rendering.compositing_triton import TritonKernels  # takes a second to import

        chosen_kernels = TritonKernels
    return Composited(*_Composite.apply(sigmas, rgbs, extras, samples.t, samples.ray_starts, step, chosen_kernels))


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


class CompositeKernels(Protocol):
    """A backend's kernels, which overwrite `out`; all tensors are contiguous."""

    def forward(self, given: tuple[Tensor, ...], step: float, out: tuple[Tensor, ...]) -> None:
        """sigmas, rgbs, extras, t, ray_starts -> rgb, accumulation, depth, extra_sums, weights."""

    def backward(
        self, given: tuple[Tensor, ...], step: float, grads: tuple[Tensor, ...], out: tuple[Tensor, ...]
    ) -> None:
        """sigmas, rgbs, weights, ray_starts and the gradients of rgb, accumulation, extra_sums, weights -> those of
        sigmas, rgbs, extras."""


class NumbaKernels:
    """`CompositeKernels` on the CPU."""

    @staticmethod
    def forward(given, step, out):
        kernels.composite_forward(*(a.numpy() for a in given), np.float32(step), *(a.numpy() for a in out))

    @staticmethod
    def backward(given, step, grads, out):
        kernels.composite_backward(*(a.numpy() for a in given), np.float32(step), *(a.numpy() for a in (*grads, *out)))


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, sigmas, rgbs, extras, t, ray_starts, step, chosen_kernels):
        given = tuple(a.detach().contiguous() for a in (sigmas, rgbs, extras, t, ray_starts))
        sigmas, rgbs, extras, _, ray_starts = given
        n_rays = ray_starts.shape[0] - 1
        rgb, extra_sums = sigmas.new_empty(n_rays, 3), sigmas.new_empty(n_rays, extras.shape[1])
        accumulation, depth = sigmas.new_empty(n_rays), sigmas.new_empty(n_rays)
        out = (rgb, accumulation, depth, extra_sums, torch.empty_like(sigmas))
        chosen_kernels.forward(given, step, out)
        ctx.save_for_backward(sigmas, rgbs, out[-1], ray_starts)
        ctx.step, ctx.kernels = step, chosen_kernels
        ctx.mark_non_differentiable(depth)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_rgb, grad_accumulation, _grad_depth, grad_extra_sums, grad_weights):
        sigmas, rgbs, weights, ray_starts = ctx.saved_tensors
        grads = tuple(a.contiguous() for a in (grad_rgb, grad_accumulation, grad_extra_sums, grad_weights))
        grad_extras = sigmas.new_empty(sigmas.shape[0], grad_extra_sums.shape[1])
        out = (torch.empty_like(sigmas), torch.empty_like(rgbs), grad_extras)
        ctx.kernels.backward((sigmas, rgbs, weights.detach(), ray_starts), ctx.step, grads, out)
        return *out, None, None, None, None
