import math

import pytest
import torch

from aed_nerfstudio.nerfstudio_plugin.losses import distortion, entropy
from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule
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


def test_stages_follow_each_other():
    schedule = StageSchedule(2, 1, 3)
    assert [schedule.stage(i) for i in range(6)] == ["head", "head", "lips", "torso", "torso", "torso"]
    assert schedule.total == 6
    assert [round(schedule.progress(i), 2) for i in (0, 2, 3, 6, 9)] == [0, 0.67, 0, 1, 1]
