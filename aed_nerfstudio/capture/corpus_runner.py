"""Videos of many people to a dataset folder each: one after the other, or as tasks on Ray."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aed_nerfstudio.capture.corpora import CorpusPlan, CorpusTake, known_stamp, run_plan
from aed_nerfstudio.capture.corpus_tables import read_rows, take_of_row
from aed_nerfstudio.capture.folder_lock import folder_lock
from aed_nerfstudio.capture.mead import videos_in
from aed_nerfstudio.capture.sources import ProcessOptions
from aed_nerfstudio.capture.stages import digest
from aed_nerfstudio.dataset.schema import write_json
from aed_nerfstudio.errors import InputError

FORMAT = "aed-corpus"
VERSION = 1
OBJECT_STORE = 100_000_000  # bytes; tasks hand over names and counts only, pictures stay in the folders
ENDED = ("done", "failed")


@dataclass
class Outcome:
    """What became of one person's videos.

    state: waiting, done, failed or stopped. frames, usable: of the dataset. seconds: spent on it in this run or in the
    one that ended it. attempts: how often a worker began. error: why it failed. left_out: takes without which it is
    done. key: digest of the videos and options, by which a later run knows it again.
    """

    name: str
    state: str = "waiting"
    frames: int = 0
    usable: int = 0
    seconds: float = 0.0
    attempts: int = 0
    error: str = ""
    left_out: list[str] = field(default_factory=list)
    key: str = ""


def read_corpus(source: Path) -> list[CorpusPlan]:
    """The people of a list, with their videos.

    Args:
        source: a folder, of which every video is a person; or a text or CSV file with a line `path[,name[,emotion
            [,intensity]]]` for each video, with or without such a header, names relative to its folder. Videos of equal
            name are one person's.

    Raises:
        InputError: the list cannot be read or is empty, or a name cannot be a folder's; names the line.
    """
    source = Path(source)
    if not source.exists():
        raise InputError(f"{source}: no such file or folder; give a list of videos or the folder that holds them")
    if source.is_dir():
        rows = [("", CorpusTake(path, "neutral", "medium"), "") for path in videos_in(source)]
    else:
        rows = list(_listed(source))
    if not rows:
        raise InputError(f"{source}: holds no videos; give a list of videos or the folder that holds them")
    people: dict[str, list[CorpusTake]] = {}
    unnamed = _unnamed([take.path for _, take, name in rows if not name])
    for where, take, name in rows:
        if not name:
            name = unnamed[take.path]
            if name in people:
                raise InputError(f"{where or source}: {take.path}: there is another {name}; give the videos names")
        people.setdefault(name, []).append(take)
    return [CorpusPlan(name, tuple(takes), dict(Counter(t.label for t in takes))) for name, takes in people.items()]


def _listed(source: Path) -> Iterator[tuple[str, CorpusTake, str]]:
    """(line for messages, take, name or nothing) of a list's lines."""
    for line, row in read_rows(source, ("path",), ("name", "emotion", "intensity", "audio"), header=False):
        where = f"{source}, line {line}"
        row["emotion"] = row.get("emotion") or "neutral"
        row["intensity"] = row.get("intensity") or "medium"
        name = row.get("name", "")
        if name and (not re.fullmatch(r"[\w .-]+", name) or name.startswith(".")):
            raise InputError(f"{where}: {name!r} cannot be a folder's name; use letters, digits, - and _")
        yield where, take_of_row(row, source.parent, where), name


def _unnamed(paths: Sequence[Path]) -> dict[Path, str]:
    """Names for videos without, from their files' names; where these are equal, with their folders'."""
    stems = Counter(path.stem for path in paths)
    names = {p: p.stem if stems[p.stem] == 1 else f"{p.resolve().parent.name}_{p.stem}" for p in paths}
    return {path: re.sub(r"[^\w.-]+", "_", name).strip("._") or "video" for path, name in names.items()}


def run_corpus(
    people: Sequence[CorpusPlan],
    output: Path,
    options: ProcessOptions,
    *,
    workers: int | None = None,
    address: str | None = None,
    retries: int = 1,
    sequential: bool = False,
    progress: bool = True,
) -> list[Outcome]:
    """Makes a dataset folder `output/<name>` of every person's videos.

    Those that a run before has done are left as they are; those that it began go on. One that fails does not stop the
    others. `output/corpus.json` holds what is known so far after every one that ended, and when stopped by Ctrl-C.

    Args:
        people: from read_corpus.
        output: the folder for all.
        options: of process_videos, for all; labels and sound come from the people's takes.
        workers: how many at a time; None: one for two processors of this machine, or for each of a cluster's.
        address: of a Ray cluster, which must see the same paths; None: Ray is started on this machine.
        retries: how often one is tried again whose worker died. Videos that cannot be used are not.
        sequential: one after the other in this process, without Ray.
        progress: whether a line on stderr says what ended.

    Raises:
        InputError: Ray is missing or cannot be reached, or the folder cannot be written or is another run's.
    """
    output = Path(output)
    if workers is not None and workers < 1:
        raise InputError(f"workers must be at least 1, not {workers}; --sequential does without any")
    if retries < 0:
        raise InputError(f"retries must be at least 0, not {retries}")
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; choose a folder for --output")
    with folder_lock(output):
        record = _Record(people, output, options, progress)
        waiting = [person for person in people if record.outcomes[person.name].state not in ENDED]
        try:
            if sequential:
                for person in waiting:
                    _one_after_the_other(person, record, retries)
            elif waiting:
                _on_ray(waiting, record, workers, address, retries)
        finally:
            record.close()
    return list(record.outcomes.values())


class _Record:
    """What became of everyone so far, kept in `corpus.json`."""

    def __init__(self, people: Sequence[CorpusPlan], output: Path, options: ProcessOptions, progress: bool) -> None:
        self.output, self.options, self.progress = output, options, progress
        self.path = output / "corpus.json"
        before = self._read()
        self.others = {name: entry for name, entry in before.items() if name not in {p.name for p in people}}
        self.outcomes = {person.name: self._known(person, before.get(person.name)) for person in people}
        self._write()

    def _read(self) -> dict[str, dict]:
        try:
            stored = json.loads(self.path.read_text())
            return {e["name"]: e for e in stored["videos"] if e.keys() == asdict(Outcome("")).keys()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}  # missing or damaged: the folders themselves know what is done

    def _known(self, person: CorpusPlan, entry: dict | None) -> Outcome:
        """What an earlier run has ended with the same videos and options, else a new outcome."""
        key = digest(asdict(self.options), [[asdict(take), known_stamp(take.path)] for take in person.takes])
        whole = (self.output / person.name / "dataset.json").is_file()
        if entry and entry["key"] == key and entry["state"] == "done" and whole:
            return Outcome(**entry)
        return Outcome(person.name, key=key)

    def finish(self, name: str, state: str, seconds: float, **found: Any) -> None:
        outcome = self.outcomes[name]
        outcome.state, outcome.seconds = state, round(seconds, 1)
        for key, value in found.items():
            setattr(outcome, key, value)
        self._write()
        ended = sum(o.state in ENDED for o in self.outcomes.values())
        text = outcome.error or f"{outcome.frames} frames"
        self.say(f"[{ended}/{len(self.outcomes)}] {name}: {state} after {seconds:.0f} s: {text}")

    def say(self, text: str) -> None:
        if self.progress:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Whatever has not ended was stopped."""
        for outcome in self.outcomes.values():
            if outcome.state not in ENDED:
                outcome.state = "stopped"
        self._write()

    def _write(self) -> None:
        entries = [*self.others.values(), *map(asdict, self.outcomes.values())]
        try:
            write_json(self.path, {"format": FORMAT, "version": VERSION, "videos": entries})
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror}); choose another --output") from error


def process_person(person: CorpusPlan, output: Path, options: ProcessOptions, progress: bool = False) -> dict:
    """One person's dataset folder, as a task: bad input is an answer, anything else an error that may pass.

    Returns:
        what of `Outcome` is known now: state, and frames, usable, left_out or error.
    """
    try:
        dataset, left_out = run_plan(person, output, options, progress)
    except InputError as error:
        return {"state": "failed", "error": " ".join(str(error).split())}
    usable = sum(frame.usable for frame in dataset.frames)
    return {"state": "done", "frames": len(dataset.frames), "usable": usable, "left_out": left_out}


def _one_after_the_other(person: CorpusPlan, record: _Record, retries: int) -> None:
    start = time.monotonic()
    for attempt in range(1, retries + 2):
        try:
            found = process_person(person, record.output / person.name, record.options, record.progress)
        except Exception as error:  # whatever it is must not stop the others
            found = {"state": "failed", "error": _reason(error)}
            if attempt <= retries:
                continue
        record.finish(person.name, seconds=time.monotonic() - start, attempts=attempt, **found)
        return


def _on_ray(
    people: Sequence[CorpusPlan], record: _Record, workers: int | None, address: str | None, retries: int
) -> None:
    """Runs the tasks, as many at a time as there are workers, and begins those anew whose worker died."""
    if workers is None and not address:
        workers = max(1, (os.cpu_count() or 1) // 2)
    ray = start_ray(workers, address)
    # Ray's own retries would not be counted.
    task = ray.remote(num_cpus=1, max_retries=0)(process_person)
    limit = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting, running, began = list(people), {}, {}
    try:
        while waiting or running:
            while waiting and len(running) < limit:
                person = waiting.pop(0)
                began.setdefault(person.name, time.monotonic())
                record.outcomes[person.name].attempts += 1
                running[task.remote(person, (record.output / person.name).resolve(), record.options)] = person
            for reference in ray.wait(list(running), timeout=1.0)[0]:
                person = running.pop(reference)
                try:
                    found = ray.get(reference)
                except ray.exceptions.RayError as error:
                    died = isinstance(error, ray.exceptions.WorkerCrashedError)
                    found = {"state": "failed", "error": "its worker died" if died else _reason(error)}
                    if record.outcomes[person.name].attempts <= retries:
                        record.say(f"{person.name}: {found['error']}; trying again")
                        waiting.insert(0, person)
                        continue
                record.finish(person.name, seconds=time.monotonic() - began[person.name], **found)
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
        ray.shutdown()


def start_ray(workers: int | None, address: str | None) -> Any:
    """The module, connected: to a Ray of our own on this machine, or to a cluster.

    Raises:
        InputError: Ray is not installed, or the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anyone
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # no note about GPUs that are not asked for
    try:
        import ray
    except ImportError as error:
        raise InputError('Ray is not installed; run pip install "aed-nerfstudio[ray]", or give --sequential to process '
                         "one video after the other without it") from error  # fmt: skip
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    try:
        if address:
            ray.init(address=address, **quiet)
        else:
            # "local": never a cluster that happens to run here. Its memory is small, because nothing large goes there.
            ray.init("local", num_cpus=workers, object_store_memory=OBJECT_STORE, include_dashboard=False, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        place = f"the cluster {address}" if address else "Ray on this machine"
        raise InputError(f"cannot reach {place} ({_reason(error)}); check --address, or give --sequential") from error
    return ray


def _reason(error: BaseException) -> str:
    """An unexpected error in one line; of one that a task raised, what it was."""
    error = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join([type(error).__name__, *lines[:1]])[:300]


def summary(outcomes: Sequence[Outcome]) -> str:
    """A table with a line for everyone."""
    width = max(len("name"), *(len(outcome.name) for outcome in outcomes)) + 2
    lines = [f"{'name':{width}}{'state':9}{'frames':>8}{'seconds':>9}  error"]
    for o in outcomes:
        text = o.error or "; ".join(f"left out: {reason}" for reason in o.left_out)
        lines.append(f"{o.name:{width}}{o.state:9}{o.frames:8}{o.seconds:9.1f}  {text}".rstrip())
    return "\n".join(lines)
