"""Image metrics. Images are uint8 or 0..255 [H, W, 3]."""

from __future__ import annotations

import numpy as np


def psnr(image: np.ndarray, truth: np.ndarray, box: list[int] | None = None) -> float:
    """Peak signal-to-noise ratio in dB, over all pixels or those of a box (left, top, right, bottom; exclusive)."""
    if box is not None:
        part = slice(box[1], box[3]), slice(box[0], box[2])
        image, truth = image[part], truth[part]
    error = np.square(image.astype(np.float64) - truth).mean() / 255**2
    return float(-10 * np.log10(max(error, 1e-10)))
