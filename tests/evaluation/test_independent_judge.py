"""The independent judge: the network is Keras's to the last digits, and what is said of its words adds up."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest

from aed_nerfstudio.evaluation.independent_judge import (
    NAMES,
    SIDE,
    IndependentJudge,
    face_crop,
    face_crops,
    judged,
    weights_file,
)
from aed_nerfstudio.evaluation.landmark_distance import NotMeasurable
from aed_nerfstudio.evaluation.metrics import JUDGE
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import HeadPose, emotion_units
from aed_nerfstudio.synthetic.scene import Scene

needs_fer = pytest.mark.skipif(importlib.util.find_spec("fer") is None, reason="the extra judge is not installed")


@pytest.fixture(scope="module")
def judge():
    return IndependentJudge()


def actor_faces(emotion: str) -> list:
    scene = Scene(Actor(0), 160)
    drawn = [scene.render(emotion_units(emotion, "strong"), HeadPose(yaw=yaw)) for yaw in (-8.0, 0.0, 8.0)]
    return list(face_crops([d.image for d in drawn], [d.landmarks for d in drawn]))


@needs_fer
def test_it_computes_what_keras_does(judge):
    ramp = np.add.outer(np.arange(SIDE), 2 * np.arange(SIDE)) % 256
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE))
    crops = np.stack([ramp, noise, 255 - ramp.T]).astype(np.uint8)
    # Keras 3.12 with fer's file.
    expected = [
        [0.2235022, 0.0000295, 0.1458946, 0.0993893, 0.0352819, 0.0836807, 0.4122216],
        [0.0840450, 0.0000001, 0.0947380, 0.1465700, 0.6513944, 0.0043942, 0.0188584],
        [0.3171383, 0.0000006, 0.1080334, 0.0492474, 0.0092015, 0.0146058, 0.5017728],
    ]
    assert judge.probabilities(crops) == pytest.approx(np.array(expected), abs=2e-6)
    assert judge.names(crops) == ["neutral", "sad", "neutral"]
    assert judge.names(crops[:0]) == []


@needs_fer
def test_it_sees_that_the_actor_smiles(judge):
    assert judge.names(np.stack(actor_faces("happy"))) == ["happy"] * 3
    assert "happy" not in judge.names(np.stack(actor_faces("neutral")))


def test_a_crop_is_the_same_wherever_and_however_large_the_face_is():
    y, x = np.mgrid[:300, :300]
    picture = np.repeat(((x + 2 * y) // 4).astype(np.uint8)[..., None], 3, axis=-1)
    marks = np.zeros((478, 3), np.float32)
    marks[:, 0], marks[:, 1] = np.linspace(100, 180, 478), np.linspace(90, 190, 478)
    crop = face_crop(picture, marks)
    # The square is 120 wide, about (140, 140).
    assert crop.shape == (SIDE, SIDE) and crop[32, 32] == pytest.approx(picture[140, 140, 0], abs=2)
    assert crop[2, 2] == pytest.approx(picture[84, 84, 0], abs=2)
    larger = np.repeat(np.repeat(picture, 2, axis=0), 2, axis=1)
    assert np.abs(face_crop(larger, 2 * marks).astype(int) - crop).max() <= 2
    lost = np.full_like(marks, np.nan)
    assert [crop is None for crop in face_crops([picture, picture], [marks, lost])] == [False, True]
    beyond = face_crop(picture, marks - 1000)
    assert beyond.std() == 0


@needs_fer
def test_recorded_and_rendered_are_set_beside_each_other(judge):
    happy, neutral = actor_faces("happy"), actor_faces("neutral")
    recorded = {("neutral", "weak"): neutral, ("happy", "strong"): happy, ("contempt", "strong"): happy}
    same, reasons = judged(judge, recorded, recorded)
    assert same["judge_agreement"] == 1 and same["judge_accuracy"] == same["judge_accuracy_recorded"] >= 0.5
    assert reasons == {} and set(same) == set(JUDGE)
    json.loads(json.dumps(same, allow_nan=False))

    # Deaf to emotion, and half of the faces are lost: they count as wrong.
    deaf = {("neutral", "weak"): neutral, ("happy", "strong"): [*neutral, None, None, None]}
    found, _ = judged(judge, recorded, deaf)
    rendered = found["judge_confusion"]["rendered"]
    assert found["judge_confusion"]["labels"] == ["neutral weak", "happy strong"]
    assert rendered[0] == rendered[1] and sum(rendered[1]) == 3
    assert found["judge_accuracy"] == pytest.approx(rendered[0][NAMES.index("neutral")] / 9)
    assert found["judge_agreement"] == pytest.approx(0.5)

    wordless = {("contempt", "strong"): [None]}
    found, reasons = judged(judge, recorded, wordless)
    assert set(found) == {"judge_confusion"} and set(reasons) == set(JUDGE) - {"judge_confusion"}


@needs_fer
def test_other_weights_are_not_taken_for_the_network(tmp_path):
    other = tmp_path / "model.hdf5"
    other.write_bytes(weights_file().read_bytes()[:-1] + b"x")
    with pytest.raises(NotMeasurable, match="not the network"):
        IndependentJudge(other)
    with pytest.raises(NotMeasurable, match="cannot be read"):
        IndependentJudge(tmp_path / "missing.hdf5")


def test_without_the_package_the_reason_names_the_extra():
    code = (
        "import importlib.util\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'fer' else found(name, *rest)\n"
        "from aed_nerfstudio.evaluation.independent_judge import IndependentJudge\n"
        "try:\n    IndependentJudge()\nexcept Exception as error:\n    print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300).stdout
    assert said.strip() == "NotMeasurable the package fer is not installed (pip install 'aed-nerfstudio[judge]')"
