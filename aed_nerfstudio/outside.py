"""What a user names, opened and parsed: whatever it is or claims, the answer is its contents or one `InputError`.

Work and memory are bounded by what a file holds. Nothing but regular files is opened: pipes and devices would hang.

Callers say the mend, what a user should do: it is the end of the error's line.
"""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from aed_nerfstudio.errors import InputError

MOST_BYTES = 1 << 26
"""The size of a text file, unless its reader says otherwise: values in memory take up to twenty times as much."""
DEEPEST = 64
"""How many lists and objects may be in one another in JSON: later steps go through them one call a level."""
LARGEST_WHOLE = 2**63 - 1
"""The largest of JSON's whole numbers: larger ones are read as floating-point ones, so that no later step overflows.
Times of files in nanoseconds are below."""
LONGEST_FIELD = 100_000
"""Characters of a CSV cell."""
MOST_ROWS = 1_000_000
"""Lines of a CSV table."""
LONGEST_HEADER = 10_000
"""Bytes of a `.npy` file's header; NumPy's own bound."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_REASONS = {
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file",
    errno.EACCES: "cannot be read: no permission",
    errno.EPERM: "cannot be read: no permission",
    errno.ENAMETOOLONG: "cannot be read: the name is too long",
    errno.ELOOP: "cannot be read: a link that leads to itself",
}


class Missing(InputError):
    """The error for a file that does not exist."""


# ---- files


def regular_file(path: str | Path, mend: str = "check the path") -> Path:
    """Returns the path, if it is that of a regular file, also through links.

    Raises:
        Missing: there is none.
        InputError: it is something else, such as a folder, a pipe or a device; or no name of a file at all.
    """
    _regular(path, mend)
    return Path(path)


def is_file(path: str | Path) -> bool:
    """Returns whether a text is the name of a regular file, also through links; if it is no name at all, it is not."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def shortened(path: str | Path) -> str:
    """Returns a name as errors show it: on one line, and not endless."""
    text = str(path)
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= 1000 else f"{text[:100]}..."


def can_be_name(text: str) -> bool:
    """Returns whether a text holds neither a NUL nor half a character, which no name has and JSON's texts may."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def open_file(path: str | Path, mend: str = "check the path") -> BinaryIO:
    """Opens a regular file for reading; see `regular_file`.

    Raises:
        Missing: there is none.
        InputError: it is something else, or cannot be read.
    """
    _regular(path, mend)
    try:
        # What takes the file's place meanwhile must not hang either.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        file = os.fdopen(handle, "rb")
    except OSError as error:
        raise _unreadable(path, error, mend) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise InputError(f"{shortened(path)}: is no regular file any more; {mend}")
    return file


def read_bytes(path: str | Path, most: int = MOST_BYTES, mend: str = "check the path") -> bytes:
    """Reads the bytes of a regular file.

    Raises:
        Missing: there is none.
        InputError: it is something else, cannot be read, or holds more than `most` bytes.
    """
    with open_file(path, mend) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            content = file.read(size + 1) if size <= most else b""
            if len(content) > size:  # a file of /proc, which says 0
                content += file.read(most)
        except OSError as error:
            raise _unreadable(path, error, mend) from error
    if max(size, len(content)) > most:
        raise InputError(f"{shortened(path)}: holds more than {_size(most)}, which is the most here; {mend}")
    return content


def read_text(path: str | Path, most: int = MOST_BYTES, mend: str = "save it as UTF-8 text") -> str:
    """Reads the text of a regular file in UTF-8, without a byte order mark.

    Raises:
        Missing: there is none.
        InputError: it is something else, cannot be read, holds more than `most` bytes, or is no text.
    """
    content = read_bytes(path, most, mend)
    try:
        text = content.decode("utf-8-sig")
        if (place := text.find("\0")) < 0:
            return text
        line, what = text.count("\n", 0, place) + 1, "is no text, it holds a NUL character"
    except UnicodeDecodeError as error:
        line, what = content.count(b"\n", 0, error.start) + 1, "is not UTF-8 text"
    raise InputError(f"{shortened(path)}, line {line}: {what}; {mend}")


def _regular(path: str | Path, mend: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise _unreadable(path, error, mend) from error
    except ValueError as error:  # a NUL, or half a character
        raise InputError(f"{shortened(path)}: is no name of a file; {mend}") from error
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise InputError(f"{shortened(path)}: is {kind} and not a file; {mend}")


def _unreadable(path: str | Path, error: OSError, mend: str) -> InputError:
    what = _REASONS.get(error.errno or 0, f"cannot be read ({error.strerror or error})")
    kind = Missing if what == "no such file" else InputError
    return kind(f"{shortened(path)}: {what}; {mend}")


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count} bytes"


class BoundedFolder:
    """A folder out of which nothing is read: links may stay inside it, and those that lead out are refused."""

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(root)

    def check(self, path: Path) -> Path:
        """Returns the path; InputError where it leads out of the folder."""
        real = os.path.realpath(path)
        if os.path.commonpath([real, self.root]) != self.root:
            raise InputError(f"{path} leads outside the dataset folder, to {real}; copy the files into it")
        return path

    def files(self, folder: Path) -> set[str]:
        """Returns the names of the files in a folder of it; none where that does not exist.

        Raises:
            InputError: the folder or one of its files leads out.
        """
        try:
            with os.scandir(self.check(folder)) as entries:
                listed = {entry.name: entry for entry in entries}
        except OSError:
            return set()
        for entry in listed.values():
            if entry.is_symlink():
                self.check(folder / entry.name)
        return {name for name, entry in listed.items() if entry.is_file()}


# ---- JSON


def read_json(path: str | Path, most: int = MOST_BYTES, mend: str = "write it as JSON", finite: bool = False) -> object:
    """Reads the value in a JSON file; see `decode_json`.

    finite: whether NaN and infinities are refused, for what is to be written as JSON again.

    Raises:
        Missing: there is no such file.
        InputError: it is no regular file, cannot be read, holds more than `most` bytes, or is no JSON.
    """
    content = read_bytes(path, most, mend)
    try:
        value = parse_json(content.decode("utf-8-sig"))
        if finite:
            json.dumps(value, allow_nan=False)
    except ValueError as error:
        raise InputError(f"{shortened(path)} is damaged: no JSON ({str(error)[:100]}); {mend}") from error
    return value


def parse_json(text: str) -> object:
    """Returns the JSON value that a text is; see `decode_json`.

    Raises:
        json.JSONDecodeError: it is none.
    """
    value, end = decode_json(text, after_space(text, 0))
    if after_space(text, end) < len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


def decode_json(text: str, at: int = 0) -> tuple[object, int]:
    """Returns the JSON value that begins at a place in a text, and where it ends.

    Whole numbers beyond `LARGEST_WHOLE` become floating-point ones. NaN and infinities are taken, as they
    come from 1e999 too: who wants a number asks for its range.

    Raises:
        json.JSONDecodeError: it is none, or is more than `DEEPEST` levels deep.
    """
    try:
        value, end = _DECODER.raw_decode(text, at)
    except RecursionError as error:
        raise json.JSONDecodeError("Too many lists or objects in one another", text, at) from error
    if text.count("[", at, end) + text.count("{", at, end) > DEEPEST and _too_deep(value):
        raise json.JSONDecodeError("Too many lists or objects in one another", text, at)
    return value, end


def after_space(text: str, at: int) -> int:
    """Returns the place of the first character from `at` on that is no white space of JSON; else the text's length."""
    space = _SPACE.match(text, at)
    return at if space is None else space.end()


def _whole(text: str) -> int | float:
    if len(text) > 20:  # Python refuses thousands of digits
        return float(text)
    return int(text) if abs(int(text)) <= LARGEST_WHOLE else float(text)


_DECODER = json.JSONDecoder(parse_int=_whole)
_SPACE = re.compile(r"[ \t\n\r]*")


def _too_deep(value: object) -> bool:
    """Returns whether more than `DEEPEST` lists and objects are in one another."""
    level = [[value]]
    for _ in range(DEEPEST + 1):
        level = [
            item
            for each in level
            for item in (each.values() if type(each) is dict else each)
            if type(item) is list or type(item) is dict
        ]
        if not level:
            return False
    return True


# ---- CSV


def split_lines(text: str) -> list[str]:
    """Returns the lines of a text, without their ends."""
    return re.split(r"\r\n|\r|\n", text)


def csv_rows(path: str | Path, text: str, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yields the rows of a CSV text that are not empty, as (number of the first line, cells without outer spaces).

    path: what errors name.

    Raises:
        InputError: names the line: quotes that do not match, a cell that is too long; or there are too many lines.
    """
    lines = split_lines(text)
    if len(lines) > MOST_ROWS:
        raise InputError(f"{shortened(path)}: has {len(lines)} lines, of {MOST_ROWS} at most; divide it")
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            start, line = line, reader.line_num + 1
            if max(map(len, cells), default=0) > LONGEST_FIELD:
                raise InputError(f"{shortened(path)}, line {start}: no CSV (a value of more than {LONGEST_FIELD} "
                                 "characters); check the quotes")  # fmt: skip
            cells = [cell.strip() for cell in cells]
            if any(cells):
                yield start, cells
    except csv.Error as error:
        raise InputError(f"{shortened(path)}, line {line}: no CSV ({error}); check the quotes") from error


# ---- NumPy


def read_array(path: str | Path, mend: str = "write it with numpy.save") -> np.ndarray:
    """Maps the real numbers of a `.npy` file, integers or floating-point ones, into memory, read-only.

    Nothing in the file is run, and its header is believed only as far as the file is long.

    Raises:
        Missing: there is no such file.
        InputError: it is no regular file, cannot be read, is no `.npy` file, is cut off, or holds something else.
    """
    with open_file(path, mend) as file:
        try:
            dtype, fortran, shape = _header(file)
            offset = file.tell()
            size = dtype.itemsize * math.prod(shape)
            if size > os.fstat(file.fileno()).st_size - offset:
                raise ValueError("it is cut off")
            order = "F" if fortran else "C"
            if not size:
                return np.empty(shape, dtype, order)
            return np.memmap(file, dtype, "r", offset, shape, order)
        except OSError as error:
            raise _unreadable(path, error, mend) from error
        except (ValueError, TypeError, OverflowError) as error:
            what = f"is no .npy file of plain numbers, or damaged ({error})"
            raise InputError(f"{shortened(path)}: {what}; {mend}") from error


_FIELDS = tuple(
    re.compile(rb"['\"]" + name + rb"['\"]\s*:\s*" + value + rb"\s*[,}]")
    for name, value in (
        (b"descr", rb"['\"]([<>=|]?[a-zA-Z]\d{0,6})['\"]"),
        (b"fortran_order", rb"(True|False)"),
        (b"shape", rb"\(([\d\s,L]*)\)"),
    )
)
"""Of a header, which is the text of a Python dict; records do not match."""


def _header(file: BinaryIO) -> tuple[np.dtype, bool, tuple[int, ...]]:
    """Returns the type, whether the first axis runs fastest, and the shape.

    The file then stands where the numbers begin.

    Raises:
        ValueError, TypeError: it is none.
    """
    start = file.read(8)
    if start.startswith(b"PK"):
        raise ValueError("it is an .npz archive")
    if start[:6] != b"\x93NUMPY" or len(start) < 8 or start[6] not in (1, 2, 3):
        raise ValueError("it does not begin as one")
    length = int.from_bytes(file.read(2 if start[6] == 1 else 4), "little")
    if length > LONGEST_HEADER:
        raise ValueError(f"its header has {length} bytes")
    text = file.read(length)
    found = [field.findall(text) for field in _FIELDS]
    if len(text) < length or any(len(values) != 1 for values in found):
        raise ValueError("its header names no plain numbers")
    (descr,), (order,), (sides,) = found
    shape = tuple(int(side) for side in sides.replace(b"L", b"").split(b",") if side.strip())
    if len(shape) > 32 or math.prod(max(side, 1) for side in shape) >= 1 << 56:
        raise ValueError("its header asks for more than any computer has")
    dtype = np.dtype(descr.decode())
    if dtype.kind not in "fiu":
        raise ValueError(f"it holds {dtype}")
    return dtype, order == b"True", shape
