"""What no expression moves of a face: where it is in a picture, and how alike it is in two."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

UPPER_NOSE = [168, 193, 122, 196, 3, 51, 5, 281, 248, 419, 351, 417]  # outline
SIDES = ([127, 234, 93], [356, 454, 323])  # from the temple past the ear to the jaw, image left and right
EAR_WIDTH = 0.12  # of the face's width: how far ears stick out beyond the landmarks


def rigid_region(
    landmarks: Float[np.ndarray, "478 3"], height: int, width: int
) -> Bool[np.ndarray, "{height} {width}"]:
    """Returns where upper nose, temples and ears are in a picture; landmarks: in its pixels."""
    points = landmarks[:, :2].astype(np.float64)
    outward = (points[454] - points[234]) * EAR_WIDTH
    shapes = [points[UPPER_NOSE]]
    for side, sign in zip(SIDES, (-1, 1), strict=True):
        edge = points[side]
        shapes.append(np.concatenate([edge, edge[::-1] + sign * outward]))
    mask = np.zeros((height, width), np.uint8)
    for shape in shapes:
        cv2.fillPoly(mask, [np.round(shape).astype(np.int32)], (1,))
    return mask > 0


def similarity(
    image: UInt8[np.ndarray, "h w 3"], reference: UInt8[np.ndarray, "h w 3"], region: Bool[np.ndarray, "h w"]
) -> float:
    """Returns the structural similarity of two pictures over a region: 1 where they are equal."""
    from skimage.metrics import structural_similarity

    each = structural_similarity(image, reference, channel_axis=-1, full=True)[-1]
    return float(each[region].mean())
