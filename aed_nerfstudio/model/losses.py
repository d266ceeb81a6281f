"""Losses of paper eq. 5-9 and the lip shape that supervises the audio encoder."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


def entropy(alpha: Tensor) -> Tensor:
    """Mean of -a log a - (1-a) log(1-a); the paper's eq. 7 misses the first a."""
    a = alpha.clamp(1e-5, 1 - 1e-5)
    return -(a * a.log() + (1 - a) * (1 - a).log()).mean()


def lip_shape(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks [F,478,3] -> [F,4]: inner opening, outer opening, width and chin drop, over the face height."""
    points = landmarks[..., :2].astype(np.float64)

    def distance(a: int, b: int) -> np.ndarray:
        return np.linalg.norm(points[:, a] - points[:, b], axis=-1)

    # Forehead to the tip of the nose: does not move with the mouth.
    height = np.maximum(distance(10, 1), 1e-6)
    return np.stack([distance(13, 14), distance(0, 17), distance(61, 291), distance(1, 152)], -1) / height[:, None]


class PerceptualLoss(nn.Module):
    """LPIPS of square patches [B,3,H,W] in 0..1 (brought to [-1,1] inside).

    `lpips` (AlexNet) where its backbone is in torch's cache, else ST-LPIPS, which carries its own weights.
    """

    def __init__(self) -> None:
        super().__init__()
        from pathlib import Path

        cache = Path(torch.hub.get_dir()) / "checkpoints"
        if list(cache.glob("alexnet-*.pth")):
            import lpips

            self.name, self.net = "lpips", lpips.LPIPS(net="alex", verbose=False)
        else:
            from stlpips_pytorch import stlpips

            self.name, self.net = "st-lpips", stlpips.LPIPS(net="alex", variant="shift_tolerant", verbose=False)
        self.requires_grad_(False).eval()

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.net(a * 2 - 1, b * 2 - 1).mean()
