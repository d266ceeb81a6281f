import numpy as np
import torch

from aed_nerfstudio.model.losses import entropy, lip_shape
from aed_nerfstudio.model.stages import StageSchedule


def test_entropy_is_highest_for_half_transparent():
    assert entropy(torch.tensor([0.5])) > entropy(torch.tensor([0.1])) > entropy(torch.tensor([1.0])) >= 0


def test_lip_shape_ignores_scale_and_place():
    landmarks = np.random.default_rng(0).uniform(0, 100, (3, 478, 3))
    np.testing.assert_allclose(lip_shape(landmarks), lip_shape(landmarks * 2 + 7), rtol=1e-9)


def test_stages_follow_each_other():
    schedule = StageSchedule(2, 1, 3)
    assert [schedule.stage(i) for i in range(6)] == ["head", "head", "lips", "torso", "torso", "torso"]
    assert schedule.total == 6
