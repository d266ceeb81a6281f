"""Bundle adjustment: exact derivatives, and poses, points and focal length recovered from their own projections."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aed_nerfstudio.capture.bundle_adjustment import (
    Observations,
    Poses,
    Prior,
    derivatives,
    joint_step,
    point_noise,
    project,
    resect,
    robust_weights,
)

FRAMES, POINTS, FOCAL = 40, 60, 500.0


@pytest.fixture
def scene() -> tuple[np.ndarray, Poses, Observations]:
    """Points on half a ball of 8 cm, turned by up to 20 degrees, and where they are seen: no noise."""
    rng = np.random.default_rng(3)
    points = rng.normal(size=(POINTS, 3))
    points *= 8 / np.linalg.norm(points, axis=1, keepdims=True)
    points[:, 2] = -np.abs(points[:, 2])
    turn = rng.uniform(-1, 1, (FRAMES, 3)) * np.radians([12, 20, 6])
    poses = Poses(Rotation.from_rotvec(turn).as_matrix(), rng.uniform(7, 9, FRAMES), rng.uniform(-20, 20, (FRAMES, 2)))
    frame, point = np.repeat(np.arange(FRAMES), POINTS), np.tile(np.arange(POINTS), FRAMES)
    xy = project(points, poses, 1 / FOCAL, frame, point)
    white = np.tile(np.linalg.cholesky([[4.0, 1.0], [1.0, 2.0]]).T, (POINTS, 1, 1))
    return points, poses, Observations(frame, point, xy, np.ones(len(frame)), white)


def test_projection_is_the_pinhole_cameras(scene):
    points, poses, seen = scene
    distance = FOCAL / poses.scale
    place = np.einsum("fij,nj->fni", poses.rotation, points)
    place += np.stack([poses.origin[:, 0] / poses.scale, poses.origin[:, 1] / poses.scale, distance], -1)[:, None]
    assert np.allclose(FOCAL * place[..., :2] / place[..., 2:], seen.xy.reshape(FRAMES, POINTS, 2), atol=1e-9)


def test_derivatives(scene):
    points, poses, seen = scene
    seen.xy += 1.0
    kappa, small = 1 / FOCAL, 1e-6
    residual, by_pose, by_point, by_kappa = derivatives(points, poses, kappa, seen)

    def moved(step: np.ndarray, shift: np.ndarray, turn: float) -> np.ndarray:
        return (residual - derivatives(points + shift, poses.moved(step), kappa * np.exp(turn), seen)[0]) / small

    for k in range(6):
        step = np.zeros((FRAMES, 6))
        step[:, k] = small
        assert np.allclose(moved(step, 0.0, 0.0), by_pose[:, :, k], atol=1e-3)
    for k in range(3):
        assert np.allclose(moved(np.zeros((FRAMES, 6)), small * np.eye(3)[k], 0.0), by_point[:, :, k], atol=1e-3)
    assert np.allclose(moved(np.zeros((FRAMES, 6)), 0.0, small), by_kappa, atol=1e-3)


def test_everything_is_recovered_together(scene):
    """From a focal length 40 % too long, shifted points and turned poses; what is left open is the prior's."""
    points, poses, seen = scene
    rng = np.random.default_rng(4)
    prior = Prior(points + rng.normal(0, 0.3, points.shape), np.eye(POINTS) * 1e-2, -np.log(1.4 * FOCAL), 0.35)
    found, start, kappa = poses.moved(rng.normal(0, 0.02, (FRAMES, 6))), prior.points.copy(), 1 / (1.4 * FOCAL)
    for _ in range(15):
        step, move, turn, deviation = joint_step(start, found, kappa, seen, 100 * np.ones(len(seen)), prior)
        found, start, kappa = found.moved(step), start + move, kappa * np.exp(turn)
    assert 1 / kappa == pytest.approx(FOCAL, rel=0.01)
    assert 0 < deviation < 0.05
    error = seen.xy - project(start, found, kappa, seen.frame, seen.point)
    assert np.abs(error).max() < 0.02


def test_a_frames_pose_withstands_a_third_of_nonsense(scene):
    points, poses, seen = scene
    rng = np.random.default_rng(5)
    wrong = rng.uniform(size=len(seen)) < 0.33
    seen.xy[wrong] += rng.uniform(-40, 40, (wrong.sum(), 2))
    found = resect(points, poses.moved(rng.normal(0, 0.03, (FRAMES, 6))), 1 / FOCAL, seen, np.full(POINTS, 0.5), 12)
    error = np.degrees(Rotation.from_matrix(found.rotation @ poses.rotation.transpose(0, 2, 1)).magnitude())
    assert error.max() < 0.3


def test_noise_and_weights(scene):
    _, _, seen = scene
    rng = np.random.default_rng(6)
    distance = np.linalg.norm(rng.normal(0, 3.0, (len(seen), 2)), axis=1)
    noise = point_noise(seen, distance, POINTS + 1)
    assert np.median(noise[:-1]) == pytest.approx(3.0, rel=0.1) and np.isinf(noise[-1])  # one was never seen
    weights = robust_weights(seen, np.full(len(seen), 1000.0), noise)
    assert (weights < 1e-3 * robust_weights(seen, np.zeros(len(seen)), noise)).all()
