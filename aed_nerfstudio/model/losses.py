"""Losses of paper eq. 5-9."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def entropy(alpha: Tensor) -> Tensor:
    """Mean of -a log a - (1-a) log(1-a); the paper's eq. 7 misses the first a."""
    a = alpha.clamp(1e-5, 1 - 1e-5)
    return -(a * a.log() + (1 - a) * (1 - a).log()).mean()


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
