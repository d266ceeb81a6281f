"""Person or not, for every pixel, by MediaPipe's selfie segmentation: the same network with either MediaPipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from aed_nerfstudio.face.engine import has_solutions, load_mediapipe, open_task, task_image
from aed_nerfstudio.face.models import SELFIE_SEGMENTATION

SIZE = 256  # pixels: what the network looks at


class PersonMask:
    """Masks persons in pictures, each by itself; to be used in a `with` statement, by one thread.

    Entering raises InputError when the model file is missing and cannot be fetched.
    """

    def __init__(self) -> None:
        self._engine: Any = None
        self._look: Callable[[np.ndarray], np.ndarray] = np.asarray

    def __enter__(self) -> PersonMask:
        self._engine, self._look = _open_solution() if has_solutions() else _open_task()
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close()

    def probability(self, image: np.ndarray) -> np.ndarray:
        """Returns the probability of a person, uint8 [H, W, 3] RGB -> float32 [H, W]; nothing is finer than `SIZE`."""
        return np.clip(self._look(np.ascontiguousarray(image)), 0, 1)


def _open_solution() -> tuple[Any, Callable[[np.ndarray], np.ndarray]]:
    model = load_mediapipe().solutions.selfie_segmentation.SelfieSegmentation(model_selection=0)
    return model, lambda image: model.process(image).segmentation_mask


def _open_task() -> tuple[Any, Callable[[np.ndarray], np.ndarray]]:
    segmenter = open_task("ImageSegmenter", SELFIE_SEGMENTATION, output_confidence_masks=True)

    def look(image: np.ndarray) -> np.ndarray:
        return segmenter.segment(task_image(image)).confidence_masks[0].numpy_view().reshape(image.shape[:2])

    return segmenter, look
