"""Where an avatar's face is in space, against where the landmarks of the recording have it."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.dataset.face_depth import FaceDepth
from aed_nerfstudio.dataset.schema import METRES_PER_UNIT
from aed_nerfstudio.driving.track import DatasetTrack
from aed_nerfstudio.evaluation.held_out import HeldOut

FRAMES = 24
"""Held-out frames that are looked at."""
SOLID = 0.5
"""Alpha of the head below which a pixel shows no surface."""


@dataclass
class Surface:
    """What `evaluate_surface` found.

    section: of metrics.json. rows: of the picture, a frame each: recorded, ours and landmarks' depth, uint8
    [H, 3 W, 3], nearer is brighter.
    """

    section: dict
    rows: list[UInt8[np.ndarray, "h w 3"]] = field(default_factory=list)


def no_surface(reason: str) -> Surface:
    """Returns the section with nothing measured, for one reason."""
    names = ("correlation", "scale", "error_mm")
    return Surface({**dict.fromkeys(names), "frames": 0, "not_measured": dict.fromkeys(names, reason)})


def evaluate_surface(avatar: Avatar, held: HeldOut) -> Surface:
    """Compares the depths of held-out frames' faces, rendered as they were recorded, with their landmarks'."""
    truth = FaceDepth.of(held.dataset)
    if truth is None:
        return no_surface("the dataset's landmarks have no depths")
    camera, track = held.dataset.camera, DatasetTrack.of(held.dataset, avatar.vocabulary)
    y, x = (axis.ravel() for axis in np.mgrid[: camera.h, : camera.w])
    figures, rows = [], []
    for k in np.unique(np.linspace(0, len(held) - 1, FRAMES).astype(int)):
        layers = avatar.images(track[held.indices[k]])
        alpha = layers["accumulation"][..., 0].cpu().numpy()
        ours = layers["depth"][..., 0].cpu().numpy() / np.maximum(alpha, 1e-6)
        theirs = truth.distances(held.indices[k], x, y).reshape(camera.h, camera.w)
        face = np.isfinite(theirs) & (alpha > SOLID)
        if face.sum() < 2:
            continue
        figures.append(agreement(ours[face], theirs[face]))
        rows.append(np.hstack([held.image(int(k)), *_as_pictures(ours, theirs, face)]))
    if not figures:
        return no_surface("no face is rendered where the landmarks have one")
    means = dict(zip(("correlation", "scale", "error_mm"), np.mean(figures, axis=0).tolist(), strict=True))
    return Surface({**means, "frames": len(figures), "not_measured": {}}, rows)


def agreement(ours: Float[np.ndarray, " n"], theirs: Float[np.ndarray, " n"]) -> tuple[float, float, float]:
    """Returns Pearson's r of depths, the slope of ours over theirs, and their mean distance, mm; depths in units."""
    a, b = ours - ours.mean(), theirs - theirs.mean()
    scale = float(a @ b / (b @ b))
    distance = float(np.abs(ours - theirs).mean())
    return float(a @ b / np.sqrt((a @ a) * (b @ b) + 1e-12)), scale, 1000 * METRES_PER_UNIT * distance


def _as_pictures(
    ours: Float[np.ndarray, "h w"], theirs: Float[np.ndarray, "h w"], face: Bool[np.ndarray, "h w"]
) -> list[UInt8[np.ndarray, "h w 3"]]:
    near, far = np.quantile(theirs[face], [0, 1])
    pictures = []
    for depth in (ours, theirs):
        share = np.where(face, np.clip(1 - (depth - near) / (far - near + 1e-6), 0, 1), 0)
        shown = cv2.applyColorMap(np.round(255 * share).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
        pictures.append(np.where(face[..., None], shown, 0).astype(np.uint8))
    return pictures
