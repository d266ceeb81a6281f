"""Torso field, paper eq. 2: an image-plane point, moved by a pose-conditioned deformation, -> alpha and colour."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from aed_nerfstudio.fields.hash_grid import HashGrid, HashGridLayout
from aed_nerfstudio.fields.mlp import MLP


def frequencies(x: Tensor, count: int) -> Tensor:
    """[..., D] -> [..., D*(1+2*count)]: x and its sines and cosines at octaves."""
    scaled = x[..., None] * (2.0 ** torch.arange(count, device=x.device)) * math.pi
    return torch.cat([x, scaled.sin().flatten(-2), scaled.cos().flatten(-2)], -1)


class TorsoField(nn.Module):
    """Points [N,2] in [-1,1] and a camera-to-world pose [3,4] -> alpha [N,1], colour [N,3]."""

    def __init__(self, log2_size: int = 16, top_resolution: int = 2048) -> None:
        super().__init__()
        self.grid = HashGrid(HashGridLayout(2, log2_size=log2_size, top_resolution=top_resolution))
        pose_dim, point_dim = 12 * (1 + 2 * 2), 2 * (1 + 2 * 6)
        self.deform = MLP(pose_dim + point_dim, 64, 2, 3)
        with torch.no_grad():
            self.deform[-1].weight.mul_(0.1)
        self.net = MLP(32 + pose_dim + point_dim, 32, 4, 3)

    def forward(self, points: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        # The camera stands a few units off; scaled so that all twelve numbers are of order one.
        flat = torch.cat([pose[:, :3].flatten(), pose[:, 3] / 4])
        context = torch.cat([frequencies(points, 6), frequencies(flat, 2).expand(len(points), -1)], -1)
        moved = (points * 0.8 + self.deform(context)).clamp(-1, 1)
        h = self.net(torch.cat([self.grid((moved + 1) / 2), context], -1))
        return torch.sigmoid(h[:, :1]), torch.sigmoid(h[:, 1:])
