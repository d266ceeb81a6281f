"""`aed process-csv`: a table of one person's labelled takes to a dataset folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from aed_nerfstudio.bounds import SECONDS
from aed_nerfstudio.commands.capture_flags import TakesFlags
from aed_nerfstudio.commands.flags import check_flags
from aed_nerfstudio.files import keep_apart


@dataclass(kw_only=True)
class ProcessCsv(TakesFlags):
    """Make a dataset folder of one person's takes, listed with their labels in a CSV table; one camera for all."""

    table: tyro.conf.Positional[Path]
    """CSV file with the header path,emotion,intensity and, for sound in files of its own, audio; names are relative to
    its folder."""
    seconds: Annotated[float, SECONDS] | None = None
    """How much of every emotion and intensity to use, chosen evenly; all takes by default."""

    def main(self) -> None:
        """Runs the command."""
        check_flags(self)
        from aed_nerfstudio.corpora.corpus_tables import plan_table

        keep_apart([self.output], [self.table])
        sound = self.audio_features != "none"
        self.make(plan_table(self.table, seconds=self.seconds, sound=sound, allow_silent=self.allow_silent))
