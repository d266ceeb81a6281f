"""What an unfinished render was begun with: it can only be continued with the same."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from aed_nerfstudio import outside
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import make_own, remove_own, remove_parts_below, write


def begin_folder(folder: Path, kind: str, name: str, settings: Mapping | None, output: Path, resume: bool) -> None:
    """Makes the hidden folder of an unfinished render, or goes on with the one that is there.

    kind: of the folder, see `files.make_own`. name: of the file of settings in it; without one there is nothing to go
    on with. settings, output: as for `begin`.

    Raises InputError as `begin` does, and when the folder is not ours.
    """
    if not (resume and (folder / name).is_file()):
        remove_own(folder, kind)
    remove_parts_below(make_own(folder, kind))
    begin(folder / name, settings or {}, output)


def begin(path: Path, settings: Mapping, output: Path) -> None:
    """Writes the settings down; or, where some are written down, compares.

    path: a JSON file. settings: JSON values. output: what is rendered, for the error.

    Raises InputError when others are written down, and when the folder cannot be written.
    """
    new = json.loads(json.dumps(settings))
    if not os.path.lexists(path):
        write(path, json.dumps(new, indent=1), path.parent)
        return
    mend = "leave out --resume to begin anew"
    old = outside.read_json(path, mend=mend)
    if not isinstance(old, dict):
        raise InputError(f"{path} is damaged: no JSON object; {mend}")
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            raise InputError(
                f"{output}: was begun with {key} {_shown(old.get(key))}, not {_shown(new.get(key))}; give the same to "
                "resume, or leave out --resume to begin anew"
            )


def _shown(value: object) -> str:
    """Returns a value for people, not too long."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
