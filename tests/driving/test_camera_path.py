"""Camera paths of the viewer."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aed_nerfstudio.driving.camera_path import CameraPath
from aed_nerfstudio.errors import InputError


def saved(**changes):
    """A path as nerfstudio's Render tab writes it: a quarter of a turn in 10 steps, with a zoom."""
    views = []
    for k in range(10):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_rotvec([0, 0.1 * k, 0]).as_matrix()
        pose[:3, 3] = 4 * pose[:3, 2]
        views.append({"camera_to_world": pose.flatten().tolist(), "fov": 20.0 + k, "aspect": 1.5})
    path = {
        "camera_type": "perspective", "render_height": 40, "render_width": 60, "fps": 10.0, "seconds": 1.0,
        "is_cycle": False, "camera_path": views, "default_fov": 20.0, "keyframes": [], "smoothness_value": 0.0,
    }  # fmt: skip
    return {**path, **changes}


def read(tmp_path, content):
    path = tmp_path / "path.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return CameraPath.read(path)


def test_shows_what_the_viewer_showed(tmp_path):
    path = read(tmp_path, saved())
    camera = path.camera(0.3)
    assert (int(camera.height), int(camera.width)) == path.frame_size() == (40, 60)
    np.testing.assert_allclose(camera.camera_to_worlds[0, :, 3], [4 * np.sin(0.3), 0, 4 * np.cos(0.3)], atol=1e-5)
    assert float(camera.fy) == pytest.approx(20 / np.tan(np.radians(23) / 2), rel=1e-4)  # fov is vertical
    assert float(camera.fx) == float(camera.fy) and float(camera.cx) == 30 and float(camera.cy) == 20
    larger = path.camera(0.3, 120)
    assert (int(larger.height), int(larger.width)) == (80, 120)
    assert float(larger.fy) == pytest.approx(2 * float(camera.fy))


def test_between_and_beyond(tmp_path):
    path, cycle = read(tmp_path, saved()), read(tmp_path, saved(is_cycle=True))
    turn = Rotation.from_matrix(path.camera(0.25).camera_to_worlds[0, :, :3].numpy()).as_rotvec()
    np.testing.assert_allclose(turn, [0, 0.25, 0], atol=1e-5)
    np.testing.assert_array_equal(path.camera(50).camera_to_worlds, path.camera(0.9).camera_to_worlds)  # held
    np.testing.assert_allclose(cycle.camera(1.3).camera_to_worlds, cycle.camera(0.3).camera_to_worlds, atol=1e-5)
    start, end, between = (cycle.camera(t).camera_to_worlds[0, :, 3] for t in (0, 0.9, 0.95))
    np.testing.assert_allclose(between, (start + end) / 2, atol=1e-5)


def test_paths_are_told_apart(tmp_path):
    found = [read(tmp_path, saved(**change)).digest() for change in ({}, {}, {"fps": 12.0}, {"is_cycle": True})]
    assert found[0] == found[1] and len(set(found)) == 3


def broken(change):
    path = saved()
    change(path)
    return path


FAULTS = {
    "no path": ({"keyframes": []}, "render_width is missing"),
    "empty": (saved(camera_path=[]), "camera_path must be a list of at least one camera"),
    "short matrix": (broken(lambda p: p["camera_path"][3]["camera_to_world"].pop()), r"camera_path\[3\].*of 16"),
    "text in matrix": (broken(lambda p: p["camera_path"][2].update(camera_to_world=["a"] * 16)), r"camera_path\[2\]"),
    "skew": (broken(lambda p: p["camera_path"][4].update(camera_to_world=[3.0] * 16)), r"camera_path\[4\].*rotation"),
    "no fov": (broken(lambda p: p["camera_path"][1].pop("fov")), r"camera_path\[1\].fov is missing"),
    "size": (saved(render_width=0), "render_width must be"),
    "fps": (saved(fps=0), "fps must be"),
    "panorama": (saved(camera_type="equirectangular"), "camera_type must be perspective"),
    "no JSON": ("{", "damaged"),
}


@pytest.mark.parametrize("content, fault", FAULTS.values(), ids=FAULTS)
def test_faults_are_named(tmp_path, content, fault):
    with pytest.raises(InputError, match=rf"path\.json.*{fault}.*Render tab"):
        read(tmp_path, content)
