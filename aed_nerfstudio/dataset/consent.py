"""Who agreed to what: a text that stays with a dataset and with the avatars that are made of it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from aed_nerfstudio.errors import InputError

LONGEST = 10_000
"""Characters."""


def read_consent(given: str) -> str:
    """The text, or that of the file which it names; of a file that is no text, or a long one, its name and SHA-256.

    Raises:
        InputError: it is empty, too long, or its file cannot be read.
    """
    text, path = given, Path(given)
    if os.path.exists(given):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); give a text, or a file with it") from error
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text or len(text) > LONGEST:
            text = f"{path.name}, SHA-256 {hashlib.sha256(content).hexdigest()}"
    if not text.strip():
        raise InputError(f"--consent {given!r}: says nothing; write who agreed to what, or name a file with it")
    if len(text) > LONGEST:
        raise InputError(f"--consent: is longer than {LONGEST} characters; put it into a file and name that")
    return text.strip()
