"""Training as one or several processes do it; as a program, in two processes at once."""

import copy
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest
import torch
import torch.distributed as dist
from aed_nerfstudio.method_configs.aed_nerf import aed_nerf_tiny
from nerfstudio.engine.callbacks import TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.engine.optimizers import Optimizers

from aed_nerfstudio.nerfstudio_plugin import occupancy_schedule
from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule


def train_ranks(data: Path, ranks: list[int], world_size: int) -> dict:
    """Trains through all stages; several ranks in one process are what as many processes should do together.

    Returns the losses and metrics of each step and the pipeline's state.
    """
    config = copy.deepcopy(aed_nerf_tiny.config)
    pipeline_config = config.pipeline
    pipeline_config.datamanager.data = data
    pipeline_config.datamanager.train_num_rays_per_batch = 256
    pipeline_config.datamanager.torso_rays_per_batch = 256
    pipeline_config.ema_decay = 0.5
    model = pipeline_config.model
    model.schedule, model.occupancy_every = StageSchedule(6, 2, 3), 2
    # Every cell is visited in each update: else one cell that rounding flips changes what is drawn for all others.
    model.occupancy_warmup, model.carving_steps, model.appearance_dim = 100, 2, 4
    torch.manual_seed(ranks[0])
    np.random.seed(ranks[0])
    pipeline = pipeline_config.setup(device="cpu", world_size=world_size, local_rank=ranks[0]).train()
    managers = [pipeline.datamanager]
    for rank in ranks[1:]:
        np.random.seed(rank)
        managers.append(pipeline_config.datamanager.setup(device="cpu"))
    for optimizer in config.optimizers.values():
        optimizer["optimizer"].eps = 1e-4  # else Adam makes full steps of gradients that are nothing but rounding
    optimizers = Optimizers(config.optimizers, pipeline.get_param_groups())
    trainer = SimpleNamespace(checkpoint_dir=data, config=config)
    attributes = TrainingCallbackAttributes(optimizers=optimizers, grad_scaler=None, pipeline=pipeline, trainer=trainer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(occupancy_schedule, "FRAMES", 8)  # of which hull and shell are carved, for seconds
        callbacks = pipeline.get_training_callbacks(attributes)
    values = []
    for step in range(model.schedule.total):
        torch.manual_seed(100 * step + ranks[0])
        for callback in callbacks:
            callback.run_callback_at_location(step, TrainingCallbackLocation.BEFORE_TRAIN_ITERATION)
        optimizers.zero_grad_all()
        parts = []
        for rank, manager in zip(ranks, managers, strict=True):
            if rank != ranks[0]:
                torch.manual_seed(100 * step + rank)
            pipeline.datamanager = manager
            _, losses, metrics = pipeline.get_train_loss_dict(step)
            (sum(losses.values()) / len(ranks)).backward()
            parts.append({key: value.item() for key, value in {**losses, **metrics}.items()})
        values.append({key: float(np.mean([part[key] for part in parts])) for key in parts[0]})
        optimizers.optimizer_step_all()
        for callback in callbacks:
            callback.run_callback_at_location(step, TrainingCallbackLocation.AFTER_TRAIN_ITERATION)
    return {"values": values, "state": pipeline.state_dict()}


def train_as(rank: int, data: Path, folder: Path) -> None:
    """Trains as one process of two, and writes what came of it."""
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    dist.init_process_group("gloo", init_method=(folder / "meeting").as_uri(), world_size=2, rank=rank)
    torch.save(train_ranks(data, [rank], world_size=2), folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    for rank in (0, 1):
        if not os.fork():  # nothing has begun threads yet
            train_as(rank, Path(sys.argv[1]), Path(sys.argv[2]))
            sys.exit()
    sys.exit(max(abs(os.waitstatus_to_exitcode(os.wait()[1])) for _ in (0, 1)))
