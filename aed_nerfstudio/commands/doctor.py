"""`aed doctor`: one page for bug reports, of what is installed, what is found and whether it works."""

from __future__ import annotations

import functools
import multiprocessing
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aed_nerfstudio.commands.doctor_check import Check, Finding, failure
from aed_nerfstudio.commands.doctor_checks import serve
from aed_nerfstudio.commands.doctor_privacy import scrubbed

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
    """The checks of some sections of the page, in a process of their own, which starts at once.

    Where a check ends that process, as a kernel can that was compiled for another processor, that is the check's
    finding, and another process goes on with the next.
    """

    def __init__(self, sections: tuple[str, ...]) -> None:
        self.sections = sections
        self._start(0)

    def _start(self, number: int) -> None:
        """Starts a process that runs the checks from number `number` on."""
        context = multiprocessing.get_context("spawn")  # has this process's sys.path, and none of its threads
        self._connection, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=serve, args=(self.sections, number, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def __iter__(self) -> Iterator[tuple[str, Finding]]:
        """Yields each finding with the heading of its section."""
        number = 0
        while (begun := self._receive()) is not None:
            if isinstance(begun, str):  # between two checks
                yield self.sections[-1], Finding("the checks", f"FAILED: {begun}", True)
                return
            heading, name, needed = begun
            finding = self._receive()
            number += 1
            if isinstance(finding, str):
                finding = failure(Check(name, str, needed), finding)
                self._start(number)
            yield heading, finding
        self._process.join()

    def _receive(self) -> Any:
        """Returns what the process sends next, or a string that says why nothing comes any more."""
        try:
            if self._connection.poll(PATIENCE):
                return self._connection.recv()
            self._process.kill()
            self._process.join()
            return f"no answer in {PATIENCE:.0f} s"
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode or 0
            return f"it ended the process ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"
