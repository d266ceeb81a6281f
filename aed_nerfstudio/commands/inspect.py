"""`aed inspect`: what a dataset folder holds and whether it is worth training on."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from aed_nerfstudio.commands.flags import check_flags


@dataclass
class Inspect:
    """Show what a dataset holds, what is wrong with it and what mends it; exit code 1 where it is not usable."""

    dataset: tyro.conf.Positional[Path]
    """A dataset folder, as `aed process` makes it."""
    output: Path | None = None
    """Folder for inspect.png and inspect.html; `inspect` in the dataset's folder when left out."""

    def main(self) -> None:
        """Runs the command."""
        check_flags(self)
        from aed_nerfstudio.dataset.schema import read_dataset
        from aed_nerfstudio.inspection.inspect import inspect_dataset  # slow to import: scipy, matplotlib

        inspection = inspect_dataset(read_dataset(self.dataset), self.output)
        print(inspection.summary_text())
        if not inspection.usable:
            sys.exit(1)
