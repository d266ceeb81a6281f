"""What all commands check of their options before any work: numbers by their declared bounds, names and places."""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path

from aed_nerfstudio.bounds import Between
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.outside import can_be_name

WRITTEN = ("output", "state")
"""Options that name what is written; all other paths are read."""


def check_words(arguments: Sequence[str]) -> None:
    """Refuses words of a command line that no option takes, and that parsers make something else of.

    Raises:
        InputError: an argument is empty.
    """
    for number, word in enumerate(arguments):
        option, equals, value = word.partition("=")
        if word == "" or (equals and not value and option.startswith("--")):
            before = arguments[number - 1] if number and not equals else option
            where = before if before.startswith("--") else f"argument {number + 1}"
            raise InputError(f"{where}: is empty; give it a value, or leave it out")


def check_flags(command: typing.Any) -> None:
    """Checks a command's options, and lets `~` at the start of a path be the user's home.

    Args:
        command: a dataclass, whose numbers are declared with their bounds: `Annotated[int, Between(...)]`.

    Raises:
        InputError: names the option or the file: a number out of its bounds, a name that no file can have, a pipe, a
            device or a socket in the place of a file.
    """
    hints = typing.get_type_hints(type(command), include_extras=True)
    for field in dataclasses.fields(command):
        flag, value = f"--{field.name.replace('_', '-')}", getattr(command, field.name)
        for bounds in _bounds(hints[field.name]):
            for number in value if isinstance(value, tuple) else (value,):
                if number is not None:
                    bounds.check(flag, number)
        value = _expanded(value)
        setattr(command, field.name, value)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, (str, Path)):
                _check_name(flag, part)
                if field.name in WRITTEN and not Path(part).resolve().name:
                    raise InputError(f"{flag} {part}: is the root of all folders; name a place in it")


def _bounds(kind: object) -> Iterator[Between]:
    """Yields the bounds that a type is declared with, also inside unions and tuples."""
    for part in typing.get_args(kind):
        if isinstance(part, Between):
            yield part
        yield from _bounds(part)


def _expanded(value: object) -> object:
    """Returns paths with the home folder for `~`, which shells leave alone after `=`, and other values as they are."""
    if isinstance(value, tuple):
        return tuple(_expanded(part) for part in value)
    if isinstance(value, Path) and str(value).startswith("~"):
        try:
            return value.expanduser()
        except RuntimeError:  # no such user: it is a name
            return value
    return value


def _check_name(flag: str, value: str | Path) -> None:
    """Refuses texts that cannot be written down, names that no file has, and places that hold no file."""
    text = str(value)
    if not can_be_name(text):
        raise InputError(f"{flag} {text}: is no valid Unicode, or holds a zero byte; rename the file")
    try:
        kind = os.stat(text).st_mode
    except OSError as error:
        if isinstance(value, Path) and error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise InputError(f"{flag} {text}: no file can have this name ({error.strerror}); check it") from error
        return
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise InputError(f"{flag} {text}: is a device, a pipe or a socket; give a file or a folder")
