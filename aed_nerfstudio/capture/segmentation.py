"""Parsing maps: background, torso, neck and head, from MediaPipe's person mask, the face mesh and the skin's colour."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from aed_nerfstudio.capture.landmarks import LIPS, quiet_mediapipe
from aed_nerfstudio.dataset.schema import BACKGROUND, HEAD, NECK, TORSO

OVAL = [10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109]  # fmt: skip
# From below the ear on the image's left along the jaw to below the one on the right.
JAW = [132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361]
BROWS_AND_EYES = [[70, 63, 105, 66, 107, 133, 145, 33], [336, 296, 334, 293, 300, 263, 374, 362]]
SIDE_SHARE = 0.32  # of the face's width, on either side: room for ears and hair
SKIN_DISTANCE = 3.0  # Mahalanobis
NECK_SHARE = 0.55  # of the face's height: no neck is seen further below the chin


class PersonSegmenter:
    """MediaPipe's selfie segmentation, one picture after the other."""

    _model: Any = None

    def __enter__(self) -> PersonSegmenter:
        self._model = quiet_mediapipe().solutions.selfie_segmentation.SelfieSegmentation(model_selection=0)
        return self

    def __exit__(self, *_: object) -> None:
        self._model.close()

    def process(self, image: np.ndarray) -> np.ndarray:
        """Probability of person, uint8 [H, W, 3] RGB -> float32 [H, W] in 0..1."""
        return np.asarray(self._model.process(np.ascontiguousarray(image)).segmentation_mask, np.float32)


def _polygon(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Filled polygon [N, 2] pixels as a bool mask [H, W]."""
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 1)
    return mask.astype(bool)


def head_region(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Everything above the jaw within the width of the head, ears and hair included: bool [H, W].

    points: [478, >=2] pixels. The region leans with the head.
    """
    points = points[:, :2].astype(np.float64)
    up = points[10] - points[152]
    height = np.linalg.norm(up)
    up /= height
    right = points[454] - points[234]
    width = np.linalg.norm(right)
    right = np.array([-up[1], up[0]])  # square to `up`, towards the image's right
    jaw = points[JAW] - 0.015 * height * up  # FaceMesh's chin ends a little above the shadow under the chin
    side = SIDE_SHARE * width
    # The ears' lobes hang a little below the jaw's upper ends.
    corners = [jaw[-1] + side * right, jaw[-1] + side * right + 3 * height * up,
               jaw[0] - side * right + 3 * height * up, jaw[0] - side * right]  # fmt: skip
    return _polygon(np.concatenate([jaw, corners]), shape)


def skin_model(image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [3] and inverse covariance [3, 3] of the face's skin in YCrCb, without eyes, brows and mouth."""
    face = _polygon(points[OVAL, :2], image.shape)
    for part in BROWS_AND_EYES:
        face &= ~_polygon(cv2.convexHull(points[part, :2].astype(np.float32))[:, 0], image.shape)
    face &= ~_polygon(cv2.convexHull(points[LIPS, :2].astype(np.float32))[:, 0], image.shape)
    colours = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)[face].astype(np.float64)
    if len(colours) < 20:
        return np.array([140.0, 150.0, 110.0]), np.diag([1 / 900.0, 1 / 80.0, 1 / 80.0])
    mean = np.median(colours, axis=0)
    near = colours[np.abs(colours - mean).max(axis=1) < 60]
    # The neck lies in the chin's shadow: brightness may differ much more than hue.
    covariance = np.cov(near.T if len(near) > 20 else colours.T) + np.diag([500.0, 12.0, 12.0])
    return mean - np.array([12.0, 0, 0]), np.linalg.inv(covariance)


def parse(image: np.ndarray, points: np.ndarray, person: np.ndarray) -> np.ndarray:
    """The parsing map of a frame, uint8 [H, W] with the schema's labels.

    image: uint8 [H, W, 3] RGB. points: [478, >=2] pixels. person: float [H, W], probability of person.
    """
    shape = image.shape
    mask = person > 0.5
    face = _polygon(points[OVAL, :2], shape)
    mask |= face
    region = head_region(points, shape)
    head = mask & (region | face)
    # Only what hangs together with the face is head: not a hand or another person beside it.
    _, pieces = cv2.connectedComponents(head.astype(np.uint8))
    inside = pieces[face & head]
    if inside.size:
        head &= pieces == np.bincount(inside).argmax()

    chin, top = points[152, :2], points[10, :2]
    height = float(np.linalg.norm(chin - top))
    left, right = sorted((points[132, 0], points[361, 0]))
    ys, xs = np.mgrid[: shape[0], : shape[1]]
    pad = 0.06 * (right - left)
    columns = (xs > left - pad) & (xs < right + pad) & (ys < chin[1] + NECK_SHARE * height) & (ys > top[1])
    mean, inverse = skin_model(image, points)
    difference = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb).astype(np.float64) - mean
    distance = np.sqrt(np.einsum("hwi,ij,hwj->hw", difference, inverse, difference))
    skin = (mask & ~head & columns & (distance < SKIN_DISTANCE)).astype(np.uint8)
    radius = max(1, round(0.012 * height))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    skin = cv2.morphologyEx(skin, cv2.MORPH_OPEN, kernel)
    skin = cv2.morphologyEx(skin, cv2.MORPH_CLOSE, kernel)
    skin &= (mask & ~head).astype(np.uint8)
    # Skin-coloured cloth further down is no neck: the neck touches the head.
    touching = cv2.dilate(head.astype(np.uint8), np.ones((2 * radius + 3, 2 * radius + 3), np.uint8)).astype(bool)
    _, pieces = cv2.connectedComponents(skin)
    wanted = np.unique(pieces[touching & skin.astype(bool)])
    neck = np.isin(pieces, wanted[wanted > 0])

    # What is left beside jaw and ears in slivers too thin for a body is the head's own edge.
    body = mask & ~head
    width = max(2, round(0.035 * height))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    padded = cv2.copyMakeBorder(body.astype(np.uint8), *[2 * width] * 4, cv2.BORDER_REPLICATE)
    opened = cv2.morphologyEx(padded, cv2.MORPH_OPEN, kernel)[2 * width : -2 * width, 2 * width : -2 * width]
    slivers = body & (opened == 0) & (ys < chin[1])
    slivers &= ~neck | (ys < min(points[172, 1], points[397, 1]))  # no neck above the jaw's angle
    near = cv2.dilate(head.astype(np.uint8), np.ones((4 * width + 1, 4 * width + 1), np.uint8)).astype(bool)
    head |= slivers & near

    labels = np.full(shape[:2], BACKGROUND, np.uint8)
    labels[mask] = TORSO
    labels[neck & ~head] = NECK
    labels[head] = HEAD
    return labels
