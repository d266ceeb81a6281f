"""Videos of many people to a dataset folder each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from aed_nerfstudio.capture.sources import ProcessOptions
from aed_nerfstudio.corpora.corpus import CorpusPlan, CorpusTake, known_stamp, run_plan
from aed_nerfstudio.corpora.corpus_tables import take_of_row
from aed_nerfstudio.corpora.mead import videos_in
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import digest, keep_apart
from aed_nerfstudio.jobs.folder_lock import folder_lock
from aed_nerfstudio.jobs.record import Job, Outcome, Record
from aed_nerfstudio.jobs.runner import Workers, run_jobs
from aed_nerfstudio.jobs.tables import read_rows


@dataclass
class CorpusOutcome(Outcome):
    """What became of one person's videos.

    usable: of the dataset's frames. left_out: takes without which it is done.
    """

    usable: int = 0
    left_out: list[str] = field(default_factory=list)

    @property
    def note(self) -> str:
        """Returns why there is no dataset, else what was left out of it."""
        return self.error or "; ".join(f"left out: {reason}" for reason in self.left_out)


def read_corpus(source: Path) -> list[CorpusPlan]:
    """Returns the people of a list, with their videos.

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
    """Returns (line for messages, take, name or nothing) of a list's lines."""
    for line, row in read_rows(source, ("path",), ("name", "emotion", "intensity", "audio"), header=False):
        where = f"{source}, line {line}"
        row["emotion"] = row.get("emotion") or "neutral"
        row["intensity"] = row.get("intensity") or "medium"
        name = row.get("name", "")
        if name and (not re.fullmatch(r"[\w .-]{1,100}", name) or name.startswith(".")):
            raise InputError(f"{where}: {name!r} cannot be a folder's name; use letters, digits, - and _")
        yield where, take_of_row(row, source.parent, where), name


def _unnamed(paths: Sequence[Path]) -> dict[Path, str]:
    """Returns names for videos without, from their files' names; where these are equal, with their folders'."""
    stems = Counter(path.stem for path in paths)
    names = {p: p.stem if stems[p.stem] == 1 else f"{p.resolve().parent.name}_{p.stem}" for p in paths}
    return {path: re.sub(r"[^\w.-]+", "_", name).strip("._") or "video" for path, name in names.items()}


def run_corpus(
    people: Sequence[CorpusPlan],
    output: Path,
    options: ProcessOptions,
    workers: Workers,
    progress: bool = True,
) -> list[Outcome]:
    """Makes a dataset folder `output/<name>` of every person's videos.

    Those that a run before has done are left as they are; those that it began go on. `output/corpus.json` records what
    became of everyone.

    Args:
        people: from read_corpus.
        output: the folder for all.
        options: of process_videos, for all; labels and sound come from the people's takes.
        workers: where they are made.
        progress: whether a line on stderr says what ended.

    Raises:
        InputError: Ray is missing or cannot be reached, or the folder cannot be written or is another run's, or lies
            where a video does.
    """
    workers.check()
    output = Path(output)
    given = [path for person in people for take in person.takes for path in (take.path, take.sound)]
    record = output / "corpus.json"
    keep_apart([record, *(output / person.name for person in people)], [*given, options.parser_weights])
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; choose a folder for --output")
    jobs = [_job(person, output.resolve(), options) for person in people]
    with folder_lock(output):
        outcomes = Record(record, "aed-corpus", "videos", jobs, CorpusOutcome, progress)
        return run_jobs(jobs, process_person, outcomes, workers)


def _job(person: CorpusPlan, output: Path, options: ProcessOptions) -> Job:
    key = digest(asdict(options), [[asdict(take), known_stamp(take.path)] for take in person.takes])
    folder = output / person.name
    return Job(person.name, key, folder / "dataset.json", (person, folder, options))


def process_person(person: CorpusPlan, output: Path, options: ProcessOptions, progress: bool = False) -> dict:
    """Makes one person's dataset folder, as a task: bad input is an answer, anything else an error that may pass.

    Returns:
        what of `CorpusOutcome` is known now: state, and frames, usable, left_out or error.
    """
    try:
        dataset, left_out = run_plan(person, output, options, progress)
    except InputError as error:
        return {"state": "failed", "error": " ".join(str(error).split())}
    usable = sum(frame.usable for frame in dataset.frames)
    return {"state": "done", "frames": len(dataset.frames), "usable": usable, "left_out": left_out}
