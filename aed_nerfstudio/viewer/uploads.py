"""Files that a browser has sent: how large they may be, and as files."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aed_nerfstudio.errors import InputError

LONGEST_SHOWN = 60


@dataclass(frozen=True)
class Limits:
    """What a browser may upload."""

    megabytes: float = 64
    """Of one file, MiB."""
    minutes: float = 10
    """Of sound."""
    seconds: float = 900
    """That a file may take to arrive."""

    def check_size(self, name: str, size: int) -> None:
        """Raises InputError: a file of that many bytes is empty or too large."""
        if size <= 0:
            raise InputError(f"{shown(name)}: is empty")
        if size > self.megabytes * 2**20:
            raise InputError(f"{shown(name)}: {size / 2**20:.0f} MiB are too much for the viewer, which takes "
                             f"{self.megabytes:g}; use aed render for it")  # fmt: skip


def shown(name: str) -> str:
    """Returns what a file is called in the page: the last part of its name, without what cannot be printed, and
    short."""
    name = "".join(c for c in re.split(r"[/\\]", name)[-1] if c.isprintable()).strip()
    if len(name) > LONGEST_SHOWN:
        name = f"{name[: LONGEST_SHOWN - 20]}…{name[-19:]}"
    return name or "upload"


@contextmanager
def uploaded_file(name: str, content: bytes) -> Iterator[Path]:
    """Provides a file of that content for the length of the block; errors about it name it as its owner does."""
    suffix = re.search(r"\.[A-Za-z0-9]{1,8}\Z", name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"upload{suffix[0] if suffix else ''}"
        path.write_bytes(content)
        try:
            yield path
        except InputError as error:
            raise InputError(str(error).replace(str(path), shown(name))) from error
