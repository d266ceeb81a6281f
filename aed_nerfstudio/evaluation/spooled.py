"""Room for frames that are many, outside of memory."""

from __future__ import annotations

import os
import tempfile

import numpy as np

from aed_nerfstudio.errors import InputError


def spooled(count: int, height: int, width: int) -> np.ndarray:
    """Returns room for uint8 [count, H, W, 3] in a nameless temporary file, so that long parts need no memory."""
    with tempfile.TemporaryFile() as file:
        try:
            os.posix_fallocate(file.fileno(), 0, count * height * width * 3)  # a full disk would kill the process later
        except OSError as error:
            raise InputError(f"{tempfile.gettempdir()}: rendered frames cannot be kept there ({error.strerror}); make "
                             "room, or name a folder on another disk in TMPDIR") from error  # fmt: skip
        return np.memmap(file, np.uint8, "w+", shape=(count, height, width, 3))
