"""nerfstudio's trainer in several processes, on CPUs as well: its launcher starts them for CUDA only."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numba
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from nerfstudio.engine.trainer import Trainer, TrainerConfig
from nerfstudio.utils import comms

from aed_nerfstudio.errors import InputError, report_plainly


@dataclass
class AedTrainerConfig(TrainerConfig):
    """nerfstudio's, for any number of processes (`machine.num_devices` on each of `machine.num_machines`)."""

    def save_config(self) -> None:
        """Writes `config.yml`; the last that `ns-train` asks of a config before it launches its processes.

        Raises:
            InputError: there are not so many GPUs, or several machines without an address to meet at.
        """
        report_plainly()
        machine, gpus = self.machine, torch.cuda.device_count()
        if machine.device_type == "cuda" and machine.num_devices > max(1, gpus):
            raise InputError(f"--machine.num-devices {machine.num_devices}: this machine has {gpus} GPUs; give fewer, "
                             "or --machine.device-type cpu")  # fmt: skip
        if machine.num_machines > 1 and machine.dist_url == "auto":
            raise InputError("--machine.dist-url auto: works on one machine only; give all of them the same "
                             "tcp://HOST:PORT, an address of the machine of --machine.machine-rank 0")  # fmt: skip
        if machine.machine_rank == 0:
            super().save_config()
        if machine.device_type == "cpu" and machine.num_devices * machine.num_machines > 1:
            # The launcher must not see that they are several: `setup` starts them.
            self._several, self.machine = machine, replace(machine, num_devices=1, num_machines=1)

    def setup(self, local_rank: int = 0, **kwargs) -> Trainer | CpuProcesses:
        """A process's trainer; arguments are nerfstudio's."""
        several = self.__dict__.pop("_several", None)
        if several is not None:
            return CpuProcesses(replace(self, machine=several))
        if not comms.is_main_process():
            sys.stdout = open(os.devnull, "w")  # one report of everything is enough
        if self.machine.device_type == "cuda" and self.machine.num_devices > 1:
            torch.cuda.set_device(local_rank)  # nerfstudio does not, and kernels are launched on the current one
        return super().setup(local_rank=local_rank, **kwargs)


class CpuProcesses:
    """Stands in a trainer's place, and has several trainers in processes of their own do its work."""

    def __init__(self, config: AedTrainerConfig) -> None:
        self.config = config

    def setup(self) -> None:
        """Nothing: each process sets itself up."""

    def train(self) -> None:
        """Returns when all processes of this machine have trained."""
        machine = self.config.machine
        with tempfile.TemporaryDirectory() as folder:
            url = (Path(folder) / "meeting").as_uri() if machine.dist_url == "auto" else machine.dist_url
            mp.spawn(_work, (self.config, url), machine.num_devices)


def _work(local_rank: int, config: AedTrainerConfig, url: str) -> None:
    """One process; what `nerfstudio.scripts.train` does for a GPU."""
    from nerfstudio.scripts.train import train_loop  # which loads the registered methods, and so this module

    machine = config.machine
    world_size = machine.num_devices * machine.num_machines
    rank = machine.machine_rank * machine.num_devices + local_rank
    share = max(1, (os.cpu_count() or 1) // machine.num_devices)
    torch.set_num_threads(min(share, torch.get_num_threads()))
    numba.set_num_threads(min(share, numba.get_num_threads()))
    dist.init_process_group("gloo", init_method=url, world_size=world_size, rank=rank)
    train_loop(local_rank, world_size, config, rank)
    dist.barrier()
    dist.destroy_process_group()
