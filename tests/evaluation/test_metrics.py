"""Figures on inputs whose answer is known."""

import numpy as np
import pytest

from aed_nerfstudio.driving.audio import SAMPLE_RATE
from aed_nerfstudio.evaluation.image_metrics import psnr
from aed_nerfstudio.evaluation.landmark_distance import detect, lip_landmark_distance
from aed_nerfstudio.evaluation.self_driven import nearest_poses
from aed_nerfstudio.evaluation.sync import audio_mouth_correlation, correlation
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import HeadPose
from aed_nerfstudio.synthetic.scene import Scene


def test_psnr_of_the_whole_and_of_a_box():
    truth = np.full((10, 10, 3), 100, np.uint8)
    image = truth.copy()
    image[:5] = 110
    assert psnr(image, truth) == pytest.approx(-10 * np.log10(50 / 255**2))
    assert psnr(image, truth, [0, 0, 10, 5]) == pytest.approx(-10 * np.log10(100 / 255**2))
    assert psnr(image, truth, [0, 5, 10, 10]) == 100


def test_lip_distance_ignores_where_the_mouth_is():
    landmarks = np.random.default_rng(0).uniform(0, 100, (2, 478, 3)).astype(np.float32)
    assert lip_landmark_distance(landmarks + [3, 4, 0], landmarks) == pytest.approx([0, 0], abs=1e-4)
    assert (lip_landmark_distance(landmarks * 1.1, landmarks) > 0.5).all()


def test_faces_are_found_and_their_absence_is_not_a_number():
    face = Scene(Actor(0), 192).render({}, HeadPose()).image
    found = detect([face, np.zeros_like(face)])
    assert found.shape == (2, 478, 3)
    assert np.isfinite(found[0]).all() and np.isnan(found[1]).all()


def test_correlation_leaves_unknown_frames_out():
    a = np.array([0, 1, 2, np.nan, 4])
    assert correlation(a, 2 * np.arange(5.0)) == pytest.approx(1)
    assert correlation(a, np.ones(5)) is None
    assert correlation(a[:2], a[:2]) is None


@pytest.mark.parametrize("delay", [-3, 0, 2])
def test_the_delay_between_sound_and_mouth_is_found(delay):
    rng = np.random.default_rng(1)
    level = rng.uniform(-30, 0, 200)
    samples = np.repeat(10 ** (level / 20), SAMPLE_RATE // 25) * np.sin(np.arange(200 * SAMPLE_RATE // 25))
    r, shift = audio_mouth_correlation(samples, np.roll(level, delay))
    assert shift == delay and r > 0.95


def test_the_mouth_of_silence_follows_nothing():
    assert audio_mouth_correlation(np.zeros(SAMPLE_RATE), np.random.default_rng(0).normal(size=25)) == (None, 0)


def test_nearest_pose_is_the_one_that_looks_alike():
    poses = np.tile(np.eye(4)[:3], (3, 1, 1))
    poses[:, 2, 3] = 4
    poses[1, 0, 3], poses[2, 0, 3] = 0.3, 0.6
    asked = poses[:1].copy()
    asked[0, 0, 3] = 0.5
    assert nearest_poses(asked, poses, 400.0).tolist() == [2]
    assert nearest_poses(poses, poses, 400.0).tolist() == [0, 1, 2]
