"""The torso field, paper eq. 2: an image-plane point, moved by a conditioned deformation, -> alpha and colour."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aed_nerfstudio.backends import Backend
from aed_nerfstudio.fields.grid_layout import HashGridLayout
from aed_nerfstudio.fields.hash_grid import HashGrid
from aed_nerfstudio.fields.mlp import MLP

SHRUNK = 0.8
"""Of the grid's width: the picture's, so that points moved beyond it still have entries of their own."""


def frequencies(x: Float[Tensor, "*n d"], count: int) -> Float[Tensor, "*n encoded"]:
    """Returns x [..., D] with its sines and cosines at `count` octaves: [..., D * (1 + 2 * count)]."""
    scaled = x[..., None] * (2.0 ** torch.arange(count, device=x.device)) * math.pi
    return torch.cat([x, scaled.sin().flatten(-2), scaled.cos().flatten(-2)], -1)


class TorsoField(nn.Module):
    """Computes the alpha [N, 1] and colour [N, 3] of points [N, 2] in [-1, 1] at a head pose [6] and
    a motion of the shoulders [M].

    They move the points and do nothing else, as in eq. 2: a network that also sees the pose paints a blurred average
    of all torsos instead. (RAD-NeRF's sees it.) They come standardised: a head turns by a few degrees only, and raw
    matrices would hardly differ between frames.

    The motion, where there is one (`motion_dim`), has a network of its own beside the paper's, so that a training can
    go on from a checkpoint which knows none.
    """

    def __init__(
        self, log2_size: int = 16, top_resolution: int = 2048, backend: Backend = "auto", motion_dim: int = 0
    ) -> None:
        super().__init__()
        self.grid = HashGrid(HashGridLayout(2, log2_size=log2_size, top_resolution=top_resolution), backend)
        self.deform = MLP(2 * (1 + 2 * 6) + 6 * (1 + 2 * 1), 64, 2, 3)
        with torch.no_grad():
            self.deform.layers[-1].weight.mul_(0.1)
        self.net = MLP(32, 32, 4, 3)
        self.follow = MLP(2 * (1 + 2 * 6) + (6 + motion_dim) * (1 + 2 * 1), 64, 2, 3) if motion_dim else None
        if self.follow is not None:
            with torch.no_grad():
                self.follow.layers[-1].weight.mul_(0.1)

    def keep_to(self, cells: float) -> None:
        """Silences the levels of the grid with more than so many cells across the picture, for good: their entries are
        zero and not trained.

        Pixels train only those vertices of a level that lie in a cell with the middle of one. Of levels finer than the
        picture these are few, and as soon as the pose moves the points, the others show: as a lattice. Levels that are
        loaded afterwards stay as they are.
        """
        layout = self.grid.layout
        first = int(layout.offsets[(layout.scales * SHRUNK <= cells).sum()]) * layout.n_features
        with torch.no_grad():
            self.grid.params[first:] = 0
        self.grid.params.register_hook(lambda grad: torch.cat([grad[:first], torch.zeros_like(grad[first:])]))

    def forward(
        self, points: Float[Tensor, "n 2"], condition: Float[Tensor, "*k c"], counts: list[int] | None = None
    ) -> tuple[Float[Tensor, "n 1"], Float[Tensor, "n 3"]]:
        """Returns the alpha [N, 1] and colour [N, 3] of points [N, 2].

        Args:
            points: in [-1, 1].
            condition: pose and motion, which are standardised, [6 + M]; or those of K frames, [K, 6 + M].
            counts: how many consecutive points go with each frame; they sum to N.
        """
        counts = [len(points)] if counts is None else counts
        # In units of three deviations, so that the sines' period holds the whole range.
        condition = condition.reshape(-1, condition.shape[-1]).clamp(-3, 3) / 3
        places, pose = frequencies(points, 6), frequencies(condition[:, :6], 1)
        shift = self.deform.conditioned([places], pose, counts)
        if self.follow is not None:
            shift = shift + self.follow.conditioned([places], frequencies(condition, 1), counts)
        moved = (points * SHRUNK + shift).clamp(-1, 1)
        h = self.net.conditioned([self.grid((moved + 1) / 2)], pose[:, :0], counts)
        return torch.sigmoid(h[:, :1]), torch.sigmoid(h[:, 1:])
