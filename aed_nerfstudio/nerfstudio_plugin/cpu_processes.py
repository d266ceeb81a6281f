"""Several trainers in processes of their own, on CPUs: nerfstudio's launcher starts them for CUDA only."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import numba
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

from aed_nerfstudio.jobs.signals import AGAIN, STOP, leave, on_signals

if TYPE_CHECKING:
    from nerfstudio.engine.trainer import TrainerConfig


# Forks of one process that has imported what all of them need: each would else take ten seconds to do so, and memory.
# Not where what is imported may not be forked: macOS.
START = "forkserver" if sys.platform == "linux" else "spawn"


class CpuProcesses:
    """Stands in a trainer's place, and has several trainers do its work."""

    def __init__(self, config: TrainerConfig) -> None:
        self.config = config
        self._signal, self._signalled = 0, 0.0
        self._children: list[int] = []

    def setup(self) -> None:
        """Does nothing: each process sets itself up."""

    def train(self) -> None:
        """Returns when all processes of this machine have trained.

        Raises:
            SystemExit: they were stopped by a signal; with its exit code.
        """
        machine = self.config.machine
        with tempfile.TemporaryDirectory() as folder, on_signals(self._pass_on, *STOP):
            url = (Path(folder) / "meeting").as_uri() if machine.dist_url == "auto" else machine.dist_url
            multiprocessing.set_forkserver_preload(["nerfstudio.scripts.train"])
            processes = start_processes(_work, (self.config, url), machine.num_devices, join=False, start_method=START)
            assert processes is not None  # it returns None only when it has joined them
            self._children = processes.pids()
            try:
                while not processes.join():
                    pass
            except (ProcessExitedException, ProcessRaisedException) as error:
                code = getattr(error, "exit_code", 0)
                if not self._signal and code not in {128 + number for number in STOP}:
                    raise
                raise SystemExit(128 + self._signal if self._signal else code) from None
            if self._signal:
                raise SystemExit(128 + self._signal)

    def _pass_on(self, number: int) -> None:
        """Tells the trainers of a signal; they agree on a step after which all end, so that this process has only to
        wait."""
        if not self._children:
            leave(number)
        again = bool(self._signal) and time.monotonic() - self._signalled > AGAIN
        if not self._signal:
            self._signal, self._signalled = number, time.monotonic()
        for child in self._children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL if again else number)


def end_with_parent() -> None:
    """Has this process stopped as soon as the one that wanted it is no more: PyTorch would tell it of the one that it
    was forked from, and by a signal that a shell's background jobs do not hear."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None  # only the first process has none
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=wait, daemon=True).start()


def _work(local_rank: int, config: TrainerConfig, url: str) -> None:
    """Runs one process, as `nerfstudio.scripts.train` does for a GPU."""
    end_with_parent()
    with on_signals(leave, *STOP):
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
