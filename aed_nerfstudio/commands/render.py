"""`aed render`: an avatar speaks a recording, with sound in the output."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from aed_nerfstudio.errors import InputError

if TYPE_CHECKING:
    from aed_nerfstudio.avatar import Avatar


def with_progress(frames: Iterable[np.ndarray], total: int, what: str) -> Iterator[np.ndarray]:
    """Passes frames on and shows how many are done, frames a second and the time left."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        task = progress.add_task("", total=total, rate="")
        for frame in frames:
            yield frame
            progress.advance(task)
            speed = progress.tasks[0].finished_speed or progress.tasks[0].speed
            progress.update(task, rate=f"{speed:.1f} frames/s" if speed else "")


@dataclass
class Render:
    """Make the avatar of a training run speak a recording; writes a video with sound."""

    load_config: Path
    """The training run's config.yml."""
    audio: Path
    """What to say: any audio or video file with sound."""
    output: Path
    """The video to write: .mp4, .m4v, .mov or .mkv."""
    emotion: str | None = None
    """One of the emotions that were recorded; by default neutral, or the first of them."""
    intensity: str | None = None
    """How strong: a label (weak, medium, strong) or a number from 0 to 1, within what was recorded; by default as near
    to the middle as was recorded. Neutral has none."""
    pose: Literal["dataset", "still"] = "dataset"
    """Head motion: the dataset's, played forth and back, or none."""
    size: int | None = None
    """Width of the video in pixels; the dataset's by default."""
    audio_features_file: Path | None = None
    """Ready features of --audio (.npy), for an avatar that was trained on such: DeepSpeech's, HuBERT's or others."""

    def main(self, load: Callable[[Path], Avatar] | None = None) -> None:
        """Runs the command; `load` gives the avatar of a config.yml, `Avatar.load` by default."""
        from aed_nerfstudio.dataset.schema import FPS
        from aed_nerfstudio.media.audio_io import is_silent, read_audio

        samples = read_audio(self.audio)  # before the seconds that loading the avatar takes
        if is_silent(samples):
            print(f"note: {self.audio} is silent, so the lips have nothing to follow")
        if not self.load_config.is_file():
            raise InputError(f"{self.load_config}: no such file; give the config.yml of a training run")

        from aed_nerfstudio.avatar import Avatar

        avatar = (load or Avatar.load)(self.load_config)
        emotion = avatar.vocabulary.encode(self.emotion, self.intensity)
        if avatar.dataset.front_end == "none":
            print("note: this avatar was trained without sound, so its lips follow nothing")
        features = avatar.features(samples, self.audio_features_file)
        track = avatar.track(samples, emotion, self.pose, features)
        height, width = avatar.frame_size(self.size)
        avatar.write_video(
            self.output, track, samples, self.size, lambda frames: with_progress(frames, len(track), "rendering")
        )
        print(f"{self.output.resolve()}: {len(track) / FPS:.1f} s, {width} x {height}, with sound")
