"""Head poses against the actor's truth: tracks of the rigid head, and what they are worth beside landmarks alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aed_nerfstudio.capture.face_shape import mean_face
from aed_nerfstudio.capture.landmarks import smooth_landmarks
from aed_nerfstudio.capture.pose_estimation import HeadPoses, estimate_poses
from aed_nerfstudio.capture.rigid_tracks import HeadTracker, RigidTracks, rigid_mask
from aed_nerfstudio.face.face_mesh import INNER_LIPS
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import HeadPose
from aed_nerfstudio.synthetic.scene import Scene

SIZE, MOVING, STILL = 256, 60, 24


@pytest.fixture(scope="module")
def take() -> dict[str, np.ndarray]:
    """A talking head that turns and nods, then holds still; landmarks as shaky as FaceMesh's."""
    scene, images, marks, cameras = Scene(Actor(2), SIZE, 5), [], [], []
    for k in range(MOVING + STILL):
        t = min(k, MOVING) / MOVING * 2 * np.pi
        pose = HeadPose(12 * np.sin(t), 6 * np.sin(2 * t), 3 * np.sin(t + 1), (0.1 * np.sin(t), 0.0, 0.1 * np.cos(t)))
        drawn = scene.render({"jawOpen": 0.3 + 0.3 * np.sin(0.9 * k)}, pose)
        images.append(drawn.image)
        marks.append(drawn.landmarks)
        cameras.append(drawn.camera_to_world)
    rng = np.random.default_rng(0)
    shaky = np.array(marks) + rng.normal(0, 0.4, (len(marks), 478, 3))
    return {"images": np.array(images), "landmarks": smooth_landmarks(shaky.astype(np.float32)),
            "cameras": np.array(cameras), "focal": np.array(scene.camera.fl_x)}  # fmt: skip


def _track(images: np.ndarray, landmarks: np.ndarray) -> RigidTracks:
    return HeadTracker(mean_face(landmarks, np.ones(len(landmarks), bool)), SIZE).track(iter(images), landmarks)


@pytest.fixture(scope="module")
def tracks(take) -> RigidTracks:
    return _track(take["images"], take["landmarks"])


@pytest.fixture(scope="module")
def poses(take, tracks) -> HeadPoses:
    return estimate_poses(take["landmarks"], np.ones(MOVING + STILL, bool), SIZE, [0], [tracks])


def _errors(poses: HeadPoses, take: dict[str, np.ndarray]) -> np.ndarray:
    """Degrees of every frame, the head's axes being taken from the truth."""
    found = Rotation.from_matrix(poses.camera_to_world()[:, :3, :3]).inv()
    real = Rotation.from_matrix(take["cameras"][:, :3, :3]).inv()
    return np.degrees((real * (found * (found.inv() * real).mean()).inv()).magnitude())


def test_tracks_are_where_the_head_carries_them(take, tracks):
    """Between two frames in which the head hardly differs, a track moves as the landmarks beside it do."""
    assert len(tracks.start) > 150 and (np.diff(tracks.frame) >= 0).all() and 0 < tracks.weight.min()
    still = [tracks.xy[tracks.frame == k] for k in (MOVING + 5, MOVING + 15)]
    numbers = [tracks.point[tracks.frame == k] for k in (MOVING + 5, MOVING + 15)]
    _, a, b = np.intersect1d(*numbers, return_indices=True)
    assert len(a) > 100
    assert np.median(np.linalg.norm(still[0][a] - still[1][b], axis=1)) < 0.05  # the head stood still, the mouth moved


def test_lips_lids_and_jaw_are_left_out(take):
    marks = take["landmarks"][0]
    mask = rigid_mask(marks, (SIZE, SIZE), np.zeros(2), 1.0)
    for point in (*INNER_LIPS, 159, 386, 152, 200):  # lips, upper lids, chin
        x, y = marks[point, :2].astype(int)
        assert mask[y, x] == 0
    for point in (6, 151):  # the nose's bridge and the forehead
        x, y = marks[point, :2].astype(int)
        assert mask[y, x] == 255


def test_poses_and_focal_length_are_the_actors(take, poses):
    errors = _errors(poses, take)
    assert np.median(errors) < 0.3 and errors.max() < 1.0
    report = poses.report
    assert report.track_error_median < 0.4 and not report.outliers and report.frames == len(errors)
    assert abs(poses.focal / take["focal"] - 1) < max(0.05, 2 * report.focal_deviation / take["focal"])
    still = Rotation.from_matrix(poses.rotations[MOVING:])
    assert np.degrees(np.median((still[1:] * still[:-1].inv()).magnitude())) < 0.2


def test_tracks_are_worth_it(take, poses):
    alone = estimate_poses(take["landmarks"], np.ones(MOVING + STILL, bool), SIZE)
    assert np.median(_errors(poses, take)) < 0.7 * np.median(_errors(alone, take))
    assert poses.report.jitter < 0.8 * poses.report.jitter_before


def test_a_frame_that_shows_something_else_is_an_outlier(take):
    images, marks = take["images"].copy(), take["landmarks"].copy()
    images[30] = 0
    marks[30, :, 0] = SIZE - marks[30, :, 0]  # a face that looks the other way
    tracks = _track(images, marks)
    poses = estimate_poses(marks, np.ones(len(marks), bool), SIZE, [0], [tracks])
    assert poses.report.outliers == [30]
    assert _errors(poses, take).max() < 1.5  # its neighbours tell its pose


def test_clips_are_one_head(take):
    """The second clip hardly moves, so only the first one's keyframes tell how it stands; with unusable frames."""
    landmarks, usable = take["landmarks"].copy(), np.ones(MOVING + STILL, bool)
    usable[[7, 8, 75]] = False
    landmarks[~usable] = np.nan
    parts = [slice(0, MOVING), slice(MOVING, MOVING + STILL)]
    tracker = HeadTracker(mean_face(landmarks, usable), SIZE)
    tracks = [tracker.track(iter(take["images"][part]), landmarks[part]) for part in parts]
    assert np.isin(tracks[1].point, np.arange(len(tracks[0].start))).mean() > 0.3  # it is seen in the first one's
    both = estimate_poses(landmarks, usable, SIZE, [0, MOVING], tracks)
    errors = _errors(both, take)
    assert np.median(errors) < 0.3 and errors.max() < 1.0
    assert both.report.outliers == [7, 8, 75] and both.report.frames == MOVING + STILL - 3

    again = HeadTracker(mean_face(landmarks, usable), SIZE)
    again.remember(lambda k: take["images"][k], landmarks[parts[0]], tracks[0].keyframes)
    second = again.track(iter(take["images"][parts[1]]), landmarks[parts[1]])
    assert all(np.array_equal(a, b) for a, b in zip(vars(second).values(), vars(tracks[1]).values(), strict=True))


def test_no_frame():
    with pytest.raises(ValueError, match="no usable frame"):
        estimate_poses(np.zeros((3, 478, 3)), np.zeros(3, bool), SIZE)
