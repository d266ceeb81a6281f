"""Whether an avatar shows the emotion it is asked for, as strongly as asked, and nothing else changes with it.

No classifier trained on other people is needed: what a label looks like on this person is read off the training frames,
as measurements on MediaPipe's landmarks, and renders are compared with that.

*Measurements.* The landmarks are laid over the person's mean face by a similarity transform (Procrustes) on points that
expressions hardly move, which takes out head pose and size; x and y of brows, the bridge of the nose, the cheeks below
the eyes, nose wings, cheeks and lips are kept. Lids are not: their opening is an input of its own, which evaluation
holds equal across labels. What head turns and lid opening still do to the landmarks is regressed out, with slopes
taken within labels (analysis of covariance).

*Nearest label.* Speech moves the lips more than a weak emotion does. So distances to the labels' centroids are measured
in units of the variation within a label (its speech, its blinks, the detector's noise): the pooled within-label
covariance whitens the measurements, which is Fisher's linear discriminant (R. A. Fisher, "The use of multiple
measurements in taxonomic problems", 1936) as nearest centroid in Mahalanobis distance. Labels have tens of frames and
hundreds of measurements, so the covariance is shrunk towards a multiple of the identity by the amount that Ledoit and
Wolf derive ("A well-conditioned estimator for large-dimensional covariance matrices", 2004).

Measured on the synthetic actor with 30 training frames a label: of its true frames at medium and strong, held-out ones
or ones acted anew with another label at the held-out poses and sounds, more than 99 % are recognised, at 160 and at 192
pixels, and weak < medium < strong holds in all. Enlarging the pictures two- or threefold before MediaPipe helped in
neither. The actor's own emotions leave `identity_similarity` at 0.99; another actor in the same pose has 0.35 to 0.7.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from aed_nerfstudio.avatar.avatar import Avatar, to_uint8
from aed_nerfstudio.avatar.portrait import Portrait
from aed_nerfstudio.capture.face_shape import STABLE, mean_face
from aed_nerfstudio.dataset.schema import Dataset
from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.driving.head_pose import pose_vector
from aed_nerfstudio.driving.track import DatasetTrack
from aed_nerfstudio.evaluation.landmark_distance import detect
from aed_nerfstudio.evaluation.metrics import EMOTION
from aed_nerfstudio.face.face_mesh import INNER_LIPS, OUTER_LIPS

if TYPE_CHECKING:
    from aed_nerfstudio.driving.track import FrameCondition

Label = tuple[str, str]
"""Category and intensity."""

BROWS = [70, 63, 105, 66, 107, 46, 53, 52, 65, 55, 300, 293, 334, 296, 336, 276, 283, 282, 295, 285]
BRIDGE = [9, 8, 151, 108, 337, 69, 299]
BELOW_EYES = [111, 117, 118, 119, 120, 340, 346, 347, 348, 349]
NOSE = [48, 278, 64, 294, 98, 327, 49, 279, 203, 423, 206, 426]
CHEEKS = [50, 280, 205, 425, 187, 411, 216, 436, 207, 427, 192, 416]
EXPRESSION = [*BROWS, *BRIDGE, *BELOW_EYES, *NOSE, *CHEEKS, *OUTER_LIPS, *INNER_LIPS]
UPPER_NOSE = [168, 193, 122, 196, 3, 51, 5, 281, 248, 419, 351, 417]  # outline
SIDES = ([127, 234, 93], [356, 454, 323])  # from the temple past the ear to the jaw, image left and right
EAR_WIDTH = 0.12  # of the face's width: how far ears stick out beyond the landmarks

TRAINING_FRAMES = 30  # of a label: its centroid is then known to a fifth of the variation within the label
FEWEST_FRAMES = 5  # of a label with a face found; below that it has no centroid
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
        A JSON-able dict; a value that cannot be measured is None, and `not_measured` says why, by name:

        - category_accuracy: share of the renders at all but the weakest intensity (where a category has another one)
          whose nearest label is of the asked category. A render without a face counts as wrong.
        - category_accuracy_recorded: the same classifier on the video's own held-out frames of those labels:
          what a perfect avatar can reach.
        - confusion: labels, and the matrix of counts [asked][measured] behind category_accuracy.
        - faces_not_found: renders among them without a face.
        - intensity_ordering: share of (frame, category) in which the displacement from neutral, along the line from the
          centroid of neutral to that of the category's strongest label, grows with every label of intensity.
        - sweep: per category, that displacement at 11 evenly spaced intensities from its weakest to its strongest
          label, averaged over up to 6 frames; 0 is neutral, 1 the strongest label's training frames.
        - sweep_monotonic: share of the steps of these curves that go up.
        - identity_similarity: structural similarity (Wang et al., 2004) of upper nose, temples and ears, which no
          expression moves, between the render with a label and the neutral render of the same frame (the first label's
          where neutral was not trained); mean over labels and frames. Pose and camera are equal in both, so the regions
          are compared where they are: a face that another label moves counts as changed.
        - background_change: mean absolute difference in 1/255 between the same renders where neither shows the head.
        - frames: conditions rendered.

        A label whose training frames show too few faces is left out, and `not_measured` names it.
    """
    vocabulary = avatar.vocabulary
    result: dict = {**dict.fromkeys(EMOTION), "frames": 0, "not_measured": {}}

    def not_measured(reason: str, *names: str) -> None:
        result["not_measured"].update(dict.fromkeys(names, reason))

    seen = trained_labels(vocabulary.recorded, vocabulary)
    held_out = dataset.split("val")
    classifier = learn_expressions(dataset, seen, vocabulary) if held_out and len(seen) > 1 else None
    if classifier is None:
        reason = (
            f"the training data has one label only, {' '.join(seen[0])}" if len(seen) == 1
            else "the dataset has no held-out frames" if not held_out
            else "faces are found in the training frames of fewer than two labels"
        )  # fmt: skip
        not_measured(reason, *(name for name, value in result.items() if value is None))
        return result

    labels = classifier.labels
    for label in seen:
        if label not in labels:
            not_measured(f"a face in fewer than {FEWEST_FRAMES} of its training frames", " ".join(label))
    categories = list(dict.fromkeys(category for category, _ in labels))
    scored = without_weakest(labels, vocabulary)
    picks = _spread(held_out, frames, seed)
    result["frames"] = len(picks)
    # Its own emotions, which are replaced; the avatar may know fewer labels than there are.
    track = DatasetTrack.of(dataset, Portrait.of(dataset).vocabulary)
    conditions = [track[i] for i in picks]
    shown = Preservation(dataset)
    images = (image for i, c in zip(picks, conditions, strict=True) for image in shown.renders(avatar, i, c, labels))
    marks = detect(images).reshape(len(picks), len(labels), -1, 3)
    covariates = covariates_of(conditions)

    if len(categories) > 1:
        counts = np.zeros((len(categories),) * 2, int)
        missing = 0
        for label in scored:
            for measured in classifier.nearest(marks[:, labels.index(label)], covariates):
                if measured is None:
                    missing += 1
                else:
                    counts[categories.index(label[0]), categories.index(measured[0])] += 1
        result["confusion"] = {"labels": categories, "matrix": counts.tolist()}
        result["faces_not_found"] = missing
        result["category_accuracy"] = float(np.trace(counts) / (counts.sum() + missing))
        result["category_accuracy_recorded"] = _accuracy_on_truth(classifier, dataset, scored, vocabulary)
    else:
        not_measured(
            f"the training data has one category only, {categories[0]}",
            *("category_accuracy", "category_accuracy_recorded", "confusion", "faces_not_found"),
        )

    graded = {c: [i for k, i in labels if k == c] for c in categories if c != "neutral"}
    graded = {category: intensities for category, intensities in graded.items() if len(intensities) > 1}
    if "neutral" in categories and graded:
        grows = []
        for category, intensities in graded.items():
            columns = [labels.index((category, intensity)) for intensity in intensities]
            strength = [classifier.displacement(marks[:, column], covariates, category) for column in columns]
            grows.append((np.diff(strength, axis=0) > ROUNDING).all(axis=0))  # not a number: no face, hence no growth
        result["intensity_ordering"] = float(np.mean(grows))
        few = [conditions[i] for i in np.unique(np.linspace(0, len(conditions) - 1, SWEEP_FRAMES).astype(int))]
        curves = {c: _sweep(avatar, classifier, few, c, steps) for c, steps in graded.items()}
        result["sweep_monotonic"] = float(np.mean([np.diff(curve) > ROUNDING for curve in curves.values()]))
        result["sweep"] = {c: [float(v) if np.isfinite(v) else None for v in curve] for c, curve in curves.items()}
    else:
        reason = (
            "the training data has no neutral frames" if "neutral" not in categories
            else "the training data has no category at two intensities"
        )  # fmt: skip
        not_measured(reason, "intensity_ordering", "sweep", "sweep_monotonic")

    result["identity_similarity"] = float(np.mean(shown.similarities))
    if shown.changes:
        result["background_change"] = float(np.mean(shown.changes))
    else:
        not_measured(f"the head's alpha is nowhere below {OUTSIDE}", "background_change")
    return result


# ---- labels and frames


def one_label(category: str, intensity: str, vocabulary: EmotionVocabulary) -> Label:
    """The label as the model is told it: neutral has one intensity, the first (see `EmotionVocabulary.encode`)."""
    return (category, vocabulary.intensities[0] if category == "neutral" else intensity)


def trained_labels(seen: Iterable[Label], vocabulary: EmotionVocabulary) -> list[Label]:
    """What `seen` (category, intensity) pairs mean as labels, in the vocabulary's order: neutral, if any, once."""
    known = {one_label(*label, vocabulary) for label in seen}
    return [label for c in vocabulary.categories for i in vocabulary.intensities if (label := (c, i)) in known]


def without_weakest(labels: list[Label], vocabulary: EmotionVocabulary) -> list[Label]:
    """Labels but those of the vocabulary's weakest intensity, which stay where their category has no other."""
    weakest = vocabulary.intensities[0]
    graded = {category for category, intensity in labels if intensity != weakest}
    return [(category, intensity) for category, intensity in labels if intensity != weakest or category not in graded]


def _spread(members: list[int], count: int, seed: int) -> list[int]:
    """At most `count` of the members, in order: one from each of as many equal parts."""
    if len(members) <= count:
        return members
    rng = np.random.default_rng(seed)
    return [int(rng.choice(part)) for part in np.array_split(members, count)]


def covariates_of(conditions: Iterable[FrameCondition]) -> np.ndarray:
    """What moves landmarks beside the expression: head rotation vector (radians) and eye openness, float64 [F, 4]."""
    conditions = list(conditions)
    turns = pose_vector(np.stack([np.asarray(c.head_pose)[:3] for c in conditions]))[:, :3]
    return np.concatenate([turns, [[c.eye_openness] for c in conditions]], axis=1, dtype=np.float64)


def _frame_covariates(dataset: Dataset, picks: list[int]) -> np.ndarray:
    """The same of a dataset's frames."""
    frames = [dataset.frames[i] for i in picks]
    turns = pose_vector(np.array([frame.camera_to_world for frame in frames])[:, :3])[:, :3]
    return np.concatenate([turns, [[frame.eye_openness] for frame in frames]], axis=1, dtype=np.float64)


def _frames_by_label(dataset: Dataset, part: str, vocabulary: EmotionVocabulary) -> dict[Label, list[int]]:
    """Up to TRAINING_FRAMES evenly spaced frames of every label in a split."""
    labels = {clip.name: one_label(clip.emotion, clip.intensity, vocabulary) for clip in dataset.clips}
    found: dict[Label, list[int]] = {}
    for i in dataset.split(part):
        found.setdefault(labels[dataset.frames[i].clip], []).append(i)
    for label, members in found.items():
        even = np.unique(np.linspace(0, len(members) - 1, TRAINING_FRAMES).astype(int))
        found[label] = [members[i] for i in even]
    return found


def _images(dataset: Dataset, picks: list[int]) -> Iterator[np.ndarray]:
    return (dataset.image(dataset.frames[i]) for i in picks)


# ---- the classifier


def aligned(landmarks: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Lays landmarks over a face by a similarity transform on the stable points (Procrustes).

    landmarks: [F, 478, 3] pixels, all finite. face: [478, 3] in the head frame (`mean_face`).
    Returns [F, 478, 3] in the face's units and axes.
    """
    anchor = face[STABLE].mean(axis=0)
    target = face[STABLE] - anchor
    out = np.empty(landmarks.shape)
    for i, points in enumerate(landmarks * np.array([1.0, -1.0, -1.0])):  # the head frame has y up and z forwards
        points = points - points[STABLE].mean(axis=0)
        points *= np.linalg.norm(target) / np.linalg.norm(points[STABLE])
        rotation, _ = Rotation.align_vectors(target, points[STABLE])
        out[i] = rotation.apply(points) + anchor
    return out


def shrunk_covariance(deviations: np.ndarray) -> np.ndarray:
    """Covariance [D, D] of deviations from known means [N, D], shrunk by Ledoit and Wolf's (2004) estimate."""
    count, size = deviations.shape
    sample = deviations.T @ deviations / count
    scale = np.trace(sample) / size
    spread = np.square(sample).sum() - size * scale**2
    noise = (np.square(np.square(deviations).sum(axis=1)).sum() / count - np.square(sample).sum()) / count
    share = float(np.clip(noise / max(spread, 1e-30), 0, 1))
    return (1 - share) * sample + share * scale * np.eye(size)


@dataclass
class ExpressionClassifier:
    """What every label of a person looks like; the module's description says how it measures.

    face: [478, 3] the mean face. covariates: [4] their mean. slopes: [4, D] of the measurements. whitening: [D, D].
    labels: L of them. centroids: [L, D] whitened.
    """

    face: np.ndarray
    covariates: np.ndarray
    slopes: np.ndarray
    whitening: np.ndarray
    labels: list[Label]
    centroids: np.ndarray

    @classmethod
    def fit(cls, landmarks: np.ndarray, covariates: np.ndarray, labels: list[Label]) -> ExpressionClassifier:
        """Learns from frames: landmarks [F, 478, 3] pixels, all finite; covariates [F, 4]; a label each."""
        face = mean_face(landmarks, np.ones(len(landmarks), bool))
        names = list(dict.fromkeys(labels))
        member = np.array([names.index(label) for label in labels])
        raw = aligned(landmarks, face)[:, EXPRESSION, :2].reshape(len(landmarks), -1)

        def within(values: np.ndarray) -> np.ndarray:
            means = np.stack([values[member == k].mean(axis=0) for k in range(len(names))])
            return values - means[member]

        moves = within(covariates)
        # The small ridge, in units of each one's own variation, leaves out what does not vary.
        ridge = np.diag(1e-3 * np.square(moves).sum(axis=0) + 1e-9)
        slopes = np.linalg.solve(moves.T @ moves + ridge, moves.T @ within(raw))
        middle = covariates.mean(axis=0)
        values = raw - (covariates - middle) @ slopes
        variances, axes = np.linalg.eigh(shrunk_covariance(within(values)))
        whitening = axes / np.sqrt(np.maximum(variances, 1e-12))
        centroids = np.stack([values[member == k].mean(axis=0) for k in range(len(names))]) @ whitening
        return cls(face, middle, slopes, whitening, names, centroids)

    def measure(self, landmarks: np.ndarray, covariates: np.ndarray) -> np.ndarray:
        """Whitened measurements: [F, 478, 3] pixels and [F, 4] -> [F, D], NaN where no face is found."""
        found = np.isfinite(landmarks).all(axis=(1, 2))
        out = np.full((len(landmarks), len(self.whitening)), np.nan)
        raw = aligned(landmarks[found], self.face)[:, EXPRESSION, :2].reshape(found.sum(), 2 * len(EXPRESSION))
        out[found] = (raw - (covariates[found] - self.covariates) @ self.slopes) @ self.whitening
        return out

    def nearest(self, landmarks: np.ndarray, covariates: np.ndarray) -> list[Label | None]:
        """The label whose centroid is nearest, for each of F frames; None where no face is found."""
        distances = np.linalg.norm(self.measure(landmarks, covariates)[:, None] - self.centroids, axis=-1)
        return [self.labels[row.argmin()] if np.isfinite(row).all() else None for row in distances]

    def displacement(self, landmarks: np.ndarray, covariates: np.ndarray, category: str) -> np.ndarray:
        """How far F frames lie on the way from neutral (0) to the category's strongest label (1): [F].

        Raises ValueError where neutral or the category was not learnt.
        """
        ends = [[i for i, (name, _) in enumerate(self.labels) if name == wanted] for wanted in ("neutral", category)]
        if not all(ends):
            raise ValueError(f"neutral and {category} must both have been learnt")
        neutral, strongest = (self.centroids[members[-1]] for members in ends)
        way = strongest - neutral
        return (self.measure(landmarks, covariates) - neutral) @ way / (way @ way)


def learn_expressions(
    dataset: Dataset, labels: list[Label], vocabulary: EmotionVocabulary
) -> ExpressionClassifier | None:
    """Learns labels, in their order, from the training frames; None where fewer than two can be learnt.

    Those with a face in fewer than FEWEST_FRAMES of them are left out.
    """
    groups = _frames_by_label(dataset, "train", vocabulary)
    picks = [i for label in labels for i in groups.get(label, [])]
    names = [label for label in labels for _ in groups.get(label, [])]
    marks = detect(_images(dataset, picks))
    found = np.isfinite(marks).all(axis=(1, 2))
    counts = {label: sum(f for f, name in zip(found, names, strict=True) if name == label) for label in labels}
    kept = found & np.array([counts[name] >= FEWEST_FRAMES for name in names])
    if len({name for name, k in zip(names, kept, strict=True) if k}) < 2:
        return None
    return ExpressionClassifier.fit(
        marks[kept], _frame_covariates(dataset, picks)[kept], [n for n, k in zip(names, kept, strict=True) if k]
    )


def _accuracy_on_truth(
    classifier: ExpressionClassifier, dataset: Dataset, labels: list[Label], vocabulary: EmotionVocabulary
) -> float | None:
    """Share of true held-out frames of the labels whose category is recognised; None where there are none."""
    groups = _frames_by_label(dataset, "val", vocabulary)
    picks = [i for label in labels for i in groups.get(label, [])]
    if not picks:
        return None
    asked = [label[0] for label in labels for _ in groups.get(label, [])]
    measured = classifier.nearest(detect(_images(dataset, picks)), _frame_covariates(dataset, picks))
    return float(np.mean([m is not None and m[0] == a for m, a in zip(measured, asked, strict=True)]))


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
        """The dataset's frame `index` with every label: uint8 [H, W, 3], one a label, in order.

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
    """A condition with another emotion: uint8 [H, W, 3], and the head's alpha [H, W]."""
    layers = avatar.images(replace(condition, emotion=avatar.vocabulary.encode(category, intensity)))
    return to_uint8(layers["rgb"]), layers["accumulation"][..., 0].cpu().numpy()


def _sweep(
    avatar: Avatar,
    classifier: ExpressionClassifier,
    conditions: list[FrameCondition],
    category: str,
    intensities: list[str],
) -> np.ndarray:
    """Mean displacement over the conditions at SWEEP_STEPS intensities, [SWEEP_STEPS]; NaN where no face is found."""
    position = avatar.vocabulary.position
    steps = np.linspace(position(intensities[0]), position(intensities[-1]), SWEEP_STEPS)
    marks = detect(_render(avatar, c, category, float(step))[0] for c in conditions for step in steps)
    covariates = np.repeat(covariates_of(conditions), SWEEP_STEPS, axis=0)
    moved = classifier.displacement(marks, covariates, category).reshape(len(conditions), SWEEP_STEPS)
    # A frame counts at all steps or at none: a face lost at one step would make a step of the mean.
    whole = moved[np.isfinite(moved).all(axis=1)]
    return whole.mean(axis=0) if len(whole) else np.full(SWEEP_STEPS, np.nan)


def rigid_region(landmarks: np.ndarray, height: int, width: int) -> np.ndarray:
    """Upper nose, temples and ears in a picture, bool [height, width], from landmarks [478, 3] pixels."""
    points = landmarks[:, :2].astype(np.float64)
    outward = (points[454] - points[234]) * EAR_WIDTH
    shapes = [points[UPPER_NOSE]]
    for side, sign in zip(SIDES, (-1, 1), strict=True):
        edge = points[side]
        shapes.append(np.concatenate([edge, edge[::-1] + sign * outward]))
    mask = np.zeros((height, width), np.uint8)
    for shape in shapes:
        cv2.fillPoly(mask, [np.round(shape).astype(np.int32)], 1)
    return mask > 0


def similarity(image: np.ndarray, reference: np.ndarray, region: np.ndarray) -> float:
    """Structural similarity of two uint8 images [H, W, 3] over a region, bool [H, W]; 1 where they are equal."""
    from skimage.metrics import structural_similarity

    _, each = structural_similarity(image, reference, channel_axis=-1, full=True)
    return float(each[region].mean())
