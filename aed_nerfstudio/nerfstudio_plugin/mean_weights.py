"""Exponential moving average of the weights."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import nn

from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule


class MeanWeights:
    """Exponential moving average of the weights that a stage trains; takes their place when the stage ends."""

    def __init__(self, model: nn.Module, decay: float, schedule: StageSchedule) -> None:
        self.model, self.decay, self.schedule = model, decay, schedule
        self.mean: dict[str, Float[torch.Tensor, " ..."]] = {}

    def restore(self, mean: dict[str, Float[torch.Tensor, " ..."]]) -> None:
        """Goes on from another's `mean`."""
        weights = dict(self.model.named_parameters())
        self.mean = {name: value.to(weights[name].device) for name, value in mean.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Updates the mean after a step, and puts it into the model where a stage ends."""
        for name, weight in self.model.named_parameters():
            if weight.grad is None:
                continue
            if name in self.mean:
                self.mean[name].lerp_(weight, 1 - self.decay)
            else:
                self.mean[name] = weight.detach().clone()
        if self.schedule.ends(step):
            for name, weight in self.model.named_parameters():
                if name in self.mean:
                    weight.copy_(self.mean[name])
            self.mean = {}
