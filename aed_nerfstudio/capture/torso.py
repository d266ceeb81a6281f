"""The torso layer: torso and neck as RGBA, the neck continued upwards to where the head hides it."""

from __future__ import annotations

import cv2
import numpy as np

from aed_nerfstudio.capture.background import Background
from aed_nerfstudio.capture.filling import extend
from aed_nerfstudio.capture.matting import refine_mask
from aed_nerfstudio.dataset.schema import HEAD, NECK, TORSO

REACH = 0.13  # of the picture's height: how far the neck goes on under the head
SIDES = 0.9  # of the neck's half width: how far beside it the body goes on as well, ever less high
SEAM = 0.018  # of the picture's height below the jaw: the chin's blur and the darkest of its shadow
DARKENING = 0.08  # at the upper end of the continuation, which lies in the head's shadow
EDGE_SIGMA = 0.8  # pixels
SLIVER = 0.008  # of the picture's height: what is thinner on both sides is the head's edge rather than a body
ALIKE = 14.0  # in Cr and Cb: skin in light and skin in the chin's shadow
STRIP = 0.2  # of what is made up: less of the neck than this tells little of its colour
NECK_SHADE = 0.7  # of the chin's brightness, where too little of the neck is seen to tell
RIM = 0.006  # of the picture's height: how near to the head's edge pixels have something of it
CLOTH_FADE, NECK_FADE = 0.02, 0.008  # of the picture's height: how far what is seen fades into what is made up
LUMA = np.array([0.299, 0.587, 0.114])
MARGIN = 0.03  # of the picture's height: what the edge's refinement looks at above the body


def torso_layer(image: np.ndarray, labels: np.ndarray, background: Background | None = None) -> np.ndarray:
    """Returns the torso of a frame without the head: uint8 [S, S, 4] RGBA, straight alpha.

    image: uint8 [S, S, 3] RGB. labels: uint8 [S, S], its parsing map. background: of the clip; with it the body's edge
    is as transparent as it is in the picture, without it merely soft.

    Alpha is 255 on torso and neck and on their continuation under the head, and 0 elsewhere.
    """
    size = len(labels)
    out = np.zeros((size, size, 4), np.uint8)
    head = labels == HEAD
    body = _without_slivers((labels == TORSO) | (labels == NECK))
    if not body.any():
        return out
    hidden, seam = _continuation(head, body, labels == NECK)
    # Most of the picture lies above the torso; nothing needs to be done there.
    first = max(0, int((body | hidden).any(axis=1).argmax()) - round(MARGIN * size))
    image, labels, head, body, hidden, seam = (v[first:] for v in (image, labels, head, body, hidden, seam))
    alpha = _alpha(image, body, head, hidden, None if background is None else background.below(first))
    colours = _colours(image, body & ~seam, labels == NECK, head, hidden | seam, size)
    colours = _as_seen(colours, image, body, labels == NECK, head, size)
    colours[alpha == 0] = 0
    out[first:] = np.clip(np.round(np.dstack([colours, 255 * alpha])), 0, 255).astype(np.uint8)
    return out


def _without_slivers(body: np.ndarray) -> np.ndarray:
    """Returns a bool mask [S, S] without its pieces and parts that are too thin for a body."""
    side = 2 * max(1, round(SLIVER * len(body) / 2)) + 1
    thick = cv2.morphologyEx(body.astype(np.uint8), cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    return (cv2.dilate(thick, np.ones((5, 5), np.uint8)) > 0) & body


def _continuation(head: np.ndarray, body: np.ndarray, neck: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns where the body goes on under the head, and the seam of it below the jaw: bool [S, S] both."""
    size = len(head)
    none = np.zeros_like(head)
    columns, ys = np.arange(size), np.arange(size)[:, None]
    gap = max(2, round(0.015 * size))
    edge = size - head[::-1].argmax(axis=0)  # the first row below the head
    below = np.minimum(edge + gap // 2, size - 1)
    touching = head.any(axis=0) & body[below, columns] & (edge < size - gap)
    of_neck = touching & neck[below, columns]
    # A collar may hide the neck: what is below the jaw then goes on in its place.
    found = np.flatnonzero(of_neck if of_neck.sum() >= max(3, 0.03 * size) else touching)
    if len(found) < 3:
        return none, none
    left, right = np.percentile(found, [2, 98])
    half = max((right - left) / 2, 0.04 * size)
    beside = np.abs(columns - (left + right) / 2) / half / (1 + SIDES)
    # Rounded: no horns up to the ears, and no corners that stick out where the head leans.
    height = REACH * size * np.sqrt(np.clip(1 - beside**2, 0, 1))
    top = np.median(edge[found]) - height
    # Beside the neck only what the jaw hides goes on, not what hair that hangs lower does.
    near = (touching & (beside < 1) & (of_neck | (edge < np.median(edge[found]) + 1))).astype(np.uint8)[None]
    near = cv2.morphologyEx(near, cv2.MORPH_OPEN, np.ones((1, 2 * gap + 1), np.uint8))[0] > 0
    # No gaps where a collar or a tie stands before the neck.
    inside = np.flatnonzero(near)
    if inside.size:
        near[inside[0] : inside[-1] + 1] = True
    hidden = _without_slivers(body | (head & (ys < edge + gap) & (ys >= top) & near)) & head
    seam = body & (ys >= edge - gap) & (ys < edge + max(2, round(SEAM * size))) & near
    return hidden, seam


def _alpha(
    image: np.ndarray, body: np.ndarray, head: np.ndarray, hidden: np.ndarray, background: Background | None
) -> np.ndarray:
    """Returns the alpha of the layer, float32 [H, W]."""
    person = body | head
    behind_head, of_person = (
        cv2.GaussianBlur(there.astype(np.float32), (0, 0), EDGE_SIGMA, borderType=cv2.BORDER_REPLICATE)
        for there in (body | hidden, person)
    )
    # A body that the head stands before ends somewhere behind it, not where it is seen no longer.
    soft = np.where(body, of_person, behind_head)
    if background is not None:
        # Towards the room the picture tells the alpha; towards the head, which hides it, only the shape does.
        kernel = np.ones((5, 5), np.uint8)
        room, near_head, near_body = (
            cv2.dilate(v.astype(np.uint8), kernel) > 0 for v in (~person, head & ~hidden, body)
        )
        there = room & near_body & ~near_head
        soft = np.where(there, refine_mask(image, person.astype(np.float32), background), soft)
    soft[soft < 0.02] = 0
    return np.minimum(soft, 1)


def _colours(
    image: np.ndarray, known: np.ndarray, neck: np.ndarray, head: np.ndarray, made_up: np.ndarray, size: int
) -> np.ndarray:
    """Returns colours of the layer, float32 [H, W, 3]: those of the body where they are known, carried on elsewhere."""
    # Edge pixels are mixed with what lies behind, and those at the head with its hair.
    inner = cv2.erode(known.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=(1,)) > 0
    pure = (inner & (cv2.dilate(head.astype(np.uint8), np.ones((7, 7), np.uint8)) == 0)).astype(np.uint8)
    colours = _carried_on(image, pure)
    # Of the neck only what is as coloured as the chin: a tie may be taken for a part of it. Colour is stored coarser
    # than brightness: skin near a collar has something of the collar's.
    of_neck = pure * (neck & _like(image, head & made_up))
    of_neck &= cv2.erode(of_neck | made_up.astype(np.uint8), np.ones((7, 7), np.uint8), borderValue=(1,))
    if of_neck.sum() < (0.02 * size) ** 2:
        of_neck = pure * (neck & _like(image, head & made_up))
    seen, chin = of_neck.sum() > (0.02 * size) ** 2, head & made_up
    strip = neck.any() and chin.any() and (pure * neck).sum() < STRIP * made_up.sum()
    lowest = len(image) - made_up[::-1].argmax(axis=0)
    rise = np.clip((lowest - np.arange(len(image))[:, None]) / (REACH * size), 0, 1).astype(np.float32)
    if made_up.any() and (seen or strip):
        # Skin goes on behind the chin, not the collar beside it.
        across = np.flatnonzero(neck.any(axis=0))
        columns = np.zeros((1, neck.shape[1]), np.uint8)
        columns[0, max(0, across[0] - 4) : across[-1] + 5] = 1
        share = cv2.blur((made_up & (columns > 0)).astype(np.float32), (9, 9))[..., None]
        colours += share * (_skin(image, of_neck if seen else 0 * of_neck, chin, made_up, rise) - colours)
    colours *= 1 - DARKENING * (rise * made_up)[..., None]
    # The border between what is seen and what is made up must not show.
    keep = cv2.blur(pure.astype(np.float32), (5, 5)) * pure
    return colours + keep[..., None] * (image - colours)


def _as_seen(
    colours: np.ndarray, image: np.ndarray, body: np.ndarray, neck: np.ndarray, head: np.ndarray, size: int
) -> np.ndarray:
    """Returns colours, float32 [H, W, 3], of which those are a picture's, uint8 [H, W, 3], that it shows without
    anything of the head: of a body, bool [H, W], and the neck in it, up to the head's edge. Behind it the cloth fades
    out, for a collar beside a jaw is not the soft end of a neck."""
    sliver = 2 * max(1, round(SLIVER * size)) + 1  # between jaw and collar, of mixed pixels: as good as cloth
    opened = cv2.morphologyEx((neck | head).astype(np.uint8), cv2.MORPH_OPEN, np.ones((sliver, sliver), np.uint8))
    neck = (opened > 0) & neck & body
    cloth = body & ~neck
    from_head = cv2.distanceTransform((~head).astype(np.uint8), cv2.DIST_L2, 5)
    inside = cv2.erode((body | head).astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=(1,)) > 0
    seen = inside & body & (from_head > np.where(neck, max(2, round(SEAM * size)), RIM * size))
    if not seen.any():
        return colours
    away, place = cv2.distanceTransformWithLabels(
        (~seen).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    place = np.asarray(place, int)
    nearest = np.zeros(int(place.max()) + 1, int)
    nearest[place[seen]] = np.flatnonzero(seen)
    nearest = nearest[place]
    near_neck = cv2.dilate(neck.astype(np.uint8), np.ones((2 * round(CLOTH_FADE * size) + 1,) * 2, np.uint8)) > 0
    reach = np.where(cloth.ravel()[nearest] & ~near_neck, CLOTH_FADE, NECK_FADE) * size
    share = np.clip(1 - away / np.maximum(reach, 1), 0, 1).astype(np.float32)
    return colours + share[..., None] * (image.reshape(-1, 3)[nearest] - colours)


def _skin(image: np.ndarray, neck: np.ndarray, chin: np.ndarray, made_up: np.ndarray, rise: np.ndarray) -> np.ndarray:
    """Returns the skin of what is made up, float32 [H, W, 3]: at its lower end that of the neck below it, and towards
    the upper end as bright, but of the chin's hue, since that of a shadow is greyer.

    image: uint8 [H, W, 3]. neck: uint8 0 or 1 [H, W], what is surely skin of the neck; may be nothing. chin, made_up:
    bool [H, W]. rise: float32 [H, W], 0 to 1 from the lower to the upper end.
    """
    own = _carried_on(image, neck)
    if not chin.any():
        return own
    lit = np.median(image[chin], axis=0)
    if not neck.any():
        return np.broadcast_to(NECK_SHADE * lit, image.shape).astype(np.float32)
    of_chin = (own @ LUMA)[..., None] * lit / max(float(lit @ LUMA), 1.0)
    # A thin strip of skin has its collar's hue.
    told = min(1.0, neck.sum() / (STRIP * made_up.sum()))
    return (of_chin + (told * (1 - rise**2))[..., None] * (own - of_chin)).astype(np.float32)


def _like(image: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Returns where a picture, uint8 [H, W, 3], has the hue of most of a sample, bool [H, W]; everywhere without a
    sample.
    """
    if not sample.any():
        return np.ones(sample.shape, bool)
    hue = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)[..., 1:].astype(np.float32)
    return np.linalg.norm(hue - np.median(hue[sample], axis=0), axis=-1) < ALIKE


def _carried_on(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Returns the known pixels' colours, uint8 0 or 1 [H, W], smoothly everywhere: float32 [H, W, 3]."""
    height, width = known.shape
    small = (max(1, width // 4), max(1, height // 4))
    weight = cv2.resize(known.astype(np.float32), small, interpolation=cv2.INTER_AREA)
    colours = cv2.resize(image * known[..., None], small, interpolation=cv2.INTER_AREA).astype(np.float32)
    colours = extend(colours / np.maximum(weight, 1e-3)[..., None], np.minimum(4 * weight, 1), relax=True)
    return cv2.resize(colours, (width, height))
