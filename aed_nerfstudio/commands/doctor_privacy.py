"""Takes paths and names of people and machines out of the page of `aed doctor`, for it is posted in public."""

from __future__ import annotations

import functools
import getpass
import os
import re
import socket
import sys
import tempfile
from pathlib import Path

_WORD = r"[^\s'\"`:;,()\[\]{}<>|]*"
_REST = rf"{_WORD}(?:(?: [\w.-]+){{0,3}}? [\w.-]+/{_WORD})*"
"""The rest of a path; blanks belong to it where there are slashes behind them."""
_QUOTED = r"[^'\")]*"
"""The rest of a path in quotes or brackets."""
_ANY_PATH = re.compile(
    rf"(?<=['\"(])(?:/|[A-Za-z]:[\\/]){_QUOTED}"
    rf"|file:/+{_REST}"
    rf"|(?<![\w>.~/\\-])/(?!/){_REST}"
    rf"|\b[A-Za-z]:[\\/]{_REST}"
    r"|\\\\[^\s'\"]+"
)
_CODE = re.compile(r"[\w.+-]+\.(?:so[.\d]*|py|pyd|dll|dylib)$")
"""File names that say what is broken, and nothing of the user."""


def scrubbed(line: str) -> str:
    """Returns a line without paths, the user's name and the machine's.

    Paths inside the environment, Python or the package stay, from there on; of others a library's or module's name.
    """
    for root, name in _roots():
        root = rf"{re.escape(root)}(?![\w.-])"
        if name:
            line = re.sub(root, name, line)
        else:
            line = re.sub(rf"(?<=['\"(]){root}{_QUOTED}|{root}{_REST}", _without_folders, line)
    line = _ANY_PATH.sub(_without_folders, line)
    for pattern, name in _names():
        line = pattern.sub(name, line)
    return line


def _without_folders(path: re.Match) -> str:
    """Returns what stands for a path: of it, a file name that tells nothing of the user."""
    code = _CODE.search(path[0])
    return f"<path>/{code[0]}" if code else "<path>"


@functools.cache
def _roots() -> list[tuple[str, str]]:
    """Returns the folders that are known on this machine, the longest first, and what stands for them.

    An empty text stands for those in which the rest of a path is private too.
    """
    package = Path(__file__).resolve().parents[1]
    known = {str(package): "<package>", sys.prefix: "<environment>", sys.base_prefix: "<Python>"}
    own = [_here(), str(Path("~").expanduser()), tempfile.gettempdir()]
    others = [str(package.parent), *sys.path, *(p for value in os.environ.values() for p in value.split(os.pathsep))]
    others = [f for f in others if not any(f == root or f.startswith(root + os.sep) for root in known)]
    known |= {folder.rstrip("/\\"): "" for folder in (*own, *others) if os.path.isabs(folder)}
    for folder, name in list(known.items()):
        known.setdefault(os.path.realpath(folder), name)
    return sorted(((f, n) for f, n in known.items() if len(f) > 1), key=lambda pair: -len(pair[0]))


def _here() -> str:
    """Returns the current folder; empty where it is gone."""
    try:
        return os.getcwd()
    except OSError:
        return ""


@functools.cache
def _names() -> list[tuple[re.Pattern, str]]:
    """Returns patterns that match the user's and the machine's names, and what stands for them."""
    users = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER")}
    users.add(Path("~").expanduser().name)
    try:
        users.add(getpass.getuser())
    except (OSError, KeyError):  # the system does not know the number
        pass
    hosts = {socket.gethostname(), os.environ.get("HOSTNAME", ""), os.environ.get("COMPUTERNAME", "")}
    hosts |= {host.partition(".")[0] for host in hosts}
    names = {**dict.fromkeys(hosts, "<host>"), **dict.fromkeys(users, "<user>")}
    telling = [name for name in names if len(name) > 1 and name not in ("root", "localhost")]
    return [
        (re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", re.IGNORECASE), names[name])
        for name in sorted(telling, key=len, reverse=True)
    ]
