"""What became of many jobs, kept in a JSON file from which a later run goes on."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aed_nerfstudio import outside
from aed_nerfstudio.dataset.schema import write_json
from aed_nerfstudio.errors import InputError

VERSION = 1
ENDED = ("done", "failed")


@dataclass
class Outcome:
    """What became of one job.

    state: waiting, done, failed or stopped. frames: of what was made. seconds: spent on it in this run or in the one
    that ended it. attempts: how often a worker began. error: why it failed. key: digest of what it is made from, by
    which a later run knows it again.
    """

    name: str
    state: str = "waiting"
    frames: int = 0
    seconds: float = 0.0
    attempts: int = 0
    error: str = ""
    key: str = ""

    @property
    def note(self) -> str:
        """Returns what the summary says of the job at the end of its line."""
        return self.error


@dataclass(frozen=True)
class Job:
    """Something to make.

    name: no two jobs' are equal. key: digest of all that it is made from. result: exists when it is done. arguments: of
    the work, which Ray can hand to another process.
    """

    name: str
    key: str
    result: Path
    arguments: tuple


class Record:
    """The outcomes of jobs, kept in a file after every one that ended.

    Args:
        path: the file.
        form: the file's format, a name.
        items: what the list in it is called, such as videos.
        jobs: of this run. What the file says of others stays there.
        outcome: `Outcome` or a class of it.
        progress: whether a line on stderr says what ended.

    Raises:
        InputError: the file cannot be written, or is no file.
    """

    def __init__(
        self,
        path: Path,
        form: str,
        items: str,
        jobs: Sequence[Job],
        outcome: type[Outcome] = Outcome,
        progress: bool = True,
    ) -> None:
        self.path, self.form, self.items, self.outcome, self.progress = path, form, items, outcome, progress
        before = self._read()
        names = {job.name for job in jobs}
        self.others = [entry for name, entry in before.items() if name not in names]
        self.outcomes = {job.name: self._known(job, before.get(job.name)) for job in jobs}
        self._write()

    def finish(self, name: str, seconds: float, **known: Any) -> None:
        """Notes how a job ended: `state`, and what else of the outcome is known."""
        outcome = self.outcomes[name]
        outcome.seconds = round(seconds, 1)
        for key, value in known.items():
            setattr(outcome, key, value)
        self._write()
        ended = sum(o.state in ENDED for o in self.outcomes.values())
        text = outcome.error or f"{outcome.frames} frames"
        self.say(f"[{ended}/{len(self.outcomes)}] {name}: {outcome.state} after {seconds:.0f} s: {text}")

    def say(self, text: str) -> None:
        """Shows a line, unless there is to be no progress."""
        if self.progress:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Notes that whatever has not ended was stopped."""
        for outcome in self.outcomes.values():
            if outcome.state not in ENDED:
                outcome.state = "stopped"
        self._write()

    def _read(self) -> dict[str, dict]:
        if os.path.lexists(self.path):
            outside.regular_file(self.path, "name another file for what is done")
        try:
            stored = outside.read_json(self.path, finite=True)
        except InputError:
            stored = None  # missing or damaged: the results themselves know what is done
        entries = stored.get(self.items) if isinstance(stored, dict) else None
        form = asdict(self.outcome(""))
        return {e["name"]: e for e in entries if _is_like(e, form)} if isinstance(entries, list) else {}

    def _known(self, job: Job, entry: dict | None) -> Outcome:
        """Returns what an earlier run has ended with the same key, else a new outcome."""
        if entry and entry["key"] == job.key and entry["state"] == "done" and job.result.exists():
            return self.outcome(**entry)
        return self.outcome(job.name, key=job.key)

    def _write(self) -> None:
        entries = [*self.others, *map(asdict, self.outcomes.values())]
        write_json(self.path, {"format": self.form, "version": VERSION, self.items: entries})


def _is_like(entry: object, form: dict) -> bool:
    """Returns whether an entry has the names of the form, and values of the same kinds."""
    return isinstance(entry, dict) and entry.keys() == form.keys() and all(
        isinstance(entry[key], (int, float) if type(value) is float else type(value)) for key, value in form.items()
    )  # fmt: skip


def summary(outcomes: Sequence[Outcome]) -> str:
    """Returns a table with a line for every job."""
    width = max(len("name"), *(len(outcome.name) for outcome in outcomes)) + 2
    lines = [f"{'name':{width}}{'state':9}{'frames':>8}{'seconds':>9}  error"]
    for o in outcomes:
        lines.append(f"{o.name:{width}}{o.state:9}{o.frames:8}{o.seconds:9.1f}  {o.note}".rstrip())
    return "\n".join(lines)
