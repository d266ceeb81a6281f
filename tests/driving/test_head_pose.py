"""Head poses as the torso sees them."""

import numpy as np
from scipy.spatial.transform import Rotation

from aed_nerfstudio.driving.head_pose import pose_vector


def test_pose_vector_is_the_head_seen_from_the_camera():
    turn, place = Rotation.from_rotvec([0.1, -0.2, 0.05]), np.array([0.3, -0.2, -4.0])
    camera_to_world = np.concatenate([turn.as_matrix().T, -turn.as_matrix().T @ place[:, None]], 1)
    expected = [0.1, -0.2, 0.05, 0.3 / 4, -0.2 / 4, np.log(4)]
    np.testing.assert_allclose(pose_vector(camera_to_world), expected, atol=1e-6)
    straight = np.eye(4)[:3]
    straight[2, 3] = 2
    both = pose_vector(np.stack([camera_to_world, straight]))
    np.testing.assert_allclose(both, [expected, [0, 0, 0, 0, 0, np.log(2)]], atol=1e-6)
