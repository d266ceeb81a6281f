"""What a GPU is asked in ten minutes, from a parcel: `python benchmarks/gpu.py --from-parcel DIR` runs it.

Tests, short trainings of every stage, what the device does in a step, pictures, the way back to a CPU, and a training
for the time that is left. Prints one table. Needs no internet, no MediaPipe, no PyAV and no front end.
"""

from __future__ import annotations

import copy
import json
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from parcel import unpack

TESTS = Path(__file__).parents[1] / "tests"
PROFILED = 12
"""Steps of a stage: as many as there are from one reading of the losses to the next, and two."""
PICTURES = 40
COMPARED = 8
"""Held-out frames that are rendered on both devices."""


def exchanged(config: Path) -> float:
    """Returns the PSNR, in dB, between the pictures that a GPU and a CPU make of one checkpoint."""
    from aed_nerfstudio.avatar.avatar import Avatar
    from aed_nerfstudio.driving.track import DatasetTrack
    from aed_nerfstudio.loading import dataset_of, read_run

    there, here = Avatar.load(config), Avatar.load(config, device="cpu")
    dataset = dataset_of(read_run(config))
    track, frames = DatasetTrack.of(dataset, here.vocabulary), dataset.split("val")
    frames = [frames[i] for i in np.linspace(0, len(frames) - 1, COMPARED).astype(int)]
    errors = []
    for frame in frames:
        pictures = [avatar.images(track[frame])["rgb"].cpu() for avatar in (there, here)]
        errors.append(float((pictures[0] - pictures[1]).square().mean()))
    return float(-10 * np.log10(max(np.mean(errors), 1e-12)))


@dataclass
class Minutes:
    """The measures of a parcel.

    Args:
        parcel: of `parcel.pack`.
        output: a folder.
        device: `cuda`, or `cpu` to try it out.
        minutes: for all of it.
        steps: of the short training's stages.
    """

    parcel: Path
    output: Path
    device: str
    minutes: float
    steps: tuple[int, int, int]

    def main(self) -> None:
        self.end, self.rows = time.monotonic() + 60 * self.minutes, []
        data = unpack(self.parcel, self.output.resolve() / "data")
        self._row("machine", torch.cuda.get_device_name() if self._on_gpu else "CPU", torch.__version__)
        self._guarded("tests", self._tests)
        self._guarded("short training", lambda: self._train(data))
        config = self.output / "short" / "actor" / "aed-nerf" / "short" / "config.yml"
        self._guarded("pictures", lambda: self._pictures(config))
        self._guarded("exchange", lambda: self._exchange(config))
        self._guarded("training", lambda: self._whole(data))
        print(self._table())

    @property
    def _on_gpu(self) -> bool:
        return self.device == "cuda"

    def _row(self, name: str, *values: str) -> None:
        """Notes a row of the table, and prints and writes it at once: what comes after may not end."""
        self.rows.append((name, "; ".join(values)))
        print(*self.rows[-1], sep=": ", flush=True)
        (self.output / "minutes.json").write_text(json.dumps(self.rows, indent=1))

    def _table(self) -> str:
        lines = [f"| {name} | {value} |" for name, value in self.rows]
        return "\n".join(["| what | measured |", "|---|---|", *lines])

    def _guarded(self, name: str, measure) -> None:
        """Measures; what fails is a row, and no reason to leave the rest out."""
        try:
            measure()
        except (Exception, SystemExit) as error:
            self._row(name, f"failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}")

    def _tests(self) -> None:
        which = ["-k", "cuda"] if self._on_gpu else ["-k", "numba-cpu and rooms"]
        command = [sys.executable, "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", *which]
        job = subprocess.run([*command, TESTS / "test_backends.py"], capture_output=True, text=True, check=False)
        self._row("tests of the backends", job.stdout.strip().splitlines()[-1])

    def _config(self, data: Path, name: str):
        from aed_nerfstudio.method_configs.aed_nerf import aed_nerf

        config = copy.deepcopy(aed_nerf.config)
        config.data = config.pipeline.datamanager.data = data
        config.output_dir, config.experiment_name, config.timestamp = self.output / name, "actor", name
        config.vis, config.logging.local_writer.enable = "tensorboard", False
        config.machine.device_type, config.steps_per_eval_image = self.device, 0
        config.recorded_steps = "auto" if self._on_gpu else "on"
        return config

    def _train(self, data: Path) -> None:
        from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule

        config = self._config(data, "short")
        schedule = config.pipeline.model.schedule = StageSchedule(*self.steps)
        config.pipeline.model.occupancy_warmup = min(128, schedule.head // 2)
        config.max_num_iterations = schedule.total
        config.save_config()
        trainer = config.setup()
        trainer.setup()
        make, ends = trainer.train_iteration, []

        def timed(step: int):
            found = make(step)
            ends.append(time.perf_counter())
            return found

        trainer.train_iteration = timed
        trainer.train()
        recorded = trainer._recorded
        overflowed = "" if recorded is None else f"{recorded.overflowed} steps made again"
        graphs = recorded is not None and recorded._graphs is not None
        self._row("recorded steps", "no" if recorded is None else "graphs" if graphs else "no graphs", overflowed)
        first = 0
        for stage, count in zip(("head", "lips", "torso"), self.steps, strict=True):
            middle, last = first + count // 2, first + count - 1
            self._row(f"step of the {stage} stage", f"{1e3 * (ends[last] - ends[middle]) / (last - middle):.2f} ms")
            first += count
        if self._on_gpu:
            self._row("GPU memory in training", f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB")
        trainer.train_iteration = make
        for stage, step in (("head", 1), ("lips", schedule.head), ("torso", schedule.head + schedule.lips)):
            self._profile(trainer, stage, step)

    def _profile(self, trainer, stage: str, step: int) -> None:
        """Notes what the device does in steps of a kind."""
        from torch.profiler import ProfilerActivity, profile

        trainer.pipeline.train()
        trainer.pipeline.model.set_stage(step)
        for _ in range(3):
            trainer.train_iteration(step)
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._on_gpu else [])]
        with profile(activities=kinds) as found:
            start = time.perf_counter()
            for _ in range(PROFILED):
                trainer.train_iteration(step)
            if self._on_gpu:
                torch.cuda.synchronize()
            wall = time.perf_counter() - start
        events = found.key_averages()
        called = {event.key: event.count for event in events}
        spent = "self_device_time_total" if self._on_gpu else "self_cpu_time_total"
        kernels = sorted(events, key=lambda event: getattr(event, spent), reverse=True)
        busy = sum(getattr(event, spent) for event in events) / 1e6 / wall
        words = [f"{'device' if self._on_gpu else 'operators'} busy {100 * busy:.0f} %"]
        for name, what in (("Launch", "launches"), ("Synchronize", "waits")):
            words.append(f"{sum(n for key, n in called.items() if name in key) / PROFILED:.1f} {what} a step")
        largest = [f"{k.key[:40]} {getattr(k, spent) / 1e3 / PROFILED:.2f} ms" for k in kernels[:5]]
        self._row(f"profile of the {stage} stage", *words, *largest)

    def _pictures(self, config: Path) -> None:
        from aed_nerfstudio.avatar.avatar import Avatar, to_uint8
        from aed_nerfstudio.driving.track import DatasetTrack
        from aed_nerfstudio.loading import dataset_of, read_run

        start = time.perf_counter()
        avatar = Avatar.load(config, device=self.device)
        track = DatasetTrack.of(dataset_of(read_run(config)), avatar.vocabulary)
        taken = []
        for number in range(PICTURES if self._on_gpu else 4):
            begin = time.perf_counter()
            to_uint8(avatar.images(track[7 * number % len(track)])["rgb"])
            taken.append(1e3 * (time.perf_counter() - begin))
        rest = sorted(taken[3:])
        late = rest[int(0.95 * (len(rest) - 1))]
        self._row("picture to 8-bit pixels", f"{statistics.median(rest):.1f} ms", f"95 %: {late:.1f} ms",
                  f"the first {taken[0]:.0f} ms", f"with loading {time.perf_counter() - start:.1f} s")  # fmt: skip

    def _exchange(self, config: Path) -> None:
        self._row("the same pictures on a CPU", f"{exchanged(config):.1f} dB")

    def _whole(self, data: Path) -> None:
        """Trains for what time is left, but for half a minute."""
        from aed_nerfstudio.nerfstudio_plugin.checkpoints import checkpoints

        left = self.end - time.monotonic() - 30
        if left < 20:
            self._row("training for the time left", "none was left")
            return
        flags = ["--vis=tensorboard", "--experiment-name=actor", "--timestamp=whole", f"--output-dir={self.output}"]
        flags += [f"--data={data}", f"--machine.device-type={self.device}"]
        command = [sys.executable, "-m", "nerfstudio.scripts.train", "aed-nerf", *flags]
        begin = time.monotonic()
        with open(self.output / "whole.log", "w") as log:
            job = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                job.wait(left)
            except subprocess.TimeoutExpired:
                job.send_signal(signal.SIGTERM)  # after the step that is being made it saves, and ends
                job.wait(60)
        saved = checkpoints(self.output / "actor" / "aed-nerf" / "whole" / "nerfstudio_models")
        steps = int(saved[0].stem.removeprefix("step-")) + 1 if saved else 0
        self._row("training for the time left", f"{steps} steps in {time.monotonic() - begin:.0f} s")
