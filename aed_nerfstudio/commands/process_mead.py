"""`aed process-mead`: an actor of the MEAD corpus to a dataset folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from aed_nerfstudio.bounds import SECONDS, Between
from aed_nerfstudio.commands.capture_flags import TakesFlags
from aed_nerfstudio.commands.flags import check_flags


@dataclass(kw_only=True)
class ProcessMead(TakesFlags):
    """Make a dataset folder of one MEAD actor: takes of every emotion at every level, one camera for all."""

    root: tyro.conf.Positional[Path]
    """The folder that holds the actors' folders, or an actor's; with MEAD's layout
    ACTOR/video/VIEW/EMOTION/level_N/TAKE.mp4, or files named M030_front_angry_level3_001.mp4."""
    actor: str | None = None
    """Name of the actor's folder, such as M030; needed where there are several."""
    emotions: tuple[str, ...] = ()
    """Emotions to use, by MEAD's names or ours; all by default."""
    levels: tuple[Annotated[int, Between(1, 3)], ...] = (1, 2, 3)
    """MEAD's levels to use: 1 weak, 2 medium, 3 strong. Neutral has one level only and is used with any."""
    view: str = "front"
    """The camera."""
    seconds: Annotated[float, SECONDS] = 100.0
    """How much of every emotion and level to use; takes are chosen evenly."""

    def main(self) -> None:
        """Runs the command."""
        check_flags(self)
        from aed_nerfstudio.corpora.mead import plan_mead

        plan = plan_mead(
            self.root,
            self.actor,
            emotions=self.emotions,
            levels=self.levels,
            view=self.view,
            seconds=self.seconds,
            sound=self.audio_features != "none",
            allow_silent=self.allow_silent,
        )
        self.make(plan)
