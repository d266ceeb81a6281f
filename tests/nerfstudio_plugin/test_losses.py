import math

import pytest
import torch

from aed_nerfstudio.nerfstudio_plugin.losses import depth_error, distortion, entropy
from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule
from aed_nerfstudio.rendering.compositing import composite
from aed_nerfstudio.rendering.ray_marching import PackedSamples


def test_entropy_is_highest_for_half_transparent():
    half, tenth, one = (entropy(torch.tensor([alpha])).item() for alpha in (0.5, 0.1, 1.0))
    assert half == pytest.approx(math.log(2)) and tenth == pytest.approx(-0.1 * math.log(0.1) - 0.9 * math.log(0.9))
    assert one == pytest.approx(0, abs=1e-3)


def test_distortion_is_the_sum_over_all_pairs_of_a_ray():
    torch.manual_seed(0)
    counts = torch.tensor([3, 0, 5])
    rays = torch.repeat_interleave(torch.arange(3), counts)
    t, weights = torch.rand(8).sort()[0], torch.rand(8, dtype=torch.float64, requires_grad=True)
    samples = PackedSamples(torch.zeros(8, 3), t, rays, torch.tensor([0, 3, 3, 8]))
    apart = (t[:, None] - t).abs() * (rays[:, None] == rays)
    want = ((weights[:, None] * weights * apart).sum() + 0.1 / 3 * weights.square().sum()) / 3
    found = distortion(weights, samples, 0.1)
    torch.testing.assert_close(found.double(), want, rtol=1e-5, atol=0)
    (gradient,), (true_gradient,) = (torch.autograd.grad(value, weights) for value in (found, want))
    torch.testing.assert_close(gradient, true_gradient, rtol=1e-5, atol=1e-7)


def rays(counts, t):
    starts = torch.tensor([0, *counts]).cumsum(0)
    return PackedSamples(torch.zeros(len(t), 3), torch.tensor(t), torch.repeat_interleave(torch.tensor(counts)), starts)


def weighed(sigmas, samples):
    return composite(sigmas, torch.zeros(len(sigmas), 3), None, samples, 0.1, "torch")


def test_depth_error_is_that_of_the_rays_with_a_surface():
    samples = rays([2, 1, 2], [1.0, 2.0, 1.5, 1.0, 1.2])
    sigmas = torch.tensor([5.0, 1e3, 1e3, 20.0, 1e3])
    found = weighed(sigmas, samples)
    surface = torch.tensor([[1.0, 1.0, 0.0], [float("nan"), 1.0, 0.0], [1.5, 0.5, 1.0]])
    off = torch.tensor([0.0, 1.0, 0.0, 0.5 * 0.25, 0.5 * 0.09])
    want = (found.weights * off)[[0, 1, 3, 4]].sum() / 2
    torch.testing.assert_close(depth_error(found, samples, surface), want)
    nothing = torch.tensor([float("nan"), 1.0, 0.0]).expand(3, 3)
    assert depth_error(found, samples, nothing) == 0


def test_depth_error_moves_weight_and_takes_none_away():
    samples = rays([3], [0.8, 1.0, 1.4])
    sigmas = torch.full((3,), 3.0, requires_grad=True)
    surface = torch.tensor([[1.0, 1.0, 0.0]])
    found = weighed(sigmas, samples)
    by_weight = torch.autograd.grad(depth_error(found, samples, surface), found.weights, retain_graph=True)[0]
    assert by_weight[1] < 0 < by_weight[2]
    torch.testing.assert_close((by_weight * found.weights).sum(), torch.tensor(0.0), atol=1e-6, rtol=0)
    # All of the weight in one place, however little: nothing to move.
    thin = torch.tensor([0.5], requires_grad=True)
    alone = rays([1], [1.3])
    (gradient,) = torch.autograd.grad(depth_error(weighed(thin, alone), alone, surface), thin)
    torch.testing.assert_close(gradient, torch.zeros(1), atol=1e-7, rtol=0)


def test_stages_follow_each_other():
    schedule = StageSchedule(2, 1, 3)
    assert [schedule.stage(i) for i in range(6)] == ["head", "head", "lips", "torso", "torso", "torso"]
    assert schedule.total == 6
    assert [round(schedule.progress(i), 2) for i in (0, 2, 3, 6, 9)] == [0, 0.67, 0, 1, 1]
