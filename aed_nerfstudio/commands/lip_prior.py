"""`aed lip-prior`: how lips follow sound, learned from several people's datasets, as a file without their footage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from aed_nerfstudio.commands.flags import check_flags


@dataclass
class LipPriorCommand:
    """Learn how lips follow sound from datasets of several people, for avatars of people with little footage."""

    datasets: tyro.conf.Positional[tuple[Path, ...]]
    """Folders written by `aed process`, all with the same --audio-features."""
    output: Path
    """The file to write, usually NAME.prior."""

    def main(self) -> None:
        """Runs the command."""
        check_flags(self)
        from aed_nerfstudio.dataset.schema import read_dataset
        from aed_nerfstudio.driving.lip_prior import LipPrior
        from aed_nerfstudio.files import keep_apart

        keep_apart([self.output], self.datasets)
        prior = LipPrior.of([read_dataset(path) for path in self.datasets])
        prior.save(self.output)
        size = self.output.stat().st_size / 1e3
        print(f"{self.output.resolve()}: {size:.0f} kB, of {prior.people} people, audio features {prior.front_end}")
        print(f"Next: ns-train aed-nerf --data FOLDER --pipeline.model.lip-prior {self.output}")
