"""Files that a browser has sent, as files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aed_nerfstudio.errors import InputError


@contextmanager
def uploaded_file(name: str, content: bytes) -> Iterator[Path]:
    """A file of that content for the length of the block; errors about it name it as its owner does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"upload{Path(name).suffix}"
        path.write_bytes(content)
        try:
            yield path
        except InputError as error:
            raise InputError(str(error).replace(str(path), name)) from error
