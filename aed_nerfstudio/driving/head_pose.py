"""Sequences of head poses: smoothing and going back and forth beyond the end. A pose is a camera-to-world [3,4]."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation, Slerp

SMOOTHING = 1.5
"""Deviation of the Gaussian that recorded motion is smoothed by when it is played, frames."""


def ping_pong(count: int, length: int, first: int = 0) -> Int64[np.ndarray, " length"]:
    """Returns indices [length] that run 0..count-1 and back again, without repeating the turning points; first: number
    of the step to begin with, in place of the first."""
    if count == 1:
        return np.zeros(length, np.int64)
    index = np.arange(first, first + length, dtype=np.int64) % (2 * count - 2)
    return np.where(index < count, index, 2 * count - 2 - index)


def smooth(poses: Float[np.ndarray, "f 3 4"], sigma: float = SMOOTHING) -> Float[np.ndarray, "f 3 4"]:
    """Returns camera-to-world poses [F,3,4], smoothed over time by a Gaussian; sigma in frames."""
    rotation = Rotation.from_matrix(poses[:, :, :3])
    mean = rotation.mean()
    offsets = gaussian_filter1d((mean.inv() * rotation).as_rotvec(), sigma, axis=0, mode="nearest")
    centres = gaussian_filter1d(poses[:, :, 3], sigma, axis=0, mode="nearest")
    result = np.concatenate([(mean * Rotation.from_rotvec(offsets)).as_matrix(), centres[..., None]], -1)
    return result.astype(poses.dtype)


def pose_at(poses: Float[np.ndarray, "f 3 4"], frame: float) -> Float[np.ndarray, "3 4"]:
    """Returns the pose [3,4] at a frame number of poses [F,3,4]: between two, interpolated; beyond the last one, that
    one."""
    low = min(int(frame), len(poses) - 1)
    share = frame - low
    if share == 0 or low + 1 >= len(poses):
        return poses[low]
    pair = poses[low : low + 2]
    rotation = Slerp([0, 1], Rotation.from_matrix(pair[:, :, :3]))(share).as_matrix()
    place = (1 - share) * pair[0, :, 3] + share * pair[1, :, 3]
    return np.concatenate([rotation, place[:, None]], 1).astype(poses.dtype)


def value_at(values: Float[np.ndarray, "f m"], frame: float) -> Float[np.ndarray, " m"]:
    """Returns the row [M] at a frame number of values [F, M]: between two, interpolated; beyond the last one, that
    one."""
    low = min(int(frame), len(values) - 1)
    share = frame - low
    if share == 0 or low + 1 >= len(values):
        return values[low]
    return ((1 - share) * values[low] + share * values[low + 1]).astype(values.dtype)


def between(
    first: Float[np.ndarray, "f 3 4"], second: Float[np.ndarray, "f 3 4"], share: Float[np.ndarray, " f"]
) -> Float[np.ndarray, "f 3 4"]:
    """Returns the poses on the way from the first to the second, as the camera sees the head go: it turns the shortest
    way at an even rate (SLERP) and its centre moves straight.

    The way of the camera about a head that stands still would not do: its chord comes near the head, which would grow.

    Args:
        first, second: camera-to-world [F, 3, 4].
        share: [F], 0 at the first to 1 at the second.
    """
    one, other = (Rotation.from_matrix(poses[:, :, :3]) for poses in (first, second))
    turned = one * Rotation.from_rotvec(share[:, None] * (one.inv() * other).as_rotvec())
    place = (1 - share[:, None]) * _head_place(first) + share[:, None] * _head_place(second)
    return np.concatenate([turned.as_matrix(), -turned.apply(place)[..., None]], -1).astype(first.dtype)


def steps(poses: Float[np.ndarray, "f 3 4"]) -> Float64[np.ndarray, "s 2"]:
    """Returns how far the head goes from each pose to the next, [F, 3, 4] -> float64 [F-1, 2]: radians that it turns
    and units that its centre moves in front of the camera."""
    if len(poses) < 2:
        return np.zeros((0, 2))
    rotation, place = Rotation.from_matrix(poses[:, :, :3]), _head_place(poses)
    turns = (rotation[:-1].inv() * rotation[1:]).magnitude()
    return np.stack([turns, np.linalg.norm(np.diff(place, axis=0), axis=1)], axis=1)


def _head_place(poses: np.ndarray) -> np.ndarray:
    """Returns the head's centre in the camera's frame, [..., 3, 4] -> float64 [..., 3]."""
    return -(np.swapaxes(poses[..., :3], -1, -2).astype(np.float64) @ poses[..., 3:])[..., 0]


def pose_vector(poses: Float[np.ndarray, "*n 3 4"]) -> Float32[np.ndarray, "*n 6"]:
    """Returns where the head is for the camera: camera-to-world [..., 3, 4] -> float32 [..., 6].

    Rotation vector of head to camera, the head's direction from the camera (two tangents) and its log distance.
    """
    inverse, place = np.swapaxes(poses[..., :3], -1, -2).astype(np.float64), _head_place(poses)
    turn = Rotation.from_matrix(inverse.reshape(-1, 3, 3)).as_rotvec().reshape(place.shape)
    depth = -place[..., 2:]
    return np.concatenate([turn, place[..., :2] / depth, np.log(depth)], -1).astype(np.float32)
