"""What the lips of a recording teach the audio encoder, and whether it listens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Integer
from torch import Tensor, nn

from aed_nerfstudio.avatar.network import Network
from aed_nerfstudio.dataset.schema import Dataset
from aed_nerfstudio.driving.lip_prior import lip_prior, spoken_lip_shapes
from aed_nerfstudio.driving.track import DatasetTrack
from aed_nerfstudio.fields.head_field import EncodedCondition, spherical_harmonics
from aed_nerfstudio.fields.linear_lips import MOST_GAIN, LinearLips
from aed_nerfstudio.rendering.transfer import send

SPREAD_FRAMES = 32
"""Frames that `audio_spread` looks at."""
STRETCH, FEWEST_STRETCHES = 50, 2
"""Frames of a stretch of speech that is not learned from, and how few of them tell nothing."""
EDGE = 8
"""Frames at both ends of a stretch whose windows are heard beyond it."""
MOST_RATIO = 1.5
"""By what a reading's gain is changed at most, up or down."""


class LipSupervision(nn.Module):
    """True lip shapes of a dataset's frames; a module so that they are where the network is.

    Args:
        dataset: that the avatar learns from.
        track: its frames' conditions.
        unheard: share of the training frames, in stretches, whose sound nothing is learned from, see `fit_gain`.
        truth: share of the training conditions that are told the recorded lips; of a recording without sound all are,
            for told nothing of its lips a mouth would be a blur of all that were seen.
    """

    lip_shapes: Float[Tensor, "f 4"]
    """[F, 4]: what speech does to the lips, standardised."""
    heard: Bool[Tensor, " f"]
    """[F]: of which frames the sound may be learned from."""

    def __init__(self, dataset: Dataset, track: DatasetTrack, unheard: float = 0.0, truth: float = 0.0) -> None:
        super().__init__()
        self.silent = dataset.front_end == "none"
        self.truth = 1.0 if self.silent else truth
        self.dataset, self.track = dataset, track
        self.train_frames, self.held_out = dataset.split("train"), dataset.split("val")
        self.register_buffer("lip_shapes", torch.from_numpy(spoken_lip_shapes(dataset)), persistent=False)
        self.stretches = stretches(self.train_frames, 0.0 if self.silent else unheard)
        """Training frames whose sound is not learned from, [K, STRETCH]; none where there is no sound."""
        self.unheard_frames: list[int] = self.stretches[:, EDGE:-EDGE].ravel().tolist()
        """Those of them whose windows of sound lie within their stretch."""
        left_out = set(self.stretches.ravel().tolist())
        self.heard_frames = [i for i in self.train_frames if i not in left_out]
        heard = torch.ones(len(self.lip_shapes), dtype=torch.bool)
        heard[self.stretches.ravel()] = False
        self.register_buffer("heard", heard, persistent=False)

    def fit_linear(self, network: Network, prior: Sequence[Path] = ()) -> None:
        """Fits the network's ridge regression of the lip shape, unless it has none or it is fitted.

        prior: what it begins with, see `lip_prior`, which says what InputError there is.
        """
        lips = network.linear_lips
        if lips is None or lips.fitted:
            return
        known = self._prior(prior)
        penalty = lips.fit(*self._speech(network, self.train_frames), known)
        said = "" if known is None else f" and the lips of {', '.join(map(str, prior))}"
        print(f"lip shapes from audio: ridge regression, penalty {penalty:g}{said}")

    def _prior(self, prior: Sequence[Path]) -> np.ndarray | None:
        return lip_prior(prior, self.dataset.front_end, self.dataset.feature_dim)

    def _speech(self, network: Network, frames: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the windows of some frames, standardised, and their lip shapes, [F, 16, dim] and [F, 4]."""
        # Copied, because a view keeps all eight windows of its frame: 1.3 GB for 10 000 frames.
        windows = np.stack([self.track[i].audio[4].copy() for i in frames])
        windows = network.standardised(send(windows, network.device))
        return windows.cpu().numpy(), self.lip_shapes[frames].cpu().numpy()

    @torch.no_grad()
    def fit_gain(self, network: Network, prior: Sequence[Path] = ()) -> None:
        """Has the gain of the network's `LinearLips` be that of what is used, the mean of its reading and the audio
        encoder's.

        How far the regression goes in speech that it was not fitted to is known; of the encoder, which learns by heart
        what it hears, the stretches tell that it has not heard: how far do both go there, and a regression alone that
        was not fitted to them either? And what lies too far from all lips of the person is taken back by
        `LinearLips.widened`, for which all go further. However often it is asked, the answer is the same.
        """
        lips = network.linear_lips
        if lips is None or len(self.stretches) < FEWEST_STRETCHES:
            return
        known, size = self._prior(prior), (self.dataset.feature_dim, lips.gain.numel())
        whole, other = LinearLips(*size).to(network.device), LinearLips(*size).to(network.device)
        whole.fit(*self._speech(network, self.train_frames), known)
        other.fit(*self._speech(network, self.heard_frames), known)
        windows = np.stack([self.track[i].audio for i in self.unheard_frames])
        audio = network.standardised(send(windows, network.device))
        alone = other(audio[:, 4])
        _, of_encoder, _ = network.hear(audio)
        read = (of_encoder + alone) / 2
        ratio = alone.std(0) / read.std(0).clamp_min(1e-6)
        lips.gain.copy_((whole.gain * ratio.clamp(1 / MOST_RATIO, MOST_RATIO)).clamp(1, MOST_GAIN))
        lips.widen_to(lips.gain * read.std(0), read)
        print("lip shapes of unheard speech, over those of the regression alone: "
              f"{' '.join(f'{1 / value:.2f}' for value in ratio.tolist())}")  # fmt: skip

    def forced(self, encoded: EncodedCondition, frames: Integer[Tensor, " c"]) -> EncodedCondition:
        """Returns the conditions of frames [C] with the true lip shape in a random share of them (`truth`), and in all
        whose sound nothing is to learn from."""
        heard = self.heard[frames][:, None]
        true = (torch.rand(len(frames), 1, device=frames.device) < self.truth) | ~heard
        return encoded._replace(
            articulation=torch.where(true, self.lip_shapes[frames], encoded.articulation),
            audio=torch.where(heard, encoded.audio, encoded.audio.detach()),
        )

    def error(self, network: Network, count: int) -> Float[Tensor, ""]:
        """Returns the mean squared error of the lip shapes that the audio of random training frames predicts."""
        picks = [self.heard_frames[int(i)] for i in torch.randint(len(self.heard_frames), (count,))]
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


def stretches(frames: Sequence[int], share: float) -> Int64[np.ndarray, "k length"]:
    """Returns stretches of frames, evenly spread, that are together such a share of them, [K, STRETCH]; none where
    they would be too few to tell anything."""
    count = int(share * len(frames) / STRETCH)
    if count < FEWEST_STRETCHES:
        return np.zeros((0, STRETCH), np.int64)
    starts = np.linspace(0, len(frames) - STRETCH, count + 2)[1:-1].astype(int)
    return np.asarray(frames, np.int64)[starts[:, None] + np.arange(STRETCH)]


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
