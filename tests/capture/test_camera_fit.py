"""Cameras of one recording compared by a head's perspective, and those refused that differ too much."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aed_nerfstudio.capture.bundle_adjustment import Observations, Poses, project
from aed_nerfstudio.capture.camera_fit import fit_focals
from aed_nerfstudio.capture.context import TakeState
from aed_nerfstudio.capture.pose_stages import UNSURE_ZOOM, check_cameras
from aed_nerfstudio.capture.sources import Source
from aed_nerfstudio.capture.takes import Take
from aed_nerfstudio.errors import InputError

FRAMES, POINTS, FOCAL, NOISE = 40, 200, 500.0, 0.2


def _fits(degrees: float, ratio: float) -> list[tuple[float, float]]:
    """Two cameras of `FRAMES` frames each, the second one's focal length being `ratio` of the first one's."""
    rng = np.random.default_rng(3)
    points = rng.normal(size=(POINTS, 3))
    points *= 8 / np.linalg.norm(points, axis=1, keepdims=True)
    points[:, 2] = -np.abs(points[:, 2])
    turn = np.radians(degrees) * rng.uniform(-1, 1, (2 * FRAMES, 3)) * [0.5, 1, 0.3]
    poses = Poses(Rotation.from_rotvec(turn).as_matrix(), rng.uniform(4.9, 5.1, 2 * FRAMES),
                  rng.uniform(-9, 9, (2 * FRAMES, 2)))  # fmt: skip
    frame, point = np.repeat(np.arange(2 * FRAMES), POINTS), np.tile(np.arange(POINTS), 2 * FRAMES)
    first = frame < FRAMES
    xy = np.where(first[:, None], project(points, poses, 1 / FOCAL, frame, point),
                  project(points, poses, 1 / (ratio * FOCAL), frame, point))  # fmt: skip
    seen = Observations(frame, point, xy + rng.normal(0, NOISE, xy.shape), np.ones(len(frame)),
                        np.tile(np.eye(2) / NOISE, (POINTS, 1, 1)))  # fmt: skip
    camera = np.repeat([0, 1], FRAMES)
    return fit_focals(points, poses, 1 / FOCAL, seen, np.ones(POINTS), camera)


@pytest.mark.parametrize("ratio", [0.7, 1.0, 1.3])
def test_a_moving_head_tells_the_focal_lengths_apart(ratio):
    (one, _), (other, spread) = _fits(15, ratio)
    assert one == 1 and spread < UNSURE_ZOOM
    assert abs(np.log(other / ratio)) < max(2 * spread, 0.03)


def _states(zoom: float) -> list[TakeState]:
    states = []
    for number, name in enumerate("ab"):
        take = Take(name, number, 0, 1, camera=number, zoom=zoom if number else 1.0)
        source = Source(Path(f"{name}.mp4"), name, "neutral", "medium", None, None)
        states.append(TakeState(take, source, "", np.zeros((1, 478, 3)), np.ones(1, bool), np.ones(1), [[]], None, 0))
    return states


def test_only_what_would_be_seen_is_refused():
    check_cameras(_states(2.0), [])  # one camera
    check_cameras(_states(1.3), [(1.0, 0.3), (0.7, 0.3)])
    check_cameras(_states(2.0), [(1.0, 0.04), (1.1, 0.05)])  # zoom, which the crop undoes
    with pytest.raises(
        InputError, match=r"b.mp4: shows the head 2.00 times as large as a.mp4, and zoom cannot be told from distance"
    ):
        check_cameras(_states(2.0), [(1.0, 0.3), (1.0, 0.3)])
    with pytest.raises(InputError, match=r"b.mp4: .* at 0.50 of the distance: .* film all videos from one distance"):
        check_cameras(_states(2.0), [(1.0, 0.04), (0.5, 0.05)])
