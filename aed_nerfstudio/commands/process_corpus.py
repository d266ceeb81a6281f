"""`aed process-corpus`: videos of many people to a dataset folder each, on Ray."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from aed_nerfstudio.commands.capture_flags import CaptureFlags
from aed_nerfstudio.commands.flags import check_flags
from aed_nerfstudio.commands.worker_flags import WorkerFlags
from aed_nerfstudio.files import keep_apart


@dataclass(kw_only=True)
class ProcessCorpus(WorkerFlags, CaptureFlags):
    """Make a dataset folder of each person's videos, several at a time, on this machine or on a Ray cluster."""

    source: tyro.conf.Positional[Path]
    """A folder of videos, or a text or CSV file with a line path[,name[,emotion,intensity]] for each; videos of equal
    name are one person's."""
    output: Path
    """The folder for the datasets; run again with the same options to go on after an interruption."""

    def main(self) -> None:
        """Runs the command."""
        check_flags(self)
        from aed_nerfstudio.corpora.corpus_runner import read_corpus, run_corpus

        if self.source.is_file():
            keep_apart([self.output / "corpus.json"], [self.source])
        self.end(run_corpus(read_corpus(self.source), self.output, self.options(), self.where()))
