"""Triton kernels of compositing; see compositing.py for what they compute.

A program handles a block of rays and walks along them, as far as its longest one goes. All floats are float32.
"""

# pyright: reportGeneralTypeIssues=false
# Triton's types say that the functions of its language never return, which is so outside kernels.

from __future__ import annotations

import torch
import triton
import triton.language as tl

_WIDTH = 128

Tensors = tuple[torch.Tensor, ...]


@triton.jit
def _rays(ray_starts, n_rays, width: tl.constexpr):
    """Returns this program's rays, whether they exist, and their samples: from `start` up to and without `stop`."""
    ray = tl.program_id(0).to(tl.int64) * width + tl.arange(0, width)
    inside = ray < n_rays
    start = tl.load(ray_starts + ray, mask=inside, other=0)
    stop = tl.load(ray_starts + ray + 1, mask=inside, other=0)
    return ray, inside, start, stop


@triton.jit
def composite_forward(
    sigmas, rgbs, extras, t, ray_starts, rgb, accumulation, depth, extra_sums, weights, n_rays, step,
    n_extras: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    """Composites the samples of each ray, front to back.

    sigmas, t [M], rgbs [M, 3], extras [M, K] -> rgb [R, 3], accumulation, depth [R], extra_sums [R, K], weights [M].
    Every output is overwritten.
    """
    ray, inside, start, stop = _rays(ray_starts, n_rays, width)
    transmittance = tl.full((width,), 1.0, tl.float32)
    red, green, blue = tl.zeros_like(transmittance), tl.zeros_like(transmittance), tl.zeros_like(transmittance)
    total, distance = tl.zeros_like(transmittance), tl.zeros_like(transmittance)
    for k in range(tl.max(stop - start, 0)):
        i = start + k
        here = i < stop
        passed = tl.exp(-tl.load(sigmas + i, mask=here, other=0.0) * step)
        weight = transmittance * (1.0 - passed)
        transmittance *= passed
        tl.store(weights + i, weight, mask=here)
        red += weight * tl.load(rgbs + 3 * i, mask=here, other=0.0)
        green += weight * tl.load(rgbs + 3 * i + 1, mask=here, other=0.0)
        blue += weight * tl.load(rgbs + 3 * i + 2, mask=here, other=0.0)
        total += weight
        distance += weight * tl.load(t + i, mask=here, other=0.0)
    tl.store(rgb + 3 * ray, red, mask=inside)
    tl.store(rgb + 3 * ray + 1, green, mask=inside)
    tl.store(rgb + 3 * ray + 2, blue, mask=inside)
    tl.store(accumulation + ray, total, mask=inside)
    tl.store(depth + ray, distance, mask=inside)
    for extra in tl.static_range(n_extras):
        total = tl.zeros_like(transmittance)
        for k in range(tl.max(stop - start, 0)):
            i = start + k
            total += tl.load(extras + i * n_extras + extra, mask=i < stop, other=0.0)
        tl.store(extra_sums + ray * n_extras + extra, total, mask=inside)


@triton.jit
def composite_backward(
    sigmas, rgbs, weights, ray_starts, grad_rgb, grad_accumulation, grad_extra_sums, grad_weights,
    grad_sigmas, grad_rgbs, grad_extras, n_rays, step, n_extras: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    """Computes the gradients of `composite_forward`'s inputs from those of its outputs.

    -> grad_sigmas [M], grad_rgbs [M, 3], grad_extras [M, K], all overwritten.

    With v_i the gradient of weight i and T_i the transmittance before sample i:
    dL/dsigma_i = step * (T_{i+1} v_i - sum_{j>i} w_j v_j).
    """
    ray, inside, start, stop = _rays(ray_starts, n_rays, width)
    red = tl.load(grad_rgb + 3 * ray, mask=inside, other=0.0)
    green = tl.load(grad_rgb + 3 * ray + 1, mask=inside, other=0.0)
    blue = tl.load(grad_rgb + 3 * ray + 2, mask=inside, other=0.0)
    alpha = tl.load(grad_accumulation + ray, mask=inside, other=0.0)
    longest = tl.max(stop - start, 0)

    transmittance = tl.full((width,), 1.0, tl.float32)
    for k in range(longest):
        i = start + k
        here = i < stop
        weight = tl.load(weights + i, mask=here, other=0.0)
        transmittance *= tl.exp(-tl.load(sigmas + i, mask=here, other=0.0) * step)
        tl.store(grad_sigmas + i, transmittance, mask=here)
        tl.store(grad_rgbs + 3 * i, red * weight, mask=here)
        tl.store(grad_rgbs + 3 * i + 1, green * weight, mask=here)
        tl.store(grad_rgbs + 3 * i + 2, blue * weight, mask=here)
    for extra in tl.static_range(n_extras):
        given = tl.load(grad_extra_sums + ray * n_extras + extra, mask=inside, other=0.0)
        for k in range(longest):
            i = start + k
            tl.store(grad_extras + i * n_extras + extra, given, mask=i < stop)

    # The loop from the back reads the transmittances that the one from the front has left in grad_sigmas.
    tl.debug_barrier()
    behind = tl.zeros_like(transmittance)
    for k in range(longest):
        i = start + (longest - 1 - k)
        here = i < stop
        value = red * tl.load(rgbs + 3 * i, mask=here, other=0.0)
        value += green * tl.load(rgbs + 3 * i + 1, mask=here, other=0.0)
        value += blue * tl.load(rgbs + 3 * i + 2, mask=here, other=0.0)
        value += alpha + tl.load(grad_weights + i, mask=here, other=0.0)
        passed = tl.load(grad_sigmas + i, mask=here, other=0.0)
        tl.store(grad_sigmas + i, step * (passed * value - behind), mask=here)
        behind += tl.load(weights + i, mask=here, other=0.0) * value


def _launch(kernel, tensors, n_rays, step, n_extras):
    if n_rays:
        with torch.cuda.device_of(tensors[0]):
            kernel[(triton.cdiv(n_rays, _WIDTH),)](*tensors, n_rays, step, n_extras=n_extras, width=_WIDTH)


class TritonKernels:
    """The `CompositeKernels` of a GPU (or of Triton's interpreter)."""

    @staticmethod
    def forward(inputs: Tensors, step: float, out: Tensors) -> None:
        _launch(composite_forward, (*inputs, *out), out[1].shape[0], step, inputs[2].shape[1])

    @staticmethod
    def backward(inputs: Tensors, step: float, grads: Tensors, out: Tensors) -> None:
        _launch(composite_backward, (*inputs, *grads, *out), grads[1].shape[0], step, out[2].shape[1])
