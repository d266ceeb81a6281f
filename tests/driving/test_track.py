import numpy as np

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


def test_windows_stop_at_clip_borders():
    features = {"a": np.ones((8, 3), np.float32), "b": np.full((8, 3), 2, np.float32)}
    track = DatasetTrack(features, ["a"] * 4 + ["b"] * 4, [0, 1, 2, 3] * 2, np.ones((8, 8)), _poses(8), np.ones(8))
    assert set(np.unique(track[3].audio)) == {0.0, 1.0}
    assert set(np.unique(track[4].audio)) == {0.0, 2.0}
