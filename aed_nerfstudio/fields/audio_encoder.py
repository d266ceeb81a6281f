"""The network from audio windows to a_h (paper section 3.2; RAD-NeRF's AudioNet and AudioAttNet)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class AudioEncoder(nn.Module):
    """Encodes eight neighbouring windows of audio features [8, 16, feature_dim] as a_h [dim].

    Kaiming initialisation with zero biases: PyTorch's default shrinks the signal at each of the six layers until a_h
    hardly varies over frames.
    """

    def __init__(self, feature_dim: int, dim: int = 64, window: int = 8) -> None:
        super().__init__()
        act = nn.LeakyReLU(0.02)
        sizes = [feature_dim, 32, 32, 64, 64]
        convs: list[nn.Module] = []
        for a, b in zip(sizes[:-1], sizes[1:], strict=True):
            convs += [nn.Conv1d(a, b, 3, stride=2, padding=1), act]
        self.convs = nn.Sequential(*convs)
        self.project = nn.Sequential(nn.Linear(64, 64), act, nn.Linear(64, dim))
        att = [dim, 16, 8, 4, 2, 1]
        layers: list[nn.Module] = []
        for a, b in zip(att[:-1], att[1:], strict=True):
            layers += [nn.Conv1d(a, b, 3, padding=1), act]
        self.attention = nn.Sequential(*layers)
        self.weights = nn.Linear(window, window)
        for module in [*self.convs, *self.project]:
            if isinstance(module, nn.Conv1d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, a=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, audio: Float[Tensor, "*b window 16 feature_dim"]) -> Float[Tensor, "*b dim"]:
        """Encodes windows: audio [B, 8, 16, feature_dim] (or without B) -> a_h [B, dim] (or [dim])."""
        single = audio.dim() == 3
        if single:
            audio = audio[None]
        b, w = audio.shape[:2]
        x = self.convs(audio.flatten(0, 1).transpose(1, 2)).squeeze(-1)
        x = self.project(x).view(b, w, -1)
        scores = self.weights(self.attention(x.transpose(1, 2)).squeeze(1))
        out = (x * torch.softmax(scores, -1)[..., None]).sum(1)
        return out[0] if single else out
