"""Parsing maps: background, torso, neck and head, from a parser's evidence, the face mesh, colours and the background.

`parse` is a function of one frame, the evidence of it and its two neighbours, and the clip's background, and of nothing
else: frames may be worked on in any order, and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from aed_nerfstudio.capture.background import USUAL, Background
from aed_nerfstudio.capture.filling import guided_filter
from aed_nerfstudio.capture.matting import refine_mask
from aed_nerfstudio.dataset.schema import BACKGROUND, HEAD, NECK, TORSO
from aed_nerfstudio.face.face_mesh import BROWS_WITH_EYES, CHIN, FACE_SIDES, FOREHEAD, JAW, LIPS, NOSE_BRIDGE, OVAL

SIDE_SHARE = 0.32  # of the face's width, on either side: room for ears and hair
SKIN_DISTANCE = 3.0  # Mahalanobis
BIN_BITS = 3  # of a channel's eight that a colour histogram does without
BINS = 256 >> BIN_BITS
COLOUR_SIGMA = 1.0  # bins: how alike colours must be to be the same stuff
STRANGER = 0.02  # of the picture's height: what is somebody else's is at least twice as thick
HAIR_REACH = 0.7  # of the face's height below the chin: how far hair may hang
HAIR_LEAD = 3.0  # times likelier than anything else
SHOULDER = 0.08  # of the picture's height: how much of a shoulder a person mask may miss
CLOTH_LEAD = 8.0  # times likelier than the background's colours
ISLAND = 0.14  # of the face's height: pieces smaller than this squared are no torso
SURE = 190  # of 255: what a person mask says from here on needs no second look


def steady(evidence: Sequence[np.ndarray | None]) -> np.ndarray:
    """Returns the evidence of a frame without flicker: the median of it and of its neighbours' before and after.

    evidence: three of uint8 [h, w] or [h, w, C]; None where there is no neighbour. Returns the same shape.
    """
    before, now, after = evidence
    if now is None:
        raise ValueError("the frame itself is without evidence")
    if before is None and after is None:
        return now
    before, after = (now if e is None else e for e in (before, after))
    # The median of three; at a clip's end it is the frame itself.
    return cv2.max(cv2.min(before, now), cv2.min(cv2.max(before, now), after))


@dataclass
class _Half:
    """A frame at half the size, at which colours are judged.

    image: uint8 [H, W, 3]. points: [478, 2] pixels of it. height: of the face, pixels. codes: int32 [H, W], every
    pixel's bin of a histogram. oval: bool [H, W], the face. face: the same without eyes, brows and mouth. skin: bool
    [H, W], what is of the face's colour.
    """

    image: np.ndarray
    points: np.ndarray
    height: float
    codes: np.ndarray
    oval: np.ndarray
    face: np.ndarray
    skin: np.ndarray

    @classmethod
    def of(cls, image: np.ndarray, points: np.ndarray) -> _Half:
        """Returns what is known of a frame, uint8 [S, S, 3], with its landmarks [478, >=2] pixels."""
        side = max(1, image.shape[0] // 2)
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        points = np.asarray(points, np.float64)[:, :2] * (side / image.shape[0])
        bins = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb), np.uint8)
        codes = (bins >> BIN_BITS).astype(np.int32) @ np.array([BINS * BINS, BINS, 1], np.int32)
        oval = _polygon(points[OVAL], small.shape)
        face = oval.copy()
        for part in (*BROWS_WITH_EYES, LIPS):
            face &= ~_polygon(cv2.convexHull(points[part].astype(np.float32))[:, 0], small.shape)
        skin = _skin_table(bins[face])[codes] < SKIN_DISTANCE
        return cls(small, points, float(np.linalg.norm(points[CHIN] - points[FOREHEAD])), codes, oval, face, skin)

    def hair(self, person: np.ndarray) -> np.ndarray:
        """Returns the hair above the face, bool [H, W]: what of the head is neither near the face nor of its colour."""
        return head_region(self.points, self.image.shape) & person & ~_grown(self.oval, 3) & ~self.skin

    def likely(self, where: np.ndarray) -> np.ndarray:
        """Returns how likely colours are in a part of the picture, bool [H, W]: float32 [BINS ** 3]; 0 if there are
        none.
        """
        return _histogram(self.codes[where])


def coarse_person(image: np.ndarray, points: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Returns where the person is, float32 [S, S] in 0..1, by the parser, the face mesh and colours, without the
    background.

    image: uint8 [S, S, 3] RGB. points: [478, >=2] pixels. evidence: uint8 [h, w] or [h, w, 4], see `parsers`.
    """
    return _coarse_person(image, points, evidence, _Half.of(image, points), None)


def _coarse_person(
    image: np.ndarray, points: np.ndarray, evidence: np.ndarray, half: _Half, usual: np.ndarray | None
) -> np.ndarray:
    """Returns what `coarse_person` does; usual: see `_usual`."""
    if evidence.ndim == 3:
        small = 255 - evidence[..., 0]
    else:
        small = cv2.resize(evidence, half.oval.shape[::-1], interpolation=cv2.INTER_AREA)
        hanging, shoulders = _missed(half, small, usual)
        if usual is not None:
            small[_hair_zone(half, small) & ~hanging] = 0
        small[hanging | shoulders] = 255
    person = cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255
    person[_polygon(points[OVAL], image.shape)] = 1
    return person


def parse(
    image: np.ndarray,
    points: np.ndarray,
    evidence: Sequence[np.ndarray | None],
    background: Background | None = None,
) -> np.ndarray:
    """Returns the parsing map of a frame, uint8 [S, S] with the schema's labels.

    image: uint8 [S, S, 3] RGB. points: [478, >=2] pixels. evidence: of the frame before, this one and the one after,
    see `steady`. background: of the clip; without one edges are only drawn to the picture's.
    """
    points = np.asarray(points, np.float64)[:, :2]
    seen, half = steady(evidence), _Half.of(image, points)
    usual = None if background is None else _usual(half, background)
    person = refine_mask(image, _coarse_person(image, points, seen, half, usual), background)
    mask = (person > 0.5) | _polygon(points[OVAL], image.shape)
    mask &= _followed(mask, half, usual)
    if seen.ndim == 3:
        labels = _split_by_evidence(image, seen)
    else:
        labels = _split_by_colour(image, points, mask, half)
    labels[~mask] = BACKGROUND
    return labels


def _polygon(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a filled polygon [N, 2] pixels as a bool mask [H, W]."""
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(points[:, :2]).astype(np.int32)], (1,))
    return mask.astype(bool)


def _grown(mask: np.ndarray, radius: float) -> np.ndarray:
    """Dilates a bool mask by a disc."""
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3) <= radius


def _opened(mask: np.ndarray, radius: float) -> np.ndarray:
    """Returns what of a bool mask a disc can reach that stays inside; the picture's borders are no edges."""
    inner = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3) > radius
    return _grown(inner, radius + 0.5) & mask if inner.any() else np.zeros_like(mask)


def _halved(mask: np.ndarray) -> np.ndarray:
    """Returns a bool mask at half the size."""
    half = (mask.shape[1] // 2, mask.shape[0] // 2)
    return cv2.resize(mask.astype(np.uint8), half, interpolation=cv2.INTER_NEAREST) > 0


def _doubled(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a bool mask at a full size [S, S], its stairs smoothed."""
    return cv2.resize(mask.astype(np.float32), shape[1::-1]) > 0.5


def _touching(mask: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """Returns the connected pieces of a bool mask that a seed touches."""
    count, found = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    pieces = np.asarray(found, np.int32)
    wanted = np.zeros(count, bool)
    wanted[pieces[seed & mask]] = True
    wanted[0] = False
    return wanted[pieces]


def _usual(half: _Half, background: Background) -> np.ndarray:
    """Returns how often the person is at a pixel, of 255, seen from the room or from the head: uint8 [H, W]."""
    points, shape, (x, y) = half.points, half.oval.shape, background.anchor
    shift = np.array([[0.5, 0, points[CHIN, 0] - x / 2], [0, 0.5, points[CHIN, 1] - y / 2]], np.float32)
    along = cv2.warpAffine(background.usual[1], shift, shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    return cv2.max(along, cv2.resize(background.usual[0], shape[::-1], interpolation=cv2.INTER_AREA))


def _followed(mask: np.ndarray, half: _Half, usual: np.ndarray | None) -> np.ndarray:
    """Returns where of a mask of people, bool [S, S], the followed one is: what hangs together with the face and is
    usually there; bool [S, S], a little wider than that.
    """
    size, kept = len(mask), _halved(mask)
    if usual is not None:
        often = usual > 255 * USUAL
        # Only what is rare in bulk is somebody else: edges and loose hair are rare as well.
        stranger = _opened(kept & ~often, STRANGER * size / 2)
        if stranger.any():
            kept &= ~_grown(stranger, STRANGER * size / 2) | often | head_region(half.points, kept.shape)
    kept = _touching(kept, half.oval)
    return cv2.resize(cv2.dilate(kept.astype(np.uint8), np.ones((3, 3), np.uint8)), (size, size)) > 0


def head_region(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns all above the jaw within the width of the head, ears and hair included: bool [H, W].

    points: [478, >=2] pixels. The region leans with the head.
    """
    points = points[:, :2].astype(np.float64)
    up = points[FOREHEAD] - points[CHIN]
    height = np.linalg.norm(up)
    up /= height
    left, right = FACE_SIDES
    width = np.linalg.norm(points[right] - points[left])
    right = np.array([-up[1], up[0]])  # square to `up`, towards the image's right
    jaw = points[JAW] - 0.015 * height * up  # FaceMesh's chin ends a little above the shadow under the chin
    side = SIDE_SHARE * width
    # The ears' lobes hang a little below the jaw's upper ends.
    corners = [jaw[-1] + side * right, jaw[-1] + side * right + 3 * height * up,
               jaw[0] - side * right + 3 * height * up, jaw[0] - side * right]  # fmt: skip
    return _polygon(np.concatenate([jaw, corners]), shape)


def _histogram(codes: np.ndarray) -> np.ndarray:
    """Returns how likely a colour is, float32 [BINS ** 3], from the pixels' bins; sums to 1, or is 0 where there are
    none.
    """
    counts = np.bincount(codes, minlength=BINS**3).astype(np.float32).reshape((BINS,) * 3)
    # Brightness varies more than hue, hence the wider blur along it; separable by hand, as OpenCV blurs two axes.
    plane = counts.reshape(BINS, BINS * BINS)
    plane = cv2.GaussianBlur(plane, (1, 9), 2 * COLOUR_SIGMA, borderType=cv2.BORDER_CONSTANT)
    plane = cv2.GaussianBlur(plane.reshape(BINS * BINS, BINS), (5, 1), COLOUR_SIGMA, borderType=cv2.BORDER_CONSTANT)
    turned = np.ascontiguousarray(plane.reshape((BINS,) * 3).transpose(0, 2, 1)).reshape(BINS * BINS, BINS)
    turned = cv2.GaussianBlur(turned, (5, 1), COLOUR_SIGMA, borderType=cv2.BORDER_CONSTANT)
    out = turned.reshape((BINS,) * 3).transpose(0, 2, 1).ravel()
    return out / max(float(out.sum()), 1e-9)


_BIN_CENTRES = (np.indices((BINS,) * 3).reshape(3, -1).T + 0.5) * 2.0**BIN_BITS


def _skin_table(colours: np.ndarray) -> np.ndarray:
    """Returns how far every bin is from the face's skin, uint8 [N, 3] YCrCb: float32 [BINS ** 3], Mahalanobis."""
    colours = colours.astype(np.float32)
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


def _hair_zone(half: _Half, evidence: np.ndarray) -> np.ndarray:
    """Returns where a person mask, uint8 [H, W], is unsure in bulk beside and behind the neck: bool [H, W]."""
    ys = np.arange(len(evidence))[:, None]
    unsure = (evidence > 25) & (evidence < SURE) & (ys > half.points[NOSE_BRIDGE, 1])
    return _opened(unsure & (ys < half.points[CHIN, 1] + HAIR_REACH * half.height), 0.02 * half.height)


def _missed(half: _Half, evidence: np.ndarray, usual: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns what a person mask, uint8 [H, W], is likely to miss: long hair beside or behind the neck, and the ends of
    the shoulders, bool [H, W] both.

    They have the colour of the hair above or of the clothes beside them, rather than any of the background's. usual:
    see `_usual`; with it, hair hangs where it does in most frames, for a mask that is unsure is so by turns.
    """
    height, points = half.height, half.points
    ys, chin = np.arange(len(evidence))[:, None], points[CHIN, 1]
    surely = evidence > SURE
    # Above the chin no clothes are taken for background.
    free = half.likely((evidence < 13) & (ys < chin))
    if usual is None:
        zone = _hair_zone(half, evidence)
    else:
        zone = (usual > 127) & ~surely & (ys > points[NOSE_BRIDGE, 1]) & (ys < chin + HAIR_REACH * height)
        zone = _opened(zone, 0.02 * height)
    hanging = zone
    if zone.any():
        hair = half.hair(evidence > 230)
        likely = zone & (half.likely(hair) > HAIR_LEAD * free + 1e-6)[half.codes]
        likely = _opened(likely, 1.5)
        hanging = _touching(likely | surely, hair) & likely
    cloth = half.likely(surely & (ys > chin + 0.1 * height) & ~half.skin)
    shoulders = ~surely & _grown(surely & (ys > chin), SHOULDER * len(evidence)) & (ys > chin)
    shoulders &= (cloth > CLOTH_LEAD * free + 1e-4)[half.codes]
    return hanging, _touching(_opened(shoulders | surely, 1), surely) & shoulders


def _split_by_evidence(image: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Returns labels [S, S] from a face parser's probabilities, uint8 [h, w, 4] in the order of the labels; no
    background.
    """
    size = image.shape[0]
    guide = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    scores = [
        guided_filter(guide, cv2.resize(evidence[..., label], (size, size)).astype(np.float32), size // 100, 1e-3)
        for label in (TORSO, NECK, HEAD)
    ]
    return np.array([TORSO, NECK, HEAD], np.uint8)[np.argmax(scores, axis=0)]


def _split_by_colour(image: np.ndarray, points: np.ndarray, mask: np.ndarray, half: _Half) -> np.ndarray:
    """Returns labels [S, S] of the person, bool [S, S], by the face mesh and by colours: no background.

    Colours are judged on a picture of half the size, the borders that the mesh gives are drawn at full size.
    """
    head = mask & (head_region(points, mask.shape) | _polygon(points[OVAL], mask.shape))
    points, height, chin = half.points, half.height, half.points[CHIN, 1]
    person, above = _halved(mask), _touching(_halved(head), half.oval)
    ys = np.arange(len(person))[:, None]
    body, near = person & ~above, _grown(above, 0.03 * height)
    neck, of_neck = _neck(half, body & (ys > points[10, 1]), near)
    beside, inside = _islands(body & ~neck, near, half)
    neck |= inside
    hair = half.hair(above)
    if hair.sum() > 50:
        # Hair hangs from above: the lowest rows show what the cloth is like.
        cloth = half.likely(body & ~neck & (ys > 0.4 * chin + 0.6 * len(person)))
        likely = body & ~neck & (half.likely(hair) > HAIR_LEAD * cloth + 1e-6)[half.codes]
        beside |= _touching(_opened(likely & (ys < chin + HAIR_REACH * height), 0.012 * height), near)

    # What is left beside jaw and ears in slivers too thin for a body is the head's own edge.
    slivers = body & ~_opened(body, 0.035 * height) & (ys < chin)
    slivers &= ~neck | (ys < min(points[172, 1], points[397, 1]))  # no neck above the jaw's angle
    beside |= slivers & _grown(above, 0.07 * height)

    labels = np.full(mask.shape, TORSO, np.uint8)
    labels[_full_neck(image, neck, body, of_neck)] = NECK
    # At full size the head's border is the mesh's; elsewhere that of the half size.
    wider = cv2.dilate(above.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    labels[(head & _doubled(wider, mask.shape)) | _doubled(beside, mask.shape)] = HEAD
    return labels


def _islands(body: np.ndarray, near: np.ndarray, half: _Half) -> tuple[np.ndarray, np.ndarray]:
    """Returns pieces of what is neither head nor neck that are no torso: ear rings and loose hair above the chin, and
    small ones apart from everything, such as shadows and jewels on the neck; bool [H, W] both.
    """
    count, found, stats, _ = cv2.connectedComponentsWithStats(body.astype(np.uint8), connectivity=8)
    pieces = np.asarray(found, np.int32)
    lowest = stats[:, cv2.CC_STAT_TOP] + stats[:, cv2.CC_STAT_HEIGHT]
    at_head = np.zeros(count, bool)
    at_head[pieces[near]] = True
    above = at_head & (lowest < half.points[CHIN, 1])
    small = ~above & (stats[:, cv2.CC_STAT_AREA] < (ISLAND * half.height) ** 2) & (lowest < len(body))
    above[0] = small[0] = False
    return above[pieces], small[pieces]


def _neck(half: _Half, body: np.ndarray, near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the neck, bool [H, W]: what of the body is skin and hangs together with the head. And for every bin of
    colours the share of neck in it, float32 [BINS ** 3] in 0..1.

    near: bool [H, W], the head and a little around it.
    """
    height = half.height
    # A first guess by the face's skin, from which both sides' own colours are learnt.
    skin = _touching(_opened(body & half.skin, 0.012 * height), near)
    of_skin = 0.7 * half.likely(skin) + 0.3 * half.likely(half.face)
    of_cloth = half.likely(body & ~_grown(skin, 0.02 * height))
    of_neck = (of_skin + 1e-7) / (of_skin + of_cloth + 2e-7)
    likely = of_neck[half.codes] * body
    window = (2 * max(1, round(0.02 * height)) + 1,) * 2
    around = cv2.blur(likely, window) / np.maximum(cv2.blur(body.astype(np.float32), window), 1e-3)
    likely = 0.5 * (likely + around)
    skin = _touching(_opened(body & (likely > 0.5), 0.012 * height), near)
    # Opening rounds the corners between jaw and neck; they are skin all the same. Past the body's edge the neck's value
    # carries on, lest its very edge be torso.
    neck = skin | (body & (likely > 0.5) & _grown(skin, 0.02 * height))
    share = cv2.blur(neck.astype(np.float32), (3, 3)) / np.maximum(cv2.blur(body.astype(np.float32), (3, 3)), 1e-3)
    neck |= share > 0.5
    rest = body & ~neck
    high = np.arange(len(body))[:, None] < half.points[CHIN, 1] + 0.25 * height
    thin = rest & ~_opened(rest, 0.015 * height) & high
    return neck | (thin & _grown(neck, 0.03 * height)), of_neck


def _full_neck(image: np.ndarray, neck: np.ndarray, body: np.ndarray, of_neck: np.ndarray) -> np.ndarray:
    """Returns the neck at full size, bool [S, S]: along its border to the cloth every pixel's own colour has a say."""
    share = cv2.resize(neck.astype(np.float32), image.shape[1::-1])
    kernel = np.ones((5, 5), np.uint8)
    border = cv2.bitwise_and(*(cv2.dilate(mask.astype(np.uint8), kernel) for mask in (neck, body & ~neck)))
    rows, columns = np.nonzero(cv2.resize(border, image.shape[1::-1], interpolation=cv2.INTER_NEAREST))
    if len(rows):
        found = cv2.cvtColor(image[rows, columns][:, None], cv2.COLOR_RGB2YCrCb)[:, 0]
        bins = np.asarray(found, np.uint8) >> BIN_BITS
        codes = bins.astype(np.int32) @ np.array([BINS * BINS, BINS, 1], np.int32)
        around = cv2.blur(share, (7, 7))[rows, columns]
        share[rows, columns] = 0.5 * (around + of_neck[codes])
    return share > 0.5
