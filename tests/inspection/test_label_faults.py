"""Labels that differ in more than the expression: head pose, light, camera; and none that is named without a cause."""

from __future__ import annotations

import copy
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aed_nerfstudio.dataset.schema import Dataset, read_dataset, read_image, write_image
from aed_nerfstudio.inspection.findings import Finding
from aed_nerfstudio.inspection.inspect import inspect_dataset
from aed_nerfstudio.inspection.label_findings import judge_labels
from aed_nerfstudio.inspection.measures import Measures, measure
from aed_nerfstudio.synthetic.record import record_dataset

EMOTIONS = ("neutral", "happy", "sad", "angry")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Four labels of 2 s that share their motion."""
    root = tmp_path_factory.mktemp("labels") / "actor"
    record_dataset(root, size=64, clip_seconds=2.0, emotions=EMOTIONS, intensities=("strong",), front_end="log-mel",
                   progress=False)  # fmt: skip
    return read_dataset(root)


@pytest.fixture
def dataset(recorded):
    """The same with frames that a test may change."""
    return replace(copy.deepcopy(recorded), front_end="none")


def measured_findings(dataset: Dataset) -> tuple[Measures, dict[str, Finding]]:
    """Returns the measures, and the faults of labels by topic."""
    measures = measure(dataset)
    return measures, {found.topic: found for found in judge_labels(measures) if found.level != "ok"}


def nod(dataset: Dataset, label: str, degrees: float, steady: bool = False) -> None:
    """Lifts the face with one label: the camera goes down around the head. steady: from one and the same pose."""
    turn = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
    first = np.array(dataset.frames[0].camera_to_world)
    for frame, name in zip(dataset.frames, dataset.labels, strict=True):
        if name == label:
            pose = first.copy() if steady else np.array(frame.camera_to_world)
            pose[:3] = turn @ pose[:3]
            frame.camera_to_world = pose.tolist()


def repaint(dataset: Dataset, label: str, root, change) -> Dataset:
    """Returns a copy of the dataset whose pictures of one label went through a function."""
    shutil.copytree(dataset.root, root)
    other = replace(dataset, root=root)
    for frame, name in zip(other.frames, other.labels, strict=True):
        if name == label:
            path = other.path("images", frame)
            write_image(path, change(read_image(path)))
    return other


def test_labels_that_share_their_motion_are_not_named(dataset):
    measures, faults = measured_findings(dataset)
    assert not faults and measures.poses.near.min() > 0.25
    assert "poses of labels" in {found.topic for found in judge_labels(measures)}


def test_short_takes_of_a_moving_head_that_missed_each_other_by_chance_are_not_named(dataset):
    nod(dataset, "sad strong", 9)
    measures = measure(dataset)
    assert measures.poses.near.min() < 0.25 and not measures.poses.apart()


def test_a_single_label_says_nothing_of_labels(tmp_path):
    record_dataset(tmp_path / "one", size=48, clip_seconds=2.0, emotions=("happy",), intensities=("strong",),
                   front_end="log-mel", progress=False)  # fmt: skip
    assert judge_labels(measure(replace(read_dataset(tmp_path / "one"), front_end="none"))) == []


def test_a_label_with_a_posture_of_its_own_is_named_with_its_angle(dataset):
    before = measure(dataset).poses
    nod(dataset, "sad strong", 19)
    measures, faults = measured_findings(dataset)
    after, sad = measures.poses, EMOTIONS.index("sad")
    assert abs(after.mean[sad, 1] - before.mean[sad, 1]) == pytest.approx(19, abs=1)
    assert set(faults) == {"poses of labels"}
    found = faults["poses of labels"]
    assert found.level == "warn" and "3 of 6 pairs" in found.text and found.text.count("sad strong") == 3
    assert "same head movements" in found.mend and "doubled eyes" in found.text and "Unsure" not in found.text
    others = [k for k in range(len(EMOTIONS)) if k != sad]
    assert after.near[sad, others].max() == 0 and after.far[others, sad].min() == 1
    assert np.allclose(after.near[np.ix_(others, others)], before.near[np.ix_(others, others)])


def test_seven_degrees_between_steady_labels_are_unsure(dataset):
    for label, degrees in zip(dict.fromkeys(dataset.labels), (0, 7, 0, 0), strict=True):
        nod(dataset, label, degrees, steady=True)
    found = measured_findings(dataset)[1]["poses of labels"]
    assert "happy strong" in found.text and "(7)" in found.text and "doubled eyes" not in found.text


def test_four_degrees_between_steady_labels_are_shared(dataset):
    for label, degrees in zip(dict.fromkeys(dataset.labels), (0, 4, 0, 0), strict=True):
        nod(dataset, label, degrees, steady=True)
    assert "poses of labels" not in measured_findings(dataset)[1]


def test_a_label_that_moves_covers_one_that_does_not_but_not_the_other_way_round(dataset):
    labels = list(dict.fromkeys(dataset.labels))
    for label in labels:
        nod(dataset, label, 0, steady=True)
    frames = [frame for frame, name in zip(dataset.frames, dataset.labels, strict=True) if name == labels[0]]
    for frame, degrees in zip(frames, np.linspace(-20, 20, len(frames)), strict=True):
        pose = np.array(frame.camera_to_world)
        pose[:3] = Rotation.from_euler("y", degrees, degrees=True).as_matrix() @ pose[:3]
        frame.camera_to_world = pose.tolist()
    poses = measure(dataset).poses
    assert poses.near[0, 1] == 1 and poses.near[1, 0] == pytest.approx(0.25, abs=0.05)


def test_a_darker_label_is_named(dataset, tmp_path):
    dark = repaint(dataset, "neutral strong", tmp_path / "dark", lambda image: np.round(0.85 * image).astype(np.uint8))
    found = measured_findings(dark)[1]["light of labels"]  # 0.85 of the values is 0.7 of the light
    assert "neutral strong" in found.text and "darker" in found.text and "happy" not in found.text


def test_another_background_and_a_nearer_head_are_named(dataset, tmp_path):
    def repainted(image: np.ndarray) -> np.ndarray:
        return np.clip(image + np.array([0.0, 60, 0]), 0, 255).astype(np.uint8)

    other = repaint(dataset, "angry strong", tmp_path / "other", repainted)
    assert "angry strong the background is another" in measured_findings(other)[1]["camera of labels"].text
    for frame, name in zip(dataset.frames, dataset.labels, strict=True):
        if name == "happy strong":
            pose = np.array(frame.camera_to_world)
            pose[:3, 3] *= 0.8
            frame.camera_to_world = pose.tolist()
    text = measured_findings(dataset)[1]["camera of labels"].text
    assert re.search(r"with happy strong the head is (19|20|21) % nearer", text) and "angry" not in text


def test_the_page_holds_both_tables(dataset, tmp_path):
    nod(dataset, "sad strong", 19)
    found = inspect_dataset(dataset, tmp_path / "sheet", progress=False)
    text = found.files[1].read_text()
    assert "poses of labels" in found.headline() and "<th>emotion / pose of</th>" in text
    assert text.count("<td>0 %</td>") >= 6 and "±" in text
