"""What is wrong with single frames: blur, and something in front of the mouth or the eyes.

A frame is measured while its picture is at hand (`measure_frame`); what is unusual shows only against the whole clip.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from aed_nerfstudio.dataset.face_mesh import INNER_LIPS, OUTER_LIPS

SHARPNESS_SIZE = 160  # pixels: the face's height when blur is measured, so that the picture's size does not matter
BLURRED = 0.4  # of the clip's median sharpness

# Skin around the mouth: under the nose, chin, cheeks.
AROUND_LIPS = (2, 164, 18, 200, 199, 50, 280, 205, 425, 212, 432, 43, 273, 106, 335, 186, 410)
# Lips are darker and redder than the skin around them; a hand, a sleeve or a mask is not. On five people the contrast
# of covered lips was below a tenth of the usual one; of seen ones above 0.4, single frames with pressed lips apart,
# where only one of the two measures falls.
VANISHED = 0.3
FAINT = 1.5  # units of CIELAB: a redness that cannot be told from noise

PATCH = 48  # pixels, square
# Where the anchors of the patch lie, as shares of its side: outer eye corners (image left, right) and the nose's base.
ANCHORS = (33, 263, 2)
ANCHOR_PLACES = np.array([[0.22, 0.22], [0.78, 0.22], [0.5, 0.52]], np.float32)
EYE_ROWS = slice(5, 16)
UNUSUAL = 28.0  # grey levels, beyond what lids, brows and light change there in this clip
COVERED = 0.4  # share of the eyes' pixels that are unusual at once


@dataclass
class FrameMeasure:
    """sharpness: variance of the Laplacian over the face. lips: lightness and redness (CIELAB) of the lips less those
    of the skin around. patch: uint8 [48, 48], luma of the roughly frontal face."""

    sharpness: float
    lips: tuple[float, float]
    patch: np.ndarray


def measure_frame(image: np.ndarray, landmarks: np.ndarray) -> FrameMeasure:
    """Measures one frame: uint8 [H, W, 3] RGB, landmarks [478, >=2] pixels, finite, at least partly inside."""
    points = landmarks[:, :2].astype(np.float32)
    low = np.clip(np.floor(points.min(axis=0)).astype(int), 0, np.array(image.shape[1::-1]) - 2)
    high = np.maximum(np.ceil(points.max(axis=0)).astype(int) + 1, low + 2)
    face = image[low[1] : high[1], low[0] : high[0]]
    return FrameMeasure(_sharpness(face), _lip_contrast(face, points - low), _patch(image, points))


def _sharpness(face: np.ndarray) -> float:
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    scale = SHARPNESS_SIZE / grey.shape[0]
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def _lip_contrast(face: np.ndarray, points: np.ndarray) -> tuple[float, float]:
    lab = cv2.cvtColor(face, cv2.COLOR_RGB2LAB).astype(np.float32)
    mask = np.zeros(face.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(points[OUTER_LIPS]).astype(np.int32)], 1)
    cv2.fillPoly(mask, [np.round(points[INNER_LIPS]).astype(np.int32)], 0)
    if not mask.any():
        return 0.0, 0.0
    radius = max(1, round(0.02 * np.ptp(points[:, 1])))
    calm = cv2.blur(lab, (2 * radius + 1, 2 * radius + 1))
    x, y = np.clip(np.round(points[list(AROUND_LIPS)]).astype(int), 0, np.array(face.shape[1::-1]) - 1).T
    difference = lab[mask > 0].mean(axis=0) - np.median(calm[y, x], axis=0)
    return float(difference[0]), float(difference[1])


def _patch(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    warp = cv2.getAffineTransform(points[list(ANCHORS)], ANCHOR_PLACES * PATCH)
    shrinking = np.sqrt(np.abs(np.linalg.det(warp[:, :2])))
    calm = cv2.GaussianBlur(grey, (0, 0), 0.4 / max(shrinking, 0.05)) if shrinking < 0.7 else grey
    return cv2.warpAffine(calm, warp, (PATCH, PATCH), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def relative_sharpness(sharpness: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Sharpness [F] over the median of the usable frames; 1 where it is not known."""
    if not usable.any():
        return np.ones(len(sharpness))
    return np.where(usable, sharpness / max(float(np.median(sharpness[usable])), 1e-6), 1.0)


def mouth_covered(lips: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Frames in which the lips look like what is around them: bool [F].

    lips: [F, 2] as `FrameMeasure.lips`. Nothing is found where the lips hardly differ from the skin in the first place,
    or where most frames are covered.
    """
    if not usable.any():
        return np.zeros(len(lips), bool)
    usual = np.median(lips[usable], axis=0)
    if usual[1] < FAINT:
        return np.zeros(len(lips), bool)
    return usable & (np.abs(lips[:, 0]) < VANISHED * np.abs(usual[0])) & (lips[:, 1] < VANISHED * usual[1])


def eyes_covered(patches: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Frames in which the eyes' part of the face looks as it never does else: bool [F].

    patches: uint8 [F, 48, 48]. What is there in most frames, such as glasses, is usual.
    """
    out = np.zeros(len(patches), bool)
    there = np.flatnonzero(usable)
    if there.size < 10:
        return out
    sample = patches[there[:: max(1, there.size // 400)]].astype(np.float32)
    middle = np.median(sample, axis=0)
    usual = np.quantile(np.abs(sample - middle), 0.75, axis=0)[EYE_ROWS]
    # Light and exposure lift or lower the whole face.
    offset = np.median(patches.reshape(len(patches), -1), axis=1) - np.median(middle)
    difference = np.abs(patches[:, EYE_ROWS] - offset[:, None, None] - middle[EYE_ROWS])
    out[there] = (difference > usual + UNUSUAL).mean(axis=(1, 2))[there] > COVERED
    return out
