"""Focal lengths of single cameras, by the perspective of a head whose shape all takes together have told.

Zoom and distance look alike on a head that hardly turns: then the deviation is large, and nothing is said.
"""

from __future__ import annotations

import numpy as np

from aed_nerfstudio.capture.bundle_adjustment import Observations, Poses, derivatives, pose_normals, robust_weights

FRAMES = 400
"""Of one camera, evenly spread over its takes."""
BLOCKS = 4
"""Stretches of time that are fitted by themselves: what they differ by is what one of them may be off."""
ALIKE = 200.0
"""Observations of a frame and of its neighbours whose errors go together: 8 frames by a half of the face."""
STEPS = 12
SPREAD = 0.5
"""Of the focal length's logarithm about that of all takes, where nothing tells more."""


def fit_focals(
    points: np.ndarray, poses: Poses, kappa: float, seen: Observations, noise: np.ndarray, camera: np.ndarray
) -> list[tuple[float, float]]:
    """Returns each camera's focal length over that of the first one, and the standard deviation of its logarithm.

    points: [P, 3] cm, held. poses: of F frames. kappa: 1 / focal length of all together. noise: [P], see `point_noise`.
    camera: int [F], the number of each frame's camera, from 0 on.
    """
    found = []
    for number in range(int(camera.max()) + 1):
        frames = np.flatnonzero(camera == number)
        frames = frames[np.unique(np.linspace(0, len(frames) - 1, min(FRAMES, len(frames))).astype(int))]
        fits = [_fit(points, poses, kappa, seen, noise, part) for part in np.array_split(frames, BLOCKS) if len(part)]
        values, information = np.array(fits).T
        mean = float((values * information).sum() / information.sum())
        scatter = float(np.sqrt(((values - mean) ** 2 * information).sum() / information.sum() / len(fits)))
        found.append((mean, float(np.hypot(scatter, information.sum() ** -0.5))))
    first, unsure = found[0]
    return [(1.0, unsure), *((float(np.exp(first - own)), float(np.hypot(unsure, away))) for own, away in found[1:])]


def _fit(
    points: np.ndarray, poses: Poses, kappa: float, seen: Observations, noise: np.ndarray, frames: np.ndarray
) -> tuple[float, float]:
    """Returns log kappa of some frames alone and its information (inverse variance); their poses adapt."""
    part = seen.take(np.isin(seen.frame, frames))
    part = Observations(np.searchsorted(frames, part.frame), part.point, part.xy, part.weight, part.white)
    own, count, start, information = poses.take(frames), len(frames), float(np.log(kappa)), SPREAD**-2
    value: float = start

    def weigh(some: Observations, distance: np.ndarray) -> np.ndarray:
        return robust_weights(some, distance, noise) / ALIKE

    for _ in range(STEPS):
        matrix, right = pose_normals(points, own, np.exp(value), part, weigh)
        residual, by_pose, _, by_kappa = derivatives(points, own, np.exp(value), part)
        weight = weigh(part, np.linalg.norm(residual, axis=1))
        columns = weight * np.einsum("nik,ni->kn", by_pose, by_kappa)
        cross = np.stack([np.bincount(part.frame, column, count) for column in columns], axis=1)
        solved: np.ndarray = np.linalg.solve(matrix + 1e-9 * np.eye(6), np.stack([right, cross], axis=2))
        information = SPREAD**-2 + float((weight[:, None] * by_kappa**2).sum() - (cross * solved[..., 1]).sum())
        pull = SPREAD**-2 * (start - value) + float((weight[:, None] * by_kappa * residual).sum())
        step: float = float(np.clip((pull - (cross * solved[..., 0]).sum()) / information, -0.3, 0.3))
        own = own.moved(solved[..., 0] - solved[..., 1] * step)
        value += step
        if abs(step) < 1e-4:
            break
    return value, information
