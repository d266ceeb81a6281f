"""nerfstudio's trainer, of which a kill, a signal or a full disk loses nothing, and which may be several processes."""

from __future__ import annotations

import atexit
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Literal

import torch
import yaml
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackLocation
from nerfstudio.engine.trainer import Trainer, TrainerConfig
from nerfstudio.utils import comms, writer
from nerfstudio.utils.decorators import check_main_thread
from torch import Tensor

from aed_nerfstudio.backends import had_here
from aed_nerfstudio.dataset.consent import read_consent
from aed_nerfstudio.errors import FULL, InputError, reason, report_plainly
from aed_nerfstudio.files import write
from aed_nerfstudio.jobs.folder_lock import folder_lock
from aed_nerfstudio.jobs.signals import AGAIN, STOP, leave, on_signals
from aed_nerfstudio.nerfstudio_plugin.checkpoints import (
    checkpoint_path,
    checkpoints,
    keep_two,
    read_checkpoint,
    read_newest,
    remove_half_written,
    write_checkpoint,
)
from aed_nerfstudio.nerfstudio_plugin.cpu_processes import CpuProcesses
from aed_nerfstudio.nerfstudio_plugin.limits import check_numbers
from aed_nerfstudio.nerfstudio_plugin.other_systems import read_paths_of_other_systems
from aed_nerfstudio.nerfstudio_plugin.pipeline import AedPipeline
from aed_nerfstudio.nerfstudio_plugin.places import find_inputs, make_absolute, own_pipeline, read_by_nerfstudio
from aed_nerfstudio.nerfstudio_plugin.processes import largest
from aed_nerfstudio.nerfstudio_plugin.random_state import seed_anew
from aed_nerfstudio.nerfstudio_plugin.recorded_steps import RecordedChoice, RecordedSteps, unfit
from aed_nerfstudio.nerfstudio_plugin.threads import Threads

read_paths_of_other_systems()

FIT_THREADS = 50
"""Steps from one look at what other programs leave of the processor to the next."""


@dataclass
class AedTrainerConfig(TrainerConfig):
    """nerfstudio's, for any number of processes (`machine.num_devices` on each of `machine.num_machines`)."""

    _target: type = field(default_factory=lambda: AedTrainer)
    consent: str | None = None
    """Who agreed to the avatar, in words or in a file that is named; None: what the dataset says."""
    licence: str | None = None
    """Under which terms the avatar may be used, in words or in a file that is named."""
    recorded_steps: RecordedChoice = "auto"
    """Whether steps have a fixed size and draw on the device, so that the host starts each at once, as a CUDA graph.
    auto: on a GPU, where that is possible; on: also on a CPU, which has no graphs and gains nothing. Rays are drawn in
    another way then: a training differs from one without as one of another seed does."""

    def save_config(self) -> None:
        """Locks the run's folder until this process ends, and writes `config.yml` there, with paths that are right from
        anywhere; the last that `ns-train` asks of a config before it launches its processes.

        Raises:
            InputError: a number is out of its bounds; there are not so many GPUs, or several machines without an
                address to meet at; another process trains this run; or its folder cannot be written.
        """
        report_plainly()
        check_numbers(self)
        machine, gpus = self.machine, torch.cuda.device_count()
        if machine.device_type == "cuda" and machine.num_devices > max(1, gpus):
            raise InputError(f"--machine.num-devices {machine.num_devices}: this machine has {gpus} GPUs; give fewer, "
                             "or --machine.device-type cpu")  # fmt: skip
        if machine.num_machines > 1 and machine.dist_url == "auto":
            raise InputError("--machine.dist-url auto: works on one machine only; give all of them the same "
                             "tcp://HOST:PORT, an address of the machine of --machine.machine-rank 0")  # fmt: skip
        make_absolute(self)
        if machine.machine_rank == 0:
            folder = self.get_base_dir()
            _hold(folder.resolve())
            remove_half_written(self.get_checkpoint_dir())
            write(folder / "config.yml", yaml.dump(self), folder)
            print(self.steps_in_words())
        if machine.device_type == "cpu" and machine.num_devices * machine.num_machines > 1:
            # The launcher must not see that they are several: `setup` starts them.
            self._several, self.machine = machine, replace(machine, num_devices=1, num_machines=1)

    def steps_in_words(self) -> str:
        """Returns of how many rays and frames steps are, and how many: presets are others on a GPU."""
        pipeline = own_pipeline(self)
        data, schedule = pipeline.datamanager, pipeline.model.schedule
        return (
            f"{self.method_name} on {self.machine.device_type}: steps of {data.train_num_rays_per_batch} rays of "
            f"{data.frames_per_step} frames (torso: {data.torso_rays_per_batch} of {data.torso_frames_per_step}); "
            f"{schedule.head} for the head, {schedule.lips} for the lips, {schedule.torso} for the torso"
        )

    def get_base_dir(self) -> Path:
        """Returns the run's folder; in nerfstudio's commands that read its config.yml, where that lies now."""
        return self.__dict__.get("_run") or super().get_base_dir()

    def get_checkpoint_dir(self) -> Path:
        """Returns the folder of the checkpoints. Where nerfstudio's commands ask, which read a config.yml, this is
        beside it, and the config is fitted to this machine.

        Raises:
            InputError: the dataset, or a checkpoint, is not there any more; only then.
        """
        file = read_by_nerfstudio()
        if file is not None:
            report_plainly()
            if (file.parent / self.relative_model_dir).is_dir():
                self._run = file.parent
            find_inputs(self, file.parent)
            model = own_pipeline(self).model
            model.backend = had_here(model.backend, "cuda" if torch.cuda.is_available() else "cpu")
            if not checkpoints(super().get_checkpoint_dir()):
                raise InputError(f"{super().get_checkpoint_dir()}: holds no checkpoint; give the config.yml in the "
                                 "folder of a training run")  # fmt: skip
        return super().get_checkpoint_dir()

    def setup(self, local_rank: int = 0, **kwargs) -> Trainer | CpuProcesses:
        """Returns the trainer of a process; arguments are nerfstudio's."""
        several = self.__dict__.pop("_several", None)
        if several is not None:
            return CpuProcesses(replace(self, machine=several))
        if not comms.is_main_process():
            sys.stdout = open(os.devnull, "w")  # one report of everything is enough
        if self.machine.device_type == "cuda" and self.machine.num_devices > 1:
            torch.cuda.set_device(local_rank)  # nerfstudio does not, and kernels are launched on the current one
        return super().setup(local_rank=local_rank, **kwargs)


@cache
def _hold(folder: Path) -> ExitStack:
    """Locks a run's folder for as long as this process lives."""
    held = ExitStack()
    held.enter_context(folder_lock(folder))
    atexit.register(held.close)
    return held


class AedTrainer(Trainer):
    """nerfstudio's, whose checkpoints are whole and hold all that a training goes on from.

    A training that went on from one is, to the last bit, the one that was never stopped (on a CPU, in one process).
    SIGINT and SIGTERM end it after the step that is being made, with a checkpoint; a second signal ends it at once.
    """

    config: AedTrainerConfig
    pipeline: AedPipeline

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._done = -1
        """The last step that was made."""
        self._loaded: tuple[Path, dict | None] | None = None
        """The checkpoint that this training goes on from, and its `training`."""
        self._signal, self._signalled = 0, 0.0
        self._agreed = 0
        """The signal that ends all processes after the same step."""
        self._stopped = False
        self._recorded: RecordedSteps | None = None
        self._threads = Threads()

    def setup(self, test_mode: Literal["test", "val", "inference"] = "val") -> None:
        """Sets the trainer up as nerfstudio does.

        Raises:
            InputError: the checkpoint to load is missing or damaged, or steps cannot be recorded as is asked for.
            SystemExit: by a signal, with its exit code.
        """
        said = {"consent": self.config.consent, "licence": self.config.licence}
        words = {name: read_consent(text, f"--{name}") for name, text in said.items() if text}
        with on_signals(leave, *STOP):
            super().setup(test_mode)
        network = self.pipeline.model.network
        network.portrait = network.portrait.noting(**words)
        self.callbacks.append(TrainingCallback([TrainingCallbackLocation.AFTER_TRAIN_ITERATION], self._after_step))
        self._recorded = self._recorder()

    # ---- going on from a checkpoint

    def _load_checkpoint(self) -> None:
        c = self.config
        if c.load_dir is not None and c.load_step is None:
            path, state = read_newest(c.load_dir)
        elif c.load_dir is not None and c.load_step is not None:
            path = checkpoint_path(c.load_dir, c.load_step)
            state = read_checkpoint(path)
        elif c.load_checkpoint is not None:
            path = c.load_checkpoint
            state = read_checkpoint(path)
        else:
            return
        self._start_step = state["step"] + 1
        self._done = state["step"]
        self.pipeline.load_pipeline(state["pipeline"], state["step"])
        self.optimizers.load_optimizers(state["optimizers"])
        if c.load_scheduler:
            self.optimizers.load_schedulers(state.get("schedulers", {}))
        self.grad_scaler.load_state_dict(state["scalers"])
        self._loaded = path, state.get("training")
        print(f"going on after step {state['step']} of {path}")

    def _restore(self, path: Path, state: dict | None) -> None:
        """Makes all that draws or remembers what it was when the checkpoint was written."""
        whole = state is not None and state["processes"] == self.world_size == 1
        if not whole:
            why = "was made in several processes, or is for several" if state is not None else "is of an older version"
            print(f"{path} {why}: this training draws other rays than an undisturbed one would have")
            seed_anew(self.pipeline.datamanager.generator, self.config.machine.seed, comms.get_rank(), self._start_step)
        if state is not None:
            self.pipeline.restore_training(state, whole)
            parameters = dict(self.pipeline.model.network.named_parameters())
            for name, gradient in state["gradients"].items():
                parameters[name].grad = gradient.to(self.device)

    # ---- training

    @property
    def stop_training(self) -> bool:
        """Returns whether to stop; nerfstudio asks before each step, and while it is paused."""
        # A paused process waits alone; else all must stop at the same step, or they wait for each other forever.
        several = self.world_size > 1 and self.training_state != "paused"
        ended = self._done >= self.config.max_num_iterations - 1
        return self._stopped or ended or bool(self._agreed if several else self._signal)

    @stop_training.setter
    def stop_training(self, stop: bool) -> None:
        self._stopped = stop

    def train(self) -> None:
        """Trains to step `max_num_iterations`, whatever step it began with.

        Raises:
            InputError: the disk is full; the last checkpoint is whole.
            SystemExit: by a signal, with its exit code, when a checkpoint has been written.
        """
        if self._loaded is not None and self._start_step >= self.config.max_num_iterations:
            print(f"{self._loaded[0]} has made {self._start_step} steps, and --max-num-iterations "
                  f"{self.config.max_num_iterations} is where a training ends: nothing to do")  # fmt: skip
            return
        with on_signals(self._ask_to_stop, *STOP):
            if self._loaded is not None:
                self._restore(*self._loaded)
            try:
                super().train()
            except OSError as error:
                if error.errno not in FULL:
                    raise
                raise self._full(self._done, error) from error

    def _recorder(self) -> RecordedSteps | None:
        """Returns what makes the steps; None: nerfstudio's way.

        Raises:
            InputError: recorded steps are asked for, and are not possible.
        """
        choice, on_gpu = self.config.recorded_steps, torch.device(self.device).type == "cuda"
        if choice == "off" or (choice == "auto" and not on_gpu):
            return None
        parts = self.config, self.pipeline, self.optimizers
        why = unfit(*parts)
        if why is None:
            return RecordedSteps(*parts)
        if choice == "on":
            raise InputError(f"--recorded-steps on: not possible here, because {why}; change that, or give auto")
        print(f"steps are not recorded: {why}")
        return None

    def train_iteration(self, step: int) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Makes a step, and returns its loss, losses and metrics."""
        return super().train_iteration(step) if self._recorded is None else self._recorded.make(step)

    def _ask_to_stop(self, number: int) -> None:
        if not self._signal:
            self._signal, self._signalled = number, time.monotonic()
        elif time.monotonic() - self._signalled > AGAIN:
            os._exit(128 + number)

    def _after_step(self, step: int) -> None:
        self._done = step
        self._agreed = largest(self._signal, self.device)
        if self.world_size == 1 and step % FIT_THREADS == 0:
            self._threads.fit()

    def _after_train(self) -> None:
        self.step = self._done  # nerfstudio has counted the step before which it stopped
        number = self._agreed or self._signal
        if not number:
            super()._after_train()
            return
        self.save_checkpoint(self.step)
        writer.write_out_storage()
        if self._agreed and self.world_size > 1:
            comms.synchronize()  # who ends first has the others ended, also who still writes
        if self._done < self._start_step:
            print("stopped before the first step: nothing to save")
        else:
            print(f"stopped at step {self.step}, which is saved; ns-train goes on from there with --load-dir "
                  f"{self.checkpoint_dir}")  # fmt: skip
        raise SystemExit(128 + number)

    def _train_complete_viewer(self) -> None:
        with on_signals(lambda number: sys.exit(0 if number == STOP[0] else 128 + number), *STOP):
            super()._train_complete_viewer()

    @check_main_thread
    def save_checkpoint(self, step: int) -> None:
        """Writes a checkpoint and, with `save_only_latest_checkpoint`, removes all but this and the one before.

        Raises:
            InputError: it cannot be written; what was there before is whole.
        """
        if step < self._start_step:
            return  # nothing has been trained
        if self._recorded is not None:
            self._recorded.settle()
        parameters = self.pipeline.model.network.named_parameters() if self.config.gradient_accumulation_steps else ()
        state = {
            "step": step,
            "pipeline": self.pipeline.state_dict(),
            "optimizers": {name: part.state_dict() for name, part in self.optimizers.optimizers.items()},
            "schedulers": {name: part.state_dict() for name, part in self.optimizers.schedulers.items()},
            "scalers": self.grad_scaler.state_dict(),
            "training": {
                **self.pipeline.training_state(),
                "gradients": {name: p.grad for name, p in parameters if p.grad is not None},
                "processes": self.world_size,
            },
        }
        try:
            write_checkpoint(self.checkpoint_dir, state)
        except (InputError, RuntimeError) as error:
            raise self._full(step, error.__cause__ or error) from error
        if self.config.save_only_latest_checkpoint:
            keep_two(self.checkpoint_dir, step)

    def _full(self, step: int, error: BaseException) -> InputError:
        """Returns the error to raise when step `step` cannot be written."""
        whole = checkpoints(self.checkpoint_dir)
        mend = f"{whole[0].name} is whole: make room and go on from it" if whole else "make room and train again"
        return InputError(f"{self.checkpoint_dir}: step {step} cannot be written ({reason(error)}), so the training "
                          f"ends; {mend}")  # fmt: skip
