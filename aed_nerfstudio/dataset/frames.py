"""The pixels of a dataset as uint8, read when they are needed and kept as far as a memory budget goes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aed_nerfstudio.dataset.schema import HEAD, Dataset

CACHE_BYTES = 2 << 30


@dataclass
class FramePixels:
    """uint8: image [H,W,3], torso [H,W,4] RGBA; head bool [H,W]."""

    image: np.ndarray
    torso: np.ndarray
    head: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.image.nbytes + self.torso.nbytes + self.head.nbytes


class FrameStore:
    """Reads frames of a dataset; `background` is uint8 [H,W,3].

    The first `cache_bytes` of frames that are asked for stay in memory, the others are read anew each time: memory is
    bounded however long the video is.
    """

    def __init__(self, dataset: Dataset, cache_bytes: int = CACHE_BYTES) -> None:
        self.dataset = dataset
        self.background = dataset.static_background()
        self.room = cache_bytes
        self._kept: dict[int, FramePixels] = {}

    def __getitem__(self, index: int) -> FramePixels:
        if index in self._kept:
            return self._kept[index]
        frame = self.dataset.frames[index]
        pixels = FramePixels(
            image=self.dataset.image(frame),
            torso=self.dataset.torso(frame),
            head=self.dataset.parsing(frame) == HEAD,
        )
        if pixels.nbytes <= self.room:
            self.room -= pixels.nbytes
            self._kept[index] = pixels
        return pixels

    def torso_over_background(self, pixels: FramePixels, where: np.ndarray) -> np.ndarray:
        """float32 [N,3] in 0..1 at the pixels `where` [N] (row-major numbers)."""
        torso = pixels.torso.reshape(-1, 4)[where].astype(np.float32)
        alpha = torso[:, 3:] / 255
        return (alpha * torso[:, :3] + (1 - alpha) * self.background.reshape(-1, 3)[where]) / np.float32(255)
