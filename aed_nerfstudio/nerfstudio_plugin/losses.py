"""Losses of paper eq. 5-9, and the distortion loss, which the paper has not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aed_nerfstudio.rendering.ray_marching import PackedSamples


def entropy(alpha: Tensor) -> Tensor:
    """Mean of -a log a - (1-a) log(1-a); the paper's eq. 7 misses the first a."""
    a = alpha.clamp(1e-5, 1 - 1e-5)
    return -(a * a.log() + (1 - a) * (1 - a).log()).mean()


def distortion(weights: Tensor, samples: PackedSamples, step: float) -> Tensor:
    """Mean over rays of how far apart the weights [M] of a ray's samples lie (Mip-NeRF 360, Barron et al. 2022).

    Their eq. 15, with samples of one length: step, in the unit of `samples.t`.
    """
    w, t = weights.double(), samples.t.double()
    first = samples.ray_starts[samples.ray_indices]

    def before(values: Tensor) -> Tensor:
        """Sums over the samples of the same ray that lie before each."""
        sums = values.cumsum(0) - values
        return sums - sums[first]

    pairs = 2 * w * (t * before(w) - before(w * t))
    return (pairs.sum() + step / 3 * w.square().sum()).float() / max(1, samples.n_rays)


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
