"""Paths in a `config.yml` that another system wrote, or another version of Python."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

import yaml

PYTHON = "tag:yaml.org,2002:python/"
"""Begins the tags of Python's own objects."""
PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path", "PurePath")
"""Names of Python's classes of paths."""


def read_paths_of_other_systems() -> None:
    """Has nerfstudio's own commands read the paths in a `config.yml` that another system wrote as well, or Python 3.13;
    PyYAML, by which they read it, takes only those of its own."""
    foreign = "WindowsPath" if os.name == "posix" else "PosixPath"
    for name in (f"pathlib.{foreign}", *(f"pathlib._local.{kind}" for kind in PATHS)):
        yaml.Loader.add_constructor(f"{PYTHON}object/apply:{name}", _construct_path)


def _construct_path(loader: yaml.Loader, node: yaml.SequenceNode) -> Path:
    return native_path(loader.construct_sequence(node), node.tag)


def native_path(parts: list[str], kind: str) -> Path:
    """Returns a path of this system; parts and kind: of the one in a file, whose last word is one of `PATHS`."""
    return Path((PureWindowsPath if kind.endswith("WindowsPath") else PurePosixPath)(*parts).as_posix())
