"""Measures taken on landmarks."""

import numpy as np

from aed_nerfstudio.face.face_mesh import lip_shape, mouth_opening, padded_box


def test_lip_shape_ignores_scale_and_place():
    landmarks = np.random.default_rng(0).uniform(0, 100, (3, 478, 3))
    np.testing.assert_allclose(lip_shape(landmarks), lip_shape(landmarks * 2 + 7), rtol=1e-9)


def test_mouth_opening_is_the_gap_between_the_inner_lips():
    landmarks = np.zeros((2, 478, 3), np.float32)
    landmarks[1, 14, :2] = (3, 4)
    assert mouth_opening(landmarks).tolist() == [0, 5]


def test_boxes_are_padded_and_clipped():
    assert padded_box(np.array([[-5.0, 2.0], [300.0, 10.0]]), 0.1, 256) == [0, 1, 256, 12]
