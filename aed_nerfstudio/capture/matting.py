"""Soft masks with clean edges: a coarse mask, refined by the difference to the known background."""

from __future__ import annotations

import cv2
import numpy as np

from aed_nerfstudio.capture.background import Background
from aed_nerfstudio.capture.filling import extend, guided_filter

BAND = 0.02  # of the picture's width: how far the coarse mask may be off
CONTRAST = 14.0  # levels (plus the noise) between person and background from which on colours decide
FOREIGN = (12.0, 30.0)  # levels: a colour further from every mixture of person and background is neither's


def refine_mask(image: np.ndarray, prior: np.ndarray, background: Background | None) -> np.ndarray:
    """Returns the alpha of the person, float32 [H, W] in 0..1.

    image: uint8 [H, W, 3]. prior: float32 [H, W], a coarse mask in 0..1. Only pixels that are uncertain in it, or near
    its edge, change: where the background is known, their colour is explained as a mixture of it and of the person's
    colour nearby; elsewhere the edge is drawn to that of the picture.
    """
    height, width = prior.shape
    radius = max(2, round(BAND * width))
    window = (2 * radius + 1,) * 2
    local = cv2.blur(prior, window, borderType=cv2.BORDER_REPLICATE)
    inside, outside = local > 0.97, local < 0.03
    guide = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    alpha = guided_filter(guide, prior, radius, 1e-3)
    if background is not None:
        # Blurred edges of the coarse mask would be taken for half transparent; its middle is where the edge is.
        alpha = np.clip(2 * alpha - 0.5, 0, 1)
        picture = image.astype(np.float32)
        small = (max(1, width // 4), max(1, height // 4))
        known = cv2.resize(inside.astype(np.float32), small, interpolation=cv2.INTER_AREA)
        known = (known > 0.99).astype(np.float32)
        colours = extend(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), known)
        rows, columns = np.nonzero(~(inside | outside))
        person = cv2.resize(colours, (width, height))[rows, columns]
        behind = background.picture[rows, columns].astype(np.float32)
        offset, axis = picture[rows, columns] - behind, person - behind
        contrast = (axis**2).sum(axis=1)
        share = (offset * axis).sum(axis=1) / np.maximum(contrast, 1)
        residual = np.sqrt(((offset - share[:, None] * axis) ** 2).sum(axis=1))
        length = np.sqrt((offset**2).sum(axis=1) / np.maximum(contrast, 1))
        foreign = np.clip((residual - FOREIGN[0]) / (FOREIGN[1] - FOREIGN[0]), 0, 1)
        mixture = np.clip(share + foreign * (length - share), 0, 1)
        noise = background.noise[rows, columns].astype(np.float32)
        trust = contrast / (contrast + (CONTRAST + 4 * noise) ** 2)
        alpha[rows, columns] += trust * (mixture - alpha[rows, columns])
    alpha[inside] = 1
    alpha[outside] = 0
    return np.clip(alpha, 0, 1)
