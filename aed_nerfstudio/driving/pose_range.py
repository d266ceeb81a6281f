"""The head poses that an avatar was trained on, and the nearest of them to any other."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from aed_nerfstudio.driving.head_pose import pose_vector

MARGIN = 0.1
"""How far beyond the recorded range a pose may lie, as a share of that range."""


class PoseRange:
    """Keeps poses for the torso, which is a picture and knows none but the recorded ones, within what was recorded.

    Args:
        poses: camera-to-world of the training frames, [F, 3, 4].
        typical: what stands in for a pose that is none, [3, 4].
    """

    def __init__(self, poses: Float[np.ndarray, "f 3 4"], typical: Float[np.ndarray, "3 4"]) -> None:
        vectors = pose_vector(poses)
        low, high = vectors.min(axis=0), vectors.max(axis=0)
        margin = MARGIN * (high - low) + 1e-4  # a head that never moved still has a range
        self.low, self.high = low - margin, high + margin
        self.typical = typical

    def nearest(self, pose: Float[np.ndarray, "3 4"]) -> Float[np.ndarray, "3 4"]:
        """Returns the pose [3, 4] itself where it lies within the range, else the one in it whose turn, direction and
        distance are nearest; it follows a moving camera without jumps. The typical pose for a head behind the camera.
        """
        with np.errstate(all="ignore"):
            vector = pose_vector(pose)
        if not np.isfinite(vector).all():
            return self.typical
        kept = np.clip(vector, self.low, self.high)
        return pose if np.array_equal(kept, vector) else _pose(kept)


def _pose(vector: np.ndarray) -> np.ndarray:
    """Returns the camera-to-world [3, 4] of a `pose_vector` [6]."""
    turn = Rotation.from_rotvec(vector[:3]).as_matrix().T
    depth = np.exp(vector[5])
    place = depth * np.array([vector[3], vector[4], -1.0])
    return np.concatenate([turn, -(turn @ place)[:, None]], axis=1).astype(np.float32)
