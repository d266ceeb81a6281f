"""What the emotions of a person look like, learnt from landmarks: which label a face shows, and how strongly.

*Measurements.* Faces are looked at as in the recording's typical pose (`typical_view.py`). The landmarks are laid over
the person's mean face by a similarity transform (Procrustes) on points that expressions hardly move, which takes out
what is left of pose and size; x and y of brows, the bridge of the nose, the cheeks below the eyes, nose wings, cheeks
and lips are kept. Lids are not: their opening is an input of its own, which evaluation holds equal across labels. What
it still does to the landmarks is regressed out, with slopes taken within labels (analysis of covariance), and so are
head turns where pictures cannot be turned.

*Nearest label.* Speech moves the lips more than a weak emotion does. So distances to the labels' centroids are measured
in units of the variation within a label (its speech, its blinks, the detector's noise): the pooled within-label
covariance whitens the measurements, which is Fisher's linear discriminant (R. A. Fisher, "The use of multiple
measurements in taxonomic problems", 1936) as nearest centroid in Mahalanobis distance. Labels have tens of frames and
hundreds of measurements, so the covariance is shrunk towards a multiple of the identity by the amount that Ledoit and
Wolf derive ("A well-conditioned estimator for large-dimensional covariance matrices", 2004).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64
from scipy.spatial.transform import Rotation

from aed_nerfstudio.capture.face_shape import mean_face
from aed_nerfstudio.dataset.schema import Dataset
from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.driving.head_motion import HeadMotion
from aed_nerfstudio.driving.head_pose import pose_vector
from aed_nerfstudio.driving.track import FrameCondition
from aed_nerfstudio.evaluation.landmark_distance import detect
from aed_nerfstudio.evaluation.typical_view import TypicalView
from aed_nerfstudio.face.face_mesh import INNER_LIPS, OUTER_LIPS, STABLE

Label = tuple[str, str]
"""Category and intensity."""

BROWS = [70, 63, 105, 66, 107, 46, 53, 52, 65, 55, 300, 293, 334, 296, 336, 276, 283, 282, 295, 285]
BRIDGE = [9, 8, 151, 108, 337, 69, 299]
BELOW_EYES = [111, 117, 118, 119, 120, 340, 346, 347, 348, 349]
NOSE = [48, 278, 64, 294, 98, 327, 49, 279, 203, 423, 206, 426]
CHEEKS = [50, 280, 205, 425, 187, 411, 216, 436, 207, 427, 192, 416]
EXPRESSION = [*BROWS, *BRIDGE, *BELOW_EYES, *NOSE, *CHEEKS, *OUTER_LIPS, *INNER_LIPS]

TRAINING_FRAMES = 30  # of a label: its centroid is then known to a fifth of the variation within the label
FEWEST_FRAMES = 5  # of a label with a face found; below that it has no centroid


# ---- labels and frames


def one_label(category: str, intensity: str, vocabulary: EmotionVocabulary) -> Label:
    """Returns the label as the model is told it: neutral has the first intensity alone (`EmotionVocabulary.encode`)."""
    return (category, vocabulary.intensities[0] if category == "neutral" else intensity)


def trained_labels(seen: Iterable[Label], vocabulary: EmotionVocabulary) -> list[Label]:
    """Returns what `seen` pairs mean as labels, in the vocabulary's order: neutral, if any, once."""
    known = {one_label(*label, vocabulary) for label in seen}
    return [label for c in vocabulary.categories for i in vocabulary.intensities if (label := (c, i)) in known]


def without_weakest(labels: list[Label], vocabulary: EmotionVocabulary) -> list[Label]:
    """Returns labels but those of the vocabulary's weakest intensity, which stay where their category has no other."""
    weakest = vocabulary.intensities[0]
    graded = {category for category, intensity in labels if intensity != weakest}
    return [(category, intensity) for category, intensity in labels if intensity != weakest or category not in graded]


def graded_categories(labels: list[Label]) -> dict[str, list[str]]:
    """Returns the intensities of every category but neutral that has several, in the labels' order."""
    graded: dict[str, list[str]] = {}
    for category, intensity in labels:
        graded.setdefault(category, []).append(intensity)
    return {name: found for name, found in graded.items() if name != "neutral" and len(found) > 1}


def covariates_of(conditions: Sequence[FrameCondition], view: TypicalView) -> Float64[np.ndarray, "f 4"]:
    """Returns what moves landmarks beside the expression in pictures that are seen through a view: the head's rotation
    vector (radians) and eye openness."""
    turns = view.turns(pose_vector(np.stack([condition.head_pose for condition in conditions]))[:, :3])
    return np.concatenate([turns, [[c.eye_openness] for c in conditions]], axis=1, dtype=np.float64)


def covariates_of_frames(dataset: Dataset, picks: list[int], view: TypicalView) -> Float64[np.ndarray, "f 4"]:
    """Returns `covariates_of` frames of a dataset, by their indices."""
    turns = view.turns(pose_vector(poses_of_frames(dataset, picks))[:, :3])
    eyes = [[dataset.frames[i].eye_openness] for i in picks]
    return np.concatenate([turns, eyes], axis=1, dtype=np.float64)


def poses_of_frames(dataset: Dataset, picks: list[int]) -> Float64[np.ndarray, "f 3 4"]:
    """Returns the head poses of frames of a dataset, by their indices."""
    return np.array([dataset.frames[i].camera_to_world for i in picks], np.float64)[:, :3]


def frames_by_label(dataset: Dataset, part: str, vocabulary: EmotionVocabulary) -> dict[Label, list[int]]:
    """Returns the indices of up to TRAINING_FRAMES evenly spaced frames of every label in a split."""
    labels = {clip.name: one_label(clip.emotion, clip.intensity, vocabulary) for clip in dataset.clips}
    groups: dict[Label, list[int]] = {}
    for i in dataset.split(part):
        groups.setdefault(labels[dataset.frames[i].clip], []).append(i)
    for label, members in groups.items():
        even = np.unique(np.linspace(0, len(members) - 1, TRAINING_FRAMES).astype(int))
        groups[label] = [members[i] for i in even]
    return groups


def images_of(dataset: Dataset, picks: list[int]) -> Iterator[np.ndarray]:
    """Yields recorded frames by their indices, uint8 [H, W, 3]."""
    return (dataset.image(dataset.frames[i]) for i in picks)


# ---- the classifier


def aligned(
    landmarks: Float[np.ndarray, "f 478 3"], face: Float[np.ndarray, "478 3"]
) -> Float64[np.ndarray, "f 478 3"]:
    """Lays landmarks over a face by a similarity transform on the stable points (Procrustes).

    landmarks: pixels, all finite. face: in the head frame (`mean_face`). Returns them in the face's units and axes.
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


@dataclass
class ExpressionClassifier:
    """Knows what every label of a person looks like; the module's description says how it measures.

    face: [478, 3] the mean face. covariates: [4] their mean. slopes: [4, D] of the measurements. whitening: [D, D].
    labels: L of them. centroids: [L, D] whitened. shapes: [L, 478, 3] the labels' mean landmarks, laid over the face.
    view: that the landmarks are found through.
    """

    face: np.ndarray
    covariates: np.ndarray
    slopes: np.ndarray
    whitening: np.ndarray
    labels: list[Label]
    centroids: np.ndarray
    shapes: np.ndarray
    view: TypicalView

    @classmethod
    def fit(
        cls,
        landmarks: Float[np.ndarray, "f 478 3"],
        covariates: Float[np.ndarray, "f 4"],
        labels: list[Label],
        view: TypicalView,
    ) -> ExpressionClassifier:
        """Learns from frames: landmarks in pixels, all finite, and covariates, both seen through a view, and a label
        each."""
        from sklearn.covariance import ledoit_wolf

        face = mean_face(landmarks, np.ones(len(landmarks), bool))
        names = list(dict.fromkeys(labels))
        member = np.array([names.index(label) for label in labels])
        laid = aligned(landmarks, face)
        raw = laid[:, EXPRESSION, :2].reshape(len(landmarks), -1)
        shapes = np.stack([laid[member == k].mean(axis=0) for k in range(len(names))])

        def within(values: np.ndarray) -> np.ndarray:
            means = np.stack([values[member == k].mean(axis=0) for k in range(len(names))])
            return values - means[member]

        moves = within(covariates)
        # The small ridge, in units of each one's own variation, leaves out what does not vary.
        ridge = np.diag(1e-3 * np.square(moves).sum(axis=0) + 1e-9)
        slopes = np.linalg.solve(moves.T @ moves + ridge, moves.T @ within(raw))
        middle = covariates.mean(axis=0)
        values = raw - (covariates - middle) @ slopes
        variances, axes = np.linalg.eigh(ledoit_wolf(within(values), assume_centered=True)[0])
        whitening = axes / np.sqrt(np.maximum(variances, 1e-12))
        centroids = np.stack([values[member == k].mean(axis=0) for k in range(len(names))]) @ whitening
        return cls(face, middle, slopes, whitening, names, centroids, shapes, view)

    def measure(
        self, landmarks: Float[np.ndarray, "f 478 3"], covariates: Float[np.ndarray, "f 4"]
    ) -> Float64[np.ndarray, "f d"]:
        """Returns the whitened measurements of landmarks in pixels; NaN where no face is found."""
        found = np.isfinite(landmarks).all(axis=(1, 2))
        out = np.full((len(landmarks), len(self.whitening)), np.nan)
        raw = aligned(landmarks[found], self.face)[:, EXPRESSION, :2].reshape(found.sum(), 2 * len(EXPRESSION))
        out[found] = (raw - (covariates[found] - self.covariates) @ self.slopes) @ self.whitening
        return out

    def nearest(
        self, landmarks: Float[np.ndarray, "f 478 3"], covariates: Float[np.ndarray, "f 4"]
    ) -> list[Label | None]:
        """Returns for each frame the label whose centroid is nearest; None where no face is found."""
        distances = np.linalg.norm(self.measure(landmarks, covariates)[:, None] - self.centroids, axis=-1)
        return [self.labels[row.argmin()] if np.isfinite(row).all() else None for row in distances]

    def displacement(
        self, landmarks: Float[np.ndarray, "f 478 3"], covariates: Float[np.ndarray, "f 4"], category: str
    ) -> Float64[np.ndarray, " f"]:
        """Returns how far frames lie on the way from neutral (0) to the category's strongest label (1).

        Raises:
            ValueError: neutral or the category was not learnt.
        """
        strongest = next((label for label in reversed(self.labels) if label[0] == category), (category, ""))
        return self.share_of_own(landmarks, covariates, strongest)

    def share_of_own(
        self, landmarks: Float[np.ndarray, "f 478 3"], covariates: Float[np.ndarray, "f 4"], label: Label
    ) -> Float64[np.ndarray, " f"]:
        """Returns how far frames lie on the way from neutral (0) to a label's own training frames (1).

        Raises:
            ValueError: neutral or the label was not learnt.
        """
        neutral = [k for k, (category, _) in enumerate(self.labels) if category == "neutral"]
        if not neutral or label not in self.labels:
            raise ValueError(f"neutral and {' '.join(label)} must both have been learnt")
        start = self.centroids[neutral[-1]]
        way = self.centroids[self.labels.index(label)] - start
        return (self.measure(landmarks, covariates) - start) @ way / (way @ way)


def learn_expressions(
    dataset: Dataset, labels: list[Label], vocabulary: EmotionVocabulary, motion: HeadMotion
) -> ExpressionClassifier | None:
    """Learns labels, in their order, from the training frames; None where fewer than two can be learnt.

    motion: the dataset's.

    Those with a face in fewer than FEWEST_FRAMES of them are left out.
    """
    groups = frames_by_label(dataset, "train", vocabulary)
    picks = [i for label in labels for i in groups.get(label, [])]
    names = [label for label in labels for _ in groups.get(label, [])]
    view = TypicalView.of(dataset, motion)
    marks = detect(view(images_of(dataset, picks), poses_of_frames(dataset, picks)))
    found = np.asarray(np.isfinite(marks).all(axis=(1, 2)))
    counts = {label: sum(f for f, name in zip(found, names, strict=True) if name == label) for label in labels}
    kept = found & np.array([counts[name] >= FEWEST_FRAMES for name in names])
    if len({name for name, k in zip(names, kept, strict=True) if k}) < 2:
        return None
    return ExpressionClassifier.fit(
        marks[kept],
        covariates_of_frames(dataset, picks, view)[kept],
        [n for n, k in zip(names, kept, strict=True) if k],
        view,
    )
