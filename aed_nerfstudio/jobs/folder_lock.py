"""One process at a time in a folder or at a file: a lock that ends with the process that holds it."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import make_folder, open_to_update, remove_parts, unwritable

WAIT = 10.0
"""Seconds to wait for a process that is about to end, unless a caller says otherwise."""
_TEXT = re.compile(rb"(process \d+ on .*)?")
"""What is in a lock file."""


@contextmanager
def folder_lock(folder: Path, wait: float | None = None) -> Iterator[None]:
    """Holds `.NAME.lock` beside the folder or file, which need not exist yet.

    The system gives the lock up when its process ends, even by kill -9, so a file that was left behind locks nothing;
    its text (process and machine) is for people. What a killed process has left of a half file of that name is removed.

    wait: seconds to wait for a process that is about to end; WAIT when None.

    Raises:
        InputError: another process holds it, or the lock file cannot be written, or a file of that name is not ours.
    """
    place = folder.resolve()
    if not place.name:
        raise InputError(f"{folder}: is the root of all folders; name a place in it")
    path = place.with_name(f".{place.name}.lock")
    file = _locked(path, folder, time.monotonic() + (WAIT if wait is None else wait))
    try:
        try:
            os.ftruncate(file.fileno(), 0)
            os.pwrite(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        except OSError as error:
            raise unwritable(path, error) from error
        remove_parts(place)
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: else it could be the next one's
        file.close()


def _locked(path: Path, folder: Path, deadline: float) -> BinaryIO:
    """Opens the lock file and locks it."""
    make_folder(path.parent)
    while True:
        try:
            file = open_to_update(path, path.parent)
        except OSError as error:
            raise unwritable(path, error) from error
        if not _TEXT.fullmatch(text := file.read(1 << 10)):
            file.close()
            raise InputError(f"{path}: is no lock that this program has made, so it is left as it is; move it away")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
            file.close()  # its holder removed it between our two steps
        except BlockingIOError:
            holder = text.decode(errors="replace") or "another process"
            file.close()
            if time.monotonic() > deadline:
                raise InputError(f"{folder}: {holder} is writing it; wait for it, or choose another place") from None
            time.sleep(0.2)
        except OSError as error:
            file.close()
            raise InputError(
                f"{path}: cannot be locked ({error.strerror}); choose a place on a disk that can lock files"
            ) from error
