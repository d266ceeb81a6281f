"""What the lips of a recording teach the audio encoder, and whether it listens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from aed_nerfstudio.avatar.network import Network
from aed_nerfstudio.dataset.schema import Dataset
from aed_nerfstudio.driving.lip_prior import lip_prior, spoken_lip_shapes
from aed_nerfstudio.driving.track import DatasetTrack
from aed_nerfstudio.fields.head_field import EncodedCondition, spherical_harmonics
from aed_nerfstudio.rendering.transfer import send

SPREAD_FRAMES = 32
"""Frames that `audio_spread` looks at."""


class LipSupervision(nn.Module):
    """True lip shapes of a dataset's frames; a module so that they are where the network is.

    Args:
        dataset: that the avatar learns from.
        track: its frames' conditions.
    """

    lip_shapes: Float[Tensor, "f 4"]
    """[F, 4]: what speech does to the lips, standardised."""

    def __init__(self, dataset: Dataset, track: DatasetTrack) -> None:
        super().__init__()
        self.dataset, self.track = dataset, track
        self.train_frames, self.held_out = dataset.split("train"), dataset.split("val")
        self.register_buffer("lip_shapes", torch.from_numpy(spoken_lip_shapes(dataset)), persistent=False)

    def fit_linear(self, network: Network, prior: Sequence[Path] = ()) -> None:
        """Fits the network's ridge regression of the lip shape, unless it has none or it is fitted.

        prior: what it begins with, see `lip_prior`, which says what InputError there is.
        """
        lips = network.linear_lips
        if lips is None or lips.fitted:
            return
        # Copied, because a view keeps all eight windows of its frame: 1.3 GB for 10 000 frames.
        windows = np.stack([self.track[i].audio[4].copy() for i in self.train_frames])
        windows = network.standardised(send(windows, network.device))
        known = lip_prior(prior, self.dataset.front_end, self.dataset.feature_dim)
        shapes = self.lip_shapes[self.train_frames].cpu().numpy()
        penalty = lips.fit(windows.cpu().numpy(), shapes, known)
        said = "" if known is None else f" and the lips of {', '.join(map(str, prior))}"
        print(f"lip shapes from audio: ridge regression, penalty {penalty:g}{said}")

    def forced(self, encoded: EncodedCondition, frames: Integer[Tensor, " c"], share: float) -> EncodedCondition:
        """Returns the conditions of frames [C] with the true lip shape in a random share of them."""
        true = torch.rand(len(frames), 1, device=frames.device) < share
        return encoded._replace(articulation=torch.where(true, self.lip_shapes[frames], encoded.articulation))

    def error(self, network: Network, count: int) -> Float[Tensor, ""]:
        """Returns the mean squared error of the lip shapes that the audio of random training frames predicts."""
        picks = [self.train_frames[int(i)] for i in torch.randint(len(self.train_frames), (count,))]
        _, predicted, _ = network.encode_audio([self.track[i].audio for i in picks])
        return nn.functional.mse_loss(predicted, self.lip_shapes[picks])

    @torch.no_grad()
    def correlation(self, network: Network) -> float | None:
        """Returns Pearson's r, over the validation frames, of the mouth opening read from the audio with the true
        one; None where there are too few of them, or no lip shapes are read."""
        if network.articulation_head is None or len(self.held_out) < 3:
            return None
        _, _, predicted = network.encode_audio([self.track[i].audio for i in self.held_out])
        r = torch.corrcoef(torch.stack([predicted[:, 0], self.lip_shapes[self.held_out, 0]]))[0, 1]
        return r.item()


@torch.no_grad()
def audio_spread(network: Network, track: DatasetTrack, count: int = SPREAD_FRAMES) -> dict[str, float]:
    """Returns the standard deviation over audio frames of a_h, of a_l (at the mouth) and of the lip shape."""
    picks = np.linspace(0, len(track) - 1, count).astype(int)
    encoded = network.encode([track[int(i)] for i in picks])
    # Audio alone may vary here.
    encoded = encoded._replace(emotion=encoded.emotion[:1].expand(count, -1), eye=encoded.eye[:1].expand(count, -1))
    x = torch.tensor([[0.0, -0.3, 0.4]], device=network.device).expand(count, -1)
    view = spherical_harmonics(torch.tensor([[0.0, 0.0, -1.0]], device=network.device)).expand(count, -1)
    a_l = network.head(x, view, encoded, [1] * count)[2]
    spread = {"a_h": encoded.audio.std(0).mean().item()}
    if network.settings.audio_compression:
        spread["a_l"] = a_l.std(0).mean().item()
    if network.articulation_head is not None:
        spread["lips"] = encoded.articulation.std(0).mean().item()
    return spread


def report_spread(network: Network, supervision: LipSupervision | None, track: DatasetTrack, step: int) -> None:
    """Writes how far the audio moves the network to nerfstudio's writers and prints it, with a warning where it does
    not."""
    from nerfstudio.utils import writer

    spread = audio_spread(network, track)
    for name, value in spread.items():
        writer.put_scalar(f"Audio spread/{name}", value, step)
    silent = network.portrait.front_end == "none"  # nothing to be alive for
    dead = not silent and spread.get("a_l", spread["a_h"]) < 1e-3 and spread.get("lips", 0.0) < 0.05
    text = ", ".join(f"{k} {v:.4f}" for k, v in spread.items())
    r = None if supervision is None else supervision.correlation(network)
    if r is not None:
        writer.put_scalar("Audio spread/lip correlation (held out)", r, step)
        text += f"; mouth opening from held-out audio, r {r:.2f}"
    print(f"step {step}: spread over audio frames: {text}" + (" — WARNING: the audio branch is dead" if dead else ""))
