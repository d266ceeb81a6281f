"""The three stages of one run: head, lips, torso (paper section 3.5)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class StageSchedule:
    """Steps of each stage, in this order."""

    head: int = 20_000
    lips: int = 5_000
    torso: int = 20_000

    def stage(self, step: int) -> str:
        """`head`, `lips` or `torso`."""
        if step < self.head:
            return "head"
        return "lips" if step < self.head + self.lips else "torso"

    @property
    def total(self) -> int:
        return self.head + self.lips + self.torso
