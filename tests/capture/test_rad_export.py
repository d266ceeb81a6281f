import json
import os

import cv2
import numpy as np
import pytest

from aed_nerfstudio.capture import rad_export
from aed_nerfstudio.capture.rad_export import export_rad
from aed_nerfstudio.dataset.rad_folder import read_rad_folder
from aed_nerfstudio.dataset.schema import HEAD, NECK, read_dataset
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.face_mesh import mouth_opening
from aed_nerfstudio.files import MARK, make_own, write
from aed_nerfstudio.media.audio_io import read_audio


@pytest.fixture(scope="module")
def ours(data):
    dataset = read_dataset(data)
    dataset.frames[7].usable = False
    return dataset


@pytest.fixture(scope="module")
def exported(ours, tmp_path_factory):
    root = tmp_path_factory.mktemp("rad") / "actor"
    assert export_rad(ours, root, features=True, progress=False) == len(ours.frames) - 1
    return root


def test_it_is_laid_out_as_theirs(ours, exported):
    """What RAD-NeRF's provider opens: https://arxiv.org/abs/2211.12368's code, nerf/provider.py."""
    size = ours.camera.w
    for part in ("train", "val"):
        transforms = json.loads((exported / f"transforms_{part}.json").read_text())
        assert (transforms["cx"], transforms["cy"]) == (size / 2, size / 2)
        assert transforms["focal_len"] == ours.camera.fl_x
        for frame in transforms["frames"]:
            number = frame["img_id"]
            assert frame["aud_id"] == number != 7
            for path in (f"gt_imgs/{number}.jpg", f"ori_imgs/{number}.jpg", f"parsing/{number}.png"):
                assert cv2.imread(str(exported / path)).shape == (size, size, 3)
            assert cv2.imread(str(exported / f"torso_imgs/{number}.png"), cv2.IMREAD_UNCHANGED).shape[2] == 4
            assert np.loadtxt(exported / f"ori_imgs/{number}.lms").shape == (68, 2)
            assert abs(np.array(frame["transform_matrix"])[:3, 3]).max() < 2  # metres
    assert np.load(exported / "aud.npy").shape == (len(ours.frames), 16, ours.feature_dim)
    assert len(read_audio(exported / "aud.wav")) == len(ours.frames) * 640
    assert cv2.imread(str(exported / "bc.jpg")).shape == (size, size, 3)
    colours = cv2.imread(str(exported / "parsing/0.png"))  # blue, green, red
    labels = ours.parsing(ours.frames[0])
    assert (colours[labels == HEAD] == (255, 0, 0)).all() and (colours[labels == NECK] == (0, 255, 0)).all()


def test_round_trip(ours, exported):
    theirs = read_rad_folder(exported)
    assert theirs.camera == ours.camera
    assert theirs.split("train") == ours.split("train") and theirs.split("val") == ours.split("val")
    for i in ours.split("train"):
        np.testing.assert_allclose(theirs.frames[i].face_box, ours.frames[i].face_box, atol=2)
        np.testing.assert_allclose(theirs.frames[i].lips_box, ours.frames[i].lips_box, atol=1)
    marks = np.concatenate([ours.landmarks(clip.name) for clip in ours.clips])
    for i in (0, 20, 45, 79):
        mine, frame = ours.frames[i], theirs.frames[i]
        np.testing.assert_allclose(frame.camera_to_world, mine.camera_to_world, atol=1e-9)
        np.testing.assert_array_equal(theirs.parsing(frame), ours.parsing(mine))
        np.testing.assert_array_equal(theirs.torso(frame), ours.torso(mine))
        off = np.abs(theirs.image(frame).astype(int) - ours.image(mine))
        assert off.mean() < 2 and (off[ours.parsing(mine) == HEAD] < 40).all()
        np.testing.assert_allclose(mouth_opening(theirs.landmarks(""))[i], mouth_opening(marks)[i], atol=1e-3)
    assert np.abs(theirs.static_background().astype(int) - ours.static_background()).mean() < 1.5


def test_one_clip_alone(ours, tmp_path):
    name = ours.clips[1].name
    assert export_rad(ours, tmp_path / "x", [name], progress=False) == ours.clips[1].count
    assert len(read_audio(tmp_path / "x/aud.wav")) == ours.clips[1].count * 640
    first = [k for k, frame in enumerate(ours.frames) if frame.clip == name][0]
    np.testing.assert_allclose(
        read_rad_folder(tmp_path / "x").frames[0].camera_to_world, ours.frames[first].camera_to_world, atol=1e-9
    )


def test_refusals(ours, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("keep")
    with pytest.raises(InputError, match="already exists"):
        export_rad(ours, tmp_path / "full", progress=False)
    assert os.listdir(tmp_path / "full") == ["mine.txt"]
    with pytest.raises(InputError, match="has no clip sad"):
        export_rad(ours, tmp_path / "x", ["sad"], progress=False)
    with pytest.raises(InputError, match="cannot be (made|written)"):
        export_rad(ours, tmp_path / "full/mine.txt/x", progress=False)
    assert sorted(os.listdir(tmp_path)) == ["full"]


def test_an_interrupted_export_leaves_nothing(ours, tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(rad_export, "_write_sound", stopped)  # as if the user had pressed Ctrl-C by then
    with pytest.raises(KeyboardInterrupt):
        export_rad(ours, tmp_path / "x", progress=False)
    assert os.listdir(tmp_path) == []


@pytest.mark.hostile
def test_only_our_own_unfinished_export_is_removed(ours, tmp_path):
    for name in ("x.part", ".y.export"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("years")
    write(make_own(tmp_path / ".x.export", rad_export.UNFINISHED) / "gt_imgs" / "99.jpg", "of a killed run")
    export_rad(ours, tmp_path / "x", ["neutral_strong"], progress=False)
    assert not (tmp_path / "x" / "gt_imgs" / "99.jpg").exists() and not (tmp_path / "x" / MARK).exists()
    with pytest.raises(InputError, match=r"\.y\.export: .*left as it is"):
        export_rad(ours, tmp_path / "y", progress=False)
    assert sorted(os.listdir(tmp_path)) == [".y.export", "x", "x.part"]
    assert {(tmp_path / name / "thesis.txt").read_text() for name in ("x.part", ".y.export")} == {"years"}


@pytest.mark.hostile
def test_it_is_not_written_into_what_is_exported(ours):
    with pytest.raises(InputError, match="lies in .*images/neutral_strong, which the same command reads"):
        export_rad(ours, ours.root / "images" / "neutral_strong" / "rad", progress=False)


@pytest.mark.hostile
def test_a_full_disk_leaves_nothing(ours, small_disk):
    disk = small_disk(128)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\); make room"):
        export_rad(ours, disk / "x", progress=False)
    assert os.listdir(disk) == []
