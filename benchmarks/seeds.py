"""Whether a training is as good another way: the actor, several seeds, trained each way, and held-out frames compared.

    python benchmarks/seeds.py --output seeds                     # all ways: half an hour on one core
    python benchmarks/seeds.py --output seeds --ways float32 bfloat16 --data data/me

Prints a table in dB, over whole pictures and over the face's box, and writes it as JSON; what is there already is not
trained again.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

WAYS = {
    "float32": {"bfloat16": False, "recorded": "off"},
    "bfloat16": {"bfloat16": True, "recorded": "off"},
    "bfloat16, recorded steps": {"bfloat16": True, "recorded": "on"},
}


@dataclass
class Seeds:
    """Compare ways of training."""

    output: Path
    """A folder: of the runs and of `seeds.json`."""
    data: Path | None = None
    """A dataset, as `aed process` makes it; None: the actor, three labels of 4 s each at 64x64."""
    ways: tuple[str, ...] = tuple(WAYS)
    """Of `WAYS`."""
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: tuple[int, int, int] = (500, 60, 240)
    """Of head, lips and torso."""
    rays: int = 1024

    def main(self) -> None:
        self.output.mkdir(parents=True, exist_ok=True)
        file, data = self.output / "seeds.json", self.data or self._actor()
        found = json.loads(file.read_text()) if file.exists() else {}
        for seed in self.seeds:
            for way in self.ways:
                name = f"{way}, seed {seed}"
                if name not in found:
                    found[name] = self._figures(self._trained(data, way, seed, name))
                    file.write_text(json.dumps(found, indent=1))
                    print(name, found[name], flush=True)
        print("| training | whole picture, dB | mean | face, dB | mean |\n|---|---|---|---|---|")
        for way in self.ways:
            rows = np.array([found[f"{way}, seed {seed}"] for seed in self.seeds])
            cells = [
                cell for column in rows.T for cell in (" ".join(f"{v:.2f}" for v in column), f"{column.mean():.2f}")
            ]
            print(f"| {way} | {' | '.join(cells)} |")

    def _actor(self) -> Path:
        from aed_nerfstudio.synthetic.record import record_dataset

        data = self.output / "actor"
        if not (data / "dataset.json").exists():
            record_dataset(
                data, size=64, clip_seconds=4.0, emotions=("neutral", "happy", "angry"), intensities=("strong",)
            )
        return data

    def _trained(self, data: Path, way: str, seed: int, name: str) -> Path:
        """Trains, and returns the run's config.yml."""
        from aed_nerfstudio.method_configs.aed_nerf import aed_nerf_tiny
        from nerfstudio.scripts.train import main
        from nerfstudio.utils import writer

        from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule

        config = copy.deepcopy(aed_nerf_tiny.config)
        config.data = config.pipeline.datamanager.data = data
        config.output_dir, config.experiment_name, config.timestamp = self.output, "runs", name
        config.vis, config.logging.local_writer.enable = "tensorboard", False
        config.machine.seed, config.recorded_steps = seed, WAYS[way]["recorded"]
        schedule = config.pipeline.model.schedule = StageSchedule(*self.steps)
        config.max_num_iterations = config.steps_per_save = schedule.total
        config.steps_per_eval_image = 10 * schedule.total
        config.pipeline.model.bfloat16 = WAYS[way]["bfloat16"]
        config.pipeline.datamanager.train_num_rays_per_batch = self.rays
        config.pipeline.datamanager.torso_rays_per_batch = 4 * self.rays
        main(config)
        writer.EVENT_WRITERS.clear()
        return config.get_base_dir() / "config.yml"

    def _figures(self, config: Path) -> tuple[float, float]:
        """Returns the PSNR of a run's held-out frames, dB: of all pixels and of those in the face's box."""
        from aed_nerfstudio.avatar.avatar import Avatar, to_uint8
        from aed_nerfstudio.driving.track import DatasetTrack
        from aed_nerfstudio.loading import dataset_of, read_run

        avatar, dataset = Avatar.load(config), dataset_of(read_run(config))
        track, errors = DatasetTrack.of(dataset, avatar.vocabulary), []
        for number in dataset.split("val"):
            frame = dataset.frames[number]
            picture = to_uint8(avatar.images(track[number])["rgb"])
            error = np.square(picture.astype(float) - dataset.image(frame)) / 255**2
            left, top, right, bottom = frame.face_box
            errors.append((error.mean(), error[top:bottom, left:right].mean()))
        whole, face = (float(-10 * np.log10(value)) for value in np.mean(errors, 0))
        return whole, face


if __name__ == "__main__":
    tyro.cli(Seeds, description=__doc__).main()
