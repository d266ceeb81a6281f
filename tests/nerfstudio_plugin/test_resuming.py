"""Trainings that go on from a checkpoint: they are the ones that were never stopped, to the last bit."""

import pytest
import torch

from aed_nerfstudio.nerfstudio_plugin import occupancy_schedule
from aed_nerfstudio.nerfstudio_plugin.checkpoints import checkpoints, read_checkpoint
from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule
from tests.nerfstudio_plugin.small_trainer import set_up, small_config, small_trainer

STEPS = 12


def whole_trainer(data, output, steps, **changes):
    """With all that draws or remembers: evaluations, occupancy grid, codes, mean weights, every loss and stage."""
    config = small_config(data, output, steps, steps_per_eval_batch=2, steps_per_eval_image=5, **changes)
    config.pipeline.ema_decay = 0.9
    model = config.pipeline.model
    model.schedule, model.appearance_dim, model.lambda_depth = StageSchedule(6, 3, 3), 4, 1.0
    model.occupancy_every, model.occupancy_warmup = 3, 100
    return set_up(config)


def last(trainer) -> dict:
    return read_checkpoint(checkpoints(trainer.checkpoint_dir)[0])


def differences(one, other, where="") -> list[str]:
    """Names of what is not the same in two checkpoints."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [name for key in one for name in differences(one[key], other[key], f"{where}/{key}")]
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [name for i, pair in pairs for name in differences(*pair, f"{where}/{i}")]
    if torch.is_tensor(one) and torch.is_tensor(other):
        same = one.dtype == other.dtype and torch.equal(one, other)
    else:
        same = type(one) is type(other) and one == other
    return [] if same else [where]


@pytest.mark.slow
def test_a_resumed_training_is_the_undisturbed_one(data, tmp_path, monkeypatch):
    monkeypatch.setattr(occupancy_schedule, "FRAMES", 8)  # for the shell about the face, which takes seconds
    undisturbed = whole_trainer(data, tmp_path / "undisturbed", STEPS)
    undisturbed.train()
    folder = None
    for steps in (2, 8, 9, STEPS):  # inside of head and lips, and at the border to the torso
        trainer = whole_trainer(data, tmp_path / str(steps), steps, load_dir=folder)
        trainer.train()
        folder = trainer.checkpoint_dir
        assert last(trainer)["step"] == steps - 1
    assert differences(last(trainer), last(undisturbed)) == []


def test_what_is_trained_already_is_left_alone(data, tmp_path, capsys):
    first = small_trainer(data, tmp_path / "a", 2)
    first.train()
    again = small_trainer(data, tmp_path / "b", 2, load_dir=first.checkpoint_dir)
    again.train()
    assert not again.checkpoint_dir.exists() and last(first)["step"] == 1
    assert "has made 2 steps" in capsys.readouterr().out.splitlines()[-1]


def test_a_checkpoint_of_an_older_version_goes_on_with_a_word(data, tmp_path, capsys):
    first = small_trainer(data, tmp_path, 2)
    first.train()
    (path,) = checkpoints(first.checkpoint_dir)
    state = read_checkpoint(path)
    del state["training"]
    torch.save(state, path)
    second = small_trainer(data, tmp_path, 3, load_checkpoint=path)
    second.train()
    assert last(second)["step"] == 2
    assert "of an older version: this training draws other rays" in capsys.readouterr().out
