import json
import resource

import numpy as np
import pytest

from aed_nerfstudio.avatar.portrait import Portrait
from aed_nerfstudio.dataset.frames import decode
from aed_nerfstudio.dataset.schema import (
    Camera,
    Clip,
    Dataset,
    Frame,
    check_pictures,
    check_pixels,
    read_dataset,
    write_array,
    write_dataset,
    write_image,
    write_json,
)
from aed_nerfstudio.errors import InputError

SIZE, COUNT = 16, 22


@pytest.fixture
def folder(tmp_path):
    frames = [Frame("a", i, np.eye(4).tolist(), [2, 2, 14, 14], [6, 9, 10, 12]) for i in range(COUNT)]
    frames[3].usable = False
    dataset = Dataset(
        tmp_path,
        Camera(30.0, 30.0, 8.0, 8.0, SIZE, SIZE),
        [Clip("a", "a.mp4", 0, COUNT)],
        frames,
        ["neutral"],
        ["medium"],
        "log-mel",
        80,
    )
    write_image(dataset.background, np.full((SIZE, SIZE, 3), 100, np.uint8))
    for frame in frames:
        write_image(dataset.path("images", frame), np.full((SIZE, SIZE, 3), 50, np.uint8))
        write_image(dataset.path("parsing", frame), np.full((SIZE, SIZE), 3, np.uint8))
        write_image(dataset.path("torso", frame), np.zeros((SIZE, SIZE, 4), np.uint8))
    write_array(tmp_path / "audio_features/a.npy", np.zeros((2 * COUNT, 80), np.float32))
    write_dataset(dataset)
    return tmp_path


def test_round_trip(folder):
    dataset = read_dataset(folder)
    assert dataset.split("val") == [20, 21]
    assert dataset.split("train") == [i for i in range(20) if i != 3]
    assert not list(folder.rglob("*.part"))


def test_a_clip_may_have_a_background_of_its_own(folder):
    dataset = read_dataset(folder)
    common = dataset.static_background()
    assert np.array_equal(dataset.static_background("a"), common)
    write_image(folder / "backgrounds/a.png", 255 - common)
    assert np.array_equal(dataset.static_background("a"), 255 - common)
    assert np.array_equal(dataset.static_background(), common)
    assert np.array_equal(Portrait.of(dataset).background, 255 - common)
    check_pictures(dataset)
    write_image(folder / "backgrounds/a.png", common[1:])
    for check in (check_pictures, check_pixels):
        with pytest.raises(InputError, match="backgrounds/a.png"):
            check(dataset)


def test_round_trip_of_what_capture_found(folder):
    dataset = read_dataset(folder)
    dataset.clips[0].source_start = 3.2
    dataset.frames[4].sharpness, dataset.frames[4].flags = 0.4, ["blurred", "other_face"]
    dataset.report = {"background": {"unseen": 0.1}}
    write_dataset(dataset)
    again = read_dataset(folder)
    assert (again.clips, again.frames, again.report) == (dataset.clips, dataset.frames, dataset.report)


def test_version_1_is_read(folder):
    info = json.loads((folder / "dataset.json").read_text())
    transforms = json.loads((folder / "transforms.json").read_text())
    info["version"] = 1
    for clip in info["clips"]:
        del clip["source_start"]
    for frame in transforms["frames"]:
        del frame["sharpness"], frame["flags"]
    (folder / "dataset.json").write_text(json.dumps(info))
    (folder / "transforms.json").write_text(json.dumps(transforms))
    dataset = read_dataset(folder)
    assert dataset.clips[0].source_start == 0 and dataset.report == {}
    assert dataset.frames[4].sharpness == 1 and dataset.frames[4].flags == []


def test_it_is_a_nerfstudio_dataset(folder):
    transforms = json.loads((folder / "transforms.json").read_text())
    assert {"fl_x", "fl_y", "cx", "cy", "w", "h", "camera_model", "train_filenames", "val_filenames"} <= set(transforms)


@pytest.mark.parametrize(
    "victim", ["dataset.json", "transforms.json", "background.png", "images/a/00005.jpg", "audio_features/a.npy"]
)
def test_a_missing_file_is_named(folder, victim):
    (folder / victim).unlink()
    with pytest.raises(InputError, match=victim):
        read_dataset(folder)


@pytest.mark.parametrize("victim", ["dataset.json", "transforms.json", "audio_features/a.npy"])
def test_a_damaged_file_is_named(folder, victim):
    (folder / victim).write_bytes(b"{")
    with pytest.raises(InputError, match=victim):
        read_dataset(folder)


def test_a_damaged_image_is_named(folder):
    (folder / "images/a/00005.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="00005.jpg"):
        decode(read_dataset(folder), 5)


def test_a_newer_version_is_refused(folder):
    info = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**info, "version": 99}))
    with pytest.raises(InputError, match="version 99"):
        read_dataset(folder)


def test_features_of_another_length_are_refused(folder):
    np.save(folder / "audio_features/a.npy", np.zeros((7, 80), np.float32))
    with pytest.raises(InputError, match="shape"):
        read_dataset(folder)


def test_writing_is_deterministic_and_refuses_what_is_no_json(tmp_path):
    value = {"b": [1, 0.1, "ü"], "a": None}
    write_json(tmp_path / "x.json", value)
    first = (tmp_path / "x.json").read_bytes()
    write_json(tmp_path / "x.json", json.loads(first))
    assert (tmp_path / "x.json").read_bytes() == first
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert (tmp_path / "x.json").read_bytes() == first


def test_a_report_may_hold_what_numpy_measured(folder):
    dataset = read_dataset(folder)
    dataset.report = {"pose": {"jitter": np.float32(0.5), "outliers": np.arange(2), "focal": np.nan}}
    write_dataset(dataset)
    assert read_dataset(folder).report == {"pose": {"jitter": 0.5, "outliers": [0, 1], "focal": None}}


def test_a_full_disk_leaves_the_old_file(folder):
    before = (folder / "dataset.json").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # no file may grow beyond, as on a disk without room
    try:
        with pytest.raises(InputError, match="dataset.json: cannot be written"):
            write_json(folder / "dataset.json", ["x" * 9999])
        with pytest.raises(InputError, match="a.npy: cannot be written"):
            write_array(folder / "audio_features/a.npy", np.zeros(9999))
        with pytest.raises(InputError, match="background.png: cannot be written"):
            write_image(folder / "background.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (folder / "dataset.json").read_bytes() == before and not list(folder.rglob("*.aed-part*"))
    read_dataset(folder)
