"""Emotions in poses that were recorded with others: measures whose answer is known, and the actor in its place."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.avatar.portrait import Portrait
from aed_nerfstudio.capture.face_shape import mean_face
from aed_nerfstudio.dataset.schema import read_dataset
from aed_nerfstudio.evaluation import metrics
from aed_nerfstudio.evaluation.crossed_poses import SHAPED, CrossedPoses, angles_to_own, expected_landmarks
from aed_nerfstudio.evaluation.expression import aligned, learn_expressions, trained_labels
from aed_nerfstudio.evaluation.landmark_distance import detect
from aed_nerfstudio.evaluation.pictures import emotions_by_pose, poses_of_takes
from aed_nerfstudio.face.face_mesh import face_width
from aed_nerfstudio.media.captions import BAND
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import HeadPose, emotion_units
from aed_nerfstudio.synthetic.record import record_dataset
from aed_nerfstudio.synthetic.scene import Scene
from aed_nerfstudio.synthetic.truth import Truth

SIZE = 128
EMOTIONS = ("neutral", "happy", "sad")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Three emotions, each in a posture of its own: neutral between one that looks down and one that looks up."""
    folder = tmp_path_factory.mktemp("postures") / "data"
    return record_dataset(
        folder, size=SIZE, clip_seconds=1.2, emotions=EMOTIONS, intensities=("strong",), front_end="log-mel",
        postures=True, progress=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def vocabulary(recorded):
    return Portrait.of(recorded).vocabulary


@pytest.fixture(scope="module")
def classifier(recorded, vocabulary):
    labels, motion = trained_labels(vocabulary.recorded, vocabulary), Portrait.of(recorded).motion
    found = learn_expressions(recorded, labels, vocabulary, motion)
    assert found is not None
    return found


def test_the_angle_is_that_to_the_nearest_of_the_own_poses():
    def turned(*degrees):
        return Rotation.from_euler("x", degrees, degrees=True).as_matrix().reshape(-1, 3, 3)

    assert angles_to_own(turned(0, 3, -30), turned(0, 10)) == pytest.approx([0, 3, 30], abs=1e-3)


def test_expected_landmarks_are_those_of_a_face_that_is_as_expected():
    scene = Scene(Actor(0), 160)
    happy, sad = (emotion_units(emotion, "strong") for emotion in ("happy", "sad"))
    poses = [HeadPose(), HeadPose(-8, 14, 3, (0.1, 0.1, -0.3))]
    marks = {
        name: np.stack([scene.render(units, pose).landmarks for pose in poses])
        for name, units in (("happy", happy), ("sad", sad))
    }
    face = mean_face(np.concatenate([*marks.values()]), np.ones(4, bool))
    shape = aligned(marks["happy"][:1], face)[0]
    found = expected_landmarks(shape, face, marks["sad"])
    error = np.linalg.norm((found - marks["happy"])[..., :2], axis=-1)[:, SHAPED].mean(axis=1) / face_width(found)
    wrong = np.linalg.norm((found - marks["sad"])[..., :2], axis=-1)[:, SHAPED].mean(axis=1) / face_width(found)
    assert error[0] < 0.005 and error[1] < 0.02 and (wrong > 1.5 * error).all()
    lost = expected_landmarks(shape, face, np.full((2, 478, 3), np.nan))
    assert lost.shape == (2, 478, 3) and np.isnan(lost).all()


def measured(recorded, classifier, vocabulary, change=lambda image: image):
    """The figures of the actor's true pictures in the place of an avatar's renders; change: what is done to them."""
    val = recorded.split("val")
    crossed = CrossedPoses(recorded, classifier, vocabulary, [val[0], val[len(val) // 2], val[-1]])
    frames, truth = [recorded.frames[i] for i in crossed.picks], crossed.truth
    assert truth is not None
    images = (change(truth.render(frame, *label).image) for frame in frames for label in classifier.labels)
    return crossed.figures(*landmarks_of(crossed, crossed.watched(images)))


def landmarks_of(crossed, images):
    """The landmarks of pictures of all labels in the picked poses, as they are and through the view."""
    images, count = list(images), len(crossed.classifier.labels)
    turned = crossed.view(images, (pose for pose in crossed.poses for _ in range(count)))
    return [detect(part).reshape(len(crossed.picks), count, 478, 3) for part in (images, turned)]


def test_the_actor_itself_is_right_in_every_pose(recorded, classifier, vocabulary):
    figures = measured(recorded, classifier, vocabulary)
    rows = figures["bins"]
    assert [(row["from"], row["to"]) for row in rows] == [(0, 2.5), (10, 20), (20, 180)]
    assert [row["pictures"] for row in rows] == [3, 2, 4]
    for row in rows:
        assert set(row) == {"from", "to", "pictures", *metrics.CROSSED}
        assert row["faces_found"] == 1 and row["psnr_face"] == 100 and row["landmark_error_true"] == 0
        assert row["category_accuracy"] == row["category_accuracy_of_truth"] == 1
        assert row["displacement"] is None or row["displacement"] == pytest.approx(1, abs=0.35)
    assert figures["recorded"]["pictures"] == 3 and figures["recorded"]["category_accuracy"] == 1
    assert rows[0]["landmark_error"] == pytest.approx(figures["recorded"]["landmark_error"], abs=0.5)
    assert rows[0]["landmark_error"] < rows[2]["landmark_error"] < 6


def test_a_melted_face_is_noticed(recorded, classifier, vocabulary):
    def melted(image):
        return np.roll(image, 4, axis=0) // 2 + image // 2

    rows = measured(recorded, classifier, vocabulary, melted)["bins"]
    assert all(row["psnr_face"] < 25 for row in rows)
    assert all(row["landmark_error_true"] > 1 for row in rows if row["faces_found"])
    blank = measured(recorded, classifier, vocabulary, np.zeros_like)["bins"]
    for row in blank:
        assert row["faces_found"] == 0 and row["category_accuracy"] == 0
        assert row["displacement"] is None and row["landmark_error"] is None


def test_real_people_have_no_true_pictures(recorded, classifier, vocabulary):
    person = replace(recorded, tools={})
    crossed = CrossedPoses(person, classifier, vocabulary, recorded.split("val")[:1])
    image = recorded.image(recorded.frames[crossed.picks[0]])
    images = list(crossed.watched([image] * 3))
    figures = crossed.figures(*landmarks_of(crossed, images))
    assert "psnr_face" not in figures["bins"][0] and figures["bins"][0]["landmark_error"] < 3


def test_a_person_s_emotions_are_named_in_the_poses_of_others(recorded, classifier, vocabulary):
    """Of labels that are known in one posture each, as a person's are."""
    val, truth = recorded.split("val"), Truth(recorded)
    crossed = CrossedPoses(replace(recorded, tools={}), classifier, vocabulary, [val[0], val[len(val) // 2], val[-1]])
    frames = [recorded.frames[i] for i in crossed.picks]
    images = [truth.render(frame, *label).image for frame in frames for label in classifier.labels]
    rows = crossed.figures(*landmarks_of(crossed, images))["bins"]
    assert rows[-1]["from"] == 20
    assert (
        sum(row["category_accuracy"] * row["pictures"] for row in rows) >= 6
    )  # of nine; 3 as they are, named by their poses


def test_every_emotion_is_shown_in_every_take(recorded):
    poses = poses_of_takes(recorded)
    assert [recorded.frames[i].clip.split("_")[0] for i, _ in poses][1] == "neutral"
    assert [pitch for _, pitch in poses] == pytest.approx([-14, -2.5, 19], abs=4)


def test_the_picture_of_a_run(run, data):
    avatar = Avatar.load(run / "config.yml", device="cpu")
    height, width = avatar.frame_size()
    picture = emotions_by_pose(avatar, read_dataset(data))
    assert picture.shape == (2 * (height + BAND), 2 * width, 3)
    assert (picture[0, :, 0] == 255).sum() == width  # one of the two is framed
