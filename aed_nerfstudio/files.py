"""Writing and removing files: nothing half, nothing through links out of a folder, nothing that is not ours, nothing on
top of what the same command reads; and short names by which files and values are known again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from aed_nerfstudio.errors import FULL, InputError

if TYPE_CHECKING:
    import numpy as np

PART = ".aed-part"
"""The end of the names of files that are not whole yet."""
_PART_NAME = re.compile(rf"(?s:\.(?P<stem>.+)\.[a-z0-9_]{{8}}{re.escape(PART)}(?P<suffix>\.[^.]*)?)")
"""The names that `temporary_beside` gives."""
MARK = ".aed-nerfstudio"
"""The file in every folder that we have made and may remove; it says what for."""


def unwritable(path: Path, error: OSError) -> InputError:
    """Returns the error for a file or folder that cannot be written."""
    mend = "make room on its disk and run the same again" if error.errno in FULL else "choose another place"
    return InputError(f"{path}: cannot be written ({error.strerror or error}); {mend}")


def inside(path: Path, root: Path) -> Path:
    """Returns a path to write to, which lies in a folder and is reached through no link.

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
    """Makes an empty new file beside `path`, hidden and with its suffix, to be renamed to `path` when it is complete.

    root: the folder in which `path` must lie, see `inside`.

    Raises:
        InputError: that folder is missing or cannot be written, `path` is a folder, or leads out of `root`.
    """
    if root is not None:
        inside(path, root)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a file name to write")
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is a device, a pipe or a socket, which is not written over; give a file name")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=f"{PART}{path.suffix}", dir=path.parent)
    except FileNotFoundError as error:
        raise InputError(f"{path}: cannot be written; choose a folder that exists ({error})") from error
    except OSError as error:
        raise unwritable(path, error) from error
    # mkstemp makes files private to the owner; the finished file should have the usual permissions.
    mask = os.umask(0)
    os.umask(mask)
    os.fchmod(handle, 0o666 & ~mask)
    os.close(handle)
    return Path(name)


@contextmanager
def replacing(path: Path, root: Path | None = None, lasting: bool = False, aside: Path | None = None) -> Iterator[Path]:
    """Yields a file beside `path` to write to, which takes its place when all went well and is removed when not.

    Args:
        path: its folder is made.
        root: the folder in which `path` must lie, see `inside`.
        lasting: also whole after the machine itself has failed: the disk is waited for.
        aside: the file to write to is beside this one instead, on the same disk, for folders in which others look.

    Raises:
        InputError: as `temporary_beside` says; or the disk is full.
    """
    if root is not None:
        inside(path, root)
    make_folder(path.parent)
    temporary = temporary_beside(path if aside is None else aside)
    try:
        yield temporary
        if lasting:
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise unwritable(path, error) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def move(path: Path, place: Path, root: Path | None = None) -> None:
    """Lets a file or folder take another's place on the same disk; root: in which that must lie, see `inside`.

    Raises:
        InputError: it cannot.
    """
    if root is not None:
        inside(place, root)
    try:
        os.replace(path, place)
    except OSError as error:
        raise unwritable(place, error) from error


def write(path: Path, content: bytes | str, root: Path | None = None) -> None:
    """Writes a whole file; text as UTF-8. See `replacing`."""
    with replacing(path, root) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def make_folder(path: Path, root: Path | None = None) -> None:
    """Makes a folder with those above it, unless it is there; root: see `inside`.

    Raises:
        InputError: it cannot be made, or leads out of `root`.
    """
    if root is not None:
        inside(path, root)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made ({error.strerror}); choose another folder") from error


def open_to_update(path: Path, root: Path) -> BinaryIO:
    """Opens a file whose bytes are changed in place, and makes it where there is none; through no link of any kind.

    Raises:
        InputError: it has another name too (a hard link), is no file, or leads out of `root`.
        OSError: it cannot be opened.
    """
    handle = os.open(inside(path, root), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(handle)
        raise InputError(f"{path}: is no file of its own, and nothing is written through links; remove it")
    return os.fdopen(handle, "r+b")


def is_part(name: str) -> bool:
    """Returns whether a file's name is one of `temporary_beside`."""
    return _PART_NAME.fullmatch(name) is not None


def remove_parts(path: Path) -> None:
    """Removes what killed runs have left of the file `path`; only for who has locked it."""
    if path.parent.is_dir():
        for entry in path.parent.iterdir():
            found = _PART_NAME.fullmatch(entry.name)
            if found and (found["stem"], found["suffix"] or "") == (path.stem, path.suffix):
                entry.unlink(missing_ok=True)


def remove_parts_below(folder: Path) -> None:
    """Removes what killed runs have left of any file in a folder; only for who has locked it."""
    for place, _, names in os.walk(folder):  # which follows no links
        for name in filter(is_part, names):
            os.unlink(os.path.join(place, name))


def make_own(folder: Path, kind: str, known: bool = False) -> Path:
    """Makes a folder that `remove_own` may remove, unless it is there.

    Args:
        folder: new, empty, or one that was made by this function for the same.
        kind: what it is for, in a few words.
        known: it is ours by what lies beside it, also without a mark and with something in it.

    Raises:
        InputError: it holds what we did not make, is a link or a file, or cannot be made.
    """
    if not is_own(folder, kind):
        try:
            if folder.is_symlink() or (folder.exists() and not known and not _is_empty(folder)):
                raise _not_ours(folder, kind)
            folder.mkdir(parents=True, exist_ok=True)
            write(folder / MARK, json.dumps({"made for": kind}))
            remove_parts(folder / MARK)
        except OSError as error:
            raise InputError(f"{folder}: cannot be made ({error.strerror or error}); choose another place") from error
    return folder


def _is_empty(folder: Path) -> bool:
    """Returns whether nothing is in a folder, but for what a kill has left of our mark."""
    return folder.is_dir() and all(is_part(entry.name) for entry in folder.iterdir())


def disown(folder: Path) -> None:
    """Hands a folder over to the user: `remove_own` refuses it from here on."""
    (folder / MARK).unlink(missing_ok=True)


def is_own(folder: Path, kind: str) -> bool:
    """Returns whether `make_own` made a folder for this."""
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
        if not folder.is_symlink() and _is_empty(folder):
            return  # whoever's it is: nothing is in it
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


def keep_apart(outputs: Iterable[Path], inputs: Iterable[Path | str | None]) -> None:
    """Refuses outputs that are an input of the same command, hold one or lie in one, by whatever name or link.

    Args:
        outputs: files and folders, which need not exist.
        inputs: files, and folders in which nothing may be written; None stands for what was not given.

    Raises:
        InputError: names the output and the input.
    """
    outputs, inputs = [Path(path) for path in outputs], [Path(path) for path in inputs if path is not None]
    for among, looked_at, words in ((inputs, outputs, "lies in"), (outputs, inputs, "holds")):
        known = {_identity(path): path for path in among}
        for path in looked_at:
            # Where the name itself is, and where it leads to.
            for place in (path.parent.resolve() / path.name, path.resolve()):
                for step in (place, *place.parents):
                    if (found := known.get(_identity(step))) is None:
                        continue
                    output, given = (path, found) if among is inputs else (found, path)
                    relation = "is" if step == place else words
                    raise InputError(f"{output}: {relation} {given}, which the same command reads; write to another "
                                     "place")  # fmt: skip


def _identity(path: Path) -> object:
    """Returns what is equal for all names of one file or folder."""
    try:
        status = os.stat(path)
        return status.st_dev, status.st_ino
    except OSError:
        return os.path.realpath(path)


def stamp(path: Path) -> list:
    """Returns what a file is known by later, for JSON: its place, its size in bytes and when it was changed (ns)."""
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


def digest(*parts: object) -> str:
    """Returns a short name of anything that JSON can hold: equal for equal values, in this run and in later ones."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def array_digest(*arrays: np.ndarray | None) -> str:
    """Returns the SHA-256 of the arrays' bytes, in hexadecimal; None counts as no bytes."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(b"" if array is None else array.tobytes())
    return total.hexdigest()


def user_cache() -> Path:
    """Returns the folder in which programs keep what they have downloaded for a user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())


def hugging_face_cache() -> Path:
    """Returns the folder in which Hugging Face's libraries keep models."""
    home = os.environ.get("HF_HOME") or user_cache() / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub"))
