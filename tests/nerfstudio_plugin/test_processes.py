"""Training in two processes, on the CPU: as a program, the two processes of the first test."""

import copy
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest
import torch
import torch.distributed as dist
from aed_nerfstudio.method_configs.aed_nerf import aed_nerf_tiny
from nerfstudio.configs.base_config import MachineConfig
from nerfstudio.engine.callbacks import TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.engine.optimizers import Optimizers

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.loading import load_pipeline
from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule


def trained(data: Path, ranks: list[int], world_size: int) -> dict:
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
    callbacks = pipeline.get_training_callbacks(
        TrainingCallbackAttributes(optimizers=optimizers, grad_scaler=None, pipeline=pipeline, trainer=trainer)
    )
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


@pytest.fixture
def one_thread():
    """As the two processes have it: sums in another order differ in their last digits, which Adam makes large."""
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    yield
    torch.set_num_threads(before[0])
    numba.set_num_threads(before[1])


@pytest.mark.slow
def test_two_processes_train_as_one_with_both_their_rays(data, tmp_path, one_thread):
    program = subprocess.Popen([sys.executable, __file__, data, tmp_path])
    together = trained(data, [0, 1], world_size=1)
    assert program.wait(120) == 0
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for ours, other in zip(first["values"], second["values"], strict=True):
        assert ours == pytest.approx(other, rel=1e-6)  # weights are equal to the bit: below
    for ours, expected in zip(first["values"], together["values"], strict=True):
        assert ours == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert {"lpips", "torso"} <= {key for row in first["values"] for key in row}
    assert first["state"].keys() == together["state"].keys()
    for key, value in first["state"].items():
        if torch.is_tensor(value):
            assert torch.equal(value, second["state"][key]), key
            if value.dtype == torch.bool:
                assert (value != together["state"][key]).float().mean() < 1e-3, key
            else:
                torch.testing.assert_close(value, together["state"][key], atol=1e-5, rtol=1e-4, msg=key)
    cells = first["state"]["_model.occupancy.binaries"]
    assert 0 < cells.sum() < first["state"]["_model.occupancy.allowed"].sum()  # it was updated


@pytest.mark.slow
def test_ns_train_in_two_processes_on_the_cpu(data, tmp_path, trained, command):
    printed = trained(
        *(data, tmp_path, "--machine.device-type", "cpu", "--machine.num-devices", 2),
        *("--max-num-iterations", 3, "--pipeline.datamanager.train-num-rays-per-batch", 256),
        call=command,
    )
    assert printed.count("spread over audio frames") == 1 == printed.count("Training Finished")
    folder = tmp_path / "actor" / "aed-nerf-tiny" / "t"
    pipeline, step = load_pipeline(folder / "config.yml")
    assert step == 2 and pipeline.world_size == 1
    camera = pipeline.datamanager.eval_dataset.cameras[0:1]
    assert pipeline.model.get_outputs_for_camera(camera)["rgb"].isfinite().all()


def test_an_error_of_a_process_is_one_line(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("""
import torch.multiprocessing as mp
from aed_nerfstudio.errors import InputError, report_plainly

def work(rank):
    raise InputError("data/me/dataset.json: is damaged;\\nmake it again") from OSError("no matter")

if __name__ == "__main__":
    report_plainly()
    mp.spawn(work, nprocs=2)
""")
    run = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 1 and "Traceback" not in run.stderr
    assert run.stderr.splitlines()[-1] == "error: data/me/dataset.json: is damaged; make it again"


@pytest.mark.parametrize(
    ("machine", "named"),
    [
        (MachineConfig(device_type="cuda", num_devices=1000), "num-devices 1000"),
        (MachineConfig(device_type="cpu", num_machines=2), "dist-url"),
    ],
)
def test_machines_that_cannot_be_are_named(tmp_path, machine, named):
    config = copy.deepcopy(aed_nerf_tiny.config)
    config.machine, config.output_dir = machine, tmp_path
    with pytest.raises(InputError, match=named):
        config.save_config()
    assert not list(tmp_path.iterdir())


def train_as(rank: int, data: Path, folder: Path) -> None:
    """Trains as one process of two, and writes what came of it."""
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    dist.init_process_group("gloo", init_method=(folder / "meeting").as_uri(), world_size=2, rank=rank)
    torch.save(trained(data, [rank], world_size=2), folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    for rank in (0, 1):
        if not os.fork():  # nothing has begun threads yet
            train_as(rank, Path(sys.argv[1]), Path(sys.argv[2]))
            sys.exit()
    sys.exit(max(abs(os.waitstatus_to_exitcode(os.wait()[1])) for _ in (0, 1)))
