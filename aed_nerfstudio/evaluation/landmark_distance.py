"""Lip landmark distance (LMD) on MediaPipe's lips: the points that the mouth is drawn with, in renders and in truth."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from aed_nerfstudio.capture.landmarks import quiet_mediapipe, to_pixels
from aed_nerfstudio.dataset.face_mesh import COUNT, INNER_LIPS, OUTER_LIPS

LIPS = [*OUTER_LIPS, *INNER_LIPS]


def detect(images: Iterable[np.ndarray]) -> np.ndarray:
    """Landmarks of each image by itself (no tracking, so no memory of the frame before).

    images: uint8 [H, W, 3] RGB -> float32 [F, 478, 3] pixels, NaN where no face is found.
    """
    found = []
    settings = {"static_image_mode": True, "refine_landmarks": True, "max_num_faces": 1}
    with quiet_mediapipe().solutions.face_mesh.FaceMesh(**settings) as mesh:
        for image in images:
            height, width = image.shape[:2]
            faces = mesh.process(np.ascontiguousarray(image)).multi_face_landmarks
            lost = np.full((COUNT, 3), np.nan, np.float32)
            found.append(to_pixels(faces[0], width, height) if faces else lost)
    return np.stack(found)


def lip_landmark_distance(landmarks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean distance of the 40 lip landmarks, each set about its own centroid: [F, 478, 3] twice -> [F] pixels."""
    a, b = (points[:, LIPS, :2] - points[:, LIPS, :2].mean(axis=1, keepdims=True) for points in (landmarks, truth))
    return np.linalg.norm(a - b, axis=-1).mean(axis=1)


def face_width(landmarks: np.ndarray) -> np.ndarray:
    """From ear to ear, [F, 478, 3] -> [F] pixels."""
    return np.linalg.norm(landmarks[:, 234, :2] - landmarks[:, 454, :2], axis=-1)
