"""Head poses from files."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aed_nerfstudio.driving.pose_file import read_poses
from aed_nerfstudio.errors import InputError


@pytest.fixture
def poses():
    turns = Rotation.from_rotvec(np.linspace(0, 0.3, 7)[:, None] * [0, 1, 0]).as_matrix()
    places = np.linspace([0, 0, 4], [0.3, 0, 4], 7)[..., None]
    return np.concatenate([np.concatenate([turns, places], 2), np.tile([[[0.0, 0, 0, 1]]], (7, 1, 1))], 1)


def test_every_way_to_write_them_is_read_alike(poses, tmp_path):
    np.save(tmp_path / "4.npy", poses)
    np.save(tmp_path / "3.npy", poses[:, :3].astype(np.float32))
    shapes = {"4x4": poses, "3x4": poses[:, :3], "16": poses.reshape(7, 16), "12": poses[:, :3].reshape(7, 12)}
    for name, array in shapes.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(array.tolist()))
    frames = [{"file_path": "a", "transform_matrix": p.tolist()} for p in poses]
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames}))
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 7
    for path in paths:
        found = read_poses(path)
        assert found.shape == (7, 3, 4) and found.dtype == np.float32
        np.testing.assert_allclose(found, poses[:, :3], atol=1e-6)


def test_of_many_clips_the_longest_is_taken(poses, tmp_path):
    frames = [{"clip": "a" if k < 3 else "b", "transform_matrix": p.tolist()} for k, p in enumerate(poses)]
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames}))
    np.testing.assert_allclose(read_poses(tmp_path / "transforms.json"), poses[3:, :3], atol=1e-6)


def faulty(poses):
    far, bent, nan = poses.copy(), poses.copy(), poses.copy()
    far[2, 0, 3], bent[3, 0, 0], nan[4, 1, 1] = 5000, 2.0, np.nan
    return {"far": (far, r"\[2\].*within"), "bent": (bent, r"\[3\].*rotation"), "nan": (nan, r"\[4\].*finite")}


@pytest.mark.parametrize("name", ["far", "bent", "nan"])
@pytest.mark.parametrize("suffix", ["npy", "json"])
def test_a_matrix_that_is_no_pose_is_named(poses, tmp_path, name, suffix):
    array, fault = faulty(poses)[name]
    path = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, array)
    else:
        path.write_text(json.dumps(array.tolist()))
    with pytest.raises(InputError, match=rf"a\.{suffix}: .*{fault}"):
        read_poses(path)


@pytest.mark.parametrize(
    "name, content, fault",
    [
        ("lost.json", None, "is missing"),
        ("lost.npy", None, "no such file"),
        ("empty.json", "[]", "holds no pose"),
        ("none.json", '{"frames": []}', "holds no pose"),
        ("broken.json", "[", "damaged"),
        ("other.json", '{"camera": 1}', "frames is missing"),
        ("short.json", "[[1, 2, 3]]", r"\[0\] must be a 3x4"),
        ("text.json", '["a"]', r"\[0\] must be a 3x4"),
        ("text.npy", "no array", "no .npy"),
    ],
)
def test_other_files(tmp_path, name, content, fault):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=f"{name}.*{fault}"):
        read_poses(tmp_path / name)


def test_arrays_of_another_shape(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((5, 6)))
    with pytest.raises(InputError, match=r"a\.npy: has shape \[5, 6\]"):
        read_poses(tmp_path / "a.npy")
