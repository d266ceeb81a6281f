"""`aed batch`: a table of renders, of one avatar or of many, several at a time."""

from __future__ import annotations

import os
import shlex
import typing
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import MISSING, dataclass, fields, replace
from functools import lru_cache
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from aed_nerfstudio.avatar.packaged import packaged
from aed_nerfstudio.commands.flags import check_flags
from aed_nerfstudio.commands.render import Render
from aed_nerfstudio.commands.worker_flags import WorkerFlags
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import keep_apart
from aed_nerfstudio.outside import can_be_name, is_file

if TYPE_CHECKING:
    from aed_nerfstudio.jobs.record import Job

TYPES = typing.get_type_hints(Render, include_extras=True)
REQUIRED = tuple(f.name for f in fields(Render) if f.default is MISSING and f.default_factory is MISSING)


@dataclass(kw_only=True)
class Batch(WorkerFlags):
    """Render a table of jobs, each with the options of aed render; several at a time where Ray is installed."""

    table: tyro.conf.Positional[Path]
    """CSV file with a header, or JSON lines (.jsonl): a row for each video, a column for each option of aed render that
    is used. Names of files are relative to the table's folder."""
    state: Path | None = None
    """Where it is written down what is done, so that the same command goes on; TABLE.state.json beside the table by
    default."""

    def main(self) -> None:
        """Runs the command."""
        from aed_nerfstudio.jobs.folder_lock import folder_lock
        from aed_nerfstudio.jobs.record import Record
        from aed_nerfstudio.jobs.runner import run_jobs

        check_flags(self)
        where = self.where()
        where.check()
        state = self.state or self.table.with_name(f"{self.table.name}.state.json")
        jobs = read_jobs(self.table, state)
        if not (self.sequential or self.address or find_spec("ray")):
            print("note: Ray is not installed, so the jobs run one after the other")
            where = replace(where, sequential=True)
        with folder_lock(state):
            outcomes = run_jobs(jobs, render_job, Record(state, "aed-batch", "renders", jobs), where)
        self.end(outcomes)


def read_jobs(table: Path, state: Path | None = None) -> list[Job]:
    """Reads the jobs of a table, those of one avatar together.

    state: file in which it is written down what is done.

    Raises:
        InputError: the table cannot be read or is empty; a column or value is none of aed render's; or two jobs write
            one file (names the line), or something would be written on top of what any of them reads.
    """
    from aed_nerfstudio.jobs.tables import read_json_lines, read_rows

    table = Path(table)
    lines = table.suffix.lower() in (".jsonl", ".ndjson")
    rows = read_json_lines(table) if lines else read_rows(table, REQUIRED)
    if not rows:
        raise InputError(f"{table}: holds no jobs; give a row for each video, with {', '.join(REQUIRED)}")
    renders: list[Render] = []
    written: dict[Path, int] = {}
    for line, row in rows:
        where = f"{table}, line {line}"
        render = _render(row, table.resolve().parent, where)
        target = render.output.resolve()
        if target in written:
            raise InputError(f"{where}: {render.output} is written by line {written[target]} already; name another")
        written[target] = line
        renders.append(render)
    outputs, inputs = [render.output for render in renders], [path for render in renders for path in render.inputs()]
    keep_apart(outputs, [table, state, *inputs])
    keep_apart([] if state is None else [state], [table, *inputs])
    avatars = list(dict.fromkeys(map(_avatar_named, renders)))
    return [_job(render, table) for render in sorted(renders, key=lambda render: avatars.index(_avatar_named(render)))]


def _avatar_named(render: Render) -> tuple[Path | None, ...]:
    """Returns what is equal for jobs of one avatar."""
    return render.avatar, render.load_config, render.data


def _render(row: Mapping[str, object], folder: Path, where: str) -> Render:
    """Returns a row's command."""
    given = {}
    for column, value in row.items():
        name = column.strip().lstrip("-").replace("-", "_").lower()
        if name not in TYPES:
            known = ", ".join(f.name for f in fields(Render))
            raise InputError(f"{where}: no option {_shown(column)} of aed render; the columns may be {known}")
        if value is not None and value != "":
            given[name] = _value(name, value, folder, where)
    lost = [name for name in REQUIRED if name not in given]
    if lost:
        raise InputError(f"{where}: no {', '.join(lost)}; every job needs {', '.join(REQUIRED)}")
    render = Render(**given)
    try:
        check_flags(render)
        render.check_one_avatar()
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return render


def _value(name: str, value: object, folder: Path, where: str) -> object:
    """Returns a cell as its option takes it: read as the command line would be, with files found from the table's
    folder."""
    kind = TYPES[name]
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(part, (list, dict)) for part in value)):
        raise InputError(f"{where}: {str(value)[:60]} is no {name}; give a text, a number or a list of these")
    if isinstance(value, list):
        words = [str(item) for item in value]
    elif isinstance(value, str) and {typing.get_origin(arm) for arm in (kind, *typing.get_args(kind))} & {tuple, list}:
        words = _words(name, value, where)
    elif kind is bool and str(value).lower() in ("yes", "1", "true", "no", "0", "false"):
        words = [str(str(value).lower() in ("yes", "1", "true"))]
    else:
        words = [str(value)]
    if not all(map(can_be_name, words)):
        raise InputError(f"{where}: {_shown(value)} is no {name}: it holds a NUL, or half a character; write it anew")
    try:
        with redirect_stderr(StringIO()), redirect_stdout(StringIO()):  # tyro says it in a box, without the line
            found = tyro.cli(kind, args=["--", *words])
    except SystemExit as error:
        raise InputError(f"{where}: {_shown(value)} is no {name}; see aed render --help") from error
    is_packaged = name == "avatar" and isinstance(found, Path) and packaged(found) != found
    return found if is_packaged else _located(found, folder)


def _words(name: str, value: str, where: str) -> list[str]:
    """Returns the words of a cell: those in double quotes are one. Apostrophes and backslashes are letters as others
    are."""
    cell = shlex.shlex(value, posix=True, punctuation_chars=False)
    cell.whitespace_split, cell.quotes, cell.escape, cell.commenters = True, '"', "", ""
    try:
        return list(cell)
    except ValueError as error:
        raise InputError(f"{where}: {_shown(value)} is no {name} ({error}); match its quotes") from error


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _located(value: object, folder: Path) -> object:
    """Returns paths, and words that are names of files in the table's folder, as seen from there."""
    if isinstance(value, (tuple, list)):
        return type(value)(_located(item, folder) for item in value)
    if isinstance(value, Path):
        return folder / value.expanduser()
    if isinstance(value, str) and value and is_file(folder / value):
        return str(folder / value)
    return value


def _job(render: Render, table: Path) -> Job:
    from aed_nerfstudio.files import digest, stamp
    from aed_nerfstudio.jobs.record import Job

    given = {name: str(getattr(render, name)) for name in TYPES}
    sources = [Path(text) for name, text in given.items() if name != "output"]
    key = digest(given, [stamp(path) for path in sources if is_file(path)], _state(render))
    name = os.path.relpath(render.output, table.resolve().parent)
    return Job(name, key, render.output, (render, os.getcwd()))


def render_job(render: Render, folder: str, progress: bool) -> dict:
    """Renders one video, as a task; see `run_jobs`.

    Args:
        render: the command.
        folder: where it was called, from which the training run's own paths are seen.
        progress: without meaning: what a job prints in a worker is not shown.
    """
    os.chdir(folder)
    try:
        render.main(lambda: _avatar(render.named(), render.data, _state(render)))
    except InputError as error:
        return {"state": "failed", "error": " ".join(str(error).split())}
    return {"state": "done", "frames": _frames(render.output)}


@lru_cache(maxsize=1)
def _avatar(path: Path, data: Path | None, state: tuple[str, ...]):
    """Returns the avatar, which a worker keeps for its next job; anew when there are other checkpoints."""
    from aed_nerfstudio.avatar.avatar import Avatar

    return Avatar.load(path, data=data)


def _state(render: Render) -> tuple[str, ...]:
    """Tells states of a job's avatar apart."""
    if render.load_config is None:
        return ()  # a file, which is among the sources
    return tuple(sorted(path.name for path in render.load_config.parent.glob("nerfstudio_models/*")))


def _frames(output: Path) -> int:
    """Counts the pictures of a video or a folder."""
    from aed_nerfstudio.media.video_reader import probe

    if output.is_dir():
        return sum(path.suffix == ".png" for path in output.iterdir())
    info = probe(output)
    return round(info.duration * info.fps)
