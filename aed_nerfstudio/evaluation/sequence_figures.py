"""Figures of a sequence of frames: of its pictures, its lips, and how its mouth follows sound."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aed_nerfstudio.evaluation.held_out import HeldOut, Stretch
from aed_nerfstudio.evaluation.image_metrics import psnr, ssim
from aed_nerfstudio.evaluation.instruments import Instruments
from aed_nerfstudio.evaluation.landmark_distance import landmark_distance, lip_landmark_distance
from aed_nerfstudio.evaluation.sync import audio_mouth_correlation, centred, correlation
from aed_nerfstudio.face.face_finder import FaceFinder
from aed_nerfstudio.face.face_mesh import face_width, mouth_opening

if TYPE_CHECKING:
    from aed_nerfstudio.evaluation.syncnet import SyncNet

SYNC_FRAMES = 25
"""Uninterrupted frames below which SyncNet's distances over shifts of 15 frames say nothing."""


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
    found: dict[str, list] = {name: [] for name in ("psnr", "psnr_face", "psnr_mouth", "ssim", "ssim_face")}
    mesh, fan, perceptual = [], [], []
    slowly = set(instruments.perceptual_frames(len(held))) if held else set()
    with FaceFinder() as finder:
        for k, image in enumerate(images):
            mesh.append(finder.landmarks(image))
            if instruments.fan:
                fan.append(instruments.fan.landmarks(image))
            if held is None:
                continue
            truth, box, lips = held.image(k), held.frames[k].face_box, held.frames[k].lips_box
            values = psnr(image, truth), psnr(image, truth, box), psnr(image, truth, lips), *ssim(image, truth, box)
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
