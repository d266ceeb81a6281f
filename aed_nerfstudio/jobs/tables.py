"""Tables of work to do: CSV, plain lists and JSON lines, with the line's number in every error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aed_nerfstudio import outside
from aed_nerfstudio.errors import InputError


def read_rows(
    path: Path, required: Sequence[str], optional: Sequence[str] = (), header: bool = True
) -> list[tuple[int, dict[str, str]]]:
    """Reads the rows of a CSV file (UTF-8, comma or semicolon) as (line number, column -> text without outer spaces).

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
    text = outside.read_text(path, mend="save it as CSV UTF-8")
    lines = outside.split_lines(text)
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    columns = [] if header else [*required, *optional]
    rows: list[tuple[int, dict[str, str]]] = []
    for line, cells in outside.csv_rows(path, text, ";" if first.count(";") > first.count(",") else ","):
        where = f"{path}, line {line}"
        if cells[0].startswith("#"):
            continue
        names = [cell.lower().replace("-", "_") for cell in cells]
        if not rows and (not columns or set(required) <= set(names)):
            columns, header = _columns(where, names, required, optional), True
            continue
        whole = lines[line - 1].strip()
        if not header and outside.is_file(path.parent / whole):
            cells = [whole]
        if not (len(columns) if header else len(required)) <= len(cells) <= len(columns):
            shown = ",".join(columns)
            if len(shown) > 200:
                shown = f"the {len(columns)} columns of the header"
            raise InputError(f"{where}: {len(cells)} values; give {shown} (in quotes where a name holds a comma)")
        rows.append((line, dict(zip(columns, cells, strict=False))))
    if not columns:
        raise InputError(f"{path}: is empty; begin with the line {','.join(required)}")
    return rows


def read_json_lines(path: Path) -> list[tuple[int, dict[str, object]]]:
    """Reads the objects of a file with one JSON object a line, as (line number, name -> value).

    Empty lines are left out.

    Raises:
        InputError: the file cannot be read, or a line is no JSON object.
    """
    rows = []
    for number, line in enumerate(outside.split_lines(outside.read_text(path, mend="save it as UTF-8")), 1):
        if not line.strip():
            continue
        try:
            row = outside.parse_json(line)
        except ValueError as error:
            raise InputError(f"{path}, line {number}: no JSON ({error}); write one object a line") from error
        if not isinstance(row, dict):
            raise InputError(f'{path}, line {number}: no JSON object; write one a line, such as {{"path": "a.mp4"}}')
        rows.append((number, row))
    return rows


def _columns(where: str, names: list[str], required: Sequence[str], optional: Sequence[str]) -> list[str]:
    lost = [name for name in required if name not in names]
    if lost:
        raise InputError(f"{where}: no column {', '.join(lost)}; begin with the line {','.join(required)}")
    twice = [name for name in (*required, *optional) if names.count(name) > 1]
    if twice:
        raise InputError(f"{where}: the column {twice[0]} is there twice; give it once")
    return names
