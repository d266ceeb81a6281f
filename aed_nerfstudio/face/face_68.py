"""The 68 face points of iBUG 300-W, which FAN and dlib find and the peers' folders hold, and the mesh's 478.

Points are pixels, in the order jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, outer lips 48-59, inner lips 60-67.
"""

from __future__ import annotations

import numpy as np

from aed_nerfstudio.face.face_mesh import COUNT, EYE_OUTLINES, INNER_LIPS, NOSE_BRIDGE, OUTER_LIPS, OVAL

MESH_OF = [
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
]  # fmt: skip
"""The mesh's vertex for each of the 68 points."""

_RINGS = (OUTER_LIPS, INNER_LIPS, *EYE_OUTLINES, OVAL)
"""Lips, eyes and the face's oval: vertices that lie along one line, so that the missing ones follow from the others."""

# By the synthetic actor's face, within 1 pixel at 256 x 256 however the head is turned; the forehead lies higher in
# people, by an eighth of the nose's length in the one that was measured, and here between the two.
_NOSE = {193: (0.66, -0.09, 0.43), 122: (0.47, 0.21, 0.32), 196: (0.29, 0.39, 0.32), 3: (0.13, 0.57, 0.3),
         51: (-0.06, 0.74, 0.32)}  # fmt: skip
_MIRRORED = {193: 417, 122: 351, 196: 419, 3: 248, 51: 281}
_SINGLE = {
    10: {168: 1.95, 2: -0.95},
    1: {4: 0.48, 2: 0.52},
    6: {168: 0.46, 197: 0.54},
    195: {197: 0.5, 5: 0.5},
    **{v: {168: a, 4: b, 133: c} for v, (a, b, c) in _NOSE.items()},
    **{_MIRRORED[v]: {168: a, 4: b, 362: c} for v, (a, b, c) in _NOSE.items()},
}
"""Forehead and nose: weights of vertices that are among the 68."""


def _weights() -> np.ndarray:
    """Returns float32 [478, 68]: each vertex as a mean of the points; the root of the nose where nothing is known of
    it.
    """
    known = {vertex: np.eye(68)[point] for point, vertex in enumerate(MESH_OF)}
    for vertex, parts in _SINGLE.items():
        known[vertex] = sum(weight * known[part] for part, weight in parts.items())
    filled = dict(known)
    for ring in _RINGS:
        there = [k for k, vertex in enumerate(ring) if vertex in known]
        for k, vertex in enumerate(ring):
            if vertex not in known:
                before = max((t for t in there if t < k), default=there[-1] - len(ring))
                after = min((t for t in there if t > k), default=there[0] + len(ring))
                share = (k - before) / (after - before)
                filled[vertex] = (1 - share) * known[ring[before]] + share * known[ring[after % len(ring)]]
    return np.stack([filled.get(vertex, known[NOSE_BRIDGE]) for vertex in range(COUNT)]).astype(np.float32)


_WEIGHTS = _weights()


def to_68(landmarks: np.ndarray) -> np.ndarray:
    """Converts the mesh's landmarks [..., 478, >=2] to the 68 points [..., 68, 2]."""
    return landmarks[..., MESH_OF, :2]


def from_68(points: np.ndarray) -> np.ndarray:
    """Converts 68 points [..., 68, 2] to the mesh's landmarks, float32 [..., 478, 3], z = 0.

    Lips, eyes, brows, nose and the face's oval lie where they are; cheeks and chin, of which the 68 say nothing and
    which nothing measures, at the root of the nose.
    """
    flat = np.einsum("vp,...pc->...vc", _WEIGHTS, np.asarray(points, np.float32))
    return np.concatenate([flat, np.zeros_like(flat[..., :1])], axis=-1)
