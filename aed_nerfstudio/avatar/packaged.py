"""What names an avatar: a file, a training run, or one of those that come with the package."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path


def packaged(path: Path) -> Path:
    """Returns the file of a packaged avatar by its name, such as `actor`; any other path as it is."""
    found = resources.files("aed_nerfstudio.avatar") / "packaged_files" / f"{path}.avatar"
    is_name = os.path.basename(path) == str(path) and not os.path.isfile(path)
    return Path(str(found)) if is_name and found.is_file() else Path(path)


def is_config(path: Path) -> bool:
    """Returns whether a path names a training run, by its `config.yml`, and no avatar file."""
    return path.suffix.lower() in (".yml", ".yaml")
