"""Losses of paper eq. 5-9, and those that the paper has not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aed_nerfstudio.nerfstudio_plugin.shift_tolerant import ShiftTolerantLPIPS
from aed_nerfstudio.rendering.compositing import Composited
from aed_nerfstudio.rendering.ray_marching import PackedSamples


@dataclass
class LossWeights:
    """What each loss counts; the paper's are 0.01, 0.001 and 0.1."""

    lambda_lpips: float = 0.01
    lambda_alpha: float = 0.001
    lambda_audio: float = 0.1
    """L1 of a_l outside the face."""
    audio_ramp: bool = False
    """`lambda_audio` grows from 0 over the head and lip stages (RAD-NeRF)."""
    lambda_mask: float = 0.0
    """Squared distance of the head's alpha from its parsing mask; without it fog stays outside the head for long."""
    lambda_torso_mask: float = 0.0
    """The same for the torso, which else learns to let the one background that it was recorded before shine through."""
    lambda_distortion: float = 0.0
    """Spread of the weights along a ray: draws fog together to a surface, which few samples show."""
    lambda_depth: float = 0.0
    """Squared distance of a face's weights from the surface that its landmarks tell, at first; a tenth of it at the end
    of the lip stage. A head that hardly turns within a take leaves its depth open."""
    lambda_tone: float = 0.0
    """Squared difference that another label makes to the mean tone of skin, with `smooth_shading`: what light makes of
    a take's posture is learned with its directions, and not with its label."""
    lambda_articulation: float = 0.0
    lambda_saturation: float = 0.0
    """Square of a_l before its tanh: keeps the tanh out of saturation."""


Batch = dict[str, Tensor]
mse = nn.functional.mse_loss


def torso_losses(weights: LossWeights, outputs: Batch, batch: Batch) -> Batch:
    """Returns the losses of the torso stage; outputs: torso_alpha [R, 1] and torso_rgb [R, 3]."""
    a, behind = outputs["torso_alpha"], batch["background"]
    rgb = a * outputs["torso_rgb"] + (1 - a) * behind
    losses = {"torso": mse(rgb, batch["torso"]), "torso_entropy": 1e-4 * entropy(a)}
    if weights.lambda_torso_mask:
        losses["torso_mask"] = weights.lambda_torso_mask * mse(a[:, 0], batch["torso_alpha"])
    return losses


def head_losses(
    weights: LossWeights,
    outputs: Batch,
    batch: Batch,
    compressed: bool,
    progress: float | Tensor,
    perceptual: Callable[[], nn.Module],
) -> Batch:
    """Returns the losses of the head and lip stages.

    Args:
        outputs: of R rays: rgb [R, 3], alpha and ambient [R, 1]; saturation, the mean square of the samples' a_l before
            its tanh; and what else there is.
        batch: of the datamanager.
        compressed: whether the audio goes through a_l.
        progress: 0 to 1 through both stages.
        perceptual: gives the loss of lip patches.
    """
    rgb = over_torso(outputs, batch)
    losses = {"rgb": mse(rgb, batch["image"]), "entropy": weights.lambda_alpha * entropy(outputs["alpha"])}
    if compressed:
        ramp = progress if weights.audio_ramp else 1.0
        losses["ambient"] = ramp * weights.lambda_audio * (outputs["ambient"] * ~batch["face"][:, None]).mean()
    if weights.lambda_mask:
        losses["mask"] = weights.lambda_mask * mse(outputs["alpha"][:, 0], batch["head"])
    if weights.lambda_saturation and compressed:
        losses["saturation"] = weights.lambda_saturation * outputs["saturation"]
    if weights.lambda_distortion:
        losses["distortion"] = weights.lambda_distortion * outputs["distortion"]
    if "depth_error" in outputs:
        losses["depth"] = weights.lambda_depth * 0.1**progress * outputs["depth_error"]
    if "tone_error" in outputs:
        losses["tone"] = weights.lambda_tone * outputs["tone_error"]
    if "articulation_error" in outputs:
        losses["articulation"] = weights.lambda_articulation * outputs["articulation_error"]
    if "patch" in batch:
        side = int(batch["patch"])
        losses["lpips"] = weights.lambda_lpips * perceptual()(
            rgb.view(1, side, side, 3).permute(0, 3, 1, 2).clamp(0, 1),
            batch["image"].view(1, side, side, 3).permute(0, 3, 1, 2),
        )
    return losses


def over_torso(outputs: Batch, batch: Batch) -> Float[Tensor, "r 3"]:
    """Returns the head before the recorded torso, [R, 3]."""
    return outputs["rgb"] + (1 - outputs["alpha"]) * batch["torso"]


def entropy(alpha: Float[Tensor, " ..."]) -> Float[Tensor, ""]:
    """Returns the mean of -a log a - (1-a) log(1-a); the paper's eq. 7 misses the first a."""
    a = alpha.clamp(1e-5, 1 - 1e-5)
    return -(a * a.log() + (1 - a) * (1 - a).log()).mean()


def distortion(
    weights: Float[Tensor, " m"], samples: PackedSamples, step: float, n_rays: int | None = None
) -> Float[Tensor, ""]:
    """Returns the mean over rays of how far apart the weights [M] of a ray's samples lie (Mip-NeRF 360, Barron et al.
    2022).

    Their eq. 15, with samples of one length: step, in the unit of `samples.t`. n_rays: that the mean is over; all of
    the samples' by default.
    """
    w, t = weights.double(), samples.t.double()
    first = samples.ray_starts[samples.ray_indices]

    def before(values: Tensor) -> Tensor:
        """Returns sums over the samples of the same ray that lie before each."""
        sums = values.cumsum(0) - values
        return sums - sums[first]

    pairs = 2 * w * (t * before(w) - before(w * t))
    return (pairs.sum() + step / 3 * w.square().sum()).float() / max(1, samples.n_rays if n_rays is None else n_rays)


def depth_error(composited: Composited, samples: PackedSamples, surface: Tensor) -> Tensor:
    """Returns the mean over rays with a surface of their weights' mean squared distance from it, times accumulation.

    Of a ray's distances only the differences pull: weight goes from farther to nearer samples and costs nothing by
    itself, so that lids and edges are not thinned.

    Args:
        surface: [R,3] of `FaceDepth.surface`: distance along the rays, NaN where it is not known; its weight.
    """
    surface, trust, _ = surface.unbind(-1)
    apart = (trust[samples.ray_indices] * (samples.t - surface[samples.ray_indices]).square()).nan_to_num()
    sums = torch.zeros_like(surface).index_add(0, samples.ray_indices, composited.weights.detach() * apart)
    mean = sums / composited.accumulation.detach().clamp_min(1e-3)
    pull = composited.weights * (apart - mean[samples.ray_indices])
    known = ~surface.isnan()
    # The pull's value is zero; the first term, which has no gradient, makes it the error. Not picked by a mask: how
    # many there are only the device knows, and the host would wait for it.
    error = torch.where(known, sums, 0.0).sum() + torch.where(known[samples.ray_indices], pull, 0.0).sum()
    return error / known.sum().clamp_min(1)


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
            self.name, self.net = "st-lpips", ShiftTolerantLPIPS()
        self.requires_grad_(False).eval()

    def forward(self, a: Float[Tensor, "b 3 h w"], b: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
        return self.net(a * 2 - 1, b * 2 - 1).mean()
