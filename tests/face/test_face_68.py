import numpy as np
import pytest

from aed_nerfstudio.face.face_68 import MESH_OF, from_68, to_68
from aed_nerfstudio.face.face_mesh import INNER_LIPS, OUTER_LIPS, eye_ratio, lip_shape, mouth_opening
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import perform
from aed_nerfstudio.synthetic.scene import Scene


@pytest.fixture(scope="module")
def mesh():
    """Landmarks of an actor that talks, turns and blinks, [12, 478, 3] pixels of 256."""
    scene = Scene(Actor(4), 256, 4)
    noise = np.random.default_rng(4).normal(scale=0.1, size=16000 * 4).astype(np.float32)
    take = perform(noise, 100, "happy", "strong", seed=4)
    return np.array([scene.render(take.units[f], take.poses[f]).landmarks for f in range(0, 96, 8)])


def test_the_points_come_back(mesh):
    points = to_68(mesh)
    assert points.shape == (12, 68, 2) and len(set(MESH_OF)) == 68
    np.testing.assert_allclose(to_68(from_68(points)), points, atol=1e-3)


def test_what_is_measured_is_nearly_the_same(mesh):
    again = from_68(to_68(mesh))
    assert again.shape == mesh.shape and again.dtype == np.float32
    for vertices in (OUTER_LIPS, INNER_LIPS, [10, 1, 168, 193, 417, 3, 248]):
        off = np.linalg.norm(again[:, vertices, :2] - mesh[:, vertices, :2], axis=-1)
        assert np.median(off) < 1.5 and off.max() < 6
    np.testing.assert_allclose(mouth_opening(again), mouth_opening(mesh), atol=1e-3)
    np.testing.assert_allclose(eye_ratio(again), eye_ratio(mesh), atol=1e-3)
    assert np.abs(lip_shape(again) - lip_shape(mesh)).max() < 0.06


def test_the_sides_are_not_swapped(mesh):
    points = to_68(mesh).mean(axis=0)
    assert points[36, 0] < points[45, 0] and points[48, 0] < points[54, 0] and points[0, 0] < points[16, 0]
    assert points[62, 1] < points[66, 1] and points[27, 1] < points[30, 1] < points[8, 1]
