"""`aed export-rad`: a dataset folder to one that RAD-NeRF and ER-NeRF train on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from aed_nerfstudio.commands.flags import check_flags


@dataclass
class ExportRad:
    """Write a dataset as a folder of RAD-NeRF and ER-NeRF, to compare with them on the same frames and cameras."""

    dataset: tyro.conf.Positional[Path]
    """Folder written by `aed process`."""
    output: Path
    """The folder to make; must be new or empty."""
    clips: tuple[str, ...] = ()
    """Names of the clips to write, one after the other; all by default."""
    features: bool = False
    """Also write the dataset's own audio features as aud.npy. Theirs are made from aud.wav by their process.py."""

    def main(self) -> None:
        """Runs the command."""
        check_flags(self)
        from aed_nerfstudio.capture.rad_export import export_rad
        from aed_nerfstudio.dataset.schema import read_dataset

        count = export_rad(read_dataset(self.dataset), self.output, self.clips, self.features)
        print(f"{self.output}: {count} frames as RAD-NeRF and ER-NeRF read them")
        print(f"Next: their data_utils/process.py {self.output}/aud.wav --task 2 for audio features; or, here, "
              f"ns-train aed-nerf rad-nerf-data --data {self.output}")  # fmt: skip
