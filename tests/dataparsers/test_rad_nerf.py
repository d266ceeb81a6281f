import json
import shutil

import cv2
import numpy as np
import pytest
from aed_nerfstudio.dataparsers.rad_nerf import RadNerfDataParserConfig

from aed_nerfstudio.audio.features import cut_windows
from aed_nerfstudio.capture.rad_export import export_rad
from aed_nerfstudio.dataset.rad_folder import RadFolder, read_rad_folder
from aed_nerfstudio.dataset.schema import HEAD, NECK, TORSO, check_pictures, read_dataset, write_image
from aed_nerfstudio.errors import InputError


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
    """The actor as RAD-NeRF lays it out, without the keys that only our export writes."""
    root = tmp_path_factory.mktemp("rad") / "obama"
    export_rad(read_dataset(data), root, features=True, progress=False)
    for part in ("train", "val"):
        edited(root / f"transforms_{part}.json", lambda tree: tree.pop("head_centre"))
    return root


def edited(path, change):
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


@pytest.fixture
def copied(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copy)
    return tmp_path / "copy"


def parsed(root, split="train", **options) -> tuple[RadFolder, object]:
    outputs = RadNerfDataParserConfig(data=root, **options).setup().get_dataparser_outputs(split)
    return outputs.metadata["dataset"], outputs


def test_outputs(folder, data):
    ours = read_dataset(data)
    dataset, outputs = parsed(folder)
    assert len(outputs.image_filenames) == len(ours.split("train")) == len(outputs.cameras)
    assert all(path.is_file() for path in outputs.image_filenames)
    assert outputs.metadata["dataset"].static_background().shape == (ours.camera.h, ours.camera.w, 3)
    assert dataset.front_end == "moonshine" and dataset.features("").shape == (2 * len(ours.frames), 288)
    assert dataset.sound("").is_file()
    # Without head_centre the same rig, moved as a whole by what the export shifts it by: 5 cm, 0.2 units.
    mine, theirs = (np.array([frame.camera_to_world for frame in d.frames]) for d in (ours, dataset))
    np.testing.assert_allclose(theirs[:, :3, :3], mine[:, :3, :3], atol=1e-9)
    np.testing.assert_allclose(theirs[:, :3, 3] - mine[:, :3, 3], np.tile([0, 0, -0.2], (len(mine), 1)), atol=1e-9)
    dataset, _ = parsed(folder, "val", head_centre=(0.0, 0.0, -0.05), audio_features="none")
    np.testing.assert_allclose([f.camera_to_world for f in dataset.frames], mine, atol=1e-9)
    assert dataset.split("val") == ours.split("val") and dataset.front_end == "none"


def test_their_own_features(folder, copied, data):
    ours = read_dataset(data)
    dataset, _ = parsed(folder, audio_features="file")
    assert dataset.front_end == "file" and dataset.feature_dim == 288
    expected = np.concatenate([ours.features(clip.name) for clip in ours.clips])
    np.testing.assert_allclose(dataset.features(""), expected, atol=1e-6)
    (copied / "aud.wav").unlink()
    (copied / "aud.npy").unlink()
    count = len(ours.frames)
    steps = np.random.default_rng(0).normal(size=(2 * count, 29)).astype(np.float32)
    np.save(copied / "aud_ds.npy", cut_windows(steps))
    np.save(copied / "aud_hu.npy", steps.reshape(count, 2, 29))
    for options in ({}, {"audio_features_file": copied / "aud_hu.npy"}):
        dataset, _ = parsed(copied, **options)
        np.testing.assert_array_equal(dataset.features(""), steps)
    assert dataset.front_end == "file/hubert"


def test_adnerf_has_no_torso(copied):
    """AD-NeRF's folders: com_imgs, and no layer of the torso."""
    shutil.rmtree(copied / "torso_imgs")
    (copied / "gt_imgs").rename(copied / "com_imgs")
    dataset = read_rad_folder(copied)
    frame = dataset.frames[3]
    labels, torso = dataset.parsing(frame), dataset.torso(frame)
    np.testing.assert_array_equal(torso[..., 3] == 255, (labels == TORSO) | (labels == NECK))
    np.testing.assert_array_equal(torso[..., :3], dataset.image(frame))
    assert {HEAD, NECK, TORSO} <= set(np.unique(labels)) and "torso_imgs" in dataset.warnings[0]


def test_one_list_is_split_as_ours_are(copied, folder):
    train, val = (json.loads((copied / f"transforms_{part}.json").read_text()) for part in ("train", "val"))
    (copied / "transforms.json").write_text(json.dumps({**train, "frames": train["frames"] + val["frames"]}))
    (copied / "transforms_train.json").unlink()
    dataset = read_rad_folder(copied)
    count = len(dataset.frames)
    assert dataset.split("val") == list(range(count - count // 11, count))


def test_frames_that_their_lists_leave_out(copied):
    edited(copied / "transforms_train.json", lambda tree: tree["frames"].pop(5))
    (copied / "gt_imgs/5.jpg").unlink()
    (copied / "ori_imgs/9.lms").unlink()
    dataset = read_rad_folder(copied)
    assert [i for i, frame in enumerate(dataset.frames) if not frame.usable] == [5, 9]
    assert "no landmarks in 1 frames" in dataset.warnings[0]


def test_blinks_from_openface(copied):
    count = len(read_rad_folder(copied).frames)
    rows = [f"{k}, {2.0 if k == 4 else 0.5}" for k in range(count)]
    (copied / "au.csv").write_text("\n".join(["frame, AU45_r", *rows]))
    openness = [frame.eye_openness for frame in read_rad_folder(copied).frames]
    assert openness[4] == 0 and openness[5] == 0.75
    (copied / "au.csv").write_text("frame, AU12_r\n0, 1\n")
    with pytest.raises(InputError, match="au.csv has no whole column AU45_r"):
        read_rad_folder(copied)


def without(name):
    return lambda root: (root / name).unlink()


def garbled(name, content=b"x"):
    return lambda root: (root / name).write_bytes(content)


def frame(**values):
    return lambda root: edited(root / "transforms_train.json", lambda tree: tree["frames"][2].update(values))


def top(**values):
    return lambda root: edited(root / "transforms_train.json", lambda tree: tree.update(values))


def farther(root):
    """Cameras in millimetres."""
    for part in ("train", "val"):

        def scale(tree):
            for entry in tree["frames"]:
                entry["transform_matrix"] = (np.array(entry["transform_matrix"]) * [1, 1, 1, 1000]).tolist()
                entry["transform_matrix"][3] = [0, 0, 0, 1]

        edited(root / f"transforms_{part}.json", scale)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("transforms_train.json"), r"transforms_train\.json is missing"),
        (without("transforms_val.json"), r"transforms_val\.json is missing"),
        (garbled("transforms_train.json", b'{"frames"'), r"transforms_train\.json is damaged"),
        (without("gt_imgs/3.jpg"), r"gt_imgs/3\.jpg is missing, though transforms_train\.json names its frame"),
        (without("parsing/3.png"), r"parsing/3\.png is missing"),
        (without("torso_imgs/3.png"), r"torso_imgs/3\.png is missing"),
        (without("bc.jpg"), r"bc\.jpg is missing or damaged"),
        (garbled("gt_imgs/0.jpg"), r"gt_imgs/0\.jpg is missing or damaged"),
        (garbled("ori_imgs/3.lms", b"1 2\n3 4\n"), r"ori_imgs/3\.lms must hold 68 lines"),
        (garbled("ori_imgs/3.lms", b"1 a\n" * 68), r"ori_imgs/3\.lms is damaged"),
        (garbled("ori_imgs/3.lms", b"nan 1\n" * 68), r"ori_imgs/3\.lms must hold 68 lines"),
        (lambda root: shutil.rmtree(root / "gt_imgs") or shutil.rmtree(root / "ori_imgs"), "has no frames in gt_imgs"),
        (lambda root: [p.unlink() for p in (root / "ori_imgs").glob("*.lms")], r"ori_imgs: has no \.lms file"),
        (frame(img_id=-1), r"transforms_train\.json: frames\[2\]\.img_id must be a whole number"),
        (frame(img_id=0), r"frames\[2\]\.(img_id|aud_id) must be"),
        (frame(img_id="../2"), r"frames\[2\]\.img_id must be"),
        (frame(aud_id=77), r"frames\[2\]\.aud_id must be the frame's own number, 2"),
        (frame(transform_matrix=[[1, 0], [0, 1]]), r"frames\[2\]\.transform_matrix must be 4 rows"),
        (frame(transform_matrix=np.diag([2.0, 1, 1, 1]).tolist()), r"frames\[2\]\.transform_matrix must be a rotation"),
        (top(frames=[]), r"frames must be a list of at least one"),
        (top(focal_len=-3), r"focal_len must be a number"),
        (top(cx=500.0), r"cx must be the middle, 32, of gt_imgs/0\.jpg"),
        (farther, r"transforms_train\.json: its cameras do not look at a head at the origin"),
    ],
)
def test_malformed_folders(copied, damage, message):
    damage(copied)
    with pytest.raises(InputError, match=message) as caught:
        read_rad_folder(copied)
    assert "aed process" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_picture_of_another_size(copied):
    write_image(copied / "gt_imgs/3.jpg", np.zeros((64, 60, 3), np.uint8))
    dataset = read_rad_folder(copied)
    with pytest.raises(InputError, match=r"gt_imgs/3\.jpg has 60 x 64 pixels, expected 64 x 64"):
        dataset.image(dataset.frames[3])


def test_without_sound_and_features(copied):
    (copied / "aud.wav").unlink()
    (copied / "aud.npy").unlink()
    with pytest.raises(InputError, match="has neither aud.wav nor features"):
        parsed(copied)


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        read_rad_folder(tmp_path / "nowhere")


@pytest.mark.slow
def test_train_and_evaluate(folder, trained, in_process, tmp_path):
    """The real commands, from their folder to figures, and the run read again from its config.yml."""
    printed = trained(folder, tmp_path, "--max-num-iterations", 10, "rad-nerf-data", "--data", folder)
    assert "audio features moonshine" in printed
    run = tmp_path / "actor/aed-nerf-tiny/t"
    in_process("ns-eval", "--load-config", run / "config.yml", "--output-path", tmp_path / "out.json")
    assert 5 < json.loads((tmp_path / "out.json").read_text())["results"]["psnr"] < 60


def test_parsing_of_other_colours_is_background(copied):
    image = cv2.imread(str(copied / "parsing/0.png"))
    image[:4] = 0
    cv2.imwrite(str(copied / "parsing/0.png"), image)
    dataset = read_rad_folder(copied)
    assert (dataset.parsing(dataset.frames[0])[:4] == 0).all()


LINKS = [
    "transforms_train.json", "transforms_val.json", "gt_imgs", "gt_imgs/3.jpg", "parsing", "parsing/4.png", "bc.jpg",
    "ori_imgs", "ori_imgs/2.lms", "torso_imgs/1.png", "au.csv", "aud.wav",
]  # fmt: skip


@pytest.mark.hostile
@pytest.mark.parametrize("name", LINKS)
def test_nothing_is_read_through_links_that_lead_outside(copied, tmp_path, name):
    place, outside = copied / name, tmp_path / "outside"
    if place.exists():
        place.rename(outside)
    else:
        outside.write_text("AU45_r\n")
    place.symlink_to(outside)
    with pytest.raises(InputError, match=f"{name} leads outside the dataset folder, to {outside}; copy the files"):
        read_rad_folder(copied)


@pytest.mark.hostile
def test_features_are_not_read_through_links_either(copied, tmp_path):
    np.save(tmp_path / "secret.npy", np.zeros((10, 4), np.float32))
    (copied / "aud_ds.npy").symlink_to(tmp_path / "secret.npy")
    with pytest.raises(InputError, match=r"aud_ds\.npy leads outside"):
        parsed(copied, audio_features="file")


def test_links_inside_the_folder_are_followed(copied):
    (copied / "gt_imgs").rename(copied / "pictures")
    (copied / "gt_imgs").symlink_to("pictures")
    assert read_rad_folder(copied).pictures == "gt_imgs"


@pytest.mark.hostile
def test_a_picture_that_is_cut_off(copied):
    path = copied / "gt_imgs/5.jpg"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(InputError, match=r"gt_imgs/5\.jpg is damaged: it is cut off; make it again"):
        check_pictures(read_rad_folder(copied))


@pytest.mark.hostile
def test_a_number_far_beyond_the_frames_there_are(copied):
    """Work is bounded by the files there, not by what one of them is called."""
    for folder, suffix in (("gt_imgs", "jpg"), ("parsing", "png"), ("torso_imgs", "png"), ("ori_imgs", "lms")):
        (copied / folder / f"3.{suffix}").rename(copied / folder / f"249999.{suffix}")

    def renumber(tree):
        for frame in tree["frames"]:
            if frame["img_id"] == 3:
                frame.update(img_id=249_999, aud_id=249_999)

    edited(copied / "transforms_train.json", renumber)
    with pytest.raises(InputError, match=r"gt_imgs: has \d+ frames, and one is to be number 249999; number them"):
        read_rad_folder(copied)
