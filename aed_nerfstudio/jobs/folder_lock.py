"""One process at a time in a folder or at a file: a lock that ends with the process that holds it."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aed_nerfstudio.errors import InputError


@contextmanager
def folder_lock(folder: Path, wait: float = 10.0) -> Iterator[None]:
    """Holds `.NAME.lock` beside the folder or file, which need not exist yet.

    The system gives the lock up when its process ends, even by kill -9, so a file that was left behind locks nothing;
    its text (process and machine) is for people.

    wait: seconds to wait for a process that is about to end.

    Raises:
        InputError: another process holds it, or the lock file cannot be written.
    """
    path = folder.resolve().with_name(f".{folder.resolve().name}.lock")
    file = _locked(path, folder, time.monotonic() + wait)
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: else it could be the next one's
        file.close()


def _locked(path: Path, folder: Path, deadline: float):
    """The lock file, open and locked."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path, "a+")
        except OSError as error:
            raise InputError(f"{path.parent}: cannot be written ({error.strerror}); choose another folder") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
            file.close()  # its holder removed it between our two steps
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            if time.monotonic() > deadline:
                raise InputError(f"{folder}: {holder} is writing it; wait for it, or choose another place") from None
            time.sleep(0.2)
        except OSError as error:
            file.close()
            raise InputError(
                f"{path}: cannot be locked ({error.strerror}); choose a place on a disk that can lock files"
            ) from error
