"""Where in a recorded frame that is what people look at: the face, the eyes, the mouth, the torso's outline."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from aed_nerfstudio.dataset.schema import TORSO
from aed_nerfstudio.face.face_mesh import EYE_OUTLINES, FACE_SIDES, OUTER_LIPS, OVAL

REGIONS = {
    "face": "the face's oval",
    "eyes": "the eyes, grown by 4 % of the face's width",
    "mouth": "the lips and what is between them, grown as much",
    "torso": "within 2 % of the face's width of the torso's outline in the parsing, collar included",
}
"""The regions of a frame, by the names of their figures."""
MARGIN = 0.04
"""By how much eyes and mouth are grown, of the face's width: lids and the lips' edges belong to them."""
OUTLINE = 0.02
"""How far the region of the torso's outline reaches to both of its sides, of the face's width."""


def regions(
    landmarks: Float[np.ndarray, "478 3"], parsing: UInt8[np.ndarray, "h w"]
) -> dict[str, UInt8[np.ndarray, "h w"]]:
    """Returns where each of `REGIONS` is in a recorded frame: 1 inside, 0 outside.

    landmarks: in pixels. parsing: what each pixel is, as in `aed_nerfstudio.dataset.schema`.
    """
    points = landmarks[:, :2].astype(np.float64)
    width = float(np.linalg.norm(points[FACE_SIDES[0]] - points[FACE_SIDES[1]]))
    return {
        "face": _filled([points[OVAL]], parsing.shape),
        "eyes": _grown(_filled([points[ring] for ring in EYE_OUTLINES], parsing.shape), MARGIN * width),
        "mouth": _grown(_filled([points[OUTER_LIPS]], parsing.shape), MARGIN * width),
        "torso": _outline((parsing == TORSO).astype(np.uint8), OUTLINE * width),
    }


def _filled(shapes: Sequence[np.ndarray], size: Sequence[int]) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    for shape in shapes:
        cv2.fillPoly(mask, [np.round(shape).astype(np.int32)], (1,))
    return mask


def _grown(mask: np.ndarray, radius: float) -> np.ndarray:
    side = 2 * min(max(1, round(radius)), max(mask.shape)) + 1
    return cv2.dilate(cv2.dilate(mask, np.ones((side, 1), np.uint8)), np.ones((1, side), np.uint8))


def _outline(mask: np.ndarray, radius: float) -> np.ndarray:
    return _grown(mask, radius) & _grown(1 - mask, radius)
