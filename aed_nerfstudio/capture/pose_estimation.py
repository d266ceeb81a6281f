"""Head pose from landmarks: a face shape of the person, one focal length, and the camera of every frame.

Coordinates: the face shape is in centimetres in the schema's head frame (x image right, y up, z out of the face, origin
between the ears at eye height); the camera of the computations is OpenCV's (x right, y down, z forwards).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from aed_nerfstudio.capture.landmarks import smooth
from aed_nerfstudio.dataset.schema import METRES_PER_UNIT

# Points that speech and expression hardly move: forehead, temples, eye corners, nose, cheekbones. Brows, lids, cheeks
# beside the mouth and the jaw are left out.
STABLE = np.array([10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 1,
                   109, 338, 67, 297, 103, 332, 54, 284, 21, 251, 162, 389, 127, 356, 234, 454,
                   33, 263, 133, 362, 143, 372, 111, 340, 116, 345, 117, 346, 227, 447,
                   193, 417, 122, 351, 188, 412, 174, 399, 196, 419, 236, 456, 48, 278, 64, 294, 98, 327])  # fmt: skip
# Left and right twins (image left first) whose joining lines give the x axis.
PAIRS = np.array([[33, 263], [133, 362], [234, 454], [127, 356], [21, 251], [54, 284], [116, 345], [48, 278]])
OUTER_CORNERS_CM = 8.9  # between the outer corners of an adult's eyes; sets the scale, which a picture cannot
EARS_BEHIND_BRIDGE_CM = 9.0
FOCAL_SHARES = np.geomspace(1.2, 6.0, 14)  # candidates, in picture widths
USUAL_SHARE = 2.4  # a talking head filmed with a moderate telephoto lens
POSE_SMOOTHING = 1.0  # frames
DISTANCE_SMOOTHING = 2.0  # frames: distance is what landmarks tell worst
ROUNDS = 3
TO_IMAGE = np.diag([1.0, -1.0, -1.0])  # head axes (y up, z out) of a frontal face to OpenCV's (y down, z forwards)


@dataclass
class HeadPoses:
    """Poses of F frames.

    rotations: [F, 3, 3] head to OpenCV camera. translations: [F, 3] cm, the head's origin in camera coordinates.
    focal: pixels. shape: [478, 3] cm, the person's mean face in the head frame. error: mean reprojection error of the
    stable points over the usable frames, pixels, after smoothing.
    """

    rotations: np.ndarray
    translations: np.ndarray
    focal: float
    shape: np.ndarray
    error: float

    def camera_to_world(self) -> np.ndarray:
        """[F, 4, 4] OpenGL camera-to-world in schema units."""
        out = np.tile(np.eye(4), (len(self.rotations), 1, 1))
        inverse = self.rotations.transpose(0, 2, 1)
        out[:, :3, :3] = inverse @ TO_IMAGE
        out[:, :3, 3] = -np.einsum("fij,fj->fi", inverse, self.translations) / (100 * METRES_PER_UNIT)
        return out


def project(points: np.ndarray, rotations: np.ndarray, translations: np.ndarray, focal: float, centre: float):
    """Points [N, 3] cm in F poses ([F, 3, 3], [F, 3]) as pixels [F, N, 2]."""
    camera = np.einsum("fij,nj->fni", rotations, points) + translations[:, None]
    return focal * camera[..., :2] / camera[..., 2:] + centre


def _similarity(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale, rotation [3, 3] and translation [3] that best map source [N, 3] onto target [N, 3] (Umeyama)."""
    ms, mt = source.mean(axis=0), target.mean(axis=0)
    u, s, vt = np.linalg.svd((target - mt).T @ (source - ms))
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ sign @ vt
    scale = float((s * np.diag(sign)).sum() / ((source - ms) ** 2).sum())
    return scale, rotation, mt - scale * rotation @ ms


def mean_face(landmarks: np.ndarray) -> np.ndarray:
    """The person's mean face from FaceMesh's own depth.

    landmarks: [F, 478, 3] pixels, all finite -> [478, 3] cm in the head frame.
    """
    aligned = landmarks.astype(np.float64)
    # Start from the most frontal frame: the one whose eye corners are at the most equal depth.
    frontal = np.abs(landmarks[:, 33, 2] - landmarks[:, 263, 2]).argmin()
    mean = aligned[frontal]
    for _ in range(3):
        fitted = []
        for points in aligned:
            scale, rotation, shift = _similarity(points[STABLE], mean[STABLE])
            fitted.append(scale * points @ rotation.T + shift)
        mean = np.mean(fitted, axis=0)
    return to_head_frame(mean * [1, -1, -1])


def to_head_frame(face: np.ndarray) -> np.ndarray:
    """A face [478, 3] in any scale, place and (roughly frontal, y up) attitude -> cm in the head frame."""
    x = (face[PAIRS[:, 1]] - face[PAIRS[:, 0]]).mean(axis=0)
    x /= np.linalg.norm(x)
    # The line from the chin to the top of the forehead is upright in a face that looks straight ahead.
    up = face[10] - face[152]
    y = up - (up @ x) * x
    y /= np.linalg.norm(y)
    axes = np.stack([x, y, np.cross(x, y)])
    face = face @ axes.T
    face = face * (OUTER_CORNERS_CM / np.linalg.norm(face[263] - face[33]))
    middle = face[PAIRS].mean(axis=(0, 1))
    eyes = face[[33, 133, 263, 362]].mean(axis=0)
    return face - np.array([middle[0], eyes[1], face[168, 2] - EARS_BEHIND_BRIDGE_CM])


def _initial(landmarks: np.ndarray, shape: np.ndarray, focal: float, centre: float):
    """Poses from FaceMesh's depth by similarity: rotation vectors [F, 3] and translations [F, 3] cm."""
    vectors, translations = [], []
    for points in landmarks.astype(np.float64):
        scale, rotation, shift = _similarity(shape[STABLE], points[STABLE])
        depth = focal / scale
        vectors.append(cv2.Rodrigues(rotation)[0][:, 0])
        translations.append([(shift[0] - centre) / scale, (shift[1] - centre) / scale, depth])
    return np.array(vectors), np.array(translations)


def _pnp(pixels: np.ndarray, points: np.ndarray, vectors, translations, focal: float, centre: float):
    """Refines poses: pixels [F, N, 2], points [N, 3] cm -> rotation vectors [F, 3], translations [F, 3]."""
    matrix = np.array([[focal, 0, centre], [0, focal, centre], [0, 0, 1.0]])
    new_vectors, new_translations = [], []
    for seen, v, t in zip(pixels, vectors, translations, strict=True):
        guess = v.reshape(3, 1).copy(), t.reshape(3, 1).copy()
        seen = np.ascontiguousarray(seen)
        _, v1, t1 = cv2.solvePnP(points, seen, matrix, None, *guess, True, cv2.SOLVEPNP_ITERATIVE)
        new_vectors.append(v1[:, 0])
        new_translations.append(t1[:, 0])
    return np.array(new_vectors), np.array(new_translations)


def _error(pixels, points, vectors, translations, focal: float, centre: float) -> float:
    """Robust mean reprojection error in pixels: distances beyond three medians count as three medians."""
    rotations = Rotation.from_rotvec(vectors).as_matrix()
    distance = np.linalg.norm(project(points, rotations, translations, focal, centre) - pixels, axis=-1)
    return float(np.minimum(distance, 3 * np.median(distance)).mean())


def _refine_points(pixels, points, first, vectors, translations, focal: float, centre: float) -> np.ndarray:
    """One Gauss-Newton step for every point [N, 3] by itself, all poses held, drawn towards `first` [N, 3]."""
    rotations = Rotation.from_rotvec(vectors).as_matrix()
    camera = np.einsum("fij,nj->fni", rotations, points) + translations[:, None]
    depth = camera[..., 2]
    residual = pixels - (focal * camera[..., :2] / depth[..., None] + centre)
    jacobian = np.zeros((*depth.shape, 2, 3))
    jacobian[..., 0, 0] = jacobian[..., 1, 1] = focal / depth
    jacobian[..., 0, 2] = -focal * camera[..., 0] / depth**2
    jacobian[..., 1, 2] = -focal * camera[..., 1] / depth**2
    jacobian = np.einsum("fnij,fjk->fnik", jacobian, rotations)
    # Depth is only seen as far as the head turns, so the pull must be weak against x and y and strong against noise.
    pull = 0.003 * len(pixels) * float(np.median(focal / depth)) ** 2
    normal = np.einsum("fnij,fnik->njk", jacobian, jacobian) + pull * np.eye(3)
    right = np.einsum("fnij,fni->nj", jacobian, residual) + pull * (first - points)
    return points + np.linalg.solve(normal, right[..., None])[..., 0]


def estimate_poses(landmarks: np.ndarray, usable: np.ndarray, size: int, starts: list[int] | None = None) -> HeadPoses:
    """Head poses of all frames of one person filmed by one camera.

    landmarks: [F, 478, 3] pixels of a size x size picture. usable: bool [F]; the other frames get the pose of their
    neighbours, interpolated. starts: the first frame of each clip, across which nothing is smoothed.
    """
    index = np.flatnonzero(usable)
    if index.size == 0:
        raise ValueError("no usable frame")
    centre = size / 2
    # Landmarks are continuous coordinates (pixel centres at .5), as the schema's principal point is.
    known = landmarks[index].astype(np.float64)
    sample = np.unique(np.linspace(0, len(index) - 1, 200).round().astype(int))
    # The frames most turned tell most about the focal length and depth, so the grid's are spread over the yaw.
    yaw = known[sample, 33, 2] - known[sample, 263, 2]
    few = sample[np.argsort(yaw)][np.unique(np.linspace(0, len(sample) - 1, 60).round().astype(int))]
    first = mean_face(known[sample])

    focal, best, shape = 0.0, np.inf, first
    for share in FOCAL_SHARES:
        candidate = float(share * size)
        points = first[STABLE]
        pixels = known[few][:, STABLE, :2]
        vectors, translations = _initial(known[few], first, candidate, centre)
        for _ in range(2):
            vectors, translations = _pnp(pixels, points, vectors, translations, candidate, centre)
            points = _refine_points(pixels, points, first[STABLE], vectors, translations, candidate, centre)
        error = _error(pixels, points, vectors, translations, candidate, centre)
        # A nearly still head leaves the focal length open: among equally good ones the usual one is taken.
        error *= 1 + 0.05 * np.log(share / USUAL_SHARE) ** 2
        if error < best:
            focal, best = candidate, error

    vectors, translations = _initial(known, first, focal, centre)
    points = first[STABLE].copy()
    pixels = known[:, STABLE, :2]
    for round_ in range(ROUNDS):
        vectors, translations = _pnp(pixels, points, vectors, translations, focal, centre)
        if round_ < ROUNDS - 1:
            points = _refine_points(
                pixels[sample], points, first[STABLE], vectors[sample], translations[sample], focal, centre
            )
    shape = first.copy()
    shape[STABLE] = points

    # Directions and log distance rather than x, y, z: an error in distance then does not move the head in the picture.
    place = np.column_stack([translations[:, :2] / translations[:, 2:], np.log(translations[:, 2])])
    rotation = Rotation.from_rotvec(vectors)
    middle = rotation.mean()
    turn = (rotation * middle.inv()).as_rotvec()
    frames = np.arange(len(landmarks))
    turn = np.column_stack([np.interp(frames, index, turn[:, k]) for k in range(3)])
    place = np.column_stack([np.interp(frames, index, place[:, k]) for k in range(3)])
    borders = [*(starts or [0]), len(landmarks)]
    for a, b in zip(borders[:-1], borders[1:], strict=True):
        part, whole = slice(a, b), np.ones(b - a, bool)
        turn[part] = smooth(turn[part], whole, POSE_SMOOTHING)
        place[part, :2] = smooth(place[part, :2], whole, POSE_SMOOTHING)
        place[part, 2] = smooth(place[part, 2], whole, DISTANCE_SMOOTHING)
    rotations = (Rotation.from_rotvec(turn) * middle).as_matrix()
    distance = np.exp(place[:, 2])
    translations = np.column_stack([place[:, 0] * distance, place[:, 1] * distance, distance])
    seen = project(points, rotations[index], translations[index], focal, centre)
    error = float(np.linalg.norm(seen - pixels, axis=-1).mean())
    return HeadPoses(rotations, translations, focal, shape, error)
