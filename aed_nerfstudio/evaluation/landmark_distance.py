"""Lip landmark distance (LMD): on MediaPipe's lips always, on FAN's where it is installed."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8

from aed_nerfstudio.face.face_finder import FaceFinder
from aed_nerfstudio.face.face_mesh import INNER_LIPS, OUTER_LIPS

LIPS = [*OUTER_LIPS, *INNER_LIPS]


class NotMeasurable(Exception):
    """A figure that this machine or this dataset cannot give; the message says why, for `not_measured`."""


def detect(images: Iterable[np.ndarray]) -> Float32[np.ndarray, "f 478 3"]:
    """Returns MediaPipe's landmarks of pictures, uint8 [H, W, 3] RGB, in pixels; NaN where no face is found."""
    with FaceFinder() as finder:
        return np.stack([finder.landmarks(image) for image in images])


class FanLips:
    """Finds the mouth's 20 of FAN's 68 landmarks, by the face-alignment package and weights that are there already.

    device: torch's name of it.
    Raises NotMeasurable when the package or its weights are missing: nothing is downloaded here.
    """

    def __init__(self, device: str) -> None:
        try:
            from face_alignment import FaceAlignment, LandmarksType, api  # pyright: ignore[reportMissingImports]
            from face_alignment.detection.sfd import sfd_detector  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise NotMeasurable("the face-alignment package is not installed") from None
        import torch

        try:
            addresses = api.models_urls["2DFAN-4"], sfd_detector.models_urls["s3fd"]
        except (AttributeError, KeyError):
            raise NotMeasurable("face-alignment is too old; 1.5 or newer is needed") from None
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        missing = [name for name in (address.rsplit("/", 1)[1] for address in addresses)
                   if not (folder / name).is_file()]  # fmt: skip
        if missing:
            raise NotMeasurable(f"face-alignment's weights {' and '.join(missing)} are not in {folder}")
        self._net = FaceAlignment(LandmarksType.TWO_D, device=device, flip_input=False, compile=False)

    def landmarks(self, image: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "20 2"]:
        """Returns the mouth's landmarks in pixels: of several faces the first one's, NaN where there is none."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of every frame without a face, which the figures tell
            faces = self._net.get_landmarks_from_image(np.ascontiguousarray(image))
        return faces[0][48:68].astype(np.float32) if faces else np.full((20, 2), np.nan, np.float32)


def landmark_distance(points: Float[np.ndarray, "f n 2"], truth: Float[np.ndarray, "f n 2"]) -> Float[np.ndarray, " f"]:
    """Returns the mean distance of two sets of landmarks in pixels, each set about its own centroid."""
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (points, truth))
    return np.linalg.norm(a - b, axis=-1).mean(axis=1)


def lip_landmark_distance(
    landmarks: Float[np.ndarray, "f 478 3"], truth: Float[np.ndarray, "f 478 3"]
) -> Float[np.ndarray, " f"]:
    """Returns the `landmark_distance` of the 40 lip landmarks, in pixels."""
    return landmark_distance(landmarks[:, LIPS, :2], truth[:, LIPS, :2])
