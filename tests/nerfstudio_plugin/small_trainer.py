"""A trainer as `ns-train` sets it up, but a small one; as a program, it trains and kills itself, at each moment."""

import copy
import os
import random
import signal
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from aed_nerfstudio.method_configs.aed_nerf import aed_nerf_tiny
from nerfstudio.utils import writer

from aed_nerfstudio.avatar import network
from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule
from aed_nerfstudio.nerfstudio_plugin.trainer import AedTrainer
from aed_nerfstudio.rendering.occupancy import HeadOccupancy

CELLS = 32
"""Of the occupancy grid along an axis: to ask them all takes a sixtieth of the usual time."""


def small_config(data, output, steps, **changes):
    """changes: of the config itself."""
    config = copy.deepcopy(aed_nerf_tiny.config)
    config.data, config.output_dir, config.experiment_name, config.timestamp = data, output, "actor", "t"
    config.vis, config.logging.local_writer.enable = "tensorboard", False
    config.max_num_iterations, config.steps_per_eval_image = steps, 0
    config.pipeline.datamanager.data = data
    config.pipeline.datamanager.train_num_rays_per_batch = config.pipeline.datamanager.torso_rays_per_batch = 256
    # The hull and the shell about the face take seconds to carve, and 64 samples a ray as long.
    model = config.pipeline.model
    model.visual_hull, model.lambda_depth, model.carving_steps = False, 0.0, 0
    model.schedule = StageSchedule(100, 10, 10)
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def set_up(config) -> AedTrainer:
    """What `ns-train` does before it trains."""
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(config.machine.seed)
    writer.EVENT_WRITERS.clear()
    trainer = config.setup()
    with mock.patch.object(network, "HeadOccupancy", lambda _, backend: HeadOccupancy(CELLS, backend)):
        trainer.setup()
    return trainer


def small_trainer(data, output, steps, **changes) -> AedTrainer:
    return set_up(small_config(data, output, steps, **changes))


def die(*_) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_in(moment: str) -> None:
    """Has this process killed in the second save: when half of it is written, or when it is to be renamed."""
    saved, save, replace = [], torch.save, os.replace

    def half(state, file) -> None:
        saved.append(state["step"])
        save(state, file)
        if moment == "write" and len(saved) == 2:
            file.truncate(file.tell() // 2)
            die()

    torch.save = half
    os.replace = lambda *paths: die() if moment == "rename" and len(saved) == 2 else replace(*paths)


if __name__ == "__main__":
    data, output = Path(sys.argv[1]), Path(sys.argv[2])
    for moment in sys.argv[3:]:
        if not os.fork():  # nothing has begun threads yet
            config = small_config(data, output / moment, 60, steps_per_save=2)
            config.save_config()
            made = set_up(config)
            die_in(moment)
            made.train()
            os._exit(0)
        if os.waitstatus_to_exitcode(os.wait()[1]) != -signal.SIGKILL:
            sys.exit(f"{moment}: was not killed")
