"""`aed process-corpus`: videos of many people to a dataset folder each, on Ray."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from aed_nerfstudio.commands.capture_flags import CaptureFlags


@dataclass(kw_only=True)
class ProcessCorpus(CaptureFlags):
    """Make a dataset folder of each person's videos, several at a time, on this machine or on a Ray cluster."""

    source: tyro.conf.Positional[Path]
    """A folder of videos, or a text or CSV file with a line path[,name[,emotion,intensity]] for each; videos of equal
    name are one person's."""
    output: Path
    """The folder for the datasets; run again with the same options to go on after an interruption."""
    address: str | None = None
    """A Ray cluster, such as auto or ray://HOST:10001, which sees the same paths; by default this machine alone."""
    workers: int | None = None
    """How many at a time; by default one for two processors of this machine, or for each of a cluster's."""
    retries: int = 1
    """How often a video is tried again whose worker died."""
    sequential: bool = False
    """One after the other, without Ray."""

    def main(self) -> None:
        """Runs the command."""
        from aed_nerfstudio.capture.corpus_runner import read_corpus, run_corpus, summary

        outcomes = run_corpus(
            read_corpus(self.source),
            self.output,
            self.options(),
            workers=self.workers,
            address=self.address,
            retries=self.retries,
            sequential=self.sequential,
        )
        print(summary(outcomes))
        if any(outcome.state != "done" for outcome in outcomes):
            sys.exit(1)
