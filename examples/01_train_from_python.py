"""Train an avatar from Python, as `ns-train aed-nerf-tiny` does.

A computer-made actor is recorded first, unless you name a dataset folder of yours. So few steps as the default make a
blurred head that hardly speaks: the preset has 4250, and `ns-train aed-nerf` 9000.

    python examples/01_train_from_python.py
    python examples/01_train_from_python.py --data data/me --steps 4250
"""

import copy
from dataclasses import replace
from pathlib import Path

import tyro
from aed_nerfstudio.method_configs.aed_nerf import aed_nerf_tiny
from nerfstudio.scripts.train import main as train

from aed_nerfstudio.synthetic.record import record_dataset


def main(data: Path | None = None, output: Path = Path("outputs/examples"), steps: int = 60, size: int = 64) -> None:
    """Train an avatar.

    Args:
        data: a dataset folder, as `aed process` makes it; the actor's, recorded into the output folder, when left out.
        output: folder for the run, and for the actor's recording.
        steps: of the training, over its three stages: head, lips, torso.
        size: side of the actor's pictures, in pixels.
    """
    if data is None:
        data = output / "data"
        if not (data / "dataset.json").exists():
            record_dataset(data, size=size, clip_seconds=1.6, emotions=("neutral", "happy"), intensities=("strong",))

    config = copy.deepcopy(aed_nerf_tiny.config)  # every field of it is an option of `ns-train`
    config.data = data
    config.output_dir, config.experiment_name, config.timestamp = output, "actor", "example"
    config.vis = "tensorboard"  # no viewer
    head, lips = round(0.6 * steps), round(0.1 * steps)
    schedule = config.pipeline.model.schedule
    config.pipeline.model.schedule = replace(schedule, head=head, lips=lips, torso=steps - head - lips)
    config.max_num_iterations = steps
    train(config)
    print(f"The avatar: {config.get_base_dir() / 'config.yml'}")


if __name__ == "__main__":
    tyro.cli(main)
