"""The head poses that an avatar was trained on, and the nearest of them to any other."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from aed_nerfstudio.driving.head_pose import pose_vector

MARGIN = 0.1
"""How far beyond the recorded range a pose may lie, as a share of that range."""
STEPS = 12
"""Halvings of the way from the typical pose; the rest is 1/4096 of it."""


class PoseRange:
    """Keeps poses for the torso, which is a picture and knows none but the recorded ones, within what was recorded.

    Args:
        poses: camera-to-world of the training frames, [F, 3, 4].
    """

    def __init__(self, poses: np.ndarray) -> None:
        vectors = pose_vector(poses)
        low, high = vectors.min(axis=0), vectors.max(axis=0)
        margin = MARGIN * (high - low) + 1e-4  # a head that never moved still has a range
        self.low, self.high = low - margin, high + margin
        spread = vectors.std(axis=0) + 1e-6
        self.typical = poses[np.square((vectors - vectors.mean(axis=0)) / spread).sum(axis=1).argmin()]

    def nearest(self, pose: np.ndarray) -> np.ndarray:
        """The pose [3, 4] itself where it lies within the range, else the last on the way to it from the typical one.

        It follows a moving camera without jumps.
        """
        if self._holds(pose):
            return pose
        turn = Slerp([0, 1], Rotation.from_matrix(np.stack([self.typical[:, :3], pose[:, :3]])))
        place = lambda share: (1 - share) * self.typical[:, 3:] + share * pose[:, 3:]  # noqa: E731
        found, within, beyond = self.typical, 0.0, 1.0
        for _ in range(STEPS):
            share = (within + beyond) / 2
            between = np.concatenate([turn(share).as_matrix(), place(share)], axis=1).astype(np.float32)
            if self._holds(between):
                found, within = between, share
            else:
                beyond = share
        return found

    def _holds(self, pose: np.ndarray) -> bool:
        with np.errstate(all="ignore"):  # a head behind the camera has no log distance
            vector = pose_vector(pose)
        return bool(((vector >= self.low) & (vector <= self.high)).all())
