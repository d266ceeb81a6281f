"""The pixels of a dataset, read frame by frame as uint8: memory does not grow with the clip's length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aed_nerfstudio.dataset.schema import HEAD, Dataset, read_image


@dataclass
class FramePixels:
    """uint8: image [H,W,3], torso [H,W,4] RGBA; head bool [H,W]."""

    image: np.ndarray
    torso: np.ndarray
    head: np.ndarray


class FrameStore:
    """Reads frames of a dataset; `background` is uint8 [H,W,3]."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.background = read_image(dataset.background)[..., :3]

    def __getitem__(self, index: int) -> FramePixels:
        frame = self.dataset.frames[index]
        parsing = read_image(self.dataset.path("parsing", frame))
        return FramePixels(
            image=read_image(self.dataset.path("images", frame))[..., :3],
            torso=read_image(self.dataset.path("torso", frame)),
            head=parsing == HEAD,
        )

    def torso_over_background(self, pixels: FramePixels) -> np.ndarray:
        """float32 [H,W,3] in 0..1."""
        alpha = pixels.torso[..., 3:].astype(np.float32) / 255
        return (alpha * pixels.torso[..., :3] + (1 - alpha) * self.background) / np.float32(255)
