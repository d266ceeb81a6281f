"""Counts what the host does for training steps: operations of PyTorch, and what waits for the device. Needs no GPU.

    python benchmarks/step_operations.py --data DATA [--method aed-nerf] [--recorded]

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

from aed_nerfstudio.evaluation.dispatched import CountedGraphs, Dispatched
from aed_nerfstudio.nerfstudio_plugin.tone import EVERY


@dataclass
class StepOperations:
    """Count the operations of a training step."""

    data: Path
    """A dataset, as `aed process` makes it."""
    method: str = "aed-nerf"
    """Whose steps."""
    recorded: bool = False
    """Count steps as a GPU makes them, and what of their operations is in a CUDA graph there."""

    def main(self) -> None:
        config = copy.deepcopy(getattr(aed_nerf, self.method.replace("-", "_")).config)
        config.data = config.pipeline.datamanager.data = self.data
        config.vis, config.output_dir = "tensorboard", Path(tempfile.mkdtemp())
        config.machine.device_type, config.timestamp = "cpu", "counted"
        config.pipeline.model.visual_hull, config.recorded_steps = False, "on" if self.recorded else "off"
        trainer = config.setup()
        trainer.setup()
        trainer.pipeline.train()
        schedule = config.pipeline.model.schedule
        lips = (
            schedule.head + -schedule.head % EVERY + EVERY
        )  # not the first steps, after which checkpoints are written
        steps = {
            "head": EVERY + 1,
            "head, with a look at skin's tone": EVERY,
            "lips, a patch, with such a look": lips,
            "lips, rays": lips + 1,
            "torso": schedule.head + schedule.lips + 1,
        }
        print("| step | operations | outside of a graph | waits |\n|---|---|---|---|")
        for name, step in steps.items():
            graphs = self._counted(trainer, step)
            found = graphs.counts
            waits = ", ".join(f"{number} {kind}" for kind, number in found.waits.most_common())
            print(f"| {name} | {found.operations.total()} | {graphs.outside} | {found.waits.total()}: {waits} |")

    @staticmethod
    def _counted(trainer, step: int) -> CountedGraphs:
        pipeline = trainer.pipeline
        pipeline.model.set_stage(step)
        trainer.train_iteration(step)  # what is built once, as the perceptual loss
        pipeline.watch.read()
        draw, found = pipeline.datamanager.next_train, Dispatched()
        graphs = CountedGraphs(found)
        if trainer._recorded is not None:
            trainer._recorded._graphs = graphs

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
        return graphs


if __name__ == "__main__":
    tyro.cli(StepOperations, description=__doc__).main()
