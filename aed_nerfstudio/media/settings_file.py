"""What an unfinished render was begun with: it can only be continued with the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import write


def begin(path: Path, settings: Mapping, output: Path) -> None:
    """Writes the settings down; or, where some are written down, compares.

    path: a JSON file. settings: JSON values. output: what is rendered, for the error.

    Raises InputError when others are written down, and when the folder cannot be written.
    """
    new = json.loads(json.dumps(settings))
    if not path.is_file():
        write(path, json.dumps(new, indent=1), path.parent)
        return
    try:
        old = dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: is damaged; leave out --resume to begin anew") from error
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            raise InputError(
                f"{output}: was begun with {key} {_shown(old.get(key))}, not {_shown(new.get(key))}; give the same to "
                "resume, or leave out --resume to begin anew"
            )


def _shown(value: object) -> str:
    """A value for people, not too long."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
