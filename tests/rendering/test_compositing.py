import math

import pytest
import torch

from aed_nerfstudio.rendering.compositing import composite
from aed_nerfstudio.rendering.ray_marching import PackedSamples


def packed(counts):
    counts = torch.tensor(counts, dtype=torch.long)
    n = int(counts.sum())
    return PackedSamples(
        positions=torch.zeros(n, 3),
        t=torch.rand(n, generator=torch.Generator().manual_seed(3)) + 1,
        ray_indices=torch.repeat_interleave(torch.arange(len(counts)), counts),
        ray_starts=torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)]),
    )


def inputs(samples, n_extras=2):
    generator = torch.Generator().manual_seed(0)
    n = len(samples)
    sigmas = torch.rand(n, generator=generator) * 60
    return sigmas, torch.rand(n, 3, generator=generator), torch.randn(n, n_extras, generator=generator)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_two_samples_by_hand(backend):
    samples = packed([0, 2])
    samples.t = torch.tensor([1.0, 2.0])
    rgbs = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    sigmas = torch.full((2,), math.log(2) / 0.1)  # alpha of one half
    out = composite(sigmas, rgbs, torch.tensor([[3.0], [4.0]]), samples, 0.1, backend)
    torch.testing.assert_close(out.weights, torch.tensor([0.5, 0.25]))
    torch.testing.assert_close(out.rgb, torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.25, 0.0]]))
    torch.testing.assert_close(out.accumulation, torch.tensor([0.0, 0.75]))
    torch.testing.assert_close(out.depth, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(out.extra_sums, torch.tensor([[0.0], [7.0]]))


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("counts", [[], [0, 0, 0]])
def test_no_samples(backend, counts):
    samples = packed(counts)
    leaves = [a.requires_grad_() for a in inputs(samples)]
    out = composite(*leaves, samples, 0.1, backend)
    assert out.rgb.shape == (len(counts), 3) and out.extra_sums.shape == (len(counts), 2)
    assert all((a == 0).all() for a in out)
    (out.rgb.sum() + out.extra_sums.sum()).backward()
    assert leaves[0].grad.shape == (0,)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_opaque_samples_and_no_extras(backend):
    samples = packed([3, 3])
    sigmas = torch.tensor([1e6, 5.0, 5.0, 0.0, 0.0, 0.0], requires_grad=True)
    out = composite(sigmas, torch.ones(6, 3), None, samples, 0.1, backend)
    torch.testing.assert_close(out.accumulation, torch.tensor([1.0, 0.0]))
    assert out.extra_sums.shape == (2, 0)
    out.rgb.sum().backward()
    assert sigmas.grad.isfinite().all()


def test_rejects(unchecked_shapes):
    samples = packed([3])
    with pytest.raises(ValueError):
        composite(torch.ones(3, 1), torch.ones(3, 3), None, samples, 0.1)
    with pytest.raises(ValueError):
        composite(torch.ones(3), torch.ones(3, 3), torch.ones(2, 1), samples, 0.1)
