"""`aed doctor`: one page for bug reports, of what is installed, what is found and whether it works."""

from __future__ import annotations

import functools
import getpass
import multiprocessing
import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aed_nerfstudio.commands.doctor_checks import Check, Finding, failure, serve

GROUPS = (("System", "Packages", "OpenCV", "GPU", "Parts"), ("Backends", "Kernels", "nerfstudio"))
"""Headings of the page. Each group has a process of its own, and both run at the same time: two take about as long, and
more would import torch once more each."""
PATIENCE = 600.0
"""Seconds that one check may take: kernels are compiled, and disks are slow."""


@dataclass
class Doctor:
    """Show on one page what a bug report needs: versions, machine, backends, what optional parts are found, and a
    self-test of every kernel; exit code 1 where something needed is broken. It names no paths and no user."""

    paths: bool = False
    """Show paths too: where Python, the package, caches and weights are. Look through the page before you post it."""

    def main(self) -> None:
        """Runs the command."""
        say = functools.partial(print, flush=True) if self.paths else lambda line: print(scrubbed(line), flush=True)
        examinations = [Examination(group) for group in (*GROUPS, *([("Paths",)] if self.paths else []))]
        broken, under = [], None
        say("aed doctor")
        for examination in examinations:
            for heading, finding in examination:
                if heading != under:
                    say(f"\n{heading}")
                    under = heading
                say(f"  {finding.name}: {finding.text}")
                if finding.broken:
                    broken.append(f"{finding.name} ({heading})")
        say(f"\nBroken: {', '.join(broken)}" if broken else "\nAll that is needed works.")
        if broken:
            sys.exit(1)


class Examination:
    """Some sections of the page, found out in a process of its own, which starts at once.

    Where a check ends that process, as a kernel can that was compiled for another processor, that is the check's
    finding, and another process goes on with the next.
    """

    def __init__(self, sections: tuple[str, ...]) -> None:
        self.sections = sections
        self._start(0)

    def _start(self, number: int) -> None:
        """Begins with a check, by its number."""
        context = multiprocessing.get_context("spawn")  # has this process's sys.path, and none of its threads
        self._connection, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=serve, args=(self.sections, number, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def __iter__(self) -> Iterator[tuple[str, Finding]]:
        """Headings and what was found under them."""
        number = 0
        while (begun := self._receive()) is not None:
            if isinstance(begun, str):  # between two checks
                yield self.sections[-1], Finding("the checks", f"FAILED: {begun}", True)
                return
            heading, name, needed = begun
            found = self._receive()
            number += 1
            if isinstance(found, str):
                found = failure(Check(name, str, needed), found)
                self._start(number)
            yield heading, found
        self._process.join()

    def _receive(self) -> object:
        """What the process says next; a string where it says nothing any more."""
        try:
            if self._connection.poll(PATIENCE):
                return self._connection.recv()
            self._process.kill()
            self._process.join()
            return f"no answer in {PATIENCE:.0f} s"
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            return f"it ended the process ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"


# ---- privacy

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
    """A line without paths, the user's name and the machine's.

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


def _without_folders(found: re.Match) -> str:
    code = _CODE.search(found[0])
    return f"<path>/{code[0]}" if code else "<path>"


@functools.cache
def _roots() -> list[tuple[str, str]]:
    """Folders that are known here, the longest first, and what stands for them; nothing where what follows goes too."""
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
    try:
        return os.getcwd()
    except OSError:  # removed meanwhile
        return ""


@functools.cache
def _names() -> list[tuple[re.Pattern, str]]:
    """What finds the user's and the machine's names, and what stands for them."""
    users = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER")}
    users.add(Path("~").expanduser().name)
    try:
        users.add(getpass.getuser())
    except (OSError, KeyError):  # the system does not know the number
        pass
    hosts = {socket.gethostname(), os.environ.get("HOSTNAME", ""), os.environ.get("COMPUTERNAME", "")}
    hosts |= {host.partition(".")[0] for host in hosts}
    found = {**dict.fromkeys(hosts, "<host>"), **dict.fromkeys(users, "<user>")}
    words = sorted(
        (word for word in found if len(word) > 1 and word not in ("root", "localhost")), key=len, reverse=True
    )
    return [
        (re.compile(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", re.IGNORECASE), found[word]) for word in words
    ]
