"""Reads who agreed to what, and under which terms: texts that stay with a dataset and with the avatars made of it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.outside import open_file

LONGEST = 10_000
"""The most characters."""


def read_consent(words: str, option: str = "--consent") -> str:
    """Returns the text, or that of the file which it names; of a file that is no text, or a long one, its name and
    SHA-256. option: what it was words by.

    Raises:
        InputError: it is empty, too long, or its file cannot be read.
    """
    text, path = words, Path(words)
    if os.path.exists(words):
        text = _of_file(path)
    if not text.strip():
        raise InputError(f"{option} {words!r}: says nothing; write it, or name a file with it")
    if len(text) > LONGEST:
        raise InputError(f"{option}: is longer than {LONGEST} characters; put it into a file and name that")
    return text.strip()


def _of_file(path: Path) -> str:
    """Returns what a file says, or its name and SHA-256; it may be as long as a film, and is not held in memory."""
    with open_file(path, "give a text, or a file with it") as file:
        start = file.read(4 * LONGEST + 4)  # bytes of so many characters, and of a byte order mark
        digest = hashlib.sha256(start)
        while part := file.read(1 << 20):
            digest.update(part)
            start = b"\0"
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    return text if "\0" not in text and len(text) <= LONGEST else f"{path.name}, SHA-256 {digest.hexdigest()}"
