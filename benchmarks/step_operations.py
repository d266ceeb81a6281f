"""Counts what the host does for training steps: operations of PyTorch, and what waits for the device. Needs no GPU.

    python benchmarks/step_operations.py --data DATA [--method aed-nerf]

Each operation is a launch, or several, of which a GPU's host does some 100 000 a second; each wait empties the device.
Kernels of our own (grids, marching, compositing) are not counted, nor is the reading of how many samples a march has.
"""

from __future__ import annotations

import copy
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tyro
from aed_nerfstudio.method_configs import aed_nerf

from aed_nerfstudio.evaluation.dispatched import Dispatched
from aed_nerfstudio.nerfstudio_plugin.tone import EVERY


@dataclass
class StepOperations:
    """Count the operations of a training step."""

    data: Path
    """A dataset, as `aed process` makes it."""
    method: str = "aed-nerf"
    """Whose steps."""

    def main(self) -> None:
        config = copy.deepcopy(getattr(aed_nerf, self.method.replace("-", "_")).config)
        config.data = config.pipeline.datamanager.data = self.data
        config.vis, config.output_dir = "tensorboard", Path(tempfile.mkdtemp())
        config.machine.device_type, config.timestamp = "cpu", "counted"
        config.pipeline.model.visual_hull = False
        trainer = config.setup()
        trainer.setup()
        trainer.pipeline.train()
        schedule = config.pipeline.model.schedule
        lips = schedule.head + schedule.head % 2
        steps = {
            "head": EVERY + 1,
            "head, with a look at skin's tone": EVERY,
            "lips, a patch": lips,
            "lips, rays": lips + 1,
            "torso": schedule.head + schedule.lips,
        }
        print("| step | operations | waits |\n|---|---|---|")
        for name, step in steps.items():
            found = self._counted(trainer, step)
            waits = ", ".join(f"{number} {kind}" for kind, number in found.waits.most_common())
            print(f"| {name} | {found.operations.total()} | {found.waits.total()}: {waits} |")

    @staticmethod
    def _counted(trainer, step: int) -> Dispatched:
        pipeline = trainer.pipeline
        pipeline.model.set_stage(step)
        trainer.train_iteration(step)  # what is built once, as the perceptual loss
        pipeline.watch.read()
        draw, found = pipeline.datamanager.next_train, Dispatched()

        def drawing(step: int):
            bundle, batch = draw(step)
            found.on_host(*(bundle.metadata[name] for name in ("frame", "beyond_face") if name in bundle.metadata))
            return bundle, batch

        pipeline.datamanager.next_train = drawing
        try:
            with found:
                trainer.train_iteration(step)
        finally:
            del pipeline.datamanager.next_train
        return found


if __name__ == "__main__":
    tyro.cli(StepOperations, description=__doc__).main()
