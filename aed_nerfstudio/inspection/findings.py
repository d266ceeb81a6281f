"""One thing that was judged of a dataset, and the verdict that all of them make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Level = Literal["ok", "warn", "fail"]
VERDICTS: dict[Level, str] = {"ok": "ready", "warn": "usable, but", "fail": "not usable"}


@dataclass(frozen=True)
class Finding:
    """One thing that was judged: how bad it is, what it is, and what mends it (empty where nothing must be)."""

    level: Level
    topic: str
    text: str
    mend: str = ""


@dataclass(frozen=True)
class Inspection:
    """The outcome. figures: pairs of name and text. files: what was drawn."""

    root: Path
    figures: list[tuple[str, str]]
    findings: list[Finding]
    files: list[Path]

    @property
    def verdict(self) -> str:
        """Returns `ready`, `usable, but` or `not usable`."""
        levels = {finding.level for finding in self.findings}
        return VERDICTS["fail" if "fail" in levels else "warn" if "warn" in levels else "ok"]

    @property
    def usable(self) -> bool:
        """Returns whether training on it is worth while."""
        return self.verdict != VERDICTS["fail"]

    def summary_text(self) -> str:
        """Returns figures, what is wrong with its mend, where the pictures are, and the verdict, for a terminal."""
        width = max(len(name) for name, _ in self.figures)
        lines = [f"  {name:{width}}  {text}" for name, text in self.figures]
        for finding in self.findings:
            if finding.level != "ok":
                lines.append(f"{finding.level}: {finding.topic}: {finding.text}")
                lines.append(f"      mend: {finding.mend}")
        lines += [f"see {path}" for path in self.files]
        return "\n".join([*lines, f"{self.root}: {self.headline()}"])

    def headline(self) -> str:
        """Returns the verdict with the topics that led to it."""
        bad = {"not usable": ("fail",), "usable, but": ("warn",), "ready": ()}[self.verdict]
        topics = dict.fromkeys(finding.topic for finding in self.findings if finding.level in bad)
        return f"{self.verdict}: {', '.join(topics)}" if topics else self.verdict


def level_of(value: float, limits: tuple[float, float]) -> Level:
    """Returns how bad a value is: `warn` above the first limit, `fail` above the second."""
    return "fail" if value > limits[1] else "warn" if value > limits[0] else "ok"
