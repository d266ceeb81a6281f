"""Examines JPEG and PNG files: their size and whether their end is there, told without decoding them.

Decoders say nothing of a JPEG that ends in its middle: what is missing is grey. And they give a picture of any size the
memory that its header asks for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.outside import Missing, open_file

MOST_BYTES = 1 << 28
"""The largest file."""
MOST_PIXELS = 1 << 26
"""The largest picture: 8192 x 8192."""
START = 1 << 12
"""The bytes in which a header is looked for first."""
ENDS = {b"\x89PNG": b"\0\0\0\0IEND\xaeB`\x82", b"\xff\xd8\xff": b"\xff\xd9"}
"""The last bytes of a file by its first ones."""
_SIZES = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]")
"""The markers of a JPEG behind which its size is."""


def fault(path: Path, size: tuple[int, int] | None = None, largest: int = 0) -> str | None:
    """Returns what is wrong with a picture, as far as its first and last bytes tell; None where nothing is.

    Args:
        path: a JPEG or PNG file.
        size: width and height that it must have; any when None.
        largest: pixels of a side, where `size` is None.
    """
    try:
        with open_file(path) as file:
            start = file.read(START)
            end = next((last for first, last in ENDS.items() if start.startswith(first)), None)
            if end is None:
                return "is missing or damaged: no JPEG or PNG"
            length = os.fstat(file.fileno()).st_size
            file.seek(max(0, length - 64))
            if not file.read().rstrip(b"\0").endswith(end.rstrip(b"\0")):
                return "is damaged: it is cut off"
            found = _png_size(start) if start.startswith(b"\x89") else _jpeg_size(start, lambda: _whole(file))
    except Missing:
        return "is missing or damaged: there is no such file"
    except (InputError, OSError):
        return "is missing or damaged: it cannot be read"
    if found is None or 0 in found:
        return "is damaged: it does not say its size"
    if length > MOST_BYTES:
        return f"has {length >> 20} MiB, which is more than {MOST_BYTES >> 20}"
    if size is not None and found != size:
        return f"has {found[0]} x {found[1]} pixels, expected {size[0]} x {size[1]}"
    if size is None and largest and max(found) > largest:
        return f"has {found[0]} x {found[1]} pixels, which is more than {largest} a side"
    if found[0] * found[1] > MOST_PIXELS:
        return f"has {found[0]} x {found[1]} pixels, which is more than {MOST_PIXELS} together"
    return None


def _whole(file: BinaryIO) -> bytes:
    """Reads the file from its start."""
    file.seek(0)
    return file.read(MOST_BYTES)


def _png_size(start: bytes) -> tuple[int, int] | None:
    """Returns width and height by a PNG's first bytes; None where they do not say it."""
    if start[12:16] != b"IHDR" or len(start) < 24:
        return None
    return int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big")


def _jpeg_size(start: bytes, whole: Callable[[], bytes]) -> tuple[int, int] | None:
    """Returns width and height; `whole` is asked where what comes first (colour profiles, previews) is long."""
    data, at = start, 2
    while True:
        if at + 9 > len(data):
            if data is not start:
                return None
            data = whole()
            if at + 9 > len(data):
                return None
        if data[at] != 0xFF:
            return None
        if _SIZES.match(data, at):
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
