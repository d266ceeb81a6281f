"""Bundle adjustment of one rigid object seen by a still camera: poses, points and the focal length together.

A pose is a rotation, a scale and an origin in the picture, and the focal length enters as kappa = 1 / focal:

    q = rotation @ point,  pixel - centre = (scale * q_xy + origin) / (1 + kappa * scale * q_z)

which is the pinhole camera (distance = focal / scale) written so that kappa is a small correction to a view without
perspective: poses and points hardly change when it does, so Gauss-Newton takes few steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.spatial.transform import Rotation

from aed_nerfstudio.capture.face_shape import rough_poses
from aed_nerfstudio.face.face_mesh import STABLE

USUAL_SHARE = 2.4  # focal length in picture widths: a talking head filmed with a moderate telephoto lens
CHUNK = 200_000  # observations whose derivatives are held at once
OUTLIER = 2.5  # residuals beyond this many standard deviations count for little (Cauchy)
LEAST_NOISE = 1.0  # standard deviations: residuals tell nothing of errors that many frames share


@dataclass
class Observations:
    """N places of points in frames, sorted by frame.

    frame, point: int [N]. xy: float [N, 2] pixels from the principal point. weight: float [N]. white: float
    [P, 2, 2], 1 / pixels: of each point, what turns an error in pixels into standard deviations.
    """

    frame: np.ndarray
    point: np.ndarray
    xy: np.ndarray
    weight: np.ndarray
    white: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, which: np.ndarray | slice) -> Observations:
        """Returns the observations of a mask, or of an index that keeps their order."""
        return Observations(self.frame[which], self.point[which], self.xy[which], self.weight[which], self.white)


@dataclass
class Poses:
    """F poses: rotation [F, 3, 3], scale [F] pixels a cm, origin [F, 2] pixels from the principal point."""

    rotation: np.ndarray
    scale: np.ndarray
    origin: np.ndarray

    def __len__(self) -> int:
        return len(self.scale)

    def take(self, which: np.ndarray | slice) -> Poses:
        """Returns the poses of a mask, an index or a slice."""
        return Poses(self.rotation[which], self.scale[which], self.origin[which])

    def moved(self, step: np.ndarray) -> Poses:
        """Returns the poses after a step [F, 6]: rotation vector (camera axes), log scale, origin."""
        turn = Rotation.from_rotvec(step[:, :3]).as_matrix()
        return Poses(turn @ self.rotation, self.scale * np.exp(step[:, 3]), self.origin + step[:, 4:])


def project(points: np.ndarray, poses: Poses, kappa: float, frame: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Returns pixels from the principal point [N, 2] of the points [P, 3] numbered `point` in the frames `frame`."""
    q = np.einsum("nij,nj->ni", poses.rotation[frame], points[point])
    scale = poses.scale[frame][:, None]
    return (scale * q[:, :2] + poses.origin[frame]) / (1 + kappa * scale * q[:, 2:])


def derivatives(
    points: np.ndarray, poses: Poses, kappa: float, seen: Observations
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns residuals [N, 2] in standard deviations, and what was seen by pose [N, 2, 6], point [N, 2, 3], log kappa
    [N, 2].
    """
    rotation = poses.rotation[seen.frame]
    q = np.einsum("nij,nj->ni", rotation, points[seen.point])
    scale, origin = poses.scale[seen.frame][:, None], poses.origin[seen.frame]
    depth = 1 + kappa * scale * q[:, 2:]
    pixel = (scale * q[:, :2] + origin) / depth
    by_q = np.zeros((len(q), 2, 3))
    by_q[:, 0, 0] = by_q[:, 1, 1] = (scale / depth)[:, 0]
    by_q[:, :, 2] = -kappa * pixel * scale / depth
    by_pose = np.empty((len(q), 2, 6))
    by_pose[:, :, :3] = np.cross(q[:, None], by_q)
    by_kappa = -pixel * (depth - 1) / depth
    by_pose[:, :, 3] = scale * q[:, :2] / depth + by_kappa
    by_pose[:, :, 4:] = np.eye(2) / depth[:, None]
    white = seen.white[seen.point]
    residual, by_kappa = (np.einsum("nij,nj->ni", white, v) for v in (seen.xy - pixel, by_kappa))
    return residual, white @ by_pose, white @ (by_q @ rotation), by_kappa


def robust_weights(seen: Observations, distance: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Returns weights [N] of residuals of length `distance` [N] for points with the given noise [P], standard
    deviations.
    """
    sigma = noise[seen.point]
    return seen.weight / sigma**2 / (1 + (distance / (OUTLIER * sigma)) ** 2)


def point_noise(seen: Observations, distance: np.ndarray, points: int) -> np.ndarray:
    """Returns the noise of each point [P] in its standard deviations, from the median of the residuals' lengths."""
    order = np.lexsort((distance, seen.point))
    count = np.bincount(seen.point, minlength=points)
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    noise = np.full(points, np.inf)
    some = count > 0
    noise[some] = distance[order][first[some] + count[some] // 2] / 1.177  # a Rayleigh distribution's median
    return np.maximum(noise, LEAST_NOISE)


def _sums(values: np.ndarray, index: np.ndarray, count: int) -> np.ndarray:
    """Returns sums of values [N, ...] with the same index [N]: [count, ...]."""
    flat = values.reshape(len(values), -1)
    out = np.stack([np.bincount(index, column, count) for column in flat.T], axis=1)
    return out.reshape(count, *values.shape[1:])


def pose_normals(points: np.ndarray, poses: Poses, kappa: float, seen: Observations,
                 weigh: Callable[[Observations, np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Returns every frame's normal matrix [F, 6, 6] and right side [F, 6], the points held."""
    matrix, right = np.zeros((len(poses), 6, 6)), np.zeros((len(poses), 6))
    for a in range(0, len(seen), CHUNK):
        part = seen.take(slice(a, a + CHUNK))
        residual, by_pose, _, _ = derivatives(points, poses, kappa, part)
        weighed = by_pose * weigh(part, np.linalg.norm(residual, axis=1))[:, None, None]
        matrix += _sums(weighed.transpose(0, 2, 1) @ by_pose, part.frame, len(poses))
        right += _sums(np.einsum("nik,ni->nk", weighed, residual), part.frame, len(poses))
    return matrix, right


def point_normals(
    points: np.ndarray, poses: Poses, kappa: float, seen: Observations,
    weigh: Callable[[Observations, np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Returns every point's normal matrix [P, 3, 3] and right side [P, 3], the poses held."""
    matrix, right = np.zeros((len(points), 3, 3)), np.zeros((len(points), 3))
    for a in range(0, len(seen), CHUNK):
        part = seen.take(slice(a, a + CHUNK))
        residual, _, by_point, _ = derivatives(points, poses, kappa, part)
        weighed = by_point * weigh(part, np.linalg.norm(residual, axis=1))[:, None, None]
        matrix += _sums(weighed.transpose(0, 2, 1) @ by_point, part.point, len(points))
        right += _sums(np.einsum("nik,ni->nk", weighed, residual), part.point, len(points))
    return matrix, right


def resect(points: np.ndarray, poses: Poses, kappa: float, seen: Observations, noise: np.ndarray, steps: int) -> Poses:
    """Returns every frame's pose by itself after some Gauss-Newton steps, the points [P, 3] held."""
    for _ in range(steps):
        matrix, right = pose_normals(points, poses, kappa, seen, lambda o, d: robust_weights(o, d, noise))
        poses = poses.moved(np.linalg.solve(matrix + 1e-9 * np.eye(6), right[..., None])[..., 0])
    return poses


def landmark_poses(landmarks: np.ndarray, face: np.ndarray, size: int) -> Poses:
    """Returns poses of the face [478, 3] cm by its stable landmarks alone, with the usual focal length.

    landmarks: [F, 478, 3] pixels of a size x size picture, all finite.
    """
    scale, rotation, shift = rough_poses(landmarks, face)
    frames, known = len(landmarks), len(STABLE)
    xy = landmarks[:, STABLE, :2].reshape(-1, 2).astype(np.float64) - size / 2
    seen = Observations(np.repeat(np.arange(frames), known), np.tile(np.arange(known), frames), xy,
                        np.ones(frames * known), np.tile(np.eye(2), (known, 1, 1)))  # fmt: skip
    poses = Poses(rotation, scale, shift - size / 2)
    return resect(face[STABLE], poses, 1 / (USUAL_SHARE * size), seen, np.ones(known), 4)


@dataclass
class Prior:
    """What is known beforehand: points near `points` [P, 3] by `precision` [P, P] (the same for x, y, z; 1 / cm^2),
    and log kappa near `log_kappa`, give or take `spread`."""

    points: np.ndarray
    precision: np.ndarray
    log_kappa: float
    spread: float


def joint_step(points: np.ndarray, poses: Poses, kappa: float, seen: Observations, weights: np.ndarray,
               prior: Prior):  # fmt: skip
    """Takes one Gauss-Newton step of everything: poses [F, 6], points [P, 3], log kappa, and the latter's standard
    deviation.

    Poses are eliminated (Schur complement), what remains is dense: 3 P + 1 unknowns.
    """
    count, size = len(poses), 3 * len(points) + 1
    residual, by_pose, by_point, by_kappa = derivatives(points, poses, kappa, seen)
    root = np.sqrt(weights)
    residual, by_kappa = residual * root[:, None], by_kappa * root[:, None]
    by_pose, by_point = by_pose * root[:, None, None], by_point * root[:, None, None]

    matrix, right = np.zeros((size, size)), np.zeros(size)
    blocks = _sums(by_point.transpose(0, 2, 1) @ by_point, seen.point, len(points))
    for i in range(3):
        for j in range(3):
            index = 3 * np.arange(len(points))
            matrix[index + i, index + j] += blocks[:, i, j]
    right[:-1] = _sums(np.einsum("nik,ni->nk", by_point, residual), seen.point, len(points)).ravel()
    border = _sums(np.einsum("nik,ni->nk", by_point, by_kappa), seen.point, len(points)).ravel()
    matrix[:-1, -1] = matrix[-1, :-1] = border
    matrix[-1, -1] = (by_kappa**2).sum()
    right[-1] = (by_kappa * residual).sum()
    for k in range(3):
        matrix[k:-1:3, k:-1:3] += prior.precision
    right[:-1] += (prior.precision @ (prior.points - points)).ravel()
    matrix[-1, -1] += prior.spread**-2
    right[-1] += prior.spread**-2 * (prior.log_kappa - np.log(kappa))

    own = _sums(by_pose.transpose(0, 2, 1) @ by_pose, seen.frame, count)
    own_right = _sums(np.einsum("nik,ni->nk", by_pose, residual), seen.frame, count)
    root_own = np.linalg.cholesky(own + 1e-9 * np.trace(own, axis1=1, axis2=2)[:, None, None] * np.eye(6))
    cross = np.zeros((count, 6, size))
    products = by_pose.transpose(0, 2, 1) @ by_point
    columns = 3 * seen.point
    for k in range(3):
        # A point is seen once in a frame, so plain assignment adds nothing up.
        cross[seen.frame, :, columns + k] = products[:, :, k]
    cross[:, :, -1] = _sums(np.einsum("nik,ni->nk", by_pose, by_kappa), seen.frame, count)
    half = np.stack([solve_triangular(a, b, lower=True) for a, b in zip(root_own, cross, strict=True)])
    half_right = np.linalg.solve(root_own, own_right[..., None])[..., 0]
    flat = half.reshape(-1, size)
    factor = cho_factor(matrix - flat.T @ flat + 1e-9 * np.diag(np.diag(matrix)), lower=True, overwrite_a=True)
    step = cho_solve(factor, right - flat.T @ half_right.ravel())
    pose_step = np.linalg.solve(root_own.transpose(0, 2, 1), (half_right - half @ step)[..., None])[..., 0]
    # The last unknown of a lower Cholesky factor: its inverse square is that unknown's variance.
    deviation = 1 / factor[0][-1, -1]
    return pose_step, step[:-1].reshape(-1, 3), float(step[-1]), float(deviation)
