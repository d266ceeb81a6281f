"""Whatever stands in a dataset's JSON files: it is read, or refused with its name, and nothing outside is opened."""

import copy
import json
import os
import re
import shutil
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aed_nerfstudio.dataset.schema import check_pixels, read_dataset, write_dataset, write_image
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.synthetic.record import record_dataset

FILES = ("dataset.json", "transforms.json")
# Derandomised: the same cases each time, on every machine.
CASES = settings(
    max_examples=250, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@pytest.fixture(scope="module")
def actor(tmp_path_factory):
    """A small dataset with all that capture may write into its JSON files."""
    root = tmp_path_factory.mktemp("hostile") / "data"
    dataset = record_dataset(
        root, size=32, clip_seconds=0.48, emotions=("neutral", "happy"), intensities=("strong",), front_end="none",
        progress=False,
    )  # fmt: skip
    dataset.frames[3].flags = ["blurred", "eyes_covered"]
    dataset.frames[5].usable = False
    dataset.report, dataset.warnings = {"background": {"unseen": 0.1}}, ["dark"]
    write_dataset(dataset)
    return root


@pytest.fixture(scope="module")
def whole(actor):
    """The JSON files' values, the files' bytes, and the dataset as it is read."""
    return {name: (actor / name).read_bytes() for name in FILES}, read_dataset(actor)


_opened: list[str] | None = None


def _watch(event: str, arguments: tuple) -> None:
    if _opened is not None and event in ("open", "os.scandir", "os.listdir") and isinstance(arguments[0], str):
        _opened.append(arguments[0])


sys.addaudithook(_watch)


def read_watched(root):
    """Reads a folder; fails when anything outside is opened, or when any other error than InputError comes out."""
    global _opened
    _opened = []
    try:
        return read_dataset(root), ""
    except InputError as error:
        return None, str(error)
    finally:
        opened, _opened = _opened, None
        inside = os.path.realpath(root)
        known = (inside + os.sep, sys.prefix, sys.base_prefix)  # modules may be loaded meanwhile
        assert not [path for path in opened if not (os.path.realpath(path) + os.sep).startswith(known)]


def places(value, path=()):
    """Where every value of a JSON tree lies, from the root down."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def place(tree, path):
    for key in path:
        tree = tree[key]
    return tree


TRAVERSAL = ("..", "../..", "../../etc/passwd", "/etc/passwd", "a/../../b", "..\\..\\b", "C:\\x", ".", "", " ", "\0",
             "a\n", "images/neutral_strong/../../../secret.jpg", "\ud800", "x" * 5000, "CON", "nan", "~")  # fmt: skip
JUNK = st.one_of(
    st.sampled_from(TRAVERSAL),
    st.sampled_from((None, True, False, 0, -1, 1, 10**30, -(10**400), 1e308, -1e308, 1e-320, 0.5, 99)),
    st.sampled_from((float("nan"), float("inf"), float("-inf"))),
    st.sampled_from(([], {}, [[]], [None] * 4, [1, 2, 3], {"a": {"b": []}}, [[0.0] * 4] * 4, [0, 0, 0, 0])),
    st.text(max_size=8),
    st.integers(),
    st.floats(),
)
REFUSALS = re.compile(
    r"(dataset|transforms)\.json: \w+.* (must be|is missing)|dataset\.json (is not|has format)"
    r"|npy has shape|\.jpg is missing"
)
"""A value by its name (itself, or one that it contradicts), or a file that does not fit."""
CHANGES = ("replace", "delete", "wrap", "repeat", "negate")


def changed(tree, data):
    """A copy of the tree with one value changed; also says which."""
    tree = copy.deepcopy(tree)
    path = data.draw(st.sampled_from(sorted(places(tree), key=lambda p: (len(p), str(p)))[1:]), label="where")
    parent, key = place(tree, path[:-1]), path[-1]
    change = data.draw(st.sampled_from(CHANGES), label="change")
    if change == "delete":
        del parent[key]
    elif change == "repeat" and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key]))
    elif change == "wrap":
        parent[key] = [parent[key]]
    elif change == "negate" and isinstance(parent[key], (int, float)):
        parent[key] = -parent[key] - 1
    else:
        parent[key] = data.draw(JUNK, label="junk")
    return tree, path


def check_harmless(dataset, original):
    """What was read can be used as the original can: the same frames, finite poses, boxes inside the picture."""
    camera = dataset.camera
    assert [f.stem for f in dataset.frames] == [f.stem for f in original.frames]
    assert len(dataset.labels) == len(original.frames)
    poses = np.array([f.camera_to_world for f in dataset.frames], np.float64)
    assert np.isfinite(poses).all() and np.allclose(np.abs(np.linalg.det(poses[:, :3, :3])), 1, atol=1e-2)
    assert camera.fl_x > 0 and camera.fl_y > 0 and (camera.w, camera.h) >= (1, 1)
    for frame in dataset.frames:
        for left, top, right, bottom in (frame.face_box, frame.lips_box):
            assert 0 <= left < right <= camera.w and 0 <= top < bottom <= camera.h
    for clip in dataset.clips:
        assert dataset.features(clip.name).shape == (2 * clip.count, dataset.feature_dim)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_value_is_refused_by_name_or_harmless(actor, whole, name):
    files, original = whole
    tree = json.loads(files[name])

    @CASES
    @given(st.data())
    def check(data):
        mutant, path = changed(tree, data)
        try:
            (actor / name).write_text(json.dumps(mutant, indent=1))
            dataset, error = read_watched(actor)
        finally:
            (actor / name).write_bytes(files[name])
        if dataset is None:
            assert REFUSALS.search(error), (path, error)
            assert len(error) < 600
        else:
            check_harmless(dataset, original)

    check()


@pytest.mark.parametrize("name", FILES)
def test_damaged_bytes_are_refused(actor, whole, name):
    files, original = whole

    @settings(CASES, max_examples=60)
    @given(st.data())
    def check(data):
        content = bytearray(files[name])
        kind = data.draw(st.sampled_from(("cut", "bytes", "nested", "encoding", "other")))
        if kind == "cut":
            content = content[: data.draw(st.integers(0, len(content) - 2))]
        elif kind == "bytes":
            for _ in range(data.draw(st.integers(1, 4))):
                content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        elif kind == "nested":
            depth = data.draw(st.sampled_from((500, 990, 5000, 200_000)))
            content = b'{"frames": ' + b"[" * depth + b"]" * depth + b"}"
        elif kind == "encoding":
            content = bytes(content).decode().encode(data.draw(st.sampled_from(("utf-16", "utf-32", "utf-8-sig"))))
        else:
            content = data.draw(st.sampled_from((b"", b"[]", b"null", b'"x"', b"{}", b"[{}]", b"9" * 5000, b"\xff")))
        try:
            (actor / name).write_bytes(content)
            dataset, error = read_watched(actor)
        finally:
            (actor / name).write_bytes(files[name])
        if dataset is None:
            assert REFUSALS.search(error) or re.search(rf"{name} (is damaged|must be an object)", error), error
        else:
            check_harmless(dataset, original)

    check()


def edited(root, name, change):
    """Changes a JSON file of a folder in place."""
    tree = json.loads((root / name).read_text())
    change(tree)
    (root / name).write_text(json.dumps(tree))


@pytest.fixture
def copied(actor, tmp_path):
    shutil.copytree(actor, tmp_path / "data")
    return tmp_path / "data"


BAD_FRAMES = {
    "transform_matrix": [[[2.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 3], [0, 0, 0, 1]],
                         [[-1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 3], [0, 0, 0, 1]],
                         [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 3], [0, 0, 1, 1]],
                         [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1e6], [0, 0, 0, 1]],
                         [[1.0, 0, 0, 0], [0, 1, 0, float("nan")], [0, 0, 1, 3], [0, 0, 0, 1]]],
    "lips_box": [[5, 5, 5, 9], [-1, 0, 5, 5], [0, 0, 33, 5], [0, 0, 5.5, 5], [0, 0, 5], "0055"],
    "face_box": [[9, 5, 5, 9], [True, 0, 5, 5]],
    "eye_openness": [-0.1, 1.1, float("nan"), "1", None],
    "usable": [1, "yes", None],
    "sharpness": [-1, float("inf"), []],
    "flags": ["blurred", ["smiling"], [3]],
    "file_path": ["images/neutral_strong/00013.jpg", "../x.jpg"],
    "clip": ["..", "sad"],
    "index": [0, 5, -1, 2.0],
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD_FRAMES.items() for value in values])
def test_a_frames_wrong_value_is_named(copied, key, value):
    edited(copied, "transforms.json", lambda tree: tree["frames"][4].update({key: value}))
    with pytest.raises(InputError, match=rf"transforms\.json: frames\[4\]\.{key}\b.* must be "):
        read_dataset(copied)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("clips[0].name", lambda tree: tree["clips"][0].update(name="../data/neutral_strong")),
        ("clips[0].name", lambda tree: tree["clips"][0].update(name="/etc")),
        ("clips must", lambda tree: tree["clips"][1].update(name="neutral_strong")),
        ("clips[0].emotion", lambda tree: tree["clips"][0].update(emotion="bored")),
        ("clips[1].intensity", lambda tree: tree["clips"][1].update(intensity="huge")),
        ("clips[0].count", lambda tree: tree["clips"][0].update(count=0)),
        ("frames must be a list of 23", lambda tree: tree["clips"][0].update(count=11)),
        ("clips[0].source_start", lambda tree: tree["clips"][0].update(source_start=-1)),
        ("audio.feature_dim", lambda tree: tree["audio"].update(feature_dim=0)),
        ("audio.front_end", lambda tree: tree["audio"].update(front_end="../x")),
        ("emotions.categories", lambda tree: tree["emotions"].update(categories=["neutral", "neutral", "happy"])),
        ("fps", lambda tree: tree.update(fps=30)),
        ("version", lambda tree: tree.update(version="2")),
    ],
)
def test_a_wrong_value_of_the_dataset_is_named(copied, name, change):
    edited(copied, "dataset.json", change)
    with pytest.raises(InputError) as caught:
        read_dataset(copied)
    assert f"json: {name}" in str(caught.value)


@pytest.mark.parametrize(
    "victim",
    ["dataset.json", "transforms.json", "report.json", "background.png", "images/happy_strong",
     "images/happy_strong/00002.jpg", "parsing", "torso/neutral_strong/00000.png", "audio/happy_strong.wav",
     "audio_features/happy_strong.npy", "landmarks/happy_strong.npy"],
)  # fmt: skip
def test_a_link_that_leads_outside_is_refused(copied, tmp_path, victim):
    outside = tmp_path / "outside"
    os.rename(copied / victim, outside)
    (copied / victim).symlink_to(outside)
    with pytest.raises(InputError, match="leads outside"):
        read_dataset(copied)


def test_links_that_stay_inside_are_followed(copied, tmp_path):
    os.rename(copied / "images", copied / "pictures")
    (copied / "images").symlink_to(copied / "pictures")
    (tmp_path / "link").symlink_to(copied)
    assert read_dataset(tmp_path / "link").frames == read_dataset(copied).frames


def test_pictures_of_another_size_are_refused(copied):
    write_image(copied / "torso/happy_strong/00002.png", np.zeros((32, 31, 4), np.uint8))
    dataset = read_dataset(copied)
    with pytest.raises(InputError, match=r"torso/happy_strong/00002.png has 31 x 32 pixels, expected 32 x 32"):
        check_pixels(dataset)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00v\x00{", b"\x80\x04]."])
def test_damaged_features_are_refused(copied, content):
    (copied / "audio_features/happy_strong.npy").write_bytes(content)
    with pytest.raises(InputError, match="happy_strong.npy"):
        read_dataset(copied)


def test_features_that_are_not_finite_are_refused(copied):
    path = copied / "audio_features/happy_strong.npy"
    np.save(path, np.full(np.load(path).shape, np.nan, np.float32))
    with pytest.raises(InputError, match="happy_strong.npy holds numbers that are not finite"):
        read_dataset(copied)


@pytest.mark.parametrize("value", [1e38, np.inf, np.nan])
def test_landmarks_that_are_no_pixels(copied, value):
    path = next((copied / "landmarks").iterdir())
    marks = np.load(path)
    marks[3, 100, 1] = value
    np.save(path, marks)
    with pytest.raises(InputError, match=rf"{path.name} holds no pixels in frame 3, which is usable; run"):
        read_dataset(copied).landmarks(path.stem)

    def leave_out(tree):
        for frame in tree["frames"]:
            frame["usable"] &= (frame["clip"], frame["index"]) != (path.stem, 3)

    edited(copied, "transforms.json", leave_out)
    assert np.isnan(read_dataset(copied).landmarks(path.stem)[3]).all()
