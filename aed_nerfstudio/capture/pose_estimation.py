"""Head pose: landmarks for a start, tracks of the rigid head for precision, one bundle adjustment for all clips.

Coordinates: points are in centimetres in the schema's head frame (x image right, y up, z out of the face, origin
between the ears at eye height); the camera of the computations is OpenCV's (x right, y down, z forwards).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from aed_nerfstudio.capture.bundle_adjustment import (
    USUAL_SHARE,
    Observations,
    Poses,
    Prior,
    joint_step,
    landmark_poses,
    point_noise,
    point_normals,
    project,
    resect,
    robust_weights,
)
from aed_nerfstudio.capture.camera_fit import fit_focals
from aed_nerfstudio.capture.face_shape import head_frame, mean_face
from aed_nerfstudio.capture.rigid_tracks import RigidTracks
from aed_nerfstudio.capture.steady_motion import far_off, smooth_motion
from aed_nerfstudio.dataset.schema import METRES_PER_UNIT
from aed_nerfstudio.face.face_mesh import STABLE

SHARE_SPREAD = 0.35  # of its logarithm: from 1.2 to 4.8 in two standard deviations
SHAPE_SPREAD_CM = 0.5  # of the identity's offsets from FaceMesh's mean face
SHAPE_REACH_CM = 4.0  # over which these offsets go together, so few of them are free
SHAPE_NUGGET_CM = 0.15  # what each landmark has for itself
TRACK_SPREAD_CM = 1.5  # of a track's point from FaceMesh's surface
LANDMARK_SHARE = 0.03  # landmarks' errors go together across the face, so all of them weigh as much as two points
CORRELATED = 8.0  # frames over which errors go together
VIEW_DEGREES = 2.0  # two views of the head are different ones from there
VIEW_ZOOM = 0.02
JOINT_FRAMES = 400
JOINT_POINTS = 500
JOINT_STEPS = 15
SWEEPS = 3
OUTLIER_TURN = 0.06  # radians
OUTLIER_ZOOM = 0.02  # of the scale
TO_IMAGE = np.diag([1.0, -1.0, -1.0])  # head axes (y up, z out) of a frontal face to OpenCV's (y down, z forwards)


@dataclass
class PoseReport:
    """How well the poses fit. Pixels are of the square picture; errors count usable frames only.

    landmark_error_mean, landmark_error_median, track_error_mean, track_error_median: reprojection, pixels. jitter,
    jitter_before: what the head's rotation trembles from frame to frame, degrees, with the final poses and with poses
    from landmarks alone. focal, focal_deviation: pixels; the second is its standard deviation, poses and points being
    unknown as well. outliers: frames whose pose is not measured but taken from their neighbours. frames, tracks: how
    many.
    """

    landmark_error_mean: float = 0.0
    landmark_error_median: float = 0.0
    track_error_mean: float = 0.0
    track_error_median: float = 0.0
    jitter: float = 0.0
    jitter_before: float = 0.0
    focal: float = 0.0
    focal_deviation: float = 0.0
    outliers: list[int] = field(default_factory=list)
    frames: int = 0
    tracks: int = 0

    def as_dict(self) -> dict:
        """Returns the report as report.json holds it."""
        return asdict(self)


@dataclass
class HeadPoses:
    """Poses of F frames.

    rotations: [F, 3, 3] head to OpenCV camera. translations: [F, 3] cm, the head's origin in camera coordinates.
    focal: pixels. shape: [478, 3] cm, the person's mean face in the head frame. error: mean reprojection error of the
    stable landmarks over the usable frames, pixels. cameras: of several ones, each one's focal length over the first
    one's and the standard deviation of its logarithm.
    """

    rotations: np.ndarray
    translations: np.ndarray
    focal: float
    shape: np.ndarray
    error: float
    report: PoseReport = field(default_factory=PoseReport)
    cameras: list[tuple[float, float]] = field(default_factory=list)

    def camera_to_world(self) -> np.ndarray:
        """Returns [F, 4, 4] OpenGL camera-to-world in schema units."""
        out = np.tile(np.eye(4), (len(self.rotations), 1, 1))
        inverse = self.rotations.transpose(0, 2, 1)
        out[:, :3, :3] = inverse @ TO_IMAGE
        out[:, :3, 3] = -np.einsum("fij,fj->fi", inverse, self.translations) / (100 * METRES_PER_UNIT)
        return out


@dataclass
class _Problem:
    """Everything that was seen in the usable frames, numbered 0 .. F - 1; points first are the stable landmarks."""

    seen: Observations
    points: np.ndarray
    size: int

    def noise(self, poses: Poses, kappa: float) -> np.ndarray:
        """Returns the noise of each point [P] in its standard deviations."""
        return point_noise(self.seen, _distance(self.points, poses, kappa, self.seen), len(self.points))


def _distance(points: np.ndarray, poses: Poses, kappa: float, seen: Observations, white: bool = True) -> np.ndarray:
    """Returns reprojection errors [N], in standard deviations or (white False) pixels."""
    parts = [seen.take(slice(a, a + 500_000)) for a in range(0, len(seen), 500_000)]
    out = []
    for part in parts:
        error = part.xy - project(points, poses, kappa, part.frame, part.point)
        out.append(np.linalg.norm(np.einsum("nij,nj->ni", part.white[part.point], error) if white else error, axis=1))
    return np.concatenate(out)


def _problem(landmarks, index, size: int, starts: list[int], tracks: list[RigidTracks] | None, face) -> _Problem:
    """Returns landmarks [F, 478, 3] of the usable frames `index` and tracks in one list of observations.

    They are kept in four bytes each: of ten minutes of video there are ten million.
    """
    number = np.full(starts[-1], -1, np.int32)
    number[index] = np.arange(len(index))
    known = len(STABLE)
    frame = [np.repeat(np.arange(len(index), dtype=np.int32), known)]
    point = [np.tile(np.arange(known, dtype=np.int32), len(index))]
    xy = [landmarks[:, STABLE, :2].reshape(-1, 2).astype(np.float32)]
    weights: list[np.ndarray] = [np.full(len(index) * known, LANDMARK_SHARE, np.float32)]
    points: list[np.ndarray] = [face[STABLE]]
    white: list[np.ndarray] = [np.tile(np.eye(2), (known, 1, 1))]
    for start, clip_tracks in zip(starts, tracks or [], strict=False):
        at = number[clip_tracks.frame + start]
        kept = np.flatnonzero(at >= 0)
        frame.append(at[kept])
        point.append(clip_tracks.point[kept] + np.int32(known))
        xy.append(clip_tracks.xy[kept])
        weights.append(clip_tracks.weight[kept])
        points.append(clip_tracks.start.astype(np.float64))
        white.append(np.linalg.cholesky(clip_tracks.precision.astype(np.float64)).transpose(0, 2, 1))
    frame, point = np.concatenate(frame), np.concatenate(point)
    order = np.lexsort((point, frame))
    xy, weight = np.concatenate(xy)[order] - np.float32(size / 2), np.concatenate(weights)[order]
    seen = Observations(frame[order], point[order], xy, weight, np.concatenate(white))
    return _Problem(seen, np.concatenate(points), size)


def _shape_precision(face: np.ndarray) -> np.ndarray:
    """Returns the precision [59, 59] of the stable landmarks' offsets from the mean face; smooth ones are likely."""
    points = face[STABLE]
    apart = ((points[:, None] - points) ** 2).sum(axis=-1)
    covariance = SHAPE_SPREAD_CM**2 * np.exp(-apart / (2 * SHAPE_REACH_CM**2))
    return np.linalg.inv(covariance + SHAPE_NUGGET_CM**2 * np.eye(len(points)))


def _chosen_frames(poses: Poses, count: int) -> np.ndarray:
    """Returns up to `count` frames: half spread over time, half over the poses."""
    if len(poses) <= count:
        return np.arange(len(poses))
    chosen = np.unique(np.linspace(0, len(poses) - 1, count // 2).round().astype(int)).tolist()
    middle = Rotation.from_matrix(poses.rotation).mean()
    turn = np.degrees((Rotation.from_matrix(poses.rotation) * middle.inv()).as_rotvec())
    place = np.column_stack([turn, 50 * np.log(poses.scale)])
    far = np.full(len(poses), np.inf)
    for k in chosen:
        far = np.minimum(far, ((place - place[k]) ** 2).sum(axis=1))
    while len(chosen) < count:  # the one farthest from all that are chosen
        chosen.append(int(far.argmax()))
        far = np.minimum(far, ((place - place[chosen[-1]]) ** 2).sum(axis=1))
    return np.unique(chosen)


def _correlation(poses: Poses) -> float:
    """Returns how many frames share one error: at least neighbours in time, and all that see the head from the same
    side, for what is wrong there (flow drawn to the light, landmarks off their place) is wrong in each of them.
    """
    middle = Rotation.from_matrix(poses.rotation).mean()
    turn = np.degrees((Rotation.from_matrix(poses.rotation) * middle.inv()).as_rotvec())
    cells = np.round(np.column_stack([turn / VIEW_DEGREES, np.log(poses.scale) / VIEW_ZOOM])).astype(int)
    return max(CORRELATED, len(cells) / len(np.unique(cells, axis=0)))


def _joint(problem: _Problem, poses: Poses, kappa: float, prior_face: np.ndarray,
           precision: np.ndarray) -> tuple[Poses, float, float]:  # fmt: skip
    """Adjusts some frames and points together; changes these in `problem.points` and the poses.

    Returns the poses, kappa and the standard deviation of its logarithm.
    """
    known = len(STABLE)
    frames = _chosen_frames(poses, JOINT_FRAMES)
    inside = np.isin(problem.seen.frame, frames)
    count = np.bincount(problem.seen.point[inside], minlength=len(problem.points))
    tracks = known + np.flatnonzero(count[known:] >= 8)
    if len(tracks) > JOINT_POINTS:
        # The longest tracks tell most.
        tracks = np.sort(tracks[np.argsort(-count[tracks], kind="stable")[:JOINT_POINTS]])
    chosen = np.concatenate([np.arange(known), tracks])
    number = np.full(len(problem.points), -1)
    number[chosen] = np.arange(len(chosen))
    seen = problem.seen.take(inside & (number[problem.seen.point] >= 0))
    frame, point = np.searchsorted(frames, seen.frame), number[seen.point]
    seen = Observations(frame, point, seen.xy, seen.weight, seen.white[chosen])

    points, some = problem.points[chosen].copy(), poses.take(frames)
    full = np.eye(len(points)) / TRACK_SPREAD_CM**2
    full[:known, :known] = precision
    centre = points.copy()
    centre[:known] = prior_face[STABLE]
    prior = Prior(centre, full, -np.log(USUAL_SHARE * problem.size), SHARE_SPREAD)
    deviation, correlated = SHARE_SPREAD, _correlation(some)
    for _ in range(JOINT_STEPS):
        distance = _distance(points, some, kappa, seen)
        noise = point_noise(seen, distance, len(points))
        weights = robust_weights(seen, distance, noise) / correlated
        step, move, turn, deviation = joint_step(points, some, kappa, seen, weights, prior)
        some, points = some.moved(step), points + move
        kappa *= float(np.exp(np.clip(turn, -0.5, 0.5)))
        if np.abs(move).max() < 2e-3 and abs(turn) < 2e-4:
            break
    problem.points[chosen] = points
    poses.rotation[frames], poses.scale[frames], poses.origin[frames] = some.rotation, some.scale, some.origin
    return poses, kappa, deviation


def _intersect(problem: _Problem, poses: Poses, kappa: float, seen: Observations, noise, start) -> np.ndarray:
    """Returns all points, each track's placed anew by itself with the poses held; landmarks stay."""
    matrix, right = point_normals(problem.points, poses, kappa, seen,
                                  lambda o, d: robust_weights(o, d, noise) / CORRELATED)  # fmt: skip
    pull = TRACK_SPREAD_CM**-2
    right += pull * (start - problem.points)
    step = np.linalg.solve(matrix + pull * np.eye(3), right[..., None])[..., 0]
    step[: len(STABLE)] = 0
    return problem.points + step


def jitter(rotations: np.ndarray, starts: list[int] | None = None) -> float:
    """Returns what rotations [F, 3, 3] tremble by, degrees: the median change of turn from frame to frame over sqrt(6),
    which is the standard deviation (all axes together) of independent errors; clips begin at `starts`.
    """
    changes = []
    for a, b in zip(starts or [0], [*(starts or [0])[1:], len(rotations)], strict=True):
        if b - a > 2:
            turn = Rotation.from_matrix(rotations[a + 1 : b] @ rotations[a : b - 1].transpose(0, 2, 1)).as_rotvec()
            changes.append(np.linalg.norm(np.diff(turn, axis=0), axis=1))
    return float(np.degrees(np.median(np.concatenate(changes))) / np.sqrt(6)) if changes else 0.0


def _in_head_frame(poses: Poses, kappa: float, scale: float, axes: np.ndarray, origin: np.ndarray) -> Poses:
    """Returns the same poses for points that were moved into the head frame: new = scale * axes @ (old - origin)."""
    shift = poses.rotation @ origin
    depth = 1 + kappa * poses.scale * shift[:, 2]
    return Poses(
        poses.rotation @ axes.T,
        poses.scale / scale / depth,
        (poses.origin + poses.scale[:, None] * shift[:, :2]) / depth[:, None],
    )


def estimate_poses(landmarks: np.ndarray, usable: np.ndarray, size: int, starts: list[int] | None = None,
                   tracks: list[RigidTracks] | None = None, camera: np.ndarray | None = None) -> HeadPoses:  # fmt: skip
    """Returns head poses of all frames of one person filmed by one camera.

    landmarks: [F, 478, 3] pixels of a size x size picture. usable: bool [F]; the other frames get the pose of their
    neighbours, interpolated. starts: the first frame of each clip. tracks: of each clip (`HeadTracker`), or None
    for landmarks alone. camera: int [F], the frames' cameras by number; they are taken for one, and compared.
    """
    index = np.flatnonzero(usable)
    if index.size == 0:
        raise ValueError("no usable frame")
    borders = [*(starts or [0]), len(landmarks)]
    known = landmarks[index].astype(np.float64)
    face = mean_face(landmarks, usable)
    problem = _problem(known, index, size, borders, tracks, face)
    poses, kappa = landmark_poses(known, face, size), 1 / (USUAL_SHARE * size)
    start = problem.points.copy()
    before = jitter(poses.rotation)
    poses, kappa, deviation = _joint(problem, poses, kappa, face, _shape_precision(face))
    for _ in range(SWEEPS):
        noise = problem.noise(poses, kappa)
        poses = resect(problem.points, poses, kappa, problem.seen, noise, 2)
        problem.points = _intersect(problem, poses, kappa, problem.seen, noise, start)
    noise = problem.noise(poses, kappa)
    poses = resect(problem.points, poses, kappa, problem.seen, noise, 2)
    cameras = []
    if camera is not None and camera.any():
        cameras = fit_focals(problem.points, poses, kappa, problem.seen, noise, camera[index])

    shape = face.copy()
    shape[STABLE] = problem.points[: len(STABLE)]
    frame = head_frame(shape)
    poses = _in_head_frame(poses, kappa, *frame)
    problem.points = frame[0] * (problem.points - frame[2]) @ frame[1].T
    shape = frame[0] * (shape - frame[2]) @ frame[1].T

    distance = _distance(problem.points, poses, kappa, problem.seen, white=False)
    mark = problem.seen.point < len(STABLE)
    report = PoseReport(float(distance[mark].mean()), float(np.median(distance[mark])),
                        float(distance[~mark].mean()) if (~mark).any() else 0.0,
                        float(np.median(distance[~mark])) if (~mark).any() else 0.0,
                        0.0, before, 1 / kappa, deviation / kappa, [], len(index),
                        len(problem.points) - len(STABLE))  # fmt: skip
    rotations, place, outliers = _steady(poses, index, borders)
    report.outliers = np.flatnonzero(outliers | ~np.asarray(usable, bool)).tolist()
    report.jitter = jitter(rotations, borders[:-1])
    focal = 1 / kappa
    size_cm = np.exp(-place[:, 2])
    translations = np.column_stack([place[:, :2] * size_cm[:, None], focal * size_cm])
    return HeadPoses(rotations, translations, float(focal), shape, report.landmark_error_mean, report, cameras)


def _steady(poses: Poses, index: np.ndarray, borders: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns rotations [F, 3, 3], places [F, 3] (x, y of the origin in pixels, log scale) of all frames, and the
    outliers [F] among the frames `index` whose poses were measured. Nothing passes the clips' borders.
    """
    count, frames = borders[-1], np.arange(borders[-1])
    middle = Rotation.from_matrix(poses.rotation).mean()
    turn = (Rotation.from_matrix(poses.rotation) * middle.inv()).as_rotvec()
    measured = np.column_stack([turn, poses.origin, np.log(poses.scale)])
    values = np.column_stack([np.interp(frames, index, measured[:, k]) for k in range(6)])
    known, outliers = np.zeros(count, bool), np.zeros(count, bool)
    known[index] = True
    for a, b in zip(borders[:-1], borders[1:], strict=True):
        part = slice(a, b)
        lost = far_off(values[part, :3], known[part], OUTLIER_TURN)
        lost |= far_off(values[part, 5:], known[part], OUTLIER_ZOOM)
        outliers[part] = lost
        values[part] = smooth_motion(values[part], known[part] & ~lost)
    rotations = (Rotation.from_rotvec(values[:, :3]) * middle).as_matrix()
    return rotations, values[:, 3:], outliers
