"""What all stages of `aed process` share: folder and options, what is known of every take, files between stages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from aed_nerfstudio.capture.sources import ProcessOptions, Source
from aed_nerfstudio.capture.stages import Stages
from aed_nerfstudio.capture.takes import Take
from aed_nerfstudio.dataset.schema import read_image, write_arrays
from aed_nerfstudio.files import digest

VERSION = 6
"""Of the stages: raised when one of them makes something else of the same input."""

Item = TypeVar("Item")


@dataclass
class TakeState:
    """What is known of a take of F frames so far.

    landmarks: float32 [F, 478, 3] pixels of the crop, NaN where the face was lost. usable: bool [F]. sharpness: [F].
    flags: a list of words for every frame. view: what it shows at all, a `ClipView` as a dictionary, None where no face
    is seen. stream: index in the video of the stream of pictures. key: digest of what its pictures were made from.
    """

    take: Take
    source: Source
    key: str
    landmarks: np.ndarray
    usable: np.ndarray
    sharpness: np.ndarray
    flags: list[list[str]]
    view: dict | None
    stream: int

    @property
    def name(self) -> str:
        """Returns the take's name, which is that of its files."""
        return self.take.name

    def usable_frames(self) -> list[int]:
        """Returns the numbers of the usable frames."""
        return np.flatnonzero(self.usable).tolist()


@dataclass
class Capture:
    """One run over the stages of a folder.

    warnings: of all stages that were asked for, also of those that an earlier run made.
    """

    sources: list[Source]
    root: Path
    stages: Stages
    options: ProcessOptions
    progress: bool
    warnings: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Returns the side of the pictures, pixels."""
        return self.options.size

    def stage(self, name: str, key: str, make: Callable[[bool], dict]) -> dict:
        """Returns what a stage found out, see `Stages.run`, and collects its warnings."""
        found = self.stages.run(name, key, make)
        self.warnings += [text for text in found.get("warnings", []) if text not in self.warnings]
        return found

    def bar(self, items: Iterable[Item], total: int | None, title: str) -> Iterator[Item]:
        """Returns the same items and shows how many have passed."""
        return iter(tqdm(items, total=total, desc=title, unit="frame", disable=not self.progress, file=sys.stderr))

    def say(self, text: str) -> None:
        """Prints what is being done, where progress is shown."""
        if self.progress:
            print(text, file=sys.stderr)

    def work_file(self, stage: str, name: str) -> Path:
        """Returns the place of the arrays of a stage for a video or a take, which only later stages need."""
        return self.stages.work / stage / f"{name}.npz"

    def save(self, path: Path, **arrays: np.ndarray | int) -> None:
        """Writes arrays for later stages."""
        write_arrays(path, self.root, **arrays)

    def picture_file(self, take: TakeState | Take, frame: int) -> Path:
        """Returns the place of a frame's picture."""
        return self.root / "images" / take.name / f"{frame:05d}.jpg"

    def filmed_file(self, take: TakeState, frame: int) -> Path:
        """Returns where a frame's picture is kept as filmed, once it has another background in the dataset."""
        return self.stages.work / "filmed" / digest(take.key) / f"{frame:05d}.jpg"

    def picture(self, take: TakeState, frame: int) -> np.ndarray:
        """Reads a frame's picture as filmed, uint8 [S, S, 3] RGB."""
        filmed = self.filmed_file(take, frame)
        return read_image(filmed if filmed.exists() else self.picture_file(take, frame))


def load(path: Path) -> dict:
    """Reads what `Capture.save` has written; numbers as numbers."""
    with np.load(path) as stored:
        return {name: stored[name] if stored[name].ndim else stored[name].item() for name in stored.files}
