"""Parsing maps agree with the actor's truth, do not flicker, and hold one person only."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from aed_nerfstudio.capture.background import clip_background, sample
from aed_nerfstudio.capture.parsers import open_parser
from aed_nerfstudio.capture.segmentation import coarse_person, parse, steady
from aed_nerfstudio.dataset.schema import BACKGROUND, HEAD, NECK, TORSO
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import HeadPose
from aed_nerfstudio.synthetic.scene import Scene

SIZE = 256
FRAMES = 16


class Take:
    """A few seconds of an actor who moves: images, landmarks, truth, evidence and background."""

    def __init__(self, identity: int, seed: int) -> None:
        scene = Scene(Actor(identity), SIZE, seed)
        time = np.arange(FRAMES) / FRAMES * 2 * np.pi
        noise = np.random.default_rng(seed)
        drawn = [scene.render({"jawOpen": 0.2 + 0.2 * np.sin(3 * t)},
                              HeadPose(10 * np.sin(t), 4 * np.cos(t), 3 * np.sin(2 * t), (0.1 * np.sin(t), 0, 0)))
                 for t in time]  # fmt: skip
        self.images = [np.clip(d.image + noise.normal(0, 2, d.image.shape), 0, 255).astype(np.uint8) for d in drawn]
        self.truth, self.points = [d.parsing for d in drawn], [d.landmarks for d in drawn]
        with open_parser("mediapipe") as parser:
            self.evidence = [parser.evidence(i, p) for i, p in zip(self.images, self.points, strict=True)]
        self.scene = scene
        self.background = self.estimate(self.evidence)

    def around(self, k: int) -> tuple:
        return (self.evidence[k - 1] if k else None, self.evidence[k], (self.evidence + [None])[k + 1])

    def estimate(self, evidence: list[np.ndarray]):
        """The background by any number of frames' evidence, the images being repeated."""
        return clip_background(
            (self.images[k % FRAMES], coarse_person(self.images[k % FRAMES], self.points[k % FRAMES], evidence[k]),
             self.points[k % FRAMES][152])
            for k in sample(len(evidence), SIZE)
        )  # fmt: skip

    def parse(self, k: int) -> np.ndarray:
        return parse(self.images[k], self.points[k], self.around(k), self.background)


@pytest.fixture(scope="module")
def take() -> Take:
    return Take(4, 11)


def _iou(a: np.ndarray, b: np.ndarray, label: int) -> float:
    return float(((a == label) & (b == label)).sum() / ((a == label) | (b == label)).sum())


@pytest.mark.parametrize(("identity", "seed"), [(4, 11), (9, 13)])
def test_agrees_with_the_truth(identity, seed, take):
    take = take if identity == 4 else Take(identity, seed)
    found = [take.parse(k) for k in range(0, FRAMES, 3)]
    for label, least in ((HEAD, 0.95), (TORSO, 0.95), (NECK, 0.85)):
        scores = [_iou(labels, truth, label) for labels, truth in zip(found, take.truth[::3], strict=True)]
        assert np.mean(scores) > least, (label, scores)


def test_a_frame_depends_on_nothing_but_its_neighbours(take):
    first = take.parse(5)
    take.parse(9)
    assert np.array_equal(first, take.parse(5)) and first.dtype == np.uint8


def test_one_frame_of_nonsense_is_no_matter(take):
    whole = take.parse(6)
    kept, take.evidence[6] = take.evidence[6], np.zeros_like(take.evidence[6])
    try:
        assert (take.parse(6) != whole).mean() < 0.02
    finally:
        take.evidence[6] = kept


def test_median_of_three():
    a, b, c = (np.full((4, 4), v, np.uint8) for v in (10, 200, 30))
    assert (steady((a, b, c)) == 30).all()
    assert (steady((None, b, None)) == 200).all() and (steady((None, b, a)) == 200).all()


def test_the_background_tells_where_the_mask_is_wrong(take):
    """A mask that is too wide by some pixels is put right where the background is known."""
    k = 4
    wide = cv2.dilate(take.evidence[k], np.ones((7, 7), np.uint8))
    truth = take.truth[k] != BACKGROUND
    with_it = parse(take.images[k], take.points[k], (None, wide, None), take.background) != BACKGROUND
    without = parse(take.images[k], take.points[k], (None, wide, None)) != BACKGROUND
    assert (with_it != truth).mean() < 0.6 * (without != truth).mean()


def test_somebody_passing_behind_is_no_torso(take):
    """In one of 32 frames a stranger, seen as a person by the mask, touches the actor's shoulder."""
    evidence, stranger = [e.copy() for e in take.evidence], np.zeros((SIZE, SIZE), bool)
    stranger[60:, 190:] = True
    image = take.images[8].copy()
    free = stranger & (take.truth[8] == BACKGROUND)
    image[free] = (70, 40, 90)
    evidence[8][stranger] = 255
    background = take.estimate(evidence + take.evidence)
    labels = parse(image, take.points[8], (None, evidence[8], None), background)
    assert (labels[free] != BACKGROUND).mean() < 0.1
    assert _iou(labels, take.truth[8], TORSO) > 0.9 and _iou(labels, take.truth[8], HEAD) > 0.95


def test_another_person_apart_is_left_out(take):
    k, e = 3, take.evidence[3].copy()
    e[40:200, 2:30] = 255
    image = take.images[k].copy()
    image[40:200, 2:30] = (200, 60, 60)
    labels = parse(image, take.points[k], (None, e, None), take.background)
    assert (labels[40:190, 2:28] == BACKGROUND).all()


def test_evidence_of_all_labels_is_followed(take):
    truth = take.truth[2]
    evidence = np.stack([255 * (truth == label).astype(np.uint8) for label in range(4)], axis=2)
    labels = parse(take.images[2], take.points[2], (None, evidence, None), take.background)
    assert min(_iou(labels, truth, label) for label in (TORSO, NECK, HEAD)) > 0.95


def test_odd_sizes_and_a_face_at_the_border():
    scene = Scene(Actor(0), 97, 1)
    drawn = scene.render({}, HeadPose())
    evidence = np.where(drawn.parsing > 0, 255, 0).astype(np.uint8)
    labels = parse(drawn.image, drawn.landmarks, (None, evidence, None))
    assert labels.shape == (97, 97) and _iou(labels, drawn.parsing, HEAD) > 0.9
    away = drawn.landmarks - np.float32([60, 0, 0])
    assert parse(drawn.image, away, (None, np.roll(evidence, -60, axis=1), None)).shape == (97, 97)
    nobody = np.zeros((97, 97), np.uint8)
    assert (parse(drawn.image, drawn.landmarks, (None, nobody, None)) == HEAD).any()
