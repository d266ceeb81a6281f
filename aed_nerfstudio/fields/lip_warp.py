"""Where the lips' shape moves the points of a head to."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

SIDE = 32
"""Vertices along an axis: cells of 1.6 cm, so that one lip moves without the other."""
REACH = 0.2
"""How far a point moves at most, units: five centimetres."""


class LipWarp(nn.Module):
    """Moves points by a smooth field that is linear in the lip shape, before they are looked up.

    Without it a mouth opens by blending the features of a shut and an open one: between both is a blur of them, and
    beyond the recorded shapes a lip that is there twice.

    shapes: numbers of a lip shape, A.
    """

    def __init__(self, shapes: int) -> None:
        super().__init__()
        self.shifts = nn.Parameter(torch.zeros(shapes, 3, SIDE, SIDE, SIDE))

    def forward(
        self, positions: Float[Tensor, "n 3"], lips: Float[Tensor, "c a"], counts: list[int]
    ) -> Float[Tensor, "n 3"]:
        """Returns where points [N, 3] of C groups, in [-1, 1], are looked up under the lip shapes [C, A]; counts: of
        the groups, which follow each other."""
        fields = torch.einsum("ca,aixyz->cixyz", lips, self.shifts)
        parts = [
            nn.functional.grid_sample(field[None], part[None, None, None], align_corners=True, padding_mode="border")
            for field, part in zip(fields, positions.split(counts), strict=True)
        ]
        shift = torch.cat([part[0, :, 0, 0].T for part in parts])
        return positions + REACH * torch.tanh(shift / REACH)
