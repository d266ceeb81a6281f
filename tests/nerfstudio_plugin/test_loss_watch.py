"""Trainings that go wrong."""

import pytest
import torch
from torch import nn

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.nerfstudio_plugin.loss_watch import READ_EVERY, LossWatch
from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule

SCHEDULE = StageSchedule(1000, 100, 1000)


def test_a_loss_that_is_no_number_stops_with_step_stage_and_checkpoint(tmp_path):
    (tmp_path / "step-000000500.ckpt").touch()
    watch = LossWatch(SCHEDULE, tmp_path)
    watch.check(1049, 0.1)
    with pytest.raises(InputError) as caught:
        watch.check(1050, float("nan"))
    for words in ("step 1050", "lips stage", "no number", "step-000000500.ckpt"):
        assert words in str(caught.value)


def test_an_exploding_loss_stops(tmp_path):
    watch = LossWatch(SCHEDULE, tmp_path)
    for step in range(400):
        watch.check(step, 0.2 * 0.98**step + 0.002)
    with pytest.raises(InputError, match="head stage: the loss exploded .* no checkpoint was saved"):
        for step in range(400, 500):
            watch.check(step, 0.5)


def test_a_stage_of_another_scale_and_a_bad_batch_are_no_explosion(tmp_path):
    watch = LossWatch(SCHEDULE, tmp_path)
    for step in range(1100):
        watch.check(step, 0.3 if step == 600 else 0.001)
    for step in range(1100, 1500):
        watch.check(step, 0.3)


def test_weights_that_are_no_numbers_reach_no_checkpoint(tmp_path):
    layer = nn.Linear(2, 2)
    watch = LossWatch(SCHEDULE, tmp_path)
    watch.check_weights(10, layer)
    with torch.no_grad():
        layer.weight[0, 0] = float("inf")
    with pytest.raises(InputError, match="step 11, head stage: weights"):
        watch.check_weights(11, layer)


def test_losses_are_read_some_steps_later_but_before_a_checkpoint(tmp_path):
    well, lost = torch.tensor(0.1), torch.tensor(float("nan"))
    watch = LossWatch(SCHEDULE, tmp_path)
    for step in range(30, 30 + READ_EVERY - 1):
        watch.note(step, lost if step == 33 else well)
    with pytest.raises(InputError, match="step 33, head stage: the loss is no number"):
        watch.note(30 + READ_EVERY - 1, well)
    watch.note(50, lost)
    with pytest.raises(InputError, match="step 50"):  # what a checkpoint is made of
        watch.state()
    late, soon = LossWatch(SCHEDULE, tmp_path), LossWatch(SCHEDULE, tmp_path)
    for step in range(990, 1015):  # across a stage's end
        late.note(step, torch.tensor(step / 7, dtype=torch.float64))
        soon.check(step, step / 7)
    assert late.state() == soon.state() and late.state()["seen"] == 15
