"""Writing and removing files: nothing half, nothing through links out of a folder, nothing that is not ours."""

from __future__ import annotations

import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aed_nerfstudio.errors import InputError

PART = ".aed-part"
"""In the names of files that are not whole yet."""
MARK = ".aed-nerfstudio"
"""The file in every folder that we have made and may remove; it says what for."""


def inside(path: Path, root: Path) -> Path:
    """A path to write to, which lies in a folder and is reached through no link.

    Args:
        path: it need not exist yet.
        root: the folder. How it is reached itself is its owner's business.

    Raises:
        InputError: a part of the path below `root` is a link, or the path leads out of it.
    """
    root, path = Path(root), Path(path)
    steps = path.relative_to(root).parts if path.is_relative_to(root) else ("..",)
    if ".." in steps:
        raise InputError(f"{path}: lies outside {root}, and only what is in it is written; name a place in it")
    place = root
    for step in steps:
        place = place / step
        if place.is_symlink():
            raise InputError(f"{place}: is a link (to {os.readlink(place)}), and nothing is written through links in "
                             f"{root}; remove it, or copy what it leads to into the folder")  # fmt: skip
    return path


def temporary_beside(path: Path, root: Path | None = None) -> Path:
    """An empty new file in the folder of `path`, hidden and with its suffix, to be renamed to `path` when complete.

    root: the folder in which `path` must lie, see `inside`.

    Raises:
        InputError: that folder is missing or cannot be written, `path` is a folder, or leads out of `root`.
    """
    if root is not None:
        inside(path, root)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a file name to write")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=f"{PART}{path.suffix}", dir=path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written; choose a folder that exists and is writable ({error})") from error
    # mkstemp makes files private to the owner; the finished file should have the usual permissions.
    mask = os.umask(0)
    os.umask(mask)
    os.fchmod(handle, 0o666 & ~mask)
    os.close(handle)
    return Path(name)


@contextmanager
def replacing(
    path: Path, root: Path | None = None, lasting: bool = False, aside: Path | None = None
) -> Iterator[Path]:
    """A file beside `path` to write to, which takes its place when all went well and is removed when not.

    Args:
        path: its folder is made.
        root: the folder in which `path` must lie, see `inside`.
        lasting: also whole after the machine itself has failed: the disk is waited for.
        aside: the file to write to is beside this one instead, on the same disk, for folders in which others look.

    Raises:
        InputError: as `temporary_beside` says.
        OSError: the disk is full.
    """
    if root is not None:
        inside(path, root)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path.parent}: cannot be made ({error.strerror}); choose another folder") from error
    temporary = temporary_beside(path if aside is None else aside)
    try:
        yield temporary
        if lasting:
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_parts(path: Path) -> None:
    """Removes what killed runs have left of the file `path`; only for who has locked it."""
    for part in path.parent.glob(f".{glob.escape(path.stem)}.*{PART}{glob.escape(path.suffix)}"):
        part.unlink(missing_ok=True)


def make_own(folder: Path, kind: str) -> Path:
    """Makes a folder that `remove_own` may remove, unless it is there.

    Args:
        folder: new, empty, or one that was made by this function for the same.
        kind: what it is for, in a few words.

    Raises:
        InputError: it holds what we did not make, is a link or a file, or cannot be made.
    """
    if not is_own(folder, kind):
        try:
            if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
                raise _not_ours(folder, kind)
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(folder / MARK) as temporary:
                temporary.write_text(json.dumps({"made for": kind}), "utf-8")
        except OSError as error:
            raise InputError(f"{folder}: cannot be made ({error.strerror or error}); choose another place") from error
    return folder


def is_own(folder: Path, kind: str) -> bool:
    """Whether `make_own` made a folder for this."""
    try:
        return not folder.is_symlink() and json.loads((folder / MARK).read_text("utf-8")) == {"made for": kind}
    except (OSError, ValueError):
        return False


def remove_own(folder: Path, kind: str) -> None:
    """Removes a folder that `make_own` made for `kind`, with all that is in it; nothing where there is none.

    Raises:
        InputError: it is not ours, and stays as it is; or it cannot be removed.
    """
    if not os.path.lexists(folder):
        return
    if not is_own(folder, kind):
        raise _not_ours(folder, kind)
    try:
        for entry in folder.iterdir():
            if entry.name == MARK:
                continue  # last, so that what a kill leaves of it can still be removed
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        shutil.rmtree(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be removed ({error.strerror or error}); remove it by hand") from error


def _not_ours(folder: Path, kind: str) -> InputError:
    return InputError(f"{folder}: is not a {kind} that this program has made, so it is left as it is; move it away, or "
                      "choose another place")  # fmt: skip
