"""One row of figures: a sequence of frames against the recorded ones and against sound."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aed_nerfstudio.dataset.schema import Dataset
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.evaluation.image_metrics import Perceptual, psnr, ssim
from aed_nerfstudio.evaluation.landmark_distance import (
    FanLips,
    NotMeasurable,
    face_width,
    landmark_distance,
    lip_landmark_distance,
)
from aed_nerfstudio.evaluation.metrics import row
from aed_nerfstudio.evaluation.sync import (
    SAMPLES_PER_FRAME,
    audio_mouth_correlation,
    centred,
    correlation,
    loudness,
    shifted_levels,
)
from aed_nerfstudio.face.face_finder import FaceFinder
from aed_nerfstudio.face.face_mesh import mouth_opening
from aed_nerfstudio.media.audio_io import is_silent, read_if_there

if TYPE_CHECKING:
    import torch

    from aed_nerfstudio.evaluation.syncnet import SyncNet

MINIMUM = 3
"""Held-out frames; fewer give no correlation."""
SLOW_FRAMES = 50
"""Frames that ST-LPIPS looks at, at most: on a CPU it takes longer than rendering does."""
SYNC_FRAMES = 25
"""Uninterrupted frames below which SyncNet's distances over shifts of 15 frames say nothing."""

Progress = Callable[[Iterable, int, str], Iterable]
"""Passes items on and shows how far they are: (items, their number, what is done)."""


def unseen_progress(items: Iterable, total: int, what: str) -> Iterable:
    """Passes the items on and shows nothing."""
    return items


def spooled(count: int, height: int, width: int) -> np.ndarray:
    """Returns room for uint8 [count, H, W, 3] in a nameless temporary file, so that long parts need no memory."""
    with tempfile.TemporaryFile() as file:
        try:
            os.posix_fallocate(file.fileno(), 0, count * height * width * 3)  # a full disk would kill the process later
        except OSError as error:
            raise InputError(f"{tempfile.gettempdir()}: rendered frames cannot be kept there ({error.strerror}); make "
                             "room, or name a folder on another disk in TMPDIR") from error  # fmt: skip
        return np.memmap(file, np.uint8, "w+", shape=(count, height, width, 3))


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
        found = {}
        for clip in {frame.clip for frame in self.frames}:
            samples, count = self.sound(clip), self.dataset.clip(clip).count
            found[clip] = np.full(count, np.nan) if samples is None else loudness(samples, count)
        return np.hstack([shifted_levels(found[frame.clip], np.array([frame.index])) for frame in self.frames])

    def stretches(self) -> Iterator[Stretch]:
        """Yields, clip after clip, the frames that come one after the other without a gap, with their sound."""
        breaks = [
            k
            for k in range(1, len(self))
            if (self.frames[k].clip, self.frames[k].index) != (self.frames[k - 1].clip, self.frames[k - 1].index + 1)
        ]
        for start, stop in zip([0, *breaks], [*breaks, len(self)], strict=True):
            first = self.frames[start]
            samples = self.sound(first.clip)
            if samples is not None:
                samples = cut_sound(samples, first.index, stop - start)
            yield Stretch(start, stop, samples)


def cut_sound(samples: np.ndarray, first: int, count: int) -> np.ndarray:
    """Returns the sound of `count` frames from the frame `first` on, float32 [count * 640]; silence beyond its end."""
    part = samples[first * SAMPLES_PER_FRAME : (first + count) * SAMPLES_PER_FRAME]
    return np.pad(part, (0, count * SAMPLES_PER_FRAME - len(part)))


class Instruments:
    """What measures frames: loaded once, for all rows.

    Args:
        device: for the networks.
        syncnet: from `SyncNet.load`; no Sync-C and Sync-D when None.
    """

    def __init__(self, device: torch.device | str, syncnet: SyncNet | None = None) -> None:
        self.perceptual = Perceptual(device)
        self.syncnet = None if syncnet is None else syncnet.to(device)
        try:
            self.fan, self.no_fan = FanLips(str(device)), None
        except NotMeasurable as reason:
            self.fan, self.no_fan = None, str(reason)

    def perceptual_frames(self, count: int) -> list[int]:
        """Returns the positions, of `count` frames, at which the perceptual distance is taken."""
        most = SLOW_FRAMES if self.perceptual.name == "st_lpips" else count
        return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int)).tolist()

    @property
    def reasons(self) -> dict[str, str]:
        """Says, by figure, why this machine cannot take it."""
        other, why = {
            "lpips": ("st_lpips", "LPIPS was taken"),
            "st_lpips": ("lpips", "LPIPS's AlexNet is not in torch's cache, and nothing is downloaded; see st_lpips"),
        }[self.perceptual.name]
        found = {other: why}
        if self.no_fan:
            found["lmd_fan_px"] = self.no_fan
        if self.syncnet is None:
            found |= dict.fromkeys(("sync_c", "sync_d", "sync_shift"), "no SyncNet weights given (--syncnet)")
        return found


@dataclass
class Marks:
    """Landmarks of a sequence, pixels, NaN where no face was found: MediaPipe's [F, 478, 3], FAN's lips [F, 20, 2]."""

    mesh: np.ndarray
    fan: np.ndarray | None

    @property
    def opening(self) -> np.ndarray:
        """Returns the opening of the mouth, [F] pixels."""
        return mouth_opening(self.mesh)

    @property
    def lost(self) -> int:
        """Counts the frames without a face."""
        return int(np.isnan(self.mesh[:, 0, 0]).sum())


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def measure_frames(
    images: Iterable[np.ndarray], instruments: Instruments, held: HeldOut | None = None
) -> tuple[dict[str, float | None], Marks]:
    """Returns the mean image metrics of a sequence, where it stands beside recorded frames, and its landmarks.

    images: uint8 [H, W, 3] each. held: the recorded frames, as many.
    """
    found: dict[str, list] = {name: [] for name in ("psnr", "psnr_face", "ssim", "ssim_face")}
    mesh, fan, perceptual = [], [], []
    slowly = set(instruments.perceptual_frames(len(held))) if held else set()
    with FaceFinder() as finder:
        for k, image in enumerate(images):
            mesh.append(finder.landmarks(image))
            if instruments.fan:
                fan.append(instruments.fan.landmarks(image))
            if held is None:
                continue
            truth, box = held.image(k), held.frames[k].face_box
            values = psnr(image, truth), psnr(image, truth, box), *ssim(image, truth, box)
            for name, value in zip(found, values, strict=True):
                found[name].append(value)
            if k in slowly:
                perceptual.append(instruments.perceptual(image, truth))
    found[instruments.perceptual.name] = perceptual
    figures = {name: _mean(values) for name, values in found.items()}
    return figures, Marks(np.stack(mesh), np.stack(fan) if fan else None)


def lip_figures(marks: Marks, truth: Marks, groups: np.ndarray) -> dict[str, float | None]:
    """Returns how the lips of a sequence agree with the recorded ones, over the frames with a face in both."""
    distance = lip_landmark_distance(marks.mesh, truth.mesh)
    figures = {
        "lmd_px": _nanmean(distance),
        "lmd_percent": _nanmean(100 * distance / face_width(truth.mesh)),
        "mouth_correlation": correlation(marks.opening, truth.opening, groups),
    }
    if marks.fan is not None and truth.fan is not None:
        figures["lmd_fan_px"] = _nanmean(landmark_distance(marks.fan, truth.fan))
    return figures


def _nanmean(values: np.ndarray) -> float | None:
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def spread(opening: np.ndarray, groups: np.ndarray) -> float | None:
    """Returns the standard deviation of the mouth's opening [F] about its group's mean, pixels; None without a face."""
    known = np.isfinite(opening)
    return float(centred(opening[known], groups[known]).std()) if known.any() else None


def sync_figures(
    levels: np.ndarray,
    stretches: Iterable[Stretch],
    frame: Callable[[int], np.ndarray],
    marks: Marks,
    groups: np.ndarray,
    syncnet: SyncNet | None,
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Returns how the mouth of a sequence follows sound, and reasons for the figures that are missing.

    levels: [11, F] of `shifted_levels`. frame: gives the frame at a position, uint8 [H, W, 3].
    """
    r, shift = audio_mouth_correlation(levels, marks.opening, groups)
    figures: dict[str, float | None] = {"audio_mouth_correlation": r, "audio_mouth_shift": None if r is None else shift}
    reasons = {}
    if syncnet is not None:
        scores, weights = [], []
        for stretch in stretches:
            positions = range(stretch.start, stretch.stop)
            mesh = marks.mesh[stretch.start : stretch.stop]
            if stretch.samples is not None and len(positions) >= SYNC_FRAMES and np.isfinite(mesh[:, 0, 0]).any():
                from aed_nerfstudio.evaluation.syncnet import sync_scores

                scores.append(sync_scores(syncnet, (frame(k) for k in positions), mesh, stretch.samples))
                weights.append(len(positions))
        if scores:
            for name in ("sync_c", "sync_d"):
                figures[name] = float(np.average([score[name] for score in scores], weights=weights))
            figures["sync_shift"] = scores[int(np.argmax(weights))]["shift"]
        else:
            why = f"no stretch of {SYNC_FRAMES} frames with sound and a face"
            reasons |= dict.fromkeys(("sync_c", "sync_d", "sync_shift"), why)
    return figures, reasons


IMAGE = ("psnr", "psnr_face", "ssim", "ssim_face", "lpips", "st_lpips")
LIPS = ("lmd_px", "lmd_percent", "lmd_fan_px")
FOLLOWING = ("mouth_correlation", "mouth_correlation_shuffled")
HEARD = ("audio_mouth_correlation", "audio_mouth_shift")
SYNC = ("sync_c", "sync_d", "sync_shift")
NO_FACE = "no face was found in any frame"
NO_MOVEMENT = "the mouth does not move within a label, or fewer than three frames show a face"
USUAL_REASONS = {
    "ssim_face": "the face's box lies within 5 pixels of the border",
    **dict.fromkeys((*LIPS, "mouth_std_px"), NO_FACE),
    **dict.fromkeys((*FOLLOWING, *HEARD), NO_MOVEMENT),
}
"""Why a figure is missing that could be measured as far as machine and dataset go."""


class Scale:
    """Measures sequences that stand beside the held-out frames.

    Args:
        held: the recorded frames; they are looked at first.
        instruments: what measures.
        progress: shows how far that is.
    """

    def __init__(self, held: HeldOut, instruments: Instruments, progress: Progress = unseen_progress) -> None:
        self.held = held
        self.instruments = instruments
        self.progress = progress
        self.levels = held.levels()
        _, self.truth = measure_frames(
            (held.image(k) for k in self._order("looking at the recorded frames")), instruments
        )

    def _order(self, what: str) -> Iterable[int]:
        return self.progress(range(len(self.held)), len(self.held), what)

    def ground_truth(self) -> dict:
        """Returns the row of the recorded frames themselves."""
        why = "a recorded frame is not compared with itself"
        own = np.stack([self.held.dataset.landmarks(frame.clip)[frame.index] for frame in self.held.frames])
        seen = {"mouth_correlation": correlation(self.truth.opening, mouth_opening(own), self.held.groups)}
        reasons: dict[str, str] = dict.fromkeys((*IMAGE, *LIPS, "mouth_correlation_shuffled"), why)
        return self._row(seen, self.truth, self.held.image, reasons)

    def row(
        self, frame: Callable[[int], np.ndarray], what: str, shuffled: Marks | str
    ) -> tuple[dict[str, object], Marks]:
        """Returns the row of a sequence, and its landmarks.

        Args:
            frame: gives the frame at a position, 0 to F - 1, as uint8 [H, W, 3].
            what: shown while it is measured.
            shuffled: landmarks of the same frames rendered with shuffled audio, or why there are none.
        """
        figures, marks = measure_frames((frame(k) for k in self._order(what)), self.instruments, self.held)
        figures |= lip_figures(marks, self.truth, self.held.groups)
        reasons = {}
        if isinstance(shuffled, str):
            reasons["mouth_correlation_shuffled"] = shuffled
        else:
            opening = shuffled.opening
            figures["mouth_correlation_shuffled"] = correlation(opening, self.truth.opening, self.held.groups)
        return self._row(figures, marks, frame, reasons), marks

    def _row(
        self,
        figures: dict[str, float | None],
        marks: Marks,
        frame: Callable[[int], np.ndarray],
        reasons: dict[str, str],
    ) -> dict:
        held, syncnet = self.held, self.instruments.syncnet
        heard, unheard = sync_figures(self.levels, held.stretches(), frame, marks, held.groups, syncnet)
        figures = {**figures, **heard, "mouth_std_px": spread(marks.opening, held.groups)}
        reasons = {**USUAL_REASONS, **unheard, **self.instruments.reasons, **reasons}
        if held.silence:
            reasons |= dict.fromkeys((*HEARD, *SYNC), held.silence)
        if held.featureless:  # a figure would be one of chance
            figures |= dict.fromkeys(FOLLOWING)
            reasons |= dict.fromkeys(FOLLOWING, held.featureless)
        return row(figures, reasons, len(held), marks.lost)
