"""The part of a recording that an avatar has not seen, with its sound."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from aed_nerfstudio.dataset.chin_line import Places, seam_places
from aed_nerfstudio.dataset.schema import Dataset, Frame
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.evaluation.pauses import pauses
from aed_nerfstudio.evaluation.regions import regions
from aed_nerfstudio.evaluation.sync import SAMPLES_PER_FRAME, loudness, shifted_levels
from aed_nerfstudio.media.audio_io import is_silent, read_if_there

MINIMUM = 3
"""Held-out frames; fewer give no correlation."""


@dataclass(frozen=True)
class Stretch:
    """Frames of one clip without a gap: positions `start` to `stop` (exclusive) of the sequence, and their sound."""

    start: int
    stop: int
    samples: np.ndarray | None


class HeldOut:
    """The validation part of a dataset.

    Args:
        frames: at most that many, the first of every clip alike; all when None.

    Raises:
        InputError: there are fewer than three.
    """

    def __init__(self, dataset: Dataset, frames: int | None = None) -> None:
        self.dataset = dataset
        indices = dataset.split("val")
        if len(indices) < MINIMUM:
            raise InputError(f"{dataset.root}: has only {len(indices)} held-out frames; process a longer video")
        clips = [dataset.frames[i].clip for i in indices]
        ranks = [clips[:k].count(clip) for k, clip in enumerate(clips)]
        kept = sorted(np.argsort(ranks, kind="stable")[:frames])
        self.indices = [indices[k] for k in kept]
        self.frames = [dataset.frames[i] for i in self.indices]
        labels = dataset.labels
        self.labels = [labels[i] for i in self.indices]
        names = sorted(set(self.labels))
        self.groups = np.array([names.index(label) for label in self.labels])
        """[F], a number for each label."""
        self._sounds: dict[str, np.ndarray | None] = {}

    def __len__(self) -> int:
        return len(self.indices)

    def image(self, k: int) -> np.ndarray:
        """Returns the recorded frame at a position, uint8 [H, W, 3]."""
        return self.dataset.image(self.frames[k])

    def regions(self, k: int) -> dict[str, np.ndarray]:
        """Returns where face, eyes, mouth and the torso's outline are in the recorded frame at a position."""
        return regions(self.landmarks[k], self.dataset.parsing(self.frames[k]))

    def seam(self, k: int) -> Places:
        """Returns where chin and neck meet in the recorded frame at a position."""
        return seam_places(self.landmarks[k], self.dataset.parsing(self.frames[k]))

    @functools.cached_property
    def landmarks(self) -> np.ndarray:
        """Returns the dataset's landmarks of the frames, [F, 478, 3] pixels."""
        known = {clip: self.dataset.landmarks(clip) for clip in {frame.clip for frame in self.frames}}
        return np.stack([known[frame.clip][frame.index] for frame in self.frames])

    @functools.cached_property
    def follows(self) -> np.ndarray:
        """Returns whether each frame comes right after the one before it, in the same clip: bool [F]."""
        places = [(frame.clip, frame.index) for frame in self.frames]
        after = [(clip, index + 1) for clip, index in places]
        return np.array([False, *(now == due for now, due in zip(places[1:], after, strict=False))])

    def sound(self, clip: str) -> np.ndarray | None:
        """Returns a clip's sound, float32 [n] at 16 kHz; None where it has none or is silent."""
        if clip not in self._sounds:
            path = self.dataset.sound(clip)
            samples = read_if_there(path)
            self._sounds[clip] = None if is_silent(samples) else samples
        return self._sounds[clip]

    @functools.cached_property
    def silence(self) -> str | None:
        """Says why nothing can be measured of the sound; None where there is some."""
        if all(self.sound(clip) is None for clip in {frame.clip for frame in self.frames}):
            return "the dataset has no sound"
        return None

    @functools.cached_property
    def featureless(self) -> str | None:
        """Says why the audio cannot drive the mouth; None where it can."""
        clips = {frame.clip for frame in self.frames}
        if not any(self.dataset.features(clip).std(axis=0).any() for clip in clips):
            return "the dataset's audio features never change, so nothing drives the mouth"
        return None

    def levels(self) -> np.ndarray:
        """Returns the `shifted_levels` of the frames, [11, F]; NaN where there is no sound."""
        found = {clip: self._level(clip) for clip in {frame.clip for frame in self.frames}}
        return np.hstack([shifted_levels(found[frame.clip], np.array([frame.index])) for frame in self.frames])

    def _level(self, clip: str) -> np.ndarray:
        samples, count = self.sound(clip), self.dataset.clip(clip).count
        return np.full(count, np.nan) if samples is None else loudness(samples, count)

    def pausing(self, frames: Sequence[Frame]) -> np.ndarray:
        """Returns which of some frames of the dataset lie in pauses of their clip's sound: bool [frames]."""
        known = {clip: pauses(self._level(clip)) for clip in {frame.clip for frame in frames}}
        return np.array([known[frame.clip][frame.index] for frame in frames])

    def stretches(self) -> Iterator[Stretch]:
        """Yields, clip after clip, the frames that come one after the other without a gap, with their sound."""
        breaks = np.flatnonzero(~self.follows).tolist()
        for start, stop in zip(breaks, [*breaks[1:], len(self)], strict=True):
            first = self.frames[start]
            samples = self.sound(first.clip)
            if samples is not None:
                samples = cut_sound(samples, first.index, stop - start)
            yield Stretch(start, stop, samples)


def cut_sound(samples: np.ndarray, first: int, count: int) -> np.ndarray:
    """Returns the sound of `count` frames from the frame `first` on, float32 [count * 640]; silence beyond its end."""
    part = samples[first * SAMPLES_PER_FRAME : (first + count) * SAMPLES_PER_FRAME]
    return np.pad(part, (0, count * SAMPLES_PER_FRAME - len(part)))
