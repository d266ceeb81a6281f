"""Emotions in poses that other emotions were recorded in: what is left of a face, the farther from its own poses.

People hold the head in another way in every take, so that a label is known in a few poses only. The angle of a render
is that between the head pose asked for and the nearest one of the label's training frames.

*Where the face should be* is known without a true picture: the recorded frame of that pose says where the head is, and
the label's training frames what the face looks like on it (their mean, in the frame of the head). FaceMesh's depth is
no measurement, so that turning that mean shape by 20 degrees costs about as much as an expression; the recorded frames'
own distance, and on the actor that of true pictures, say how much of it is the measure's. Of the computer-made actor
there is a true picture of every label in every pose (`synthetic/truth.py`), with which renders are compared as well.

*Which emotion it shows* is told by `ExpressionClassifier`, which looks at faces as in the recording's typical pose, and
names true pictures wrong, too, the more, the farther they were turned for it (`typical_view.py`). For the actor it is
taught by true pictures of every label in the poses of all takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from aed_nerfstudio.capture.face_shape import similarity
from aed_nerfstudio.dataset.schema import Dataset
from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.evaluation.expression import (
    ExpressionClassifier,
    Label,
    covariates_of_frames,
    images_of,
    one_label,
    poses_of_frames,
    without_weakest,
)
from aed_nerfstudio.evaluation.image_metrics import psnr
from aed_nerfstudio.evaluation.landmark_distance import detect
from aed_nerfstudio.evaluation.typical_view import TypicalView
from aed_nerfstudio.face.face_finder import FaceFinder
from aed_nerfstudio.face.face_mesh import EYE_OUTLINES, FIRST_IRIS, JAW, LIPS, STABLE, face_width
from aed_nerfstudio.synthetic.truth import Truth, is_actor

EDGES = (0.0, 2.5, 5.0, 10.0, 20.0, 180.0)
"""Degrees between which angles are counted together."""
ACTED = 30
"""True pictures of a label, that the classifier is taught."""
SHAPED = sorted(set(range(FIRST_IRIS)) - {*LIPS, *JAW, *EYE_OUTLINES[0], *EYE_OUTLINES[1]})
"""Landmarks that emotions move, and neither speech nor blinks do."""
AXES = np.array([1.0, -1.0, -1.0])
"""From the frame of the head (y up, z forwards) to pixels."""


def angles_to_own(asked: Float[np.ndarray, "f 3 3"], own: Float[np.ndarray, "k 3 3"]) -> Float[np.ndarray, " f"]:
    """Returns by how many degrees each asked rotation differs from the nearest of a label's own."""
    cosine = (np.einsum("fij,kij->fk", asked, own).max(axis=1) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def expected_landmarks(
    shape: Float[np.ndarray, "478 3"], face: Float[np.ndarray, "478 3"], seen: Float[np.ndarray, "f 478 3"]
) -> Float[np.ndarray, "f 478 3"]:
    """Returns where the landmarks of a shape would be on the heads of recorded frames, pixels; NaN without a face.

    shape, face: what is expected, and the person's mean face, both in the frame of the head. seen: of the frames.
    """
    out = np.full((len(seen), *shape.shape), np.nan)
    found = np.isfinite(seen).all(axis=(1, 2))
    if found.any():
        scale, rotation, shift = similarity((face * AXES)[STABLE], seen[found][:, STABLE].astype(np.float64))
        out[found] = scale[:, None, None] * np.einsum("nj,fij->fni", shape * AXES, rotation) + shift[:, None]
    return out


def learn_acted(truth: Truth, labels: list[Label], view: TypicalView) -> ExpressionClassifier:
    """Learns labels from true pictures, seen through a view, each in poses of all takes.

    These are the poses of ACTED training frames, evenly spread.
    """
    dataset = truth.dataset
    training = dataset.split("train")
    picks = [training[k] for k in np.unique(np.linspace(0, len(training) - 1, ACTED).astype(int))]
    frames = [(dataset.frames[i], label) for label in labels for i in picks]
    images = (truth.render(frame, *label).image for frame, label in frames)
    marks = detect(view(images, poses_of_frames(dataset, picks * len(labels))))
    found = np.flatnonzero(np.isfinite(marks).all(axis=(1, 2)))
    covariates = covariates_of_frames(dataset, picks * len(labels), view)
    return ExpressionClassifier.fit(marks[found], covariates[found], [frames[k][1] for k in found], view)


class CrossedPoses:
    """Measures renders of held-out frames with all labels.

    Args:
        dataset: the avatar's recording.
        classifier: its labels are those that are asked for.
        vocabulary: of the avatar.
        picks: the frames that are rendered, each with every label, in this order.
    """

    def __init__(
        self, dataset: Dataset, classifier: ExpressionClassifier, vocabulary: EmotionVocabulary, picks: list[int]
    ) -> None:
        self.dataset, self.classifier, self.picks = dataset, classifier, picks
        self.scored = without_weakest(classifier.labels, vocabulary)
        clips = {clip.name: one_label(clip.emotion, clip.intensity, vocabulary) for clip in dataset.clips}
        self.labels = [clips[frame.clip] for frame in dataset.frames]
        self.view, self.poses = classifier.view, poses_of_frames(dataset, picks)
        self.seen = detect(images_of(dataset, picks))
        self._seen_turned = detect(self.view(images_of(dataset, picks), self.poses))
        self.truth = Truth(dataset) if is_actor(dataset) else None
        self.judge = classifier if self.truth is None else learn_acted(self.truth, classifier.labels, self.view)
        self._psnr: list[float] = []
        self._true_marks: list[np.ndarray] = []
        self._true_turned: list[np.ndarray] = []

    def watched(self, images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Passes on the renders, uint8 [H, W, 3], and compares them with true pictures where there are any."""
        if self.truth is None:
            yield from images
            return
        with FaceFinder() as finder:
            asked = ((k, label) for k in range(len(self.picks)) for label in self.classifier.labels)
            for image, (k, label) in zip(images, asked, strict=True):
                drawn = self.truth.render(self.dataset.frames[self.picks[k]], *label)
                self._psnr.append(psnr(image, drawn.image, drawn.face_box))
                self._true_marks.append(finder.landmarks(drawn.image))
                self._true_turned += map(finder.landmarks, self.view([drawn.image], [self.poses[k]]))
                yield image

    def figures(self, marks: Float[np.ndarray, "f l 478 3"], turned: Float[np.ndarray, "f l 478 3"]) -> dict:
        """Returns rows of the figures that `metrics.CROSSED` explains, as JSON knows them.

        marks: landmarks of the renders, pixels; NaN where no face was found. turned: the same, through the view.

        `bins` has a row for every range of angles that was rendered, `recorded` is that of the recorded frames.
        """
        count = len(self.classifier.labels)
        rows = np.repeat(np.arange(len(self.picks)), count)
        labels = self.classifier.labels * len(self.picks)
        shape = -1, *marks.shape[2:]
        values = self._values(marks.reshape(shape), turned.reshape(shape), rows, labels)
        if self.truth is not None:
            true = np.stack(self._true_marks)
            ideal = self._values(true, np.stack(self._true_turned), rows, labels)
            apart = np.linalg.norm(marks.reshape(true.shape)[..., :2] - true[..., :2], axis=-1).mean(axis=1)
            values["psnr_face"] = np.array(self._psnr)
            values["landmark_error_true"] = 100 * apart / face_width(true)
            values |= {f"{name}_of_truth": ideal[name] for name in ("category_accuracy", "landmark_error")}
        angles = self._angles().ravel()
        inside = [(low, high, (angles >= low) & (angles < high)) for low, high in pairwise(EDGES)]
        return {
            "bins": [{"from": low, "to": high, **_row(values, part)} for low, high, part in inside if part.any()],
            "recorded": self._recorded(),
        }

    def _angles(self) -> np.ndarray:
        """Returns the angle of every render, [F, L] degrees."""
        turns = np.array([frame.camera_to_world for frame in self.dataset.frames])[:, :3, :3]
        training = self.dataset.split("train")
        own = [[i for i in training if self.labels[i] == label] for label in self.classifier.labels]
        return np.stack([angles_to_own(turns[self.picks], turns[members]) for members in own], axis=1)

    def _recorded(self) -> dict:
        """Returns the row of the picked frames as they were recorded."""
        known = [k for k, i in enumerate(self.picks) if self.labels[i] in self.classifier.labels]
        own = [self.labels[self.picks[k]] for k in known]
        values = self._values(self.seen[known], self._seen_turned[known], np.array(known, int), own)
        return _row(values, np.ones(len(known), bool))

    def _values(
        self, marks: np.ndarray, turned: np.ndarray, rows: np.ndarray, labels: list[Label]
    ) -> dict[str, np.ndarray]:
        """Returns by figure what each picture has, [N], NaN where it has none.

        marks, turned: [N, 478, 3], as in `figures`. rows: [N], which of the picks. labels: N, that were asked for.
        """
        learnt, judge = self.classifier, self.judge
        covariates = covariates_of_frames(self.dataset, self.picks, self.view)[rows]
        nearest = judge.nearest(turned, covariates)
        categories = {category for category, _ in judge.labels}
        right = [
            (measured is not None and measured[0] == asked[0])
            if len(categories) > 1 and asked in self.scored
            else np.nan
            for measured, asked in zip(nearest, labels, strict=True)
        ]
        moved, error = np.full(len(marks), np.nan), np.full(len(marks), np.nan)
        for k, label in enumerate(learnt.labels):
            members = np.flatnonzero([asked == label for asked in labels])
            expected = expected_landmarks(learnt.shapes[k], learnt.face, self.seen[rows[members]])
            apart = np.linalg.norm(marks[members][:, SHAPED, :2] - expected[:, SHAPED, :2], axis=-1).mean(axis=1)
            error[members] = 100 * apart / face_width(expected)
            if label[0] != "neutral" and "neutral" in categories and label in judge.labels:
                moved[members] = judge.share_of_own(turned[members], covariates[members], label)
        return {
            "faces_found": np.isfinite(marks[:, 0, 0]).astype(float),
            "category_accuracy": np.array(right, float),
            "displacement": moved,
            "landmark_error": error,
        }


def _row(values: dict[str, np.ndarray], part: np.ndarray) -> dict:
    """Returns how many pictures a part has, and the mean of each figure over those that have it."""
    means = {}
    for name, each in values.items():
        known = each[part & np.isfinite(each)]
        means[name] = float(known.mean()) if len(known) else None
    return {"pictures": int(part.sum()), **means}
