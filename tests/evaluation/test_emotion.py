"""The emotion metrics, on an avatar that is the actor itself, on bad avatars, and on a real run."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.avatar.portrait import Portrait
from aed_nerfstudio.dataset.schema import FPS, HEAD, read_dataset
from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.evaluation.emotion import evaluate_emotion
from aed_nerfstudio.evaluation.expression import (
    ExpressionClassifier,
    graded_categories,
    learn_expressions,
    trained_labels,
    without_weakest,
)
from aed_nerfstudio.evaluation.rigid_face import rigid_region, similarity
from aed_nerfstudio.evaluation.typical_view import TypicalView
from aed_nerfstudio.media.audio_io import read_audio
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import HeadPose, emotion_units, express, head_motion, speech_units
from aed_nerfstudio.synthetic.record import record_dataset
from aed_nerfstudio.synthetic.scene import Scene

SIZE = 144
AS_THEY_ARE = TypicalView(Scene(Actor(0), 160).camera, None)
VALUES = (
    "category_accuracy",
    "category_accuracy_recorded",
    "confusion",
    "faces_not_found",
    "intensity_ordering",
    "sweep",
    "sweep_monotonic",
    "displacement",
    "judge_accuracy",
    "judge_accuracy_recorded",
    "judge_agreement",
    "judge_confusion",
    "identity_similarity",
    "background_change",
    "crossed_poses",
)


class ActorAsAvatar:
    """What `evaluate_emotion` uses of an avatar, played by the actor: takes any emotion at any held-out frame.

    deaf: does not hear which emotion is asked for.
    """

    def __init__(self, dataset, deaf: bool = False) -> None:
        self.dataset, self.deaf = dataset, deaf
        self.vocabulary = Portrait.of(dataset).vocabulary
        self.poses = np.array([f.camera_to_world for f in dataset.frames])[:, :3]
        self.scene = Scene(Actor(0), dataset.camera.w, 0)
        self.speech = {}
        self.drawn = {}
        for clip in dataset.clips:
            samples = read_audio(dataset.root / "audio" / f"{clip.name}.wav")
            assert len(samples) >= clip.count * SAMPLE_RATE // FPS
            self.speech[clip.name] = speech_units(samples, clip.count)

    def images(self, condition) -> dict[str, torch.Tensor]:
        index = int(np.square(self.poses - condition.head_pose).sum(axis=(1, 2)).argmin())
        count = len(self.vocabulary.categories)
        category = self.vocabulary.categories[0 if self.deaf else int(condition.emotion[:count].argmax())]
        position = float(condition.emotion[count:] @ np.linspace(0, 1, len(self.vocabulary.intensities)))
        take = index, category, 0.0 if self.deaf else round(position, 3)
        if take not in self.drawn:
            self.drawn[take] = self.draw(*take, condition.eye_openness)
        return self.drawn[take]

    def draw(self, index: int, category: str, intensity: float, eye_openness: float) -> dict[str, torch.Tensor]:
        frame = self.dataset.frames[index]
        speech = self.speech[frame.clip][frame.index]
        units = express(emotion_units(category, 0.4 + 0.6 * intensity), speech, 1 - eye_openness)
        drawn = self.scene.render(units, pose_of(self.dataset, index))
        return {
            "rgb": torch.from_numpy(drawn.image.astype(np.float32) / 255),
            "accumulation": torch.from_numpy((drawn.parsing == HEAD).astype(np.float32))[..., None],
        }


def pose_of(dataset, index: int) -> HeadPose:
    """The pose that the recorder gave a frame: clip k of seed 0 moves with seed k."""
    frame = dataset.frames[index]
    k = [clip.name for clip in dataset.clips].index(frame.clip)
    return head_motion(dataset.clips[k].count, k)[frame.index]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Three categories, of which two are much alike, at all intensities; 1.2 s each. Taken for a person, of whom there
    are no true pictures."""
    folder = tmp_path_factory.mktemp("emotions") / "data"
    emotions = ("neutral", "fearful", "sad")
    return replace(record_dataset(folder, size=SIZE, clip_seconds=1.2, emotions=emotions, progress=False), tools={})


@pytest.fixture(scope="module")
def perfect(recorded):
    return evaluate_emotion(ActorAsAvatar(recorded), recorded, frames=4)


def well_formed(result: dict) -> None:
    assert set(result) == {*VALUES, "frames", "not_measured"}
    json.loads(json.dumps(result, allow_nan=False))
    for name in VALUES:
        assert (result[name] is None) == (name in result["not_measured"]), name


@pytest.mark.slow
def test_the_actor_itself_shows_what_it_is_asked_for(perfect):
    well_formed(perfect)
    # With a second of speech a label, 0.93 here; 0.996 with the demo's two seconds.
    assert perfect["category_accuracy"] >= 0.9
    assert perfect["category_accuracy_recorded"] >= 0.97
    assert perfect["intensity_ordering"] >= 0.95 and perfect["sweep_monotonic"] == 1
    assert perfect["identity_similarity"] > 0.98 and perfect["background_change"] < 0.5
    assert perfect["frames"] == 4 and perfect["faces_not_found"] == 0
    # Neutral is asked for once, the others at medium and at strong.
    assert np.sum(perfect["confusion"]["matrix"], axis=1).tolist() == [4, 8, 8]
    assert set(perfect["displacement"]) == {"fearful", "sad"}
    for values in perfect["displacement"].values():
        assert values["relative"] == pytest.approx(values["rendered"] / values["recorded"])
        assert 0.75 < values["relative"] < 1.3
    for curve in perfect["sweep"].values():
        assert len(curve) == 11 and 0.2 < curve[0] < 0.6 and 0.65 < curve[-1] < 1.3


def test_an_avatar_deaf_to_emotion_is_at_chance(recorded):
    result = evaluate_emotion(ActorAsAvatar(recorded, deaf=True), recorded, frames=2)
    well_formed(result)
    # One picture for all five labels is right for neutral's one or, if it is taken for another category, for its two.
    assert 1 / 5 - 1e-6 < result["category_accuracy"] < 2 / 5 + 1e-6
    assert result["category_accuracy_recorded"] >= 0.97
    assert result["intensity_ordering"] == 0 and result["sweep_monotonic"] == 0
    assert all(abs(values["relative"]) < 0.3 for values in result["displacement"].values())
    assert result["identity_similarity"] == pytest.approx(1) and result["background_change"] == 0


def test_shuffled_labels_are_recognised_by_chance_only():
    """What is learnt is the label's and not that of the frames' neighbourhood."""
    rng = np.random.default_rng(0)
    base = Scene(Actor(0), 160).render({}, HeadPose()).landmarks
    marks = base + rng.normal(0, 0.3, (200, 478, 3))
    labels = [("happy", "strong")] * 100 + [("sad", "strong")] * 100
    marks[:100, [61, 291], 1] -= 2
    covariates = rng.normal(0, 0.1, (200, 4))
    even, odd = slice(0, None, 2), slice(1, None, 2)

    def accuracy(learnt):
        found = ExpressionClassifier.fit(marks[even], covariates[even], learnt, AS_THEY_ARE).nearest(
            marks[odd], covariates[odd]
        )
        return np.mean([a == b for a, b in zip(found, labels[odd], strict=True)])

    assert accuracy(labels[even]) == 1
    shuffled = [labels[even][i] for i in rng.permutation(100)]
    assert accuracy(shuffled) == pytest.approx(0.5, abs=0.2)


def test_head_turns_and_blinks_do_not_count_as_expression():
    rng = np.random.default_rng(1)
    base = Scene(Actor(0), 160).render({}, HeadPose()).landmarks.astype(np.float64)
    covariates = rng.normal(0, 0.2, (240, 4))
    labels = [("neutral", "weak")] * 120 + [("happy", "strong")] * 120
    covariates[:120, 0] += 0.3  # neutral was recorded with another head pose
    marks = base + rng.normal(0, 0.2, (240, 478, 3))
    marks[:, [61, 291], 1] += 10 * covariates[:, :1]  # which the detector mistakes for a smile
    marks[120:, [61, 291], 1] -= 1
    learnt = ExpressionClassifier.fit(marks, covariates, labels, AS_THEY_ARE)
    turned = np.tile([-0.5, 0, 0, 0], (20, 1))
    seen = base + rng.normal(0, 0.2, (20, 478, 3))
    seen[:, [61, 291], 1] += 10 * turned[:, :1]
    assert learnt.nearest(seen, turned) == [("neutral", "weak")] * 20
    assert np.abs(learnt.displacement(seen, turned, "happy").mean()) < 0.15
    with pytest.raises(ValueError, match="sad"):
        learnt.displacement(seen, turned, "sad")


def test_size_and_place_of_the_face_do_not_matter_and_lost_faces_have_no_label(recorded):
    vocabulary = EmotionVocabulary()
    labels = trained_labels({("neutral", "strong"), ("sad", "strong")}, vocabulary)
    assert labels == [("neutral", "weak"), ("sad", "strong")]
    learnt = learn_expressions(recorded, labels, vocabulary, Portrait.of(recorded).motion)
    marks = recorded.landmarks("sad_strong")[:4].astype(np.float64)
    covariates = np.tile(learnt.covariates, (4, 1))
    moved = 1.5 * marks + [30, -20, 5]
    moved[3] = np.nan
    before, after = learnt.measure(marks, covariates), learnt.measure(moved, covariates)
    assert after[:3] == pytest.approx(before[:3], abs=1e-6)
    assert np.isnan(after[3]).all() and learnt.nearest(moved, covariates)[3] is None
    assert set(learnt.nearest(np.full_like(moved, np.nan), covariates)) == {None}


def test_identity_similarity_tells_people_apart_and_not_their_moods():
    scene, pose = Scene(Actor(0), 160), HeadPose()
    neutral = scene.render({}, pose)
    region = rigid_region(neutral.landmarks, 160, 160)
    assert 0.003 < region.mean() < 0.05
    assert similarity(scene.render(emotion_units("happy", "strong"), pose).image, neutral.image, region) > 0.98
    assert similarity(Scene(Actor(1), 160).render({}, pose).image, neutral.image, region) < 0.8


def test_labels_to_ask_for():
    vocabulary = EmotionVocabulary()
    seen = {("neutral", "strong"), ("happy", "weak"), ("happy", "strong"), ("sad", "weak")}
    labels = trained_labels(seen, vocabulary)
    assert labels == [("neutral", "weak"), ("happy", "weak"), ("happy", "strong"), ("sad", "weak")]
    assert without_weakest(labels, vocabulary) == [labels[0], labels[2], labels[3]]
    assert graded_categories(labels) == {"happy": ["weak", "strong"]}


def test_one_label_gives_reasons_instead_of_figures(recorded):
    avatar = ActorAsAvatar(recorded)
    avatar.vocabulary = replace(avatar.vocabulary, recorded=(("neutral", "medium"), ("neutral", "strong")))
    result = evaluate_emotion(avatar, recorded)
    well_formed(result)
    assert set(result["not_measured"]) == set(VALUES)
    assert "one label only, neutral weak" in result["not_measured"]["category_accuracy"]


def test_one_category_still_has_its_order(recorded):
    avatar = ActorAsAvatar(recorded)
    avatar.vocabulary = replace(avatar.vocabulary, recorded=(("sad", "weak"), ("sad", "strong")))
    result = evaluate_emotion(avatar, recorded, frames=2)
    well_formed(result)
    reasons = result["not_measured"]
    assert "one category" in reasons["confusion"] and "no neutral" in reasons["intensity_ordering"]
    assert result["identity_similarity"] > 0.98


def test_a_real_run_is_measured_to_the_end(run: Path, data: Path):
    avatar = Avatar.load(run / "config.yml", device="cpu")
    result = evaluate_emotion(avatar, read_dataset(data), frames=2)
    well_formed(result)
    # Two labels, of one intensity each.
    assert set(result["not_measured"]) == {"intensity_ordering", "sweep", "sweep_monotonic"}
    # Faces of such blurs may be lost where they are turned; those of recorded frames are not.
    assert all(sum(row) == 30 for row in result["judge_confusion"]["recorded"])
    assert np.sum(result["confusion"]["matrix"]) + result["faces_not_found"] == 4
