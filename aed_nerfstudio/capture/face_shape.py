"""A person's mean face from FaceMesh's own depth, its head frame, and rough poses of it.

The face is in centimetres in the schema's head frame (x image right, y up, z out of the face, origin between the ears
at eye height); camera axes are OpenCV's (x right, y down, z forwards).
"""

from __future__ import annotations

import numpy as np

from aed_nerfstudio.face.face_mesh import (
    CHIN,
    FOREHEAD,
    INNER_EYE_CORNERS,
    NOSE_BRIDGE,
    OUTER_EYE_CORNERS,
    STABLE,
    TWINS,
)

MEAN_FRAMES = 200
OUTER_CORNERS_CM = 8.9  # between the outer corners of an adult's eyes; sets the scale, which a picture cannot
EARS_BEHIND_BRIDGE_CM = 9.0


def similarity(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns what best maps source [N, 3] onto each target [F, N, 3]: scales [F], rotations [F, 3, 3], shifts [F, 3].

    Umeyama's closed form.
    """
    ms, mt = source.mean(axis=0), target.mean(axis=1)
    u, s, vt = np.linalg.svd((target - mt[:, None]).transpose(0, 2, 1) @ (source - ms))
    sign = np.ones_like(s)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[:, None]) @ vt
    scale = (s * sign).sum(axis=1) / ((source - ms) ** 2).sum()
    return scale, rotation, mt - scale[:, None] * (rotation @ ms)


def mean_face(landmarks: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Returns the person's mean face from FaceMesh's own depth, over frames spread over all usable ones.

    landmarks: [F, 478, 3] pixels. usable: bool [F], at least one. Returns [478, 3] cm in the head frame.
    """
    index = np.flatnonzero(usable)
    seen = landmarks[index[np.unique(np.linspace(0, len(index) - 1, MEAN_FRAMES).round().astype(int))]]
    seen = seen.astype(np.float64)
    # Start from the most frontal frame: the one whose eye corners are at the most equal depth.
    left, right = OUTER_EYE_CORNERS
    mean = seen[np.abs(seen[:, left, 2] - seen[:, right, 2]).argmin()]
    for _ in range(3):
        scale, rotation, shift = similarity(mean[STABLE], seen[:, STABLE])
        back = np.einsum("fni,fij->fnj", seen - shift[:, None], rotation) / scale[:, None, None]
        mean = back.mean(axis=0)
    return to_head_frame(mean * [1, -1, -1])


def to_head_frame(face: np.ndarray) -> np.ndarray:
    """Brings a face [478, 3] of any scale, place and (roughly frontal, y up) attitude to cm in the head frame."""
    scale, axes, origin = head_frame(face)
    return scale * (face - origin) @ axes.T


def head_frame(face: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Returns scale, axes [3, 3] (rows) and origin [3] of a face's head frame: [478, 3], roughly frontal, y up."""
    x = (face[TWINS[:, 1]] - face[TWINS[:, 0]]).mean(axis=0)
    x /= np.linalg.norm(x)
    # The line from the chin to the top of the forehead is upright in a face that looks straight ahead.
    up = face[FOREHEAD] - face[CHIN]
    y = up - (up @ x) * x
    y /= np.linalg.norm(y)
    axes = np.stack([x, y, np.cross(x, y)])
    left, right = OUTER_EYE_CORNERS
    scale = OUTER_CORNERS_CM / float(np.linalg.norm(face[right] - face[left]))
    turned = face @ axes.T
    middle = turned[TWINS].mean(axis=(0, 1))
    eyes = turned[[*OUTER_EYE_CORNERS, *INNER_EYE_CORNERS]].mean(axis=0)
    origin = np.array([middle[0], eyes[1], turned[NOSE_BRIDGE, 2] - EARS_BEHIND_BRIDGE_CM / scale])
    return scale, axes, origin @ axes


def rough_poses(landmarks: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns weak-perspective poses of a face [478, 3] from FaceMesh's depth.

    landmarks: [F, 478, 3] pixels, all finite. Returns scales [F] (pixels a cm), rotations [F, 3, 3] (head to OpenCV
    camera) and shifts [F, 2] (pixels of the head's origin).
    """
    scale, rotation, shift = similarity(face[STABLE], landmarks[:, STABLE].astype(np.float64))
    return scale, rotation, shift[:, :2]
