"""The line between chin and neck in a recorded frame, and the step in colour across it."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from aed_nerfstudio.dataset.schema import HEAD, NECK
from aed_nerfstudio.face.face_mesh import JAW, face_width

APART = 0.03
"""How far from the jaw's line the colours on its two sides are taken, of the face's width."""

Places = tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 2"]]


def seam_places(landmarks: Float[np.ndarray, "478 3"], parsing: UInt8[np.ndarray, "h w"]) -> Places:
    """Returns places on both sides of the line between chin and neck in a recorded frame, [N, 2] pixels each: in the
    face and in the neck. N is 0 where no neck is seen.

    landmarks: in pixels. parsing: what each pixel is, as in `aed_nerfstudio.dataset.schema`.
    """
    line = landmarks[JAW, :2].astype(np.float64)
    # Twice as many, for the landmarks are far apart at the chin; the ends have no direction.
    line = np.stack([line[:-1], (line[:-1] + line[1:]) / 2], axis=1).reshape(-1, 2)
    along = np.gradient(line, axis=0)
    out = np.stack([-along[:, 1], along[:, 0]], axis=1)
    out /= np.linalg.norm(out, axis=1, keepdims=True).clip(1e-6)
    out *= np.sign(((line - line.mean(axis=0)) * out).sum(axis=1, keepdims=True))
    reach = APART * float(face_width(landmarks))
    inside, outside = line - reach * out, line + reach * out
    kept = np.array([_at(parsing, a) == HEAD and _at(parsing, b) == NECK for a, b in zip(inside, outside, strict=True)])
    return inside[kept], outside[kept]


def _at(parsing: np.ndarray, place: np.ndarray) -> int:
    """Returns what is at a place, -1 beyond the picture."""
    x, y = np.floor(place).astype(int)
    height, width = parsing.shape
    return int(parsing[y, x]) if 0 <= x < width and 0 <= y < height else -1


def colour_step(image: UInt8[np.ndarray, "h w 3"], places: Places) -> float:
    """Returns the mean difference of the colours on both sides (Delta E 1976, in CIE L*a*b*); NaN without places."""
    inside, outside = places
    if not len(inside):
        return float("nan")
    lab = cv2.cvtColor(cv2.blur(image, (3, 3)).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    a, b = (_colours(lab, side) for side in places)
    return float(np.linalg.norm(a - b, axis=-1).mean())


def _colours(lab: np.ndarray, places: np.ndarray) -> np.ndarray:
    x, y = (places - 0.5).astype(np.float32).T
    return cv2.remap(lab, x[:, None], y[:, None], cv2.INTER_LINEAR)
