"""Fast edge-aware and hole-filling filters on float pictures: what the parsing, background and torso layers share."""

from __future__ import annotations

import cv2
import numpy as np

COARSEST = 4  # pixels: smaller levels of a pyramid say nothing more
RELAXATIONS = 12  # at every level of a harmonic fill


def _times(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return image * (weight[..., None] if image.ndim == 3 else weight)


def _halved(image: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the weighted mean of 2 x 2 pixels, and how well it is known, 0..1."""
    size = ((image.shape[1] + 1) // 2, (image.shape[0] + 1) // 2)
    mass = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    mean = cv2.resize(_times(image, weight), size, interpolation=cv2.INTER_AREA)
    mean = _times(mean, 1 / np.maximum(mass, 1e-6))
    return mean, np.minimum(2 * mass, 1)


def extend(image: np.ndarray, weight: np.ndarray, relax: bool = False) -> np.ndarray:
    """Carries known values on into unknown pixels, smoothly (pull-push over a pyramid).

    image: float32 [H, W] or [H, W, C]. weight: float32 [H, W], 1 where the value is known and 0 where it is not.
    relax: also levels the filled part out, so that it is nearly harmonic; slower.
    Returns float32 of the image's shape; pixels of weight 1 are unchanged. Without any known pixel all is 0.
    """
    if min(image.shape[:2]) <= COARSEST:
        mass = float(weight.sum())
        mean = _times(image, weight).sum(axis=(0, 1)) / max(mass, 1e-6)
        return _times(image, weight) + _times(np.broadcast_to(mean, image.shape).astype(np.float32), 1 - weight)
    coarse = extend(*_halved(image, weight), relax)
    filled = cv2.resize(coarse, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    known = _times(image, weight)
    out = known + _times(filled, 1 - weight)
    for _ in range(RELAXATIONS if relax else 0):
        out = known + _times(cv2.blur(out, (3, 3), borderType=cv2.BORDER_REPLICATE), 1 - weight)
    return out


def guided_filter(guide: np.ndarray, values: np.ndarray, radius: int, epsilon: float) -> np.ndarray:
    """Smooths values but for the guide's edges (He et al., Guided Image Filtering, 2010).

    guide, values: float32 [H, W], the guide in 0..1. radius: pixels. epsilon: variance of the guide below which it
    counts as flat. The coefficients are found on a picture of half the size.
    """
    height, width = guide.shape
    small = ((width + 1) // 2, (height + 1) // 2)
    x, y = (cv2.resize(v, small, interpolation=cv2.INTER_AREA) for v in (guide, values))
    window = (2 * max(1, radius // 2) + 1,) * 2
    mean_x, mean_y = cv2.blur(x, window), cv2.blur(y, window)
    mean_xy, mean_xx = (cv2.blur(cv2.multiply(x, v), window) for v in (y, x))
    slope = (mean_xy - mean_x * mean_y) / (mean_xx - mean_x * mean_x + epsilon)
    offset = mean_y - slope * mean_x
    slope, offset = (cv2.resize(cv2.blur(v, window), (width, height)) for v in (slope, offset))
    return slope * guide + offset
