"""Whether an avatar shows the emotion it is asked for, as strongly as asked, and nothing else changes with it.

No classifier trained on other people is needed: what a label looks like on this person is read off the training frames,
as measurements on MediaPipe's landmarks (`expression.py`), and renders are compared with that.

Measured on the synthetic actor with 30 training frames a label: of its true frames at medium and strong, held-out ones
or ones acted anew with another label at the held-out poses and sounds, more than 99 % are recognised, at 160 and at 192
pixels, and weak < medium < strong holds in all. Enlarging the pictures two- or threefold before MediaPipe helped in
neither. The actor's own emotions leave `identity_similarity` at 0.99; another actor in the same pose has 0.35 to 0.7.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from aed_nerfstudio.avatar.avatar import Avatar, to_uint8
from aed_nerfstudio.avatar.portrait import Portrait
from aed_nerfstudio.dataset.schema import Dataset
from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.driving.track import DatasetTrack
from aed_nerfstudio.evaluation.crossed_poses import CrossedPoses
from aed_nerfstudio.evaluation.expression import (
    FEWEST_FRAMES,
    ExpressionClassifier,
    Label,
    covariates_of,
    covariates_of_frames,
    frames_by_label,
    graded_categories,
    images_of,
    learn_expressions,
    poses_of_frames,
    trained_labels,
    without_weakest,
)
from aed_nerfstudio.evaluation.independent_judge import IndependentJudge, face_crops, judged, recorded_crops
from aed_nerfstudio.evaluation.landmark_distance import NotMeasurable, detect
from aed_nerfstudio.evaluation.metrics import EMOTION, JUDGE
from aed_nerfstudio.evaluation.rigid_face import rigid_region, similarity
from aed_nerfstudio.evaluation.typical_view import TypicalView
from aed_nerfstudio.face.face_finder import FaceFinder

if TYPE_CHECKING:
    from aed_nerfstudio.driving.track import FrameCondition

SWEEP_STEPS = 11
SWEEP_FRAMES = 6
ROUNDING = 1e-6  # of the way from neutral to the strongest label: equal pictures differ by less, and do not grow
OUTSIDE = 0.01  # of the head's alpha: what has less is outside the head


def no_emotion(reason: str) -> dict:
    """Returns what `evaluate_emotion` would, with nothing measured, for one reason."""
    return {**dict.fromkeys(EMOTION), "frames": 0, "not_measured": dict.fromkeys(EMOTION, reason)}


def evaluate_emotion(avatar: Avatar, dataset: Dataset, frames: int = 24, seed: int = 0) -> dict:
    """Renders held-out conditions with every label that the training data has, all else equal, and measures the faces.

    Args:
        avatar: the trained avatar.
        dataset: its recording.
        frames: held-out conditions, spread over the clips; fewer where the dataset has fewer.
        seed: chooses among the held-out frames.

    Returns:
        A JSON-able dict of the figures that `metrics.EMOTION` explains, and `frames`, the number of conditions
        rendered; a figure that cannot be measured is None, and `not_measured` says why, by its name.

        - sweep: by category; the displacements are averaged over up to 6 frames.
        - identity_similarity: of the render with a label and the neutral render of the same frame (the first label's
          where neutral was not trained), mean over labels and frames. Pose and camera are equal in both, so the regions
          are compared where they are: a face that another label moves counts as changed.
        - background_change: of the same renders, where neither shows the head.

        A label whose training frames show too few faces is left out, and `not_measured` names it.
    """
    vocabulary = avatar.vocabulary
    result: dict = {**dict.fromkeys(EMOTION), "frames": 0, "not_measured": {}}

    def not_measured(reason: str, *names: str) -> None:
        result["not_measured"].update(dict.fromkeys(names, reason))

    seen = trained_labels(vocabulary.recorded, vocabulary)
    held_out = dataset.split("val")
    recorded = Portrait.of(dataset)
    can = held_out and len(seen) > 1
    classifier = learn_expressions(dataset, seen, vocabulary, recorded.motion) if can else None
    if classifier is None:
        reason = _why_none(seen, held_out)
        not_measured(reason, *(name for name, value in result.items() if value is None))
        return result

    for label in seen:
        if label not in classifier.labels:
            not_measured(f"a face in fewer than {FEWEST_FRAMES} of its training frames", " ".join(label))
    picks = _spread(held_out, frames, seed)
    result["frames"] = len(picks)
    # Its own emotions, which are replaced; the avatar may know fewer labels than there are.
    track = DatasetTrack.of(dataset, recorded.vocabulary)
    shown = Preservation(dataset)
    for figures, reasons in _of_faces(avatar, dataset, classifier, shown, {i: track[i] for i in picks}):
        result |= figures
        result["not_measured"] |= reasons
    result["identity_similarity"] = float(np.mean(shown.similarities))
    if shown.changes:
        result["background_change"] = float(np.mean(shown.changes))
    else:
        not_measured(f"the head's alpha is nowhere below {OUTSIDE}", "background_change")
    return result


def _of_faces(
    avatar: Avatar,
    dataset: Dataset,
    classifier: ExpressionClassifier,
    shown: Preservation,
    picks: dict[int, FrameCondition],
) -> Iterator[tuple[dict[str, object], dict[str, str]]]:
    """Yields figures of the faces in renders of held-out frames with every label, and reasons for those that cannot be
    measured.

    Args:
        shown: makes the renders.
        picks: the frames' own conditions, by their numbers in the dataset.
    """
    vocabulary, labels = avatar.vocabulary, classifier.labels
    conditions = [*picks.values()]
    images = (image for i, condition in picks.items() for image in shown.renders(avatar, i, condition, labels))
    crossed = CrossedPoses(dataset, classifier, vocabulary, [*picks])
    poses = [condition.head_pose for condition in conditions for _ in labels]
    marks, turned, crops = _looked_at(crossed.watched(images), classifier.view, poses)
    shape = len(picks), len(labels), -1, 3
    marks, turned = marks.reshape(shape), turned.reshape(shape)
    yield {"crossed_poses": crossed.figures(marks, turned)}, {}
    yield _expressed(avatar, dataset, classifier, conditions, turned)
    faces = {label: crops[labels.index(label) :: len(labels)] for label in without_weakest(labels, vocabulary)}
    yield _judged(dataset, vocabulary, classifier.view, faces)


def _looked_at(
    images: Iterable[np.ndarray], view: TypicalView, poses: Iterable[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray | None]]:
    """Returns the landmarks of pictures of heads in poses, as `detect` does; and seen through a view their landmarks,
    and their faces as `face_crops` yields them."""
    marks, turned, crops = [], [], []
    with FaceFinder() as finder:
        for image, pose in zip(images, poses, strict=True):
            marks.append(finder.landmarks(image))
            (shown,) = view([image], [pose])
            turned.append(finder.landmarks(shown))
            crops += face_crops([shown], turned[-1:])
    return np.stack(marks), np.stack(turned), crops


def _judged(
    dataset: Dataset, vocabulary: EmotionVocabulary, view: TypicalView, faces: dict[Label, list]
) -> tuple[dict[str, object], dict[str, str]]:
    """Returns what another network says of the faces that were rendered with each label: `independent_judge.judged`."""
    try:
        judge = IndependentJudge()
    except NotMeasurable as reason:
        return {}, dict.fromkeys(JUDGE, str(reason))
    return judged(judge, recorded_crops(dataset, vocabulary, view), faces)


def _why_none(seen: list[Label], held_out: list[int]) -> str:
    """Returns why no emotion can be told from another."""
    if len(seen) == 1:
        return f"the training data has one label only, {' '.join(seen[0])}"
    if not held_out:
        return "the dataset has no held-out frames"
    return "faces are found in the training frames of fewer than two labels"


def _expressed(
    avatar: Avatar,
    dataset: Dataset,
    classifier: ExpressionClassifier,
    conditions: list[FrameCondition],
    marks: np.ndarray,
) -> tuple[dict[str, object], dict[str, str]]:
    """Returns the figures of what the faces express, and reasons for those that cannot be measured.

    marks: [F, L, 478, 3] landmarks of the conditions' renders, seen through the classifier's view, for each of its
    labels.
    """
    vocabulary, labels, view = avatar.vocabulary, classifier.labels, classifier.view
    covariates = covariates_of(conditions, view)
    categories = list(dict.fromkeys(category for category, _ in labels))
    figures: dict[str, object] = {}
    reasons: dict[str, str] = {}
    truth = _recorded(dataset, labels, vocabulary, view)
    if len(categories) > 1:
        scored = without_weakest(labels, vocabulary)
        figures |= _recognition(classifier, scored, marks, covariates)
        figures["category_accuracy_recorded"] = _accuracy_on_truth(classifier, scored, truth)
    else:
        names = ("category_accuracy", "category_accuracy_recorded", "confusion", "faces_not_found")
        reasons |= dict.fromkeys(names, f"the training data has one category only, {categories[0]}")
    graded = graded_categories(labels)
    if "neutral" in categories and len(categories) > 1:
        figures["displacement"] = _displacement(classifier, truth, marks, covariates)
    else:
        reasons["displacement"] = "the training data has no neutral frames, or nothing else"
    if "neutral" in categories and graded:
        figures |= _strength(avatar, classifier, graded, conditions, marks, covariates)
    else:
        what = "category at two intensities" if "neutral" in categories else "neutral frames"
        names = ("intensity_ordering", "sweep", "sweep_monotonic")
        reasons |= dict.fromkeys(names, f"the training data has no {what}")
    return figures, reasons


def _recorded(
    dataset: Dataset, labels: list[Label], vocabulary: EmotionVocabulary, view: TypicalView
) -> dict[Label, tuple[np.ndarray, np.ndarray]]:
    """Returns the landmarks [F, 478, 3] of the labels' held-out frames and their covariates [F, 4], through a view."""
    groups = frames_by_label(dataset, "val", vocabulary)
    return {
        label: (
            detect(view(images_of(dataset, groups[label]), poses_of_frames(dataset, groups[label]))),
            covariates_of_frames(dataset, groups[label], view),
        )
        for label in labels
        if label in groups
    }


def _displacement(
    classifier: ExpressionClassifier,
    truth: dict[Label, tuple[np.ndarray, np.ndarray]],
    marks: np.ndarray,
    covariates: np.ndarray,
) -> dict[str, dict[str, float | None]]:
    """Returns by category but neutral the mean displacement of its strongest label: of held-out frames, of renders, and
    the one over the other.

    truth: of `_recorded`. marks and covariates: as for `_recognition`.
    """
    found = {}
    for category, label in {category: (category, intensity) for category, intensity in classifier.labels}.items():
        if category == "neutral":
            continue
        renders = _mean_displacement(classifier, category, marks[:, classifier.labels.index(label)], covariates)
        recorded = _mean_displacement(classifier, category, *truth[label]) if label in truth else None
        # Below a tenth there is no displacement to speak of, and its share means nothing.
        relative = renders / recorded if renders is not None and recorded is not None and recorded > 0.1 else None
        found[category] = {"recorded": recorded, "rendered": renders, "relative": relative}
    return found


def _mean_displacement(
    classifier: ExpressionClassifier, category: str, marks: np.ndarray, covariates: np.ndarray
) -> float | None:
    """Returns the mean over the frames with a face; None where there is none."""
    moved = classifier.displacement(marks, covariates, category)
    known = moved[np.isfinite(moved)]
    return float(known.mean()) if len(known) else None


def _recognition(
    classifier: ExpressionClassifier, asked: list[Label], marks: np.ndarray, covariates: np.ndarray
) -> dict[str, object]:
    """Returns category_accuracy, confusion and faces_not_found of the renders with the asked labels.

    marks: [F, L, 478, 3] landmarks, for each of the classifier's labels. covariates: [F, 4].
    """
    categories = list(dict.fromkeys(category for category, _ in classifier.labels))
    counts = np.zeros((len(categories),) * 2, int)
    missing = 0
    for label in asked:
        for measured in classifier.nearest(marks[:, classifier.labels.index(label)], covariates):
            if measured is None:
                missing += 1
            else:
                counts[categories.index(label[0]), categories.index(measured[0])] += 1
    return {
        "confusion": {"labels": categories, "matrix": counts.tolist()},
        "faces_not_found": missing,
        "category_accuracy": float(np.trace(counts) / (counts.sum() + missing)),
    }


def _strength(
    avatar: Avatar,
    classifier: ExpressionClassifier,
    graded: dict[str, list[str]],
    conditions: list[FrameCondition],
    marks: np.ndarray,
    covariates: np.ndarray,
) -> dict[str, object]:
    """Returns intensity_ordering, sweep and sweep_monotonic; marks and covariates: as for `_recognition`."""
    grows = []
    for category, intensities in graded.items():
        columns = [classifier.labels.index((category, intensity)) for intensity in intensities]
        strength = [classifier.displacement(marks[:, column], covariates, category) for column in columns]
        grows.append((np.diff(strength, axis=0) > ROUNDING).all(axis=0))  # not a number: no face, hence no growth
    few = [conditions[i] for i in np.unique(np.linspace(0, len(conditions) - 1, SWEEP_FRAMES).astype(int))]
    curves = {c: _sweep(avatar, classifier, few, c, steps) for c, steps in graded.items()}
    return {
        "intensity_ordering": float(np.mean(grows)),
        "sweep": {c: [float(v) if np.isfinite(v) else None for v in curve] for c, curve in curves.items()},
        "sweep_monotonic": float(np.mean([np.diff(curve) > ROUNDING for curve in curves.values()])),
    }


def _spread(members: list[int], count: int, seed: int) -> list[int]:
    """Returns at most `count` of the members, in order: one from each of as many equal parts."""
    if len(members) <= count:
        return members
    rng = np.random.default_rng(seed)
    return [int(rng.choice(part)) for part in np.array_split(members, count)]


def _accuracy_on_truth(
    classifier: ExpressionClassifier, labels: list[Label], truth: dict[Label, tuple[np.ndarray, np.ndarray]]
) -> float | None:
    """Returns the share of held-out frames of the labels whose category is recognised; None where there are none."""
    right = [
        measured is not None and measured[0] == label[0]
        for label in labels
        if label in truth
        for measured in classifier.nearest(*truth[label])
    ]
    return float(np.mean(right)) if right else None


# ---- renders


class Preservation:
    """Renders frames with all labels, and keeps what changes that should not.

    similarities: structural similarity of upper nose, temples and ears with the reference. changes: mean absolute
    difference outside the head, 1/255. One each for every render but the references.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.similarities: list[float] = []
        self.changes: list[float] = []

    def renders(
        self, avatar: Avatar, index: int, condition: FrameCondition, labels: list[Label]
    ) -> Iterator[np.ndarray]:
        """Yields the dataset's frame `index` with every label, in their order: uint8 [H, W, 3] each.

        The reference is neutral, or the first label without it.
        """
        base = next((label for label in labels if label[0] == "neutral"), labels[0])
        frame = self.dataset.frames[index]
        landmarks = self.dataset.landmarks(frame.clip)[frame.index]
        reference, alpha = _render(avatar, condition, *base)
        region = rigid_region(landmarks, *reference.shape[:2])
        for label in labels:
            if label == base:
                yield reference
                continue
            image, other = _render(avatar, condition, *label)
            self.similarities.append(similarity(image, reference, region))
            outside = np.maximum(alpha, other) < OUTSIDE
            if outside.any():
                self.changes.append(float(np.abs(image.astype(float) - reference)[outside].mean()))
            yield image


def _render(
    avatar: Avatar, condition: FrameCondition, category: str, intensity: str | float
) -> tuple[np.ndarray, np.ndarray]:
    """Renders a condition with another emotion. Returns uint8 [H, W, 3], and the head's alpha [H, W]."""
    layers = avatar.images(replace(condition, emotion=avatar.vocabulary.encode(category, intensity)))
    return to_uint8(layers["rgb"]), layers["accumulation"][..., 0].cpu().numpy()


def _sweep(
    avatar: Avatar,
    classifier: ExpressionClassifier,
    conditions: list[FrameCondition],
    category: str,
    intensities: list[str],
) -> np.ndarray:
    """Returns the mean displacement over the conditions at SWEEP_STEPS intensities; NaN where no face is found."""
    position = avatar.vocabulary.position
    steps = np.linspace(position(intensities[0]), position(intensities[-1]), SWEEP_STEPS)
    images = (_render(avatar, c, category, float(step))[0] for c in conditions for step in steps)
    marks = detect(classifier.view(images, (c.head_pose for c in conditions for _ in steps)))
    covariates = np.repeat(covariates_of(conditions, classifier.view), SWEEP_STEPS, axis=0)
    moved = classifier.displacement(marks, covariates, category).reshape(len(conditions), SWEEP_STEPS)
    # A frame counts at all steps or at none: a face lost at one step would make a step of the mean.
    whole = moved[np.isfinite(moved).all(axis=1)]
    return whole.mean(axis=0) if len(whole) else np.full(SWEEP_STEPS, np.nan)
