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

    def progress(self, step: int) -> float:
        """How far a step is, 0 to 1, through head and lips together or, after them, through the torso."""
        face = self.head + self.lips
        share = step / max(1, face) if step < face else (step - face) / max(1, self.torso)
        return min(share, 1.0)

    @property
    def total(self) -> int:
        return self.head + self.lips + self.torso
