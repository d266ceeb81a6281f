"""The mean of the weights."""

import torch
from torch import nn

from aed_nerfstudio.nerfstudio_plugin.mean_weights import MeanWeights
from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule


def test_mean_weights_take_over_when_a_stage_ends():
    model = nn.ModuleDict({"face": nn.Linear(1, 1, bias=False), "torso": nn.Linear(1, 1, bias=False)})
    mean = MeanWeights(model, 0.5, StageSchedule(2, 1, 2))
    untouched = model["torso"].weight.item()
    for step, value in enumerate((0.0, 1.0, 2.0)):
        model["face"].weight.data.fill_(value)
        model["face"].weight.grad = torch.zeros(1, 1)
        mean.update(step)
    assert model["face"].weight.item() == 0.5 * 0.5 + 0.5 * 2.0
    assert model["torso"].weight.item() == untouched
