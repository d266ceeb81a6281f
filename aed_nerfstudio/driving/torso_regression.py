"""What the pose of a head tells of its shoulders."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Float64

from aed_nerfstudio.driving.head_pose import pose_vector

RIDGE = 0.001
"""Of the mean square of a standardised number. Small, for a shift of shoulders is the difference of numbers that go
together: a head that turns and one that moves aside."""


class TorsoRegression:
    """Ridge regression of the motion of the shoulders from the head's pose, its squares and products; what it says
    stays within what was recorded.

    Args:
        poses: camera-to-world of recorded frames, [F, 3, 4].
        torso: their motion of the shoulders, [F, M].
    """

    def __init__(self, poses: Float[np.ndarray, "f 3 4"], torso: Float[np.ndarray, "f m"]) -> None:
        vectors = pose_vector(poses)
        self._mean, self._spread = vectors.mean(axis=0), vectors.std(axis=0) + 1e-3
        self._low, self._high = torso.min(axis=0), torso.max(axis=0)
        basis = self._basis(vectors)
        self._offset, self._middle = torso.mean(axis=0), basis.mean(axis=0)
        basis = basis - self._middle
        normal = basis.T @ basis + RIDGE * len(basis) * np.eye(basis.shape[1])
        self._weights = np.linalg.solve(normal, basis.T @ (torso - self._offset))

    def __call__(self, pose: Float[np.ndarray, "3 4"]) -> Float32[np.ndarray, " m"]:
        """Returns the motion [M] that goes with a pose [3, 4]."""
        found = (self._basis(pose_vector(pose)) - self._middle) @ self._weights + self._offset
        return np.clip(found, self._low, self._high).astype(np.float32)

    def _basis(self, vectors: Float[np.ndarray, "*n 6"]) -> Float64[np.ndarray, "*n 27"]:
        """Returns what is regressed from; a pose beyond three deviations counts as one there."""
        x = np.clip((vectors - self._mean) / self._spread, -3, 3).astype(np.float64)
        first, second = np.triu_indices(x.shape[-1])
        return np.concatenate([x, x[..., first] * x[..., second]], axis=-1)
