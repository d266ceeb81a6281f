"""Stops a training that went wrong, before its checkpoints do."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.nerfstudio_plugin.checkpoints import checkpoints
from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule

EXPLODED = 20.0
"""Times the lowest mean loss of the stage."""
NOTABLE = 0.05
"""A mean loss below this is no explosion, however low it was before."""
SETTLING = 100
"""Steps of a stage that are not judged."""
READ_EVERY = 10
"""Steps whose losses are read from the device together: a reading waits until the device has done all work before."""


class LossWatch:
    """Stops a training whose loss is no number or explodes, and says where it was last well.

    Args:
        schedule: of the stages; each has losses of its own scale.
        checkpoints: the folder that the trainer writes to.
    """

    def __init__(self, schedule: StageSchedule, checkpoints: Path) -> None:
        self.schedule = schedule
        self.checkpoints = Path(checkpoints)
        self._unread: list[tuple[int, Tensor]] = []
        """Steps and losses that are not judged yet."""
        self._enter("")

    def _enter(self, stage: str) -> None:
        self.stage, self.seen, self.mean, self.lowest = stage, 0, 0.0, float("inf")

    def state(self) -> dict:
        """Returns what it remembers, for `restore`; raises as `read`."""
        self.read()
        return {"stage": self.stage, "seen": self.seen, "mean": self.mean, "lowest": self.lowest}

    def restore(self, state: dict) -> None:
        """Has it remember what another remembered."""
        self.stage, self.seen, self.mean, self.lowest = (state[key] for key in ("stage", "seen", "mean", "lowest"))

    def note(self, step: int, loss: Float[Tensor, ""]) -> None:
        """Takes down a step's loss, which need not be computed yet; raises as `read` in every READ_EVERYth call."""
        self._unread.append((step, loss.detach()))
        if len(self._unread) >= READ_EVERY:
            self.read()

    def read(self) -> None:
        """Waits for the losses that were noted and checks them, as `check` does, one step after the other."""
        noted, self._unread = self._unread, []
        if noted:
            losses = torch.stack([loss for _, loss in noted]).tolist()
            for (step, _), loss in zip(noted, losses, strict=True):
                self.check(step, loss)

    def check(self, step: int, loss: float) -> None:
        """Raises InputError with the step, the stage and the last good checkpoint when something is wrong."""
        stage = self.schedule.stage(step)
        if stage != self.stage:
            self._enter(stage)
        if not math.isfinite(loss):
            self._stop(step, "the loss is no number")
        self.seen += 1
        self.mean += (loss - self.mean) * max(0.05, 1 / self.seen)
        if self.seen < SETTLING:
            return
        self.lowest = min(self.lowest, self.mean)
        if self.mean > max(EXPLODED * self.lowest, NOTABLE):
            self._stop(step, f"the loss exploded from {self.lowest:.3g} to {self.mean:.3g}")

    def check_weights(self, step: int, model: nn.Module) -> None:
        """Raises InputError where weights are no numbers, so that none of them reaches a checkpoint."""
        if not all(torch.isfinite(p).all() for p in model.parameters()):
            self._stop(step, "weights are no numbers")

    def _stop(self, step: int, what: str) -> None:
        saved = checkpoints(self.checkpoints)
        last = f"the last good checkpoint is {saved[0]}" if saved else "no checkpoint was saved before"
        raise InputError(
            f"step {step}, {self.schedule.stage(step)} stage: {what}; {last}. Lower the learning rates of `optimizers`"
            + (f" and go on with --load-checkpoint {saved[0]}" if saved else "")
        )
