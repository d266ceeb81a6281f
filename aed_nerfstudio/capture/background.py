"""The picture behind the person: the median of what is seen of it, holes filled from around."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from aed_nerfstudio.dataset.schema import BACKGROUND

ROWS = 32  # worked on at a time, so that the float copies stay small


def estimate_background(images: Sequence[np.ndarray], parsings: Sequence[np.ndarray]) -> np.ndarray:
    """uint8 [H, W, 3] from up to a hundred frames, uint8 [H, W, 3] RGB, and their parsing maps, uint8 [H, W]."""
    height, width = parsings[0].shape
    radius = max(2, round(0.025 * height))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # The person's edge carries hair and blur, hence the dilation.
    free = np.stack([cv2.dilate((p != BACKGROUND).astype(np.uint8), kernel) == 0 for p in parsings])
    out = np.zeros((height, width, 3), np.uint8)
    for row in range(0, height, ROWS):
        part = np.stack([image[row : row + ROWS] for image in images])
        values = np.where(free[:, row : row + ROWS, :, None], part, np.float32(np.nan)).astype(np.float32)
        # Sorting puts NaN last, so the median of the n known values is at (n - 1) // 2.
        values.sort(axis=0)
        middle = np.maximum(free[:, row : row + ROWS].sum(axis=0) - 1, 0) // 2
        chosen = np.take_along_axis(values, middle[None, :, :, None], axis=0)[0]
        out[row : row + ROWS] = np.nan_to_num(chosen).astype(np.uint8)
    return fill_holes(out, free.any(axis=0))


def fill_holes(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fills unknown pixels smoothly from the known ones around.

    image: uint8 [H, W, 3]. known: bool [H, W]. A picture without any known pixel becomes grey.
    """
    if known.all():
        return image
    if not known.any():
        return np.full_like(image, 127)
    distance, nearest = distance_transform_edt(~known, return_indices=True)
    filled = image[nearest[0], nearest[1]].astype(np.float32)
    # Nearest colours alone leave rays; ever wider blurs, by the distance from the known, take them away.
    size = image.shape[0]
    for sigma in (0.01 * size, 0.03 * size, 0.08 * size):
        blurred = cv2.GaussianBlur(filled, (0, 0), sigma)
        weight = np.clip(distance / (2 * sigma), 0, 1)[..., None].astype(np.float32)
        filled = filled * (1 - weight) + blurred * weight
    filled[known] = image[known]
    return np.clip(np.round(filled), 0, 255).astype(np.uint8)
