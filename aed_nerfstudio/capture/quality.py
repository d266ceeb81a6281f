"""What is wrong with single frames: blur, and something in front of the mouth or the eyes.

A frame is measured while its picture is at hand (`measure_frame`). What is unusual shows against the whole clip; what
is wrong with all of it, a blur or a cover that never ends, by absolute measures (`clip_view`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from aed_nerfstudio.face.face_mesh import (
    AROUND_LIPS,
    INNER_LIPS,
    IRISES,
    LIP_COLUMNS,
    NOSE_BASE,
    OUTER_EYE_CORNERS,
    OUTER_LIPS,
    UPPER_FACE,
    mouth_opening,
)

SHARPNESS_SIZE = 160  # pixels: the face's height when blur is measured, so that the picture's size does not matter
BLURRED = 0.4  # of the clip's median sharpness

# Lips are darker and redder than the skin around them; a hand, a sleeve or a mask is not. On five people the contrast
# of covered lips was below a tenth of the usual one; of seen ones above 0.4, single frames with pressed lips apart,
# where only one of the two measures falls.
VANISHED = 0.3
FAINT = 1.5  # units of CIELAB: a redness that cannot be told from noise

PATCH = 48  # pixels, square
# Where the anchors of the patch lie, as shares of its side: outer eye corners (image left, right) and the nose's base.
ANCHORS = (*OUTER_EYE_CORNERS, NOSE_BASE)
ANCHOR_PLACES = np.array([[0.22, 0.22], [0.78, 0.22], [0.5, 0.52]], np.float32)
EYE_ROWS = slice(5, 16)
UNUSUAL = 28.0  # grey levels, beyond what lids, brows and light change there in this clip
COVERED = 0.4  # share of the eyes' pixels that are unusual at once

# Faces look alike at every scale: the Laplacian's variance at a size is that at a quarter of it or more where the
# picture is sharp, and a small part of it where the larger size shows nothing new.
DETAILS = (1.0, 0.71, 0.5, 0.36, 0.25, 0.18)  # of the height at which sharpness is measured
NOTHING_NEW = 0.04  # at least 0.06 on sharp faces of three people and four actors, at most 0.03 blurred by two pixels
DETAILED = (0.6, 0.3)  # see `ClipView.detail`: below the first a face is soft to the eye, below the second mush
ROUNDING = 2.0  # the Laplacian's variance of rounding to whole grey levels

LIT = 60.0  # CIELAB lightness of `UPPER_FACE` in good light; colours of darker ones, down to a third, are scaled to it
# Over the face's height, and units of CIELAB between lips and what is between them: an open mouth. Of 11 recordings of
# real people at least 0.44 of the frames have both, of 32 of speaking actors 0.25, also with faint lips or faces of
# 50 px; of 142 covered ones none, but 0.08 with 4 units.
OPEN = 0.025
INSIDE = 5.0
OPEN_SHARE = 0.06
LINE = 0.8  # units of CIELAB: the line between closed lips; 0.9 on an actor of 50 px, 0.2 on plain colours with noise
WHITES = 3.0  # units of CIELAB: how much lighter the white of open eyes is than the iris; 0 on plain covers
EYES_OPEN = 0.8  # quantile over the frames: blinks and looks aside are below

Mouth = Literal["open", "closed", "unseen"]


@dataclass
class FrameMeasure:
    """sharpness: variance of the Laplacian over the face. detail: share of the face's height in pixels, 160 at most,
    below which its picture could be shrunk without losing anything. lips: lightness and redness (CIELAB) of the lips
    less those of the skin around. inside: how far the middle of the mouth is from the lips, units of CIELAB. opening:
    of the lips, over the face's height. whites: lightness of the eyes' white, on its darker side of the iris, less that
    of the iris. patch: uint8 [48, 48], luma of the roughly frontal face."""

    sharpness: float
    detail: float
    lips: tuple[float, float]
    inside: float
    opening: float
    whites: float
    patch: np.ndarray


@dataclass
class ClipView:
    """What a clip shows of its face at all. detail: median of `FrameMeasure.detail`. mouth: "open" where it is seen to
    open, "closed" where only lips are seen, else "unseen". eyes: whether they are seen."""

    detail: float
    mouth: Mouth
    eyes: bool


def measure_frame(image: np.ndarray, landmarks: np.ndarray) -> FrameMeasure:
    """Measures one frame: uint8 [H, W, 3] RGB, landmarks [478, >=2] pixels, finite, at least partly inside."""
    points = landmarks[:, :2].astype(np.float32)
    face, low = _cut_face(image, points)
    within = points - low
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    height = float(np.ptp(points[:, 1]))
    inside, whites = _features(face, within, height)
    return FrameMeasure(
        sharpness=_sharpness(grey, min(1.0, SHARPNESS_SIZE / len(grey))),
        detail=_detail(grey),
        lips=_lip_contrast(face, within),
        inside=inside,
        opening=float(mouth_opening(points)) / max(height, 1.0),
        whites=whites,
        patch=_patch(image, points),
    )


def face_detail(image: np.ndarray, landmarks: np.ndarray) -> float:
    """Returns `FrameMeasure.detail` of another picture of the same frame, the video's own; arguments as of
    `measure_frame`.
    """
    return _detail(cv2.cvtColor(_cut_face(image, landmarks[:, :2])[0], cv2.COLOR_RGB2GRAY))


def _cut_face(image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the part of a picture that landmarks [478, 2] lie in, and its upper left corner, float32 [2]."""
    low = np.clip(np.floor(points.min(axis=0)).astype(int), 0, np.array(image.shape[1::-1]) - 2)
    high = np.maximum(np.ceil(points.max(axis=0)).astype(int) + 1, low + 2)
    return image[low[1] : high[1], low[0] : high[0]], low.astype(np.float32)


def _sharpness(grey: np.ndarray, scale: float) -> float:
    """Returns the variance of the Laplacian of a picture that is shrunk by a factor of at most 1 first."""
    if scale < 1:
        size = [max(2, round(scale * side)) for side in grey.shape[::-1]]
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def _detail(grey: np.ndarray) -> float:
    """Returns `detail` of a `FrameMeasure` from a grey picture, uint8 [h, w]."""
    full = min(1.0, SHARPNESS_SIZE / len(grey))
    fine = grey.astype(np.float32)
    for share in DETAILS:
        here, coarse = _sharpness(fine, full * share), _sharpness(fine, full * share / 4)
        if here - (ROUNDING if full * share == 1 else 0) > NOTHING_NEW * coarse:
            return share
    return DETAILS[-1] / 2


def _features(face: np.ndarray, points: np.ndarray, height: float) -> tuple[float, float]:
    """Returns `inside` and `whites` of a `FrameMeasure`."""
    lab = cv2.cvtColor(face.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    if height > 50:
        lab = cv2.GaussianBlur(lab, (0, 0), 0.008 * height)

    def at(places: np.ndarray) -> np.ndarray:
        """Returns colours [..., 3] at places [..., 2]."""
        x, y = places.reshape(-1, 2).astype(np.float32).T.copy()
        found = cv2.remap(lab, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return found.reshape(*places.shape[:-1], 3)

    light = float(np.clip(np.median(at(points[list(UPPER_FACE)])[:, 0]), LIT / 3, LIT)) / LIT
    upper, top, bottom, lower = points[np.array(LIP_COLUMNS)].transpose(1, 0, 2)
    lips = (at((upper + top) / 2) + at((bottom + lower) / 2)).mean(axis=0) / 2
    middle = at((top + bottom) / 2).mean(axis=0)
    iris, *corners = points[np.array(IRISES)].transpose(1, 0, 2)
    white = min(at(0.45 * iris + 0.55 * corner)[:, 0].mean() for corner in corners)
    return float(np.linalg.norm(middle - lips)) / light, float(white - at(iris)[:, 0].mean()) / light


def _lip_contrast(face: np.ndarray, points: np.ndarray) -> tuple[float, float]:
    lab = cv2.cvtColor(face, cv2.COLOR_RGB2LAB).astype(np.float32)
    mask = np.zeros(face.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(points[OUTER_LIPS]).astype(np.int32)], (1,))
    cv2.fillPoly(mask, [np.round(points[INNER_LIPS]).astype(np.int32)], (0,))
    if not mask.any():
        return 0.0, 0.0
    radius = max(1, round(0.02 * np.ptp(points[:, 1])))
    calm = np.asarray(cv2.blur(lab, (2 * radius + 1, 2 * radius + 1)), np.float32)
    x, y = np.clip(np.round(points[list(AROUND_LIPS)]).astype(int), 0, np.array(face.shape[1::-1]) - 1).T
    difference = lab[mask > 0].mean(axis=0) - np.median(calm[y, x], axis=0)
    return float(difference[0]), float(difference[1])


def _patch(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    warp = cv2.getAffineTransform(points[list(ANCHORS)], ANCHOR_PLACES * PATCH)
    shrinking = np.sqrt(np.abs(np.linalg.det(np.asarray(warp[:, :2], np.float64))))
    calm = cv2.GaussianBlur(grey, (0, 0), 0.4 / max(shrinking, 0.05)) if shrinking < 0.7 else grey
    return cv2.warpAffine(calm, warp, (PATCH, PATCH), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def relative_sharpness(sharpness: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Returns sharpness [F] over the median of the usable frames; 1 where it is not known."""
    if not usable.any():
        return np.ones(len(sharpness))
    return np.where(usable, sharpness / max(float(np.median(sharpness[usable])), 1e-6), 1.0)


def seen_open(inside: np.ndarray, opening: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Finds frames that show an open mouth: bool [F]; inside, opening: [F] as in `FrameMeasure`.

    Landmarks alone do not tell: on a mask they lie as if it were a mouth, and move a little.
    """
    return usable & (opening > OPEN) & (inside > INSIDE)


def clip_view(measures: dict[str, np.ndarray], usable: np.ndarray) -> ClipView | None:
    """Returns what the usable frames of a clip show at all; None without any.

    measures: [F, ...] by the names of `FrameMeasure`. usable: bool [F].
    """
    if not usable.any():
        return None
    lightness, redness = np.median(measures["lips"][usable], axis=0)
    mouth: Mouth = "unseen"
    if seen_open(measures["inside"], measures["opening"], usable)[usable].mean() > OPEN_SHARE:
        mouth = "open"
    elif redness > FAINT and lightness < 0 and np.median(measures["inside"][usable]) > LINE:
        mouth = "closed"
    eyes = bool(np.quantile(measures["whites"][usable], EYES_OPEN) > WHITES)
    return ClipView(float(np.median(measures["detail"][usable])), mouth, eyes)


def mouth_covered(lips: np.ndarray, usable: np.ndarray, opened: np.ndarray) -> np.ndarray:
    """Finds frames in which the lips look like what is around them: bool [F].

    lips: [F, 2] as `FrameMeasure.lips`. opened: bool [F], see `seen_open`; where there are enough of them they say how
    lips look here, so most frames may be covered. Nothing is found where the lips hardly differ from the skin in the
    first place, or where all frames are covered.
    """
    if not usable.any():
        return np.zeros(len(lips), bool)
    usual = np.median(lips[opened if opened.sum() > OPEN_SHARE * usable.sum() else usable], axis=0)
    if usual[1] < FAINT:
        return np.zeros(len(lips), bool)
    return usable & (np.abs(lips[:, 0]) < VANISHED * np.abs(usual[0])) & (lips[:, 1] < VANISHED * usual[1])


def eyes_covered(patches: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Finds frames in which the eyes' part of the face looks as it never does else: bool [F].

    patches: uint8 [F, 48, 48]. What is there in most frames, such as glasses, is usual; see `ClipView.eyes`.
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
