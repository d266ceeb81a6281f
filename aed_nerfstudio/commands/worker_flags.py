"""The options that all commands share which do many jobs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from aed_nerfstudio.bounds import RETRIES, WORKERS

if TYPE_CHECKING:
    from aed_nerfstudio.jobs.record import Outcome
    from aed_nerfstudio.jobs.runner import Workers


@dataclass(kw_only=True)
class WorkerFlags:
    """Where jobs run."""

    address: str | None = None
    """A Ray cluster, such as auto or ray://HOST:10001, which sees the same paths; by default this machine alone."""
    workers: Annotated[int, WORKERS] | None = None
    """How many at a time; by default one for two processors of this machine, or for each of a cluster's."""
    retries: Annotated[int, RETRIES] = 1
    """How often a job is tried again whose worker died."""
    sequential: bool = False
    """One after the other, without Ray."""

    def where(self) -> Workers:
        """Returns the workers of `run_jobs` that these flags say."""
        from aed_nerfstudio.jobs.runner import Workers

        return Workers(self.workers, self.address, self.retries, self.sequential)

    @staticmethod
    def end(outcomes: Sequence[Outcome]) -> None:
        """Prints the summary and ends the program with 1 where not all is done."""
        from aed_nerfstudio.jobs.record import summary

        print(summary(outcomes))
        if any(outcome.state != "done" for outcome in outcomes):
            sys.exit(1)
