"""The three stages of one run: head, lips, torso (paper section 3.5)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class StageSchedule:
    """Steps of each stage, in this order. The steps of a stage that is switched off train the head, so that an ablation
    costs as much as the whole."""

    head: int = 20_000
    lips: int = 5_000
    torso: int = 20_000
    use_lips: bool = True
    """False: no lip patches and no LPIPS (ablation)."""
    use_torso: bool = True
    """False: no torso field; the head appears before the plain background (ablation)."""

    def stage(self, step: int) -> str:
        """Returns the stage of a step: `head`, `lips` or `torso`."""
        if step >= self.head + self.lips:
            return "torso" if self.use_torso else "head"
        return "lips" if step >= self.head and self.use_lips else "head"

    def shows(self, step: int, face_patches: float) -> str:
        """Returns what a step looks at: `torso` or `head` for rays, `lips` or `face` for a patch there.

        Not by chance: all processes of a training show patches in the same steps.

        Args:
            face_patches: share of the lip stage's steps between two lip patches that show a patch of the face.
        """
        if self.stage(step) != "lips":
            return self.stage(step)
        number = step // 2
        if step % 2 == 0:
            return "lips"
        return "face" if int((number + 1) * face_patches) > int(number * face_patches) else "head"

    def leaves_head(self, step: int) -> bool:
        """Returns whether a step is the first of the next stage."""
        return step > 0 and self.stage(step - 1) == "head" != self.stage(step)

    def ends(self, step: int) -> bool:
        """Returns whether a step is the last before the networks that it trained are frozen, or the last of all."""
        return step == self.total - 1 or (self.use_torso and step == self.head + self.lips - 1)

    def progress(self, step: int) -> float:
        """Returns how far a step is, 0 to 1, through head and lips together or, after them, through the torso."""
        face = self.head + self.lips + (0 if self.use_torso else self.torso)
        share = step / max(1, face) if step < face else (step - face) / max(1, self.torso)
        return min(share, 1.0)

    @property
    def total(self) -> int:
        return self.head + self.lips + self.torso
