"""The 478 landmarks of MediaPipe's face mesh: which ones the lips are, boxes around them, measures of the mouth.

Landmarks are float32 [..., 478, 3]: x and y in pixels, z in pixels too (smaller is closer to the camera).
"""

from __future__ import annotations

import numpy as np

COUNT = 478
OUTER_LIPS = [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185]
INNER_LIPS = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191]


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


def padded_box(points: np.ndarray, padding: float, size: int) -> list[int]:
    """Box around points [N, >=2] pixels, each side padded by that share of the extent, clipped to the picture.

    Returns left, top, right, bottom; right and bottom exclusive; at least one pixel large.
    """
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    pad = padding * (high - low)
    left, top = (int(np.clip(np.floor(v), 0, size - 1)) for v in low - pad)
    right, bottom = (int(np.clip(np.ceil(v) + 1, 1, size)) for v in high + pad)
    return [left, top, max(right, left + 1), max(bottom, top + 1)]
