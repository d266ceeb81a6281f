"""Sequences of head poses: smoothing and going back and forth beyond the end. A pose is a camera-to-world [3,4]."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation


def ping_pong(count: int, length: int) -> np.ndarray:
    """Indices [length] that run 0..count-1 and back again, without repeating the turning points."""
    if count == 1:
        return np.zeros(length, np.int64)
    index = np.arange(length) % (2 * count - 2)
    return np.where(index < count, index, 2 * count - 2 - index)


def smooth(poses: np.ndarray, sigma: float = 1.5) -> np.ndarray:
    """Gaussian smoothing over time of camera-to-world poses [F,3,4]; sigma in frames."""
    rotation = Rotation.from_matrix(poses[:, :, :3])
    mean = rotation.mean()
    offsets = gaussian_filter1d((mean.inv() * rotation).as_rotvec(), sigma, axis=0, mode="nearest")
    centres = gaussian_filter1d(poses[:, :, 3], sigma, axis=0, mode="nearest")
    result = np.concatenate([(mean * Rotation.from_rotvec(offsets)).as_matrix(), centres[..., None]], -1)
    return result.astype(poses.dtype)
