"""Blur and covered mouths, found on the actor."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from aed_nerfstudio.capture.quality import BLURRED, eyes_covered, measure_frame, mouth_covered, relative_sharpness
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import perform
from aed_nerfstudio.synthetic.record import unseen_speech
from aed_nerfstudio.synthetic.scene import Scene

FRAMES = 100
HIDDEN = slice(40, 52)


def _hand(image: np.ndarray, centre: np.ndarray, size: float, colour: np.ndarray) -> np.ndarray:
    """Four fingers and a back of a hand in the skin's colour."""
    out = image.copy()
    for k in range(4):
        place = centre + size * np.array([0.35 * (k - 1.5), -0.25])
        cv2.ellipse(out, place.astype(int).tolist(), (int(0.16 * size), int(0.6 * size)), 8, 0, 360,
                    (colour * (1 - 0.12 * (k % 2))).tolist(), -1, cv2.LINE_AA)  # fmt: skip
    cv2.ellipse(out, (centre + [0, 0.45 * size]).astype(int).tolist(), (int(0.8 * size), int(0.5 * size)), 0, 0, 360,
                (0.9 * colour).tolist(), -1, cv2.LINE_AA)  # fmt: skip
    return out


@pytest.fixture(scope="module", params=[0, 4])
def take(request):
    scene = Scene(Actor(request.param), 256, 3)
    acted = perform(unseen_speech(4.0), FRAMES, "happy", "strong", seed=5)
    drawn = [scene.render(units, pose) for units, pose in zip(acted.units, acted.poses, strict=True)]
    return [d.image for d in drawn], [d.landmarks for d in drawn], scene.actor.palette[0]


def _measured(images, marks):
    """lips [F, 2] and patches [F, 48, 48]."""
    measures = [measure_frame(image, points) for image, points in zip(images, marks, strict=True)]
    return np.array([m.lips for m in measures]), np.stack([m.patch for m in measures])


def test_talking_and_blinking_cover_nothing(take):
    lips, patches = _measured(*take[:2])
    usable = np.ones(FRAMES, bool)
    assert not mouth_covered(lips, usable).any() and not eyes_covered(patches, usable).any()


def test_a_hand_over_the_mouth_is_found(take):
    images, marks, skin = take
    images = list(images)
    for k in range(*HIDDEN.indices(FRAMES)):
        images[k] = _hand(images[k], marks[k][13, :2], 0.45 * np.ptp(marks[k][:, 0]), skin)
    lips, _ = _measured(images, marks)
    found = mouth_covered(lips, np.ones(FRAMES, bool))
    assert found[HIDDEN].all() and not np.delete(found, HIDDEN).any()


def test_something_dark_over_the_eyes_is_found(take):
    images, marks, _ = take
    images = [image.copy() for image in images]
    for k in range(*HIDDEN.indices(FRAMES)):
        a, b = marks[k][127, :2], marks[k][356, :2]
        width = int(0.2 * np.linalg.norm(b - a))
        cv2.line(images[k], a.astype(int).tolist(), b.astype(int).tolist(), (20, 20, 20), width)
    _, patches = _measured(images, marks)
    found = eyes_covered(patches, np.ones(FRAMES, bool))
    assert found[HIDDEN].all() and not np.delete(found, HIDDEN).any()


def test_blur_is_relative_to_the_clip(take):
    images, marks, _ = take
    usable = np.ones(FRAMES, bool)
    usable[3] = False
    images = [cv2.GaussianBlur(image, (0, 0), 2) if k in (10, 11) else image for k, image in enumerate(images)]
    sharpness = np.array([measure_frame(image, m).sharpness for image, m in zip(images, marks, strict=True)])
    shares = relative_sharpness(sharpness, usable)
    assert (np.flatnonzero(shares < BLURRED) == [10, 11]).all() and shares[3] == 1
