"""What of a dataset folder is already made, and from what: `.stages.json`."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from aed_nerfstudio.dataset.schema import write_json

FILE = ".stages.json"
WORK = ".work"


def digest(*parts: object) -> str:
    """A short name of anything that JSON can hold: equal for equal values, in this run and in later ones."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


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
        try:
            stored = json.loads((root / FILE).read_text())
            self.begun = dict(stored["begun"])
            self.done = {name: entry for name, entry in stored["done"].items()
                         if {"key", "found", "seconds"} <= entry.keys()}  # fmt: skip
        except (OSError, ValueError, AttributeError, KeyError, TypeError):
            pass  # missing or damaged: everything is made anew

    def run(self, name: str, key: str, make: Callable[[bool], dict | None]) -> dict:
        """What the stage found out: from the file where it is done, else by making it now.

        make: is told whether files of a stopped run with the same key are there, which it may keep.
        """
        entry = self.done.get(name)
        if entry is None or entry["key"] != key:
            going_on = self.begun.get(name) == key
            if not going_on:
                self.begun[name] = key
                self._write()
            start = time.monotonic()
            found = make(going_on) or {}
            entry = {"key": key, "found": json.loads(json.dumps(found)), "seconds": round(time.monotonic() - start, 2)}
            self.done[name] = entry
            self.begun.pop(name)
            self._write()
        return entry["found"]

    def key(self, name: str) -> str | None:
        """The key under which a stage was done; None where it was not."""
        return self.done[name]["key"] if name in self.done else None

    def found(self, name: str) -> dict:
        """What a stage that is done found out."""
        return self.done[name]["found"]

    def seconds(self) -> dict[str, float]:
        """Time spent, by the first word of the stages' names."""
        out: dict[str, float] = {}
        for name, entry in self.done.items():
            part = name.split(":")[0]
            out[part] = round(out.get(part, 0.0) + entry["seconds"], 2)
        return out

    def close(self, last: str) -> None:
        """The folder is whole: only its last stage is remembered, and what only the stages needed is removed."""
        if self.done.keys() != {last}:
            self.done, self.begun = {last: self.done[last]}, {}
            self._write()
        shutil.rmtree(self.work, ignore_errors=True)
        for path in self.root.rglob("*.part*"):  # halves of files that a killed run was writing
            path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Nothing is done."""
        self.done, self.begun = {}, {}
        (self.root / FILE).unlink(missing_ok=True)
        shutil.rmtree(self.work, ignore_errors=True)

    def _write(self) -> None:
        write_json(self.root / FILE, {"done": self.done, "begun": self.begun})
