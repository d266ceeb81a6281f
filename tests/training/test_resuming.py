"""Trainings that go on from a checkpoint, in this process: they are the ones that were never stopped, to the last bit."""

import copy
import os
import random
import signal

import numpy as np
import pytest
import torch
from aed_nerfstudio.method_configs.aed_nerf import aed_nerf_tiny
from nerfstudio.utils import writer

from aed_nerfstudio.model.stages import StageSchedule
from aed_nerfstudio.training.checkpoints import checkpoints, read_checkpoint

STEPS = 30
SCHEDULE = StageSchedule(12, 6, 12)


def trainer(data, output, steps=STEPS, **changes):
    """A trainer as `ns-train` sets it up, with evaluations that draw numbers too, and all that remembers switched on."""
    config = copy.deepcopy(aed_nerf_tiny.config)
    config.data, config.output_dir, config.experiment_name, config.timestamp = data, output, "actor", "t"
    config.vis, config.logging.local_writer.enable = "tensorboard", False
    config.max_num_iterations, config.steps_per_eval_batch, config.steps_per_eval_image = steps, 5, 7
    config.pipeline.datamanager.data = data
    config.pipeline.datamanager.train_num_rays_per_batch = config.pipeline.datamanager.torso_rays_per_batch = 256
    config.pipeline.ema_decay = 0.9
    model = config.pipeline.model
    model.schedule, model.carving_steps, model.appearance_dim = SCHEDULE, 4, 4
    model.occupancy_every, model.occupancy_warmup = 3, 4
    for name, value in changes.items():
        setattr(config, name, value)
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(config.machine.seed)
    writer.EVENT_WRITERS.clear()
    made = config.setup()
    made.setup()
    return made


def last(folder):
    return read_checkpoint(checkpoints(folder)[0])


def differences(one, other, where="") -> list[str]:
    """Names of what is not the same in two checkpoints."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [name for key in one for name in differences(one[key], other[key], f"{where}/{key}")]
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        return [name for i, pair in enumerate(zip(one, other)) for name in differences(*pair, f"{where}/{i}")]
    if torch.is_tensor(one) and torch.is_tensor(other):
        same = one.dtype == other.dtype and torch.equal(one, other)
    else:
        same = type(one) is type(other) and one == other
    return [] if same else [where]


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """The last checkpoint of a training that nothing stopped."""
    made = trainer(data, tmp_path_factory.mktemp("undisturbed"))
    made.train()
    return last(made.checkpoint_dir)


# In each stage, at its borders, and at updates of the occupancy grid.
@pytest.mark.parametrize("stops", [(1,), (5, 14, 22), (12, 18)], ids=str)
def test_a_resumed_training_is_the_undisturbed_one(undisturbed, data, tmp_path, stops):
    folder = None
    for number, steps in enumerate((*stops, STEPS)):
        made = trainer(data, tmp_path / str(number), steps, load_dir=folder)
        made.train()
        folder = made.checkpoint_dir
        assert last(folder)["step"] == steps - 1
    assert differences(last(folder), undisturbed) == []
