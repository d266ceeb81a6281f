"""Training steps that the host starts at once: drawing, losses, gradients and Adam as one CUDA graph a kind of step.

A step takes room for as many samples as its kind was found to need, and some. One that needs more changes no weight,
nor does any that follows; the host finds out when it reads the losses, makes more room, and has all of them made again.
What a step draws depends on the seed and on its number alone, so they are the steps that they would have been.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from nerfstudio.engine.optimizers import Optimizers
from nerfstudio.engine.trainer import TrainerConfig
from torch import Tensor

from aed_nerfstudio.backends import resolve
from aed_nerfstudio.nerfstudio_plugin.device_drawing import DeviceDrawing
from aed_nerfstudio.nerfstudio_plugin.fixed_step import FixedStep, StepKind
from aed_nerfstudio.nerfstudio_plugin.loss_watch import READ_EVERY
from aed_nerfstudio.nerfstudio_plugin.pipeline import AedPipeline
from aed_nerfstudio.nerfstudio_plugin.resident_frames import ResidentFrames
from aed_nerfstudio.rendering.cuda_graphs import CudaGraphs, RecordingFailed, Tensors

RecordedChoice = Literal["auto", "on", "off"]
FIRST, GRAIN, ROOM = 1 << 14, 1 << 10, 1.25
"""Samples of a group in the first step of a kind, what their number is a multiple of, and the room left for more."""
TOO_LARGE = 3.0
"""Times what is wanted: a room that is larger is made smaller."""
RECORDINGS = 8
"""Kinds of steps that are kept recorded."""


def unfit(config: TrainerConfig, pipeline: AedPipeline, optimizers: Optimizers) -> str | None:
    """Returns why steps of a trainer cannot be recorded; None where they can."""
    data, device = pipeline.datamanager, pipeline.model.device
    groups = [group for optimizer in optimizers.optimizers.values() for group in optimizer.param_groups]
    chosen = resolve(pipeline.model.config.backend, device)
    if pipeline.world_size > 1:
        return "several processes train together"
    if any(steps != 1 for steps in config.gradient_accumulation_steps.values()):
        return "gradients are accumulated over steps"
    if config.use_grad_scaler or config.log_gradients or pipeline.config.ema_decay:
        return "the gradients' scaler, their log and mean weights look at every step"
    if not all(group.get("fused") for group in groups):
        return "an optimizer is not fused"
    if any(optimizers.config[name]["optimizer"].max_norm is not None for name in optimizers.optimizers):
        return "gradients are clipped"
    if chosen.marching == "torch" or chosen.grids == "tcnn":
        return f"the backend waits for the device ({chosen})"
    if device.type == "cuda" and data.store().total_bytes > data.config.frames_on_gpu * 2**30:
        return "the frames need more than --pipeline.datamanager.frames-on-gpu"
    return None


@dataclass
class _Made:
    """A step whose losses have not been read yet."""

    step: int
    kind: StepKind
    numbers: Tensor
    """See `RecordedSteps._numbers`."""
    row: Tensor
    """Losses, metrics, samples that the sorts of groups wanted, and 1 where a room was too small by then."""


class RecordedSteps:
    """Makes the steps of a trainer that is set up. On a CPU the same work is done without a graph.

    Args:
        config: of a trainer for which `unfit` has no reason.
        pipeline: its pipeline.
        optimizers: its optimizers.
        graphs: None: on CUDA, ones of its own.
    """

    def __init__(
        self, config: TrainerConfig, pipeline: AedPipeline, optimizers: Optimizers, graphs: CudaGraphs | None = None
    ) -> None:
        self.config, self.model, self.watch = config, pipeline.model, pipeline.watch
        self.optimizers = optimizers.optimizers
        frames = ResidentFrames(pipeline.datamanager, self.model)
        self.drawing = DeviceDrawing(pipeline.datamanager, self.model, frames)
        self.fixed, self.device = FixedStep(self.model, frames, self.drawing), frames.device
        self.overflowed = 0
        """Steps that had too little room, and were made again."""
        self._stopped = torch.zeros((), device=self.device)
        """1 from the first step on that has too little room: no weight changes until it is read."""
        self._rooms: dict[tuple[str, int], tuple[int, ...]] = {}
        """For samples of a group, by what a step shows and how many samples a ray has: see `FixedStep.losses`."""
        self._names: dict[StepKind, tuple[list[str], list[str]]] = {}
        """Of the losses and of the metrics."""
        self._made: list[_Made] = []
        self._begun: set[tuple[StepKind, tuple[int, ...]]] = set()
        """Kinds of steps, and their rooms, that there was a step of."""
        on_gpu = self.device.type == "cuda"
        self._graphs = CudaGraphs(RECORDINGS, self.drawing.generator) if graphs is None and on_gpu else graphs

    # ---- making steps

    def make(self, step: int) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Makes a step, and returns its loss, losses and metrics.

        Raises:
            InputError: as `LossWatch.check`, for this step or one before.
        """
        kind = self.fixed.kind(step)
        first = (kind, self._rooms_of(kind)) not in self._begun
        self._make(step, self._numbers(step))
        last = self._made[-1]
        if first or len(self._made) >= READ_EVERY or self._is_last_before_a_change(step):
            last = self.settle() or last
        losses, metrics = self._names[kind]
        values = dict(zip([*losses, *metrics], last.row.unbind(), strict=False))
        found = {name: values[name] for name in losses}
        return last.row[: len(losses)].sum(), found, {name: values[name] for name in metrics}

    def _numbers(self, step: int) -> Tensor:
        """Returns how far a step is through head and lips, and the optimizers' learning rates, on the host."""
        rates = [optimizer.param_groups[0]["lr"] for optimizer in self.optimizers.values()]
        return torch.tensor([self.model.progress(step), *rates])

    def _is_last_before_a_change(self, step: int) -> bool:
        """Returns whether something follows that a step could not be made again after: another occupancy grid, another
        stage, a checkpoint."""
        schedule, config = self.model.config.schedule, self.config
        saves = step % config.steps_per_save == 0 or step >= config.max_num_iterations - 1
        return saves or self.model.occupancy.changes(step + 1) or schedule.stage(step + 1) != schedule.stage(step)

    def _make(self, step: int, numbers: Tensor) -> None:
        kind = self.fixed.kind(step)
        rooms = self._rooms_of(kind)
        self.drawing.generator.manual_seed((self.config.machine.seed % (1 << 31)) << 32 | step)
        sent = numbers.pin_memory() if self.device.type == "cuda" else numbers
        inputs = [sent.to(self.device, non_blocking=True), self.model.network.occupancy.binaries]

        def work(numbers: Tensor, occupied: Tensor) -> Tensors:
            return {"row": self._work(kind, rooms, numbers, occupied)}

        self._begun.add((kind, rooms))
        self._made.append(_Made(step, kind, numbers, self._run((kind, rooms), work, inputs)["row"]))

    def _run(self, key: tuple, work, inputs: list[Tensor]) -> Tensors:
        if self._graphs is not None:
            try:
                return self._graphs.run(key, work, inputs)
            except RecordingFailed as error:
                print(f"steps are made one operation after the other: they could not be recorded ({error})")
                self._graphs = None
        return work(*inputs)

    def _work(self, kind: StepKind, rooms: tuple[int, ...], numbers: Tensor, occupied: Tensor) -> Tensor:
        """Does all of a step, and returns the row of `_Made`. No operation in here may wait for the device."""
        weights = [
            weight
            for optimizer in self.optimizers.values()
            for group in optimizer.param_groups
            for weight in group["params"]
            if weight.requires_grad
        ]
        with torch.autocast(self.device.type, enabled=self.config.mixed_precision):
            drawn = self.drawing.draw(kind.shown)
            losses, metrics, wanted = self.fixed.losses(kind, drawn, rooms, numbers[0], occupied)
            values = torch.stack([*losses.values()])
            loss = values.sum()
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        for number, room in enumerate(rooms):
            self._stopped.copy_(torch.maximum(self._stopped, (wanted[number] > room).float()))
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        for optimizer, rate in zip(self.optimizers.values(), numbers[1:], strict=True):
            if any(weight.grad is not None for group in optimizer.param_groups for weight in group["params"]):
                with _told_by_the_device(optimizer, rate, self._stopped):
                    optimizer.step()
        for weight in weights:
            weight.grad = None
        self._names[kind] = [*losses], [*metrics]
        parts = values.detach(), *(value[None] for value in metrics.values()), wanted.float(), self._stopped[None]
        return torch.cat(parts)

    # ---- room

    def _rooms_of(self, kind: StepKind) -> tuple[int, ...]:
        if kind.shown == "torso":
            return ()
        place = kind.shown, kind.max_samples
        if place not in self._rooms:
            self._rooms[place] = (self._bounded(FIRST, kind),) * self.drawing.groups_of_frame(kind.shown)
        return self._rooms[place]

    def _bounded(self, samples: float, kind: StepKind) -> int:
        """Returns a room for so many samples, or for as many as a group can have."""
        most = self.drawing.rays_of_step(kind.shown) * kind.max_samples
        return min(most, GRAIN * max(1, -int(-samples // GRAIN)))

    def _make_room(self, kind: StepKind, wanted: Sequence[float]) -> None:
        """Makes rooms that are too small for what is wanted larger, and far too large ones smaller."""
        rooms = self._rooms_of(kind)
        fitting = tuple(
            self._bounded(ROOM * samples, kind) if samples > room or ROOM * samples * TOO_LARGE < room else room
            for samples, room in zip(wanted, rooms, strict=True)
        )
        if fitting != rooms:
            self._rooms[kind.shown, kind.max_samples] = fitting
            if self._graphs is not None:
                self._graphs.clear()
            self._begun.clear()

    def settle(self) -> _Made | None:
        """Waits for the steps that were made, judges them, and makes those again that had too little room.

        Returns:
            The last of them; None where all are settled already.

        Raises:
            InputError: as `LossWatch.check`.
        """
        last = None
        while self._made:
            made, self._made = self._made, []
            rows = _split(torch.cat([one.row for one in made]).tolist(), [len(one.row) for one in made])
            short = next((n for n, row in enumerate(rows) if row[-1]), len(rows))
            for one, row in zip(made[:short], rows, strict=False):
                losses, _ = self._names[one.kind]
                self.watch.check(one.step, sum(row[: len(losses)]))
                last = one
            if short < len(made):
                self._make_again(made[short:], rows[short])
            elif len(made) >= READ_EVERY:
                for kind in {one.kind for one in made}:
                    found = [self._wanted(row, kind) for one, row in zip(made, rows, strict=True) if one.kind == kind]
                    self._make_room(kind, [max(samples) for samples in zip(*found, strict=True)])
        return last

    def _make_again(self, made: list[_Made], row: list[float]) -> None:
        """Makes steps again, with room for what the first of them wanted."""
        first, had = made[0], self._rooms_of(made[0].kind)
        self._make_room(first.kind, self._wanted(row, first.kind))
        self.overflowed += 1
        print(f"step {first.step}: {_plus(self._wanted(row, first.kind))} samples, with room for {_plus(had)}; "
              f"made again with room for {_plus(self._rooms_of(first.kind))}")  # fmt: skip
        self._stopped.zero_()
        for one in made:
            self._make(one.step, one.numbers)

    def _wanted(self, row: list[float], kind: StepKind) -> list[int]:
        count = len(self._rooms_of(kind))
        return [int(samples) for samples in row[len(row) - 1 - count : -1]]


def _plus(numbers: Sequence[int]) -> str:
    return " + ".join(map(str, numbers))


def _split(values: list[float], counts: list[int]) -> list[list[float]]:
    ends = [sum(counts[: n + 1]) for n in range(len(counts))]
    return [values[end - count : end] for end, count in zip(ends, counts, strict=True)]


@contextmanager
def _told_by_the_device(optimizer: torch.optim.Optimizer, rate: Tensor, stopped: Tensor) -> Iterator[None]:
    """Has a fused Adam take its learning rate, and whether it is to do nothing, from the device.

    The latter is how PyTorch's scaler of gradients tells it to pass over a step.
    """
    usual = [{name: group[name] for name in ("lr", "capturable")} for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group.update(lr=rate, capturable=rate.device.type == "cuda")
    optimizer.found_inf = stopped  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        del optimizer.found_inf  # pyright: ignore[reportAttributeAccessIssue]
        for group, values in zip(optimizer.param_groups, usual, strict=True):
            group.update(values)
