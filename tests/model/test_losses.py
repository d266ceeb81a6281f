import torch

from aed_nerfstudio.model.losses import entropy
from aed_nerfstudio.model.stages import StageSchedule


def test_entropy_is_highest_for_half_transparent():
    assert entropy(torch.tensor([0.5])) > entropy(torch.tensor([0.1])) > entropy(torch.tensor([1.0])) >= 0


def test_stages_follow_each_other():
    schedule = StageSchedule(2, 1, 3)
    assert [schedule.stage(i) for i in range(6)] == ["head", "head", "lips", "torso", "torso", "torso"]
    assert schedule.total == 6
    assert [round(schedule.progress(i), 2) for i in (0, 2, 3, 6, 9)] == [0, 0.67, 0, 1, 1]
