"""Where the lips' shape moves the points of a head to."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

SIDE = 10
"""Vertices along an axis: about a mouth in cells of 1.5 cm, so that one lip moves without the other. Where it is not
known where the mouth is, they fill the head, far apart."""
REACH = 0.2
"""How far a point moves at most, units: five centimetres."""
NEAR, FAR = 0.06, 0.14
"""Units from what lips move: so far points are free to move (1.5 cm), and from here on (3.5 cm) none does."""


class LipWarp(nn.Module):
    """Moves points by a smooth field that is linear in the lip shape, before they are looked up.

    Without it a mouth opens by blending the features of a shut and an open one: between both is a blur of them, and
    beyond the recorded shapes a lip that is there twice.

    shapes: numbers of a lip shape, A.
    """

    corners: Float32[Tensor, "2 3"]
    """[2, 3], where all is [-1, 1]: of the box that the vertices fill; beyond it nothing moves."""
    room: Float32[Tensor, "z y x"]
    """[SIDE, SIDE, SIDE] in 0..1: the share of its shift that a vertex is moved by."""

    def __init__(self, shapes: int) -> None:
        super().__init__()
        self.shifts = nn.Parameter(torch.zeros(shapes, 3, SIDE, SIDE, SIDE))
        self.register_buffer("corners", torch.tensor([[-1.0] * 3, [1.0] * 3]))
        self.register_buffer("room", torch.ones(SIDE, SIDE, SIDE))

    def confine(self, marks: Float32[Tensor, "m 3"], box: Float32[Tensor, " 6"]) -> None:
        """Lets points move near to marks [M, 3] only, units in the head's frame; box: what [-1, 1] is there, its lower
        and its upper corner."""
        ends = torch.stack([marks.amin(0) - FAR, marks.amax(0) + FAR])
        x, y, z = torch.meshgrid(*(torch.linspace(low, high, SIDE) for low, high in ends.T.tolist()), indexing="ij")
        vertices = torch.stack([x, y, z], -1).permute(2, 1, 0, 3).to(marks)
        away = torch.cdist(vertices.reshape(-1, 3), marks).min(-1).values
        self.room.copy_(((FAR - away) / (FAR - NEAR)).clamp(0, 1).view(self.room.shape))
        self.corners.copy_(2 * (ends - box[:3]) / (box[3:] - box[:3]) - 1)

    def reached(self, positions: Float[Tensor, "n 3"]) -> Int64[Tensor, " m"]:
        """Returns which of the points [N, 3] in [-1, 1] are where points move, [M], in order."""
        return (self._placed(positions).abs().amax(-1) <= 1).nonzero()[:, 0]

    def _placed(self, positions: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Returns where points are among the vertices, which fill [-1, 1]."""
        return 2 * (positions - self.corners[0]) / (self.corners[1] - self.corners[0]) - 1

    def forward(
        self, positions: Float[Tensor, "n 3"], lips: Float[Tensor, "c a"], counts: list[int]
    ) -> Float[Tensor, "n 3"]:
        """Returns where points [N, 3] of C groups, in [-1, 1], are looked up under the lip shapes [C, A]; counts: of
        the groups, which follow each other."""
        fields = torch.einsum("ca,aizyx->cizyx", lips, self.shifts) * self.room
        parts = [
            nn.functional.grid_sample(field[None], part[None, None, None], align_corners=True, padding_mode="zeros")
            for field, part in zip(fields, self._placed(positions).split(counts), strict=True)
        ]
        shift = torch.cat([part[0, :, 0, 0].T for part in parts])
        return positions + REACH * torch.tanh(shift / REACH)
