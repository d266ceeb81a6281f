import tracemalloc

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aed_nerfstudio.driving.head_pose import ping_pong, smooth
from aed_nerfstudio.driving.track import DatasetTrack, DrivingTrack


def _poses(count):
    return np.tile(np.eye(3, 4, dtype=np.float32), (count, 1, 1))


def test_ping_pong_never_jumps():
    index = ping_pong(4, 11)
    np.testing.assert_array_equal(index, [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2])
    np.testing.assert_array_equal(ping_pong(1, 3), [0, 0, 0])


def test_smoothing_keeps_rotations():
    rng = np.random.default_rng(0)
    poses = _poses(20)
    poses[:, :, 3] = rng.normal(size=(20, 3))
    smoothed = smooth(poses, 2.0)
    np.testing.assert_allclose(smoothed[:, :, :3] @ smoothed[:, :, :3].transpose(0, 2, 1), poses[:, :, :3], atol=1e-6)
    assert np.diff(smoothed[:, :, 3], axis=0).std() < np.diff(poses[:, :, 3], axis=0).std()


def test_dataset_track_and_driving_track_agree():
    features = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    driven = DrivingTrack(features, np.ones(8, np.float32), _poses(10))
    stored = DatasetTrack({"a": features}, ["a"] * 10, list(range(10)), np.ones((10, 8)), _poses(10), np.ones(10))
    assert len(driven) == len(stored) == 10
    for k in (0, 5, 9):
        np.testing.assert_array_equal(driven[k].audio, stored[k].audio)


def test_another_frame_rate_shows_the_same_moments():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 5)).astype(np.float32)
    poses = _poses(20)
    poses[:, 0, 3] = np.arange(20)
    poses[:, :, :3] = Rotation.from_rotvec(np.arange(20)[:, None] * [0, 0.02, 0]).as_matrix()
    eyes = np.linspace(0, 1, 20, dtype=np.float32)
    usual, fast, slow = (DrivingTrack(features, lambda t: np.array([t]), poses, eyes, fps) for fps in (25, 50, 12.5))
    assert (len(usual), len(fast), len(slow)) == (20, 40, 10)
    for a, b in ((usual[6], fast[12]), (usual[6], slow[3])):
        np.testing.assert_array_equal(a.audio, b.audio)
        np.testing.assert_array_equal(a.head_pose, b.head_pose)
        assert a.eye_openness == pytest.approx(b.eye_openness) and a.emotion == pytest.approx(b.emotion)
    between = fast[13]
    np.testing.assert_allclose(between.head_pose[:, 3], [6.5, 0, 0])
    np.testing.assert_allclose(Rotation.from_matrix(between.head_pose[:, :3]).as_rotvec(), [0, 0.13, 0], atol=1e-6)
    assert between.eye_openness == pytest.approx(6.5 / 19)
    np.testing.assert_allclose(between.audio[4, 0], features[5])  # 2 * 6.5 - 8
    assert fast[39].head_pose[0, 3] == 19  # the last pose is held
    with pytest.raises(IndexError):
        fast[40]


def test_a_track_costs_no_more_memory_than_its_features():
    features = np.zeros((2 * 15000, 288), np.float32)
    tracemalloc.start()
    track = DrivingTrack(features, np.zeros(8, np.float32), _poses(1))
    track[7000]
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()


def test_windows_stop_at_clip_borders():
    features = {"a": np.ones((8, 3), np.float32), "b": np.full((8, 3), 2, np.float32)}
    track = DatasetTrack(features, ["a"] * 4 + ["b"] * 4, [0, 1, 2, 3] * 2, np.ones((8, 8)), _poses(8), np.ones(8))
    assert set(np.unique(track[3].audio)) == {0.0, 1.0}
    assert set(np.unique(track[4].audio)) == {0.0, 2.0}
