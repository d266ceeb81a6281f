"""Tables of takes and lists of videos, with the line's number in every error."""

from __future__ import annotations

import re
from pathlib import Path

from aed_nerfstudio.capture.sources import LABEL
from aed_nerfstudio.corpora.corpus import CorpusPlan, CorpusTake, choose_takes
from aed_nerfstudio.driving.emotion import CATEGORIES, INTENSITIES
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.jobs.tables import read_rows
from aed_nerfstudio.outside import is_file, shortened


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
            if not is_file(file):
                shown = shortened(file)
                raise InputError(f"{where}: {shown}: no such file; names are relative to the table's folder")
        if take.path in lines:
            raise InputError(f"{where}: {take.path} is in line {lines[take.path]} already; name every file once")
        lines[take.path] = line
        takes.append(take)
    if not takes:
        raise InputError(f"{path}: holds no takes; add a line for each, such as take1.mp4,happy,strong")
    return choose_takes(path.stem, takes, {}, seconds=seconds, sound=sound, allow_silent=allow_silent)


def take_of_row(row: dict[str, str], folder: Path, where: str) -> CorpusTake:
    """Returns a take of a table's row; `where` names the row in errors."""
    if not row["path"]:
        raise InputError(f"{where}: path is empty; name a video file")
    emotion, intensity = row.get("emotion", ""), row.get("intensity", "")
    if not re.fullmatch(LABEL, emotion):
        raise InputError(f"{where}: emotion {emotion!r} is no label; use one word such as {', '.join(CATEGORIES)}")
    if intensity not in INTENSITIES:
        raise InputError(f"{where}: unknown intensity {intensity!r}; choose one of {', '.join(INTENSITIES)}")
    sound = row.get("audio", "")
    return CorpusTake(folder / row["path"], emotion, intensity, folder / sound if sound else None)
