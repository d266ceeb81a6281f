"""The 478 landmarks of MediaPipe's face mesh: the table of their numbers, boxes around them, measures of the mouth.

Landmarks are float32 [..., 478, 3]: x and y in pixels, z in pixels too (smaller is closer to the camera).
"""

from __future__ import annotations

import numpy as np

COUNT = 478

# The one table of landmark numbers. Pairs name the image's left first.
FOREHEAD, CHIN = 10, 152
"""The face's top and bottom, on its middle line."""
NOSE_BRIDGE, NOSE_TIP, NOSE_BASE = 168, 1, 2
FACE_SIDES = (234, 454)
"""Beside the ears, where the face is widest."""

OUTER_LIPS = [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185]
INNER_LIPS = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191]
MIDDLE_LIPS = [76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306, 408, 304, 303, 302, 11, 72, 73, 74, 184,
               62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 407, 272, 271, 268, 12, 38, 41, 42, 183]  # fmt: skip
"""Two rings between the outer and the inner contour. All begin at the image's left corner with the lower lip."""
LIPS = sorted({*OUTER_LIPS, *INNER_LIPS, *MIDDLE_LIPS})
OUTER_LOWER_LIP, INNER_LOWER_LIP = OUTER_LIPS[1:10], INNER_LIPS[1:10]
OUTER_UPPER_LIP, INNER_UPPER_LIP = [*OUTER_LIPS[10:], OUTER_LIPS[0]], [*INNER_LIPS[10:], INNER_LIPS[0]]
"""With the corners."""
OUTER_LIP_MIDDLES, INNER_LIP_MIDDLES = (0, 17), (13, 14)
"""Upper and lower lip."""
LIP_CORNERS = (61, 291)
LIP_COLUMNS = ((40, 80, 88, 91), (39, 81, 178, 181), (37, 82, 87, 84), (0, 13, 14, 17), (267, 312, 317, 314),
               (269, 311, 402, 405), (270, 310, 318, 321))  # fmt: skip
"""Columns across the lips: landmarks of the outer and the inner contour, from above."""
AROUND_LIPS = (2, 164, 18, 200, 199, 50, 280, 205, 425, 212, 432, 43, 273, 106, 335, 186, 410)
"""Skin around the mouth: under the nose, chin, cheeks."""

OUTER_EYE_CORNERS, INNER_EYE_CORNERS = (33, 263), (133, 362)
EYES = ([33, 133, 160, 144, 158, 153], [362, 263, 385, 380, 387, 373])
"""Corners, then two pairs of upper and lower lid: the six points of the usual eye aspect ratio."""
EYE_OUTLINES = ([33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246],
                [263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466])  # fmt: skip
"""The lids' edges, as rings."""
EYE_RINGS = ([226, 247, 30, 29, 27, 28, 56, 190, 243, 112, 26, 22, 23, 24, 110, 25],
             [446, 467, 260, 259, 257, 258, 286, 414, 463, 341, 256, 252, 253, 254, 339, 255])  # fmt: skip
"""The lids with what is around them."""
FIRST_IRIS = 468
"""From here on landmarks lie in the eyeballs."""
IRISES = ((468, 33, 133), (473, 263, 362))
"""An iris' middle, and the outer and inner corner of its eye."""
BROWS = ([70, 63, 105, 66, 107, 55, 65, 52, 53, 46], [300, 293, 334, 296, 336, 285, 295, 282, 283, 276])
BROWS_WITH_EYES = ([70, 63, 105, 66, 107, 133, 145, 33], [336, 296, 334, 293, 300, 263, 374, 362])

OVAL = [10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109]  # fmt: skip
"""The face's outline, from the forehead's middle by the image's right."""
JAW = [132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361]
"""From below the ear on the image's left to below the one on its right."""
SPEAKING = [*LIPS, *JAW[5:12], 18, 199, 200]
"""What speech moves most: the lips, the chin and what is between."""
UPPER_FACE = (151, 108, 337, 6, 197, 118, 347)
"""Skin that masks leave free: forehead, bridge of the nose, below the eyes."""
STABLE = np.array([10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 1,
                   109, 338, 67, 297, 103, 332, 54, 284, 21, 251, 162, 389, 127, 356, 234, 454,
                   33, 263, 133, 362, 143, 372, 111, 340, 116, 345, 117, 346, 227, 447,
                   193, 417, 122, 351, 188, 412, 174, 399, 196, 419, 236, 456, 48, 278, 64, 294, 98, 327])  # fmt: skip
"""What speech and expression hardly move: forehead, temples, eye corners, nose, cheekbones. Brows, lids, cheeks beside
the mouth and the jaw are left out."""
TWINS = np.array([[33, 263], [133, 362], [234, 454], [127, 356], [21, 251], [54, 284], [116, 345], [48, 278]])
"""Left and right landmarks whose joining lines are parallel to the line through both eyes."""


def _distance(landmarks: np.ndarray, a: int, b: int) -> np.ndarray:
    return np.linalg.norm(landmarks[..., a, :2].astype(np.float64) - landmarks[..., b, :2], axis=-1)


def mouth_opening(landmarks: np.ndarray) -> np.ndarray:
    """Returns the distance between the middles of the inner lips, pixels: [..., 478, 3] -> [...]."""
    return _distance(landmarks, *INNER_LIP_MIDDLES)


def lip_shape(landmarks: np.ndarray) -> np.ndarray:
    """Measures the lips, [..., 478, 3] -> [..., 4]: inner and outer opening, width, chin drop, over the face height."""
    # Forehead to the tip of the nose: does not move with the mouth.
    height = np.maximum(_distance(landmarks, FOREHEAD, NOSE_TIP), 1e-6)
    parts = [INNER_LIP_MIDDLES, OUTER_LIP_MIDDLES, LIP_CORNERS, (NOSE_TIP, CHIN)]
    return np.stack([_distance(landmarks, a, b) for a, b in parts], -1) / height[..., None]


def face_width(landmarks: np.ndarray) -> np.ndarray:
    """Returns how wide faces are from ear to ear, in the landmarks' unit: [..., 478, 3] -> [...]."""
    return np.linalg.norm(landmarks[..., 234, :2] - landmarks[..., 454, :2], axis=-1)


def eye_ratio(landmarks: np.ndarray) -> np.ndarray:
    """Returns the height over width of the eyes' openings, mean of both: [..., 478, 3] -> [...]."""
    ratios = []
    for a, b, u1, l1, u2, l2 in EYES:
        ratios.append((_distance(landmarks, u1, l1) + _distance(landmarks, u2, l2)) / _distance(landmarks, a, b))
    return np.mean(ratios, axis=0) / 2


def padded_box(points: np.ndarray, padding: float, size: int | tuple[int, int]) -> list[int]:
    """Returns the box around points [N, >=2] pixels, padded by that share of the extent, clipped to the picture.

    size: of the picture, its side or its width and height.
    Returns left, top, right, bottom; right and bottom exclusive; at least one pixel large.
    """
    width, height = (size, size) if isinstance(size, int) else size
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    pad = padding * (high - low)
    left, top = (int(np.clip(np.floor(v), 0, n - 1)) for v, n in zip(low - pad, (width, height), strict=True))
    right, bottom = (int(np.clip(np.ceil(v) + 1, 1, n)) for v, n in zip(high + pad, (width, height), strict=True))
    return [left, top, max(right, left + 1), max(bottom, top + 1)]
