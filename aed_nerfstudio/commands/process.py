"""`aed process`: videos of one person to a dataset folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro


@dataclass
class Process:
    """Make a dataset folder from videos in which one person talks."""

    videos: tyro.conf.Positional[tuple[Path, ...]]
    """Video files with sound, at least two seconds each; every file becomes a clip."""
    output: Path
    """The folder to make; run again with the same options to go on after an interruption."""
    size: int = 512
    """Side of the square pictures, pixels."""
    emotion: tuple[str, ...] = ("neutral",)
    """Emotion shown in the videos, one for each in their order or one for all: neutral, angry, fearful, happy, sad or
    words of your own."""
    intensity: tuple[str, ...] = ("medium",)
    """How strongly it is shown, one for each video or one for all: weak, medium or strong."""
    audio_features: Literal["moonshine", "log-mel", "none"] = "moonshine"
    """What is read from the sound; none: videos without sound, for an avatar that shows emotions and does not speak."""

    def main(self) -> None:
        """Runs the command."""
        from aed_nerfstudio.capture.process import process_videos  # slow to import: mediapipe, scipy

        dataset = process_videos(
            list(self.videos), self.output, self.size, self.emotion, self.intensity, self.audio_features
        )
        usable = sum(frame.usable for frame in dataset.frames)
        print(f"{self.output}: {len(dataset.clips)} clip(s), {usable} usable of {len(dataset.frames)} frames; "
              f"{dataset.tools.get('pose', '')}")
        print(f"Next: ns-train aed-nerf --data {self.output}")
