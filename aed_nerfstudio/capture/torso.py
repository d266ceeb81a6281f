"""The torso layer: torso and neck as RGBA, the neck continued upwards to where the head hides it."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter1d

from aed_nerfstudio.dataset.schema import HEAD, NECK, TORSO

NECK_SHARE = 0.12  # of the picture's height: how far the neck goes on under the head
DARKENING = 0.3  # at the upper end of the continuation: it lies in the chin's shadow
EDGE_SIGMA = 0.8  # pixels


def torso_layer(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 4] RGBA of a frame, uint8 [H, W, 3] RGB, with its parsing map, uint8 [H, W].

    Alpha is 255 on torso and neck and on the neck's continuation under the head, soft at the edges, and 0 elsewhere.
    """
    height, width = labels.shape
    body = (labels == TORSO) | (labels == NECK)
    colours = image.astype(np.float32)
    solid = body.copy()
    reach = max(2, round(NECK_SHARE * height))

    neck = labels == NECK
    has_neck = neck.any(axis=0)
    top = np.where(has_neck, neck.argmax(axis=0), 0)
    # A column counts where the head ends right above its neck.
    columns = np.flatnonzero(has_neck)
    gap = max(2, round(0.015 * height))
    columns = np.array([x for x in columns if (labels[max(top[x] - gap, 0) : top[x], x] == HEAD).any()], int)
    if columns.size >= 3:
        # The neck goes on behind the collar: some columns on either side continue as well, ever less high.
        wider = max(2, round(0.35 * np.ptp(columns)), round(0.05 * width))
        span = np.arange(max(columns.min() - wider, 0), min(columns.max() + wider + 1, width))
        outside = np.maximum(np.maximum(columns.min() - span, span - columns.max()), 0) / wider
        height_of = np.maximum(reach * (1 - outside**2), 1)[None]
        head = labels[:, span] == HEAD
        bottom = np.where(head.any(axis=0), height - head[::-1].argmax(axis=0), 0)
        edge = np.where(outside > 0, bottom, np.interp(span, columns, top[columns]))
        rows = max(2, round(0.03 * height))
        # Skip the blurred border with the chin, then average a few rows of neck below it.
        skip = max(1, round(0.008 * height))
        known = []
        for x in columns:
            below = image[top[x] + skip : top[x] + skip + rows, x][neck[top[x] + skip : top[x] + skip + rows, x]]
            known.append(below.mean(axis=0) if len(below) else image[top[x], x].astype(np.float64))
        line = np.stack([np.interp(span, columns, np.array(known)[:, c]) for c in range(3)], axis=1)
        line = gaussian_filter1d(line, max(1.0, 0.012 * width), axis=0, mode="nearest")
        ys = np.arange(height)[:, None]
        rise = np.clip((edge[None] + skip - ys) / height_of, 0, 1)  # 0 at the neck's edge, 1 at the upper end
        # Hidden pixels only: what is not under the head would stick out beside it.
        hidden = head & (ys < edge[None] + gap) & (ys >= edge[None] - height_of)
        hidden &= ys >= np.median(top[columns]) - reach  # no horns up to the ears, where the jaw ends high
        seam = neck[:, span] & (ys < top[span][None] + skip)  # the chin's blur on the neck
        paint = line[None] * (1 - DARKENING * rise[..., None])
        chosen = hidden | seam
        block = colours[:, span]
        block[chosen] = paint[chosen]
        colours[:, span] = block
        solid[:, span] |= hidden

    if not solid.any():
        return np.zeros((height, width, 4), np.uint8)
    # Edge pixels are mixed with what lies behind; colours just inside are carried outwards below the soft edge.
    inner = cv2.erode(solid.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1).astype(bool)
    source = inner if inner.any() else solid
    nearest = distance_transform_edt(~source, return_distances=False, return_indices=True)
    colours = colours[nearest[0], nearest[1]]
    alpha = cv2.GaussianBlur(solid.astype(np.float32), (0, 0), EDGE_SIGMA, borderType=cv2.BORDER_REPLICATE)
    alpha[alpha < 0.02] = 0
    colours[alpha == 0] = 0
    rgba = np.dstack([colours, 255 * alpha])
    return np.clip(np.round(rgba), 0, 255).astype(np.uint8)
