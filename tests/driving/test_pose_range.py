"""Poses for the torso: the recorded ones as they are, others as far as the head was recorded."""

import numpy as np
from scipy.spatial.transform import Rotation

from aed_nerfstudio.driving.pose_range import PoseRange


def seen_from(x: float = 0.0, y: float = 0.0, z: float = 0.0, distance: float = 4.0) -> np.ndarray:
    """A camera that looks at the head's centre, the head turned by degrees."""
    turn = Rotation.from_euler("xyz", [x, y, z], degrees=True).as_matrix()
    return np.concatenate([turn, distance * turn[:, 2:]], axis=1).astype(np.float32)


RECORDED = np.stack([seen_from(x, y) for x in (-5, 0, 5) for y in (-10, -5, 0, 5, 10)])
RANGE = PoseRange(RECORDED, seen_from())


def angle(one: np.ndarray, other: np.ndarray) -> float:
    return np.degrees((Rotation.from_matrix(one[:, :3]).inv() * Rotation.from_matrix(other[:, :3])).magnitude())


def test_recorded_poses_and_those_between_stay():
    for pose in (*RECORDED, seen_from(2, 7)):
        assert RANGE.nearest(pose) is pose
    behind = seen_from(distance=-4.0)  # a head behind the camera has no place in its picture
    assert RANGE.nearest(behind) is RANGE.typical


def test_others_stop_at_the_edge_of_what_was_recorded():
    for turned, limit in ((seen_from(y=60), 10), (seen_from(y=180), 10), (seen_from(x=-40), 5), (seen_from(z=30), 0)):
        found = RANGE.nearest(turned)
        assert found.dtype == np.float32 and found.shape == (3, 4)
        assert 0.95 * limit - 0.1 < angle(found, RANGE.typical) < 1.25 * limit + 0.6
    far = RANGE.nearest(seen_from(distance=9.0))
    assert abs(np.linalg.norm(far[:, 3]) - 4) < 0.05


def test_it_follows_a_moving_camera_without_jumps():
    path = [RANGE.nearest(seen_from(y=degrees)) for degrees in np.arange(0, 60, 0.5)]
    assert max(angle(a, b) for a, b in zip(path, path[1:], strict=False)) < 0.75


def test_a_head_that_never_moved_has_a_range():
    still = PoseRange(np.stack([seen_from()] * 3), seen_from())
    assert still.nearest(seen_from()) is not None and angle(still.nearest(seen_from(y=20)), seen_from()) < 0.1
