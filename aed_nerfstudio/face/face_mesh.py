"""The 478 landmarks of MediaPipe's face mesh: which ones the lips are, boxes around them, measures of the mouth.

Landmarks are float32 [..., 478, 3]: x and y in pixels, z in pixels too (smaller is closer to the camera).
"""

from __future__ import annotations

import numpy as np

COUNT = 478
OUTER_LIPS = [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185]
INNER_LIPS = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191]

EYES = ([33, 133, 160, 144, 158, 153], [362, 263, 385, 380, 387, 373])
"""Corners, then two pairs of upper and lower lid."""


def _distance(landmarks: np.ndarray, a: int, b: int) -> np.ndarray:
    return np.linalg.norm(landmarks[..., a, :2].astype(np.float64) - landmarks[..., b, :2], axis=-1)


def mouth_opening(landmarks: np.ndarray) -> np.ndarray:
    """Distance between the middles of the inner lips, pixels: [..., 478, 3] -> [...]."""
    return _distance(landmarks, 13, 14)


def lip_shape(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks [..., 478, 3] -> [..., 4]: inner opening, outer opening, width and chin drop, over the face height."""
    # Forehead to the tip of the nose: does not move with the mouth.
    height = np.maximum(_distance(landmarks, 10, 1), 1e-6)
    parts = [(13, 14), (0, 17), (61, 291), (1, 152)]
    return np.stack([_distance(landmarks, a, b) for a, b in parts], -1) / height[..., None]


def eye_ratio(landmarks: np.ndarray) -> np.ndarray:
    """Height over width of the eyes' openings, mean of both: [..., 478, 3] -> [...]."""
    ratios = []
    for a, b, u1, l1, u2, l2 in EYES:
        ratios.append((_distance(landmarks, u1, l1) + _distance(landmarks, u2, l2)) / _distance(landmarks, a, b))
    return np.mean(ratios, axis=0) / 2


def padded_box(points: np.ndarray, padding: float, size: int | tuple[int, int]) -> list[int]:
    """Box around points [N, >=2] pixels, each side padded by that share of the extent, clipped to the picture.

    size: of the picture, its side or its width and height.
    Returns left, top, right, bottom; right and bottom exclusive; at least one pixel large.
    """
    width, height = (size, size) if isinstance(size, int) else size
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    pad = padding * (high - low)
    left, top = (int(np.clip(np.floor(v), 0, n - 1)) for v, n in zip(low - pad, (width, height), strict=True))
    right, bottom = (int(np.clip(np.ceil(v) + 1, 1, n)) for v, n in zip(high + pad, (width, height), strict=True))
    return [left, top, max(right, left + 1), max(bottom, top + 1)]
