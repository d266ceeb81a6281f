"""What of a dataset folder is already made, and from what: `.stages.json`."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from aed_nerfstudio import outside
from aed_nerfstudio.dataset.schema import write_json
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import make_own, remove_own, remove_parts_below

FILE = ".stages.json"
WORK = ".work"
WORK_KIND = "folder for the stages of aed process"


def _is_entry(entry: dict) -> bool:
    """Returns whether this is what is kept of a stage that is done."""
    kinds = {"key": str, "found": dict, "seconds": (int, float)}
    return kinds.keys() <= entry.keys() and all(isinstance(entry[name], kind) for name, kind in kinds.items())


class Stages:
    """The stages of one folder that are done.

    A stage has a name, a key (the digest of all that it was made from, earlier stages' keys included) and what it found
    out, a JSON object. A stage whose key is another today is made again. What is not worth keeping in a finished folder
    lies in `work`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.work = root / WORK
        self.done: dict[str, dict] = {}
        self.begun: dict[str, str] = {}
        self.made: list[str] = []
        """Names of all takes that were ever made here."""
        try:
            stored: Any = outside.read_json(root / FILE, finite=True)
            self.made = [str(name) for name in stored.get("made", [])]
            self.begun = {name: str(key) for name, key in stored["begun"].items()}
            self.done = {name: entry for name, entry in stored["done"].items() if _is_entry(entry)}
        except (InputError, AttributeError, KeyError, TypeError):
            pass  # missing or damaged: everything is made anew
        if (self.done or self.begun) and self.work.is_dir():
            make_own(self.work, WORK_KIND, known=True)  # of a version that put no mark into it

    def begin(self) -> None:
        """Makes the folder for what is not worth keeping.

        Raises:
            InputError: there is one that is not ours, or it cannot be written.
        """
        make_own(self.work, WORK_KIND)

    def run(self, name: str, key: str, make: Callable[[bool], dict | None]) -> dict:
        """Returns what the stage found out, as a copy: from the file where it is done, else by making it now.

        make: is told whether files of a stopped run with the same key are there, which it may keep.
        """
        entry = self.done.get(name)
        if entry is None or entry["key"] != key:
            going_on = self.begun.get(name) == key
            if not going_on:
                self.begun[name] = key
                self.done.pop(name, None)  # its files are overwritten from now on
                self._write()
            start = time.monotonic()
            found = make(going_on) or {}
            entry = {"key": key, "found": json.loads(json.dumps(found)), "seconds": round(time.monotonic() - start, 2)}
            self.done[name] = entry
            self.begun.pop(name)
            self._write()
        return copy.deepcopy(entry["found"])  # the record itself is written again and again

    def key(self, name: str) -> str | None:
        """Returns the key under which a stage was done; None where it was not."""
        return self.done[name]["key"] if name in self.done else None

    def found(self, name: str) -> dict:
        """Returns what a stage that is done found out, as a copy."""
        return copy.deepcopy(self.done[name]["found"])

    def seconds(self) -> dict[str, float]:
        """Returns the seconds spent, by the first word of the stages' names."""
        out: dict[str, float] = {}
        for name, entry in self.done.items():
            part = name.split(":")[0]
            out[part] = round(out.get(part, 0.0) + entry["seconds"], 2)
        return out

    def remember(self, takes: Iterable[str]) -> None:
        """Notes the names of takes before their files are written."""
        if not set(takes := list(takes)) <= set(self.made):
            self.made = sorted({*self.made, *takes})
            self._write()

    def close(self, last: str) -> None:
        """Notes that the folder is whole: only its last stage stays in the record, and the other stages' files go."""
        if self.done.keys() != {last}:
            self.done, self.begun, self.made = {last: self.done[last]}, {}, []
            self._write()
        self.remove_work()
        remove_parts_below(self.root)

    def forget(self) -> None:
        """Notes that nothing is done."""
        self.done, self.begun = {}, {}
        self._write()
        self.remove_work()

    def remove_work(self) -> None:
        """Removes what is not worth keeping."""
        remove_own(self.work, WORK_KIND)

    def _write(self) -> None:
        write_json(self.root / FILE, {"done": self.done, "begun": self.begun, "made": self.made}, self.root)
