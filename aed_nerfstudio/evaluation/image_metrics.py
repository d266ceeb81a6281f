"""Image metrics. Images are uint8 [H, W, 3]; boxes (left, top, right, bottom) pixels, right and bottom exclusive."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import UInt8

SSIM_BORDER = 5
"""Pixels at the border that SSIM's window does not fit around."""


def psnr(image: UInt8[np.ndarray, "h w 3"], truth: UInt8[np.ndarray, "h w 3"], box: list[int] | None = None) -> float:
    """Returns the peak signal-to-noise ratio in dB, over all pixels or those of a box: 100 where they are equal."""
    if box is not None:
        part = slice(box[1], box[3]), slice(box[0], box[2])
        image, truth = image[part], truth[part]
    error = np.square(image.astype(np.float64) - truth).mean() / 255**2
    return float(-10 * np.log10(max(error, 1e-10)))


def ssim(
    image: UInt8[np.ndarray, "h w 3"], truth: UInt8[np.ndarray, "h w 3"], box: list[int]
) -> tuple[float, float | None]:
    """Returns the structural similarity over the whole frame and over a box, as Wang et al. 2004 take it.

    It is the mean of the channels'. The box's figure is None where the box lies within 5 pixels of the border. Images
    are at least 11 pixels large.
    """
    from skimage.metrics import structural_similarity

    similarity = structural_similarity(
        truth, image, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2,
        full=True,
    )[-1]  # fmt: skip
    height, width = image.shape[:2]
    inner = similarity[SSIM_BORDER : height - SSIM_BORDER, SSIM_BORDER : width - SSIM_BORDER]
    left, top, right, bottom = (max(0, edge - SSIM_BORDER) for edge in box)
    face = inner[top:bottom, left:right]
    return float(inner.mean()), float(face.mean()) if face.size else None


class Perceptual:
    """Measures the perceptual distance that the training uses: LPIPS where its AlexNet is on the machine, or ST-LPIPS.

    `name` is `lpips` or `st_lpips`. device: torch's device, or its name.
    """

    def __init__(self, device: Any) -> None:
        from aed_nerfstudio.nerfstudio_plugin.losses import PerceptualLoss

        self.device = device
        self.net = PerceptualLoss().to(device)
        self.name = self.net.name.replace("-", "_")

    def __call__(self, image: UInt8[np.ndarray, "h w 3"], truth: UInt8[np.ndarray, "h w 3"]) -> float:
        """Returns the distance of two frames: 0 where they are equal."""
        import torch

        with torch.no_grad():
            pair = [torch.from_numpy(x).to(self.device).permute(2, 0, 1)[None] / 255 for x in (image, truth)]
            return float(self.net(*pair))
