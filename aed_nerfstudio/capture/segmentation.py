"""Parsing maps: background, torso, neck and head, from a parser's evidence, the face mesh, colours and the background.

`parse` is a function of one frame, the evidence of it and its two neighbours, and the clip's background, and of nothing
else: frames may be worked on in any order, and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from aed_nerfstudio.capture.background import USUAL, Background
from aed_nerfstudio.capture.filling import guided_filter
from aed_nerfstudio.capture.landmarks import LIPS, quiet_mediapipe
from aed_nerfstudio.capture.matting import refine_mask
from aed_nerfstudio.dataset.schema import BACKGROUND, HEAD, NECK, TORSO

OVAL = [10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109]  # fmt: skip
# From below the ear on the image's left along the jaw to below the one on the right.
JAW = [132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361]
BROWS_AND_EYES = [[70, 63, 105, 66, 107, 133, 145, 33], [336, 296, 334, 293, 300, 263, 374, 362]]
SIDE_SHARE = 0.32  # of the face's width, on either side: room for ears and hair
SKIN_DISTANCE = 3.0  # Mahalanobis
BINS = 32  # of a colour histogram, a channel
COLOUR_SIGMA = 1.0  # bins: how alike colours must be to be the same stuff
STRANGER = 0.02  # of the picture's height: what is somebody else's is at least twice as thick
HAIR_REACH = 0.7  # of the face's height below the chin: how far hair may hang
HAIR_LEAD = 2.0  # times likelier than anything else


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


def steady(evidence: Sequence[np.ndarray | None]) -> np.ndarray:
    """The evidence of a frame without flicker: the median of it and of its neighbours' before and after.

    evidence: three of uint8 [h, w] or [h, w, C]; None where there is no neighbour. Returns the same shape.
    """
    before, now, after = evidence
    if before is None and after is None:
        return now
    before, after = (now if e is None else e for e in (before, after))
    # The median of three; at a clip's end it is the frame itself.
    return cv2.max(cv2.min(before, now), cv2.min(cv2.max(before, now), after))


def coarse_person(image: np.ndarray, points: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Where the person is, float32 [S, S] in 0..1, by the parser and the face mesh alone.

    image: uint8 [S, S, 3] RGB. points: [478, >=2] pixels. evidence: uint8 [h, w] or [h, w, 4], see `parsers`.
    """
    size = image.shape[0]
    small = 255 - evidence[..., 0] if evidence.ndim == 3 else evidence
    if evidence.ndim == 2:
        small = cv2.max(small, _hanging_hair(image, points, small))
    person = cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255
    person[_polygon(points[OVAL], image.shape)] = 1
    return person


def parse(
    image: np.ndarray,
    points: np.ndarray,
    evidence: Sequence[np.ndarray | None],
    background: Background | None = None,
) -> np.ndarray:
    """The parsing map of a frame, uint8 [S, S] with the schema's labels.

    image: uint8 [S, S, 3] RGB. points: [478, >=2] pixels. evidence: of the frame before, this one and the one after,
    see `steady`. background: of the clip; without one edges are only drawn to the picture's.
    """
    if isinstance(evidence, np.ndarray):
        evidence = (None, np.round(255 * evidence).astype(np.uint8), None)
    points = np.asarray(points, np.float64)[:, :2]
    evidence = steady(evidence)
    person = refine_mask(image, coarse_person(image, points, evidence), background)
    face = _polygon(points[OVAL], image.shape)
    mask = (person > 0.5) | face
    mask &= _followed(mask, points, background)
    if evidence.ndim == 3:
        labels = _split_by_evidence(image, evidence)
    else:
        labels = _split_by_colour(image, points, mask, face)
    labels[~mask] = BACKGROUND
    return labels


def _polygon(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Filled polygon [N, 2] pixels as a bool mask [H, W]."""
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(points[:, :2]).astype(np.int32)], 1)
    return mask.astype(bool)


def _grown(mask: np.ndarray, radius: float) -> np.ndarray:
    """Dilation of a bool mask by a disc."""
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3) <= radius


def _opened(mask: np.ndarray, radius: float) -> np.ndarray:
    """What of a bool mask a disc can reach that stays inside; the picture's borders are no edges."""
    inner = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3) > radius
    return _grown(inner, radius + 0.5) & mask if inner.any() else np.zeros_like(mask)


def _halved(mask: np.ndarray) -> np.ndarray:
    """A bool mask at half the size."""
    half = (mask.shape[1] // 2, mask.shape[0] // 2)
    return cv2.resize(mask.astype(np.uint8), half, interpolation=cv2.INTER_NEAREST) > 0


def _touching(mask: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """The connected pieces of a bool mask that a seed touches."""
    count, pieces = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    wanted = np.zeros(count, bool)
    wanted[pieces[seed & mask]] = True
    wanted[0] = False
    return wanted[pieces]


def _followed(mask: np.ndarray, points: np.ndarray, background: Background | None) -> np.ndarray:
    """Where of a mask of people, bool [S, S], the followed one is: what hangs together with the face and is usually
    there; bool [S, S], a little wider than that."""
    size = len(mask)
    half, points = _halved(mask), points / 2
    if background is not None:
        rare, (x, y) = USUAL * 255, background.anchor
        shift = np.float32([[0.5, 0, points[152, 0] - x / 2], [0, 0.5, points[152, 1] - y / 2]])
        along = cv2.warpAffine(background.usual[1], shift, half.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        there = cv2.resize(background.usual[0], half.shape[::-1], interpolation=cv2.INTER_AREA)
        usual = cv2.max(along, there) > rare
        # Only what is rare in bulk is somebody else: edges and loose hair are rare as well.
        stranger = _opened(half & ~usual, STRANGER * size / 2)
        if stranger.any():
            half &= ~_grown(stranger, STRANGER * size / 2) | usual | head_region(points, half.shape)
    half = _touching(half, _polygon(points[OVAL], half.shape))
    return cv2.resize(cv2.dilate(half.astype(np.uint8), np.ones((3, 3), np.uint8)), (size, size)) > 0


def head_region(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Everything above the jaw within the width of the head, ears and hair included: bool [H, W].

    points: [478, >=2] pixels. The region leans with the head.
    """
    points = points[:, :2].astype(np.float64)
    up = points[10] - points[152]
    height = np.linalg.norm(up)
    up /= height
    width = np.linalg.norm(points[454] - points[234])
    right = np.array([-up[1], up[0]])  # square to `up`, towards the image's right
    jaw = points[JAW] - 0.015 * height * up  # FaceMesh's chin ends a little above the shadow under the chin
    side = SIDE_SHARE * width
    # The ears' lobes hang a little below the jaw's upper ends.
    corners = [jaw[-1] + side * right, jaw[-1] + side * right + 3 * height * up,
               jaw[0] - side * right + 3 * height * up, jaw[0] - side * right]  # fmt: skip
    return _polygon(np.concatenate([jaw, corners]), shape)


def _codes(image: np.ndarray) -> np.ndarray:
    """Every pixel's bin of a YCrCb histogram: int32 [H, W]."""
    bins = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb) >> 3
    return (bins[..., 0].astype(np.int32) * BINS + bins[..., 1]) * BINS + bins[..., 2]


def _histogram(codes: np.ndarray) -> np.ndarray:
    """How likely a colour is, float32 [BINS ** 3], from the pixels' bins; sums to 1, or is 0 where there are none."""
    counts = np.bincount(codes, minlength=BINS**3).astype(np.float32).reshape((BINS,) * 3)
    # Brightness varies more than hue, hence the wider blur along it; separable by hand, as OpenCV blurs two axes.
    plane = counts.reshape(BINS, BINS * BINS)
    plane = cv2.GaussianBlur(plane, (1, 9), 2 * COLOUR_SIGMA, borderType=cv2.BORDER_CONSTANT)
    plane = cv2.GaussianBlur(plane.reshape(BINS * BINS, BINS), (5, 1), COLOUR_SIGMA, borderType=cv2.BORDER_CONSTANT)
    turned = np.ascontiguousarray(plane.reshape((BINS,) * 3).transpose(0, 2, 1)).reshape(BINS * BINS, BINS)
    turned = cv2.GaussianBlur(turned, (5, 1), COLOUR_SIGMA, borderType=cv2.BORDER_CONSTANT)
    out = turned.reshape((BINS,) * 3).transpose(0, 2, 1).ravel()
    return out / max(float(out.sum()), 1e-9)


_BIN_CENTRES = np.stack(np.meshgrid(*[np.arange(BINS) * 8.0 + 4] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


def _skin_table(image: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """How far every colour is from that of the face's skin, bool [H, W]: float32 [BINS ** 3], Mahalanobis."""
    colours = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)[skin].astype(np.float32)
    if len(colours) < 20:
        mean, inverse = np.array([128.0, 150.0, 110.0]), np.diag([1 / 900.0, 1 / 80.0, 1 / 80.0])
    else:
        mean = np.median(colours, axis=0)
        near = colours[np.abs(colours - mean).max(axis=1) < 60]
        # The neck lies in the chin's shadow: brightness may differ much more than hue.
        covariance = np.cov((near if len(near) > 20 else colours).T) + np.diag([500.0, 12.0, 12.0])
        mean, inverse = mean - np.array([12.0, 0, 0]), np.linalg.inv(covariance)
    difference = (_BIN_CENTRES - mean).astype(np.float32)
    return np.sqrt(((difference @ inverse.astype(np.float32)) * difference).sum(axis=1))


def _face_skin(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The face without eyes, brows and mouth: bool [H, W]."""
    face = _polygon(points[OVAL], shape)
    for part in (*BROWS_AND_EYES, LIPS):
        face &= ~_polygon(cv2.convexHull(points[part].astype(np.float32))[:, 0], shape)
    return face


def _hanging_hair(image: np.ndarray, points: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Long hair that a person mask is unsure about, uint8 as `evidence` [h, w]: 190 on it, 0 elsewhere.

    It hangs beside or behind the neck and has the colour of the hair above rather than the background's.
    """
    height, width = evidence.shape
    points = np.asarray(points, np.float64)[:, :2] * (width / image.shape[1])
    out = np.zeros_like(evidence)
    face_height = np.linalg.norm(points[10] - points[152])
    ys = np.arange(height)[:, None]
    unsure = (evidence > 25) & (evidence < 190)
    unsure &= (ys > points[168, 1]) & (ys < points[152, 1] + HAIR_REACH * face_height)
    unsure = _opened(unsure, 0.02 * face_height)
    if not unsure.any():
        return out
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    codes = _codes(small)
    hair = _hair(small, points, codes, evidence > 230)
    if hair.sum() < 50:
        return out
    likely = _histogram(codes[hair])[codes] > HAIR_LEAD * _histogram(codes[evidence < 13])[codes] + 1e-6
    likely = _opened(unsure & likely, 1.5)
    out[_touching(likely | (evidence > 190), hair) & likely] = 190
    return out


def _hair(image: np.ndarray, points: np.ndarray, codes: np.ndarray, person: np.ndarray) -> np.ndarray:
    """The hair above the face, bool [H, W]: what of the head is neither near the face nor of its colour."""
    hair = head_region(points, image.shape) & person & ~_grown(_polygon(points[OVAL], image.shape), 3)
    return hair & (_skin_table(image, _face_skin(points, image.shape))[codes] > SKIN_DISTANCE)


def _split_by_evidence(image: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Labels [S, S] from a face parser's probabilities, uint8 [h, w, 4] in the order of the labels; no background."""
    size = image.shape[0]
    guide = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    scores = [
        guided_filter(guide, cv2.resize(evidence[..., label], (size, size)).astype(np.float32), size // 100, 1e-3)
        for label in (TORSO, NECK, HEAD)
    ]
    return np.array([TORSO, NECK, HEAD], np.uint8)[np.argmax(scores, axis=0)]


def _split_by_colour(image: np.ndarray, points: np.ndarray, mask: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Labels [S, S] of the person, bool [S, S], by the face mesh and by colours: no background.

    Colours are judged on a picture of half the size, the borders that the mesh gives are drawn at full size.
    """
    size = len(mask)
    head = mask & (head_region(points, mask.shape) | face)
    points = points / 2
    small = cv2.resize(image, (size // 2, size // 2), interpolation=cv2.INTER_AREA)
    person, above = _halved(mask), _halved(head)
    oval = _polygon(points[OVAL], small.shape)
    above = _touching(above, oval)
    ys = np.arange(size // 2)[:, None]
    height = float(np.linalg.norm(points[152] - points[10]))
    body = person & ~above
    codes = _codes(small)
    near = _grown(above, 0.03 * height)
    neck = _neck(small, points, codes, body & (ys > points[10, 1]), near, height)

    # What is left beside jaw and ears in slivers too thin for a body is the head's own edge.
    slivers = body & ~_opened(body, 0.035 * height) & (ys < points[152, 1])
    slivers &= ~(neck > 0.5) | (ys < min(points[172, 1], points[397, 1]))  # no neck above the jaw's angle
    above |= slivers & _grown(above, 0.07 * height)

    labels = np.full(mask.shape, TORSO, np.uint8)
    labels[cv2.resize(neck, (size, size)) > 0.5] = NECK
    # At full size the head's border is the mesh's; elsewhere that of the half size.
    beside = cv2.resize((above & ~_halved(head)).astype(np.float32), (size, size)) > 0.5
    whole = cv2.resize(cv2.dilate(above.astype(np.uint8), np.ones((3, 3), np.uint8)), (size, size)) > 0
    labels[(head & whole) | beside] = HEAD
    return labels


def _neck(
    image: np.ndarray, points: np.ndarray, codes: np.ndarray, body: np.ndarray, near: np.ndarray, height: float
) -> np.ndarray:
    """Share of neck, float32 [H, W] in 0..1: what of the body is skin and hangs together with the head.

    near: bool [H, W], the head and a little around it. height: of the face, pixels.
    """
    face = _face_skin(points, image.shape)
    # A first guess by the face's skin, from which both sides' own colours are learnt.
    skin = _opened(body & (_skin_table(image, face)[codes] < SKIN_DISTANCE), 0.012 * height)
    skin = _touching(skin, near)
    cloth = body & ~_grown(skin, 0.02 * height)
    of_skin = 0.7 * _histogram(codes[skin]) + 0.3 * _histogram(codes[face])
    of_cloth = _histogram(codes[cloth])
    likely = ((of_skin + 1e-7) / (of_skin + of_cloth + 2e-7))[codes] * body
    window = (2 * max(1, round(0.02 * height)) + 1,) * 2
    around = cv2.blur(likely, window) / np.maximum(cv2.blur(body.astype(np.float32), window), 1e-3)
    likely = 0.5 * (likely + around)
    skin = _touching(_opened(body & (likely > 0.5), 0.012 * height), near)
    # Where the body ends its neighbours' values carry on, lest the edge of the neck be torso.
    share = cv2.blur(skin.astype(np.float32), (3, 3)) / np.maximum(cv2.blur(body.astype(np.float32), (3, 3)), 1e-3)
    return np.minimum(share, 1)
