"""Tables of takes and lists of videos: CSV and plain text, with the line's number in every error."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from aed_nerfstudio.capture.corpora import CorpusPlan, CorpusTake, choose_takes
from aed_nerfstudio.driving.emotion import CATEGORIES, INTENSITIES
from aed_nerfstudio.errors import InputError


def plan_table(
    path: Path, *, seconds: float | None = None, sound: bool = True, allow_silent: bool = False
) -> CorpusPlan:
    """Reads a CSV table of one person's takes with the columns path, emotion, intensity and, if wanted, audio.

    Args:
        path: the table, UTF-8, with a header; file names in it are relative to its folder.
        seconds: as in plan_mead; None: all takes are used.
        sound, allow_silent: as in plan_mead.

    Raises:
        InputError: names the table's line.
    """
    path = Path(path)
    takes: list[CorpusTake] = []
    lines: dict[Path, int] = {}
    for line, row in read_rows(path, required=("path", "emotion", "intensity"), optional=("audio",)):
        where = f"{path}, line {line}"
        take = take_of_row(row, path.parent, where)
        for file in filter(None, (take.path, take.sound)):
            if not file.is_file():
                raise InputError(f"{where}: {file}: no such file; names are relative to the table's folder")
        if take.path in lines:
            raise InputError(f"{where}: {take.path} is in line {lines[take.path]} already; name every file once")
        lines[take.path] = line
        takes.append(take)
    if not takes:
        raise InputError(f"{path}: holds no takes; add a line for each, such as take1.mp4,happy,strong")
    return choose_takes(path.stem, takes, {}, seconds=seconds, sound=sound, allow_silent=allow_silent)


def read_rows(
    path: Path, required: Sequence[str], optional: Sequence[str] = (), header: bool = True
) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV file (UTF-8, comma or semicolon) as (line number, column -> text without outer spaces).

    Empty lines and lines that start with # are left out; so are columns of other names.

    Args:
        path: the file.
        required: columns that the header must have.
        optional: columns that it may have.
        header: False: the file may go without, and its columns are the required and optional ones in their order. A
            line that is the name of a file as a whole is not divided then.

    Raises:
        InputError: the file cannot be read, its header lacks a column, or a row has too few or too many cells.
    """
    lines = re.split(r"\r\n|\r|\n", _text(path))
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    reader = csv.reader(lines, delimiter=";" if first.count(";") > first.count(",") else ",", strict=True)
    columns = None if header else [*required, *optional]
    rows: list[tuple[int, dict[str, str]]] = []
    line = 1
    try:
        for cells in reader:
            where, start, line = f"{path}, line {line}", line, reader.line_num + 1
            cells = [cell.strip() for cell in cells]
            if not any(cells) or cells[0].startswith("#"):
                continue
            names = [cell.lower() for cell in cells]
            if not rows and (columns is None or set(required) <= set(names)):
                columns, header = _columns(where, names, required, optional), True
                continue
            if not header and (path.parent / lines[start - 1].strip()).is_file():
                cells = [lines[start - 1].strip()]
            if not (len(columns) if header else len(required)) <= len(cells) <= len(columns):
                shown = ",".join(columns)
                raise InputError(f"{where}: {len(cells)} values; give {shown} (in quotes where a name holds a comma)")
            rows.append((start, dict(zip(columns, cells, strict=False))))
    except csv.Error as error:
        raise InputError(f"{path}, line {line}: no CSV ({error}); check the quotes") from error
    if columns is None:
        raise InputError(f"{path}: is empty; begin with the line {','.join(required)}")
    return rows


def take_of_row(row: dict[str, str], folder: Path, where: str) -> CorpusTake:
    """A take of a table's row; `where` names the row in errors."""
    if not row["path"]:
        raise InputError(f"{where}: path is empty; name a video file")
    emotion, intensity = row.get("emotion", ""), row.get("intensity", "")
    if not re.fullmatch(r"[\w-]+", emotion):
        raise InputError(f"{where}: emotion {emotion!r} is no label; use one word such as {', '.join(CATEGORIES)}")
    if intensity not in INTENSITIES:
        raise InputError(f"{where}: unknown intensity {intensity!r}; choose one of {', '.join(INTENSITIES)}")
    sound = row.get("audio", "")
    return CorpusTake(folder / row["path"], emotion, intensity, folder / sound if sound else None)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: is not UTF-8 text; save it as CSV UTF-8") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error


def _columns(where: str, names: list[str], required: Sequence[str], optional: Sequence[str]) -> list[str]:
    lost = [name for name in required if name not in names]
    if lost:
        raise InputError(f"{where}: no column {', '.join(lost)}; begin with the line {','.join(required)}")
    twice = [name for name in (*required, *optional) if names.count(name) > 1]
    if twice:
        raise InputError(f"{where}: the column {twice[0]} is there twice; give it once")
    return names
