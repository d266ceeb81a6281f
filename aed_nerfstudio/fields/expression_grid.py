"""Hash grids blended by the expression, one table a coefficient (NeRFBlendshape, Gao et al. 2022, section 3.2)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from aed_nerfstudio.backends import Backend
from aed_nerfstudio.fields.grid_layout import HashGridLayout
from aed_nerfstudio.fields.hash_grid import encode, rows_of_parts


class ExpressionGrid(nn.Module):
    """A grid whose features are linear in the expression's coefficients.

    `params` is [coefficients, entries * features].

    The tables are blended before the lookup, so a frame costs one lookup however many coefficients there are, and a
    mixture of two expressions is the mixture of their features.
    """

    def __init__(self, layout: HashGridLayout, coefficients: int, backend: Backend = "auto") -> None:
        super().__init__()
        self.layout = layout
        self.backend: Backend = backend
        self.params = nn.Parameter(torch.empty(coefficients, layout.n_entries * layout.n_features))
        nn.init.uniform_(self.params, -1e-4, 1e-4)

    @property
    def n_outputs(self) -> int:
        """Returns how many features a point has, L * F."""
        return self.layout.n_outputs

    def blend(self, coefficients: Float[Tensor, "c k"]) -> Float[Tensor, "c params"]:
        """Returns the tables of C expressions: coefficients [C, K] -> [C, entries * features]."""
        return coefficients @ self.params

    def forward(
        self,
        x: Float[Tensor, "n d"],
        tables: Float[Tensor, "c params"],
        counts: list[int],
        rows: Int64[Tensor, " m"] | None = None,
    ) -> Float[Tensor, "n features"]:
        """Encodes the points of C frames, each with its frame's table.

        Args:
            x: coordinates [N, D] in [0, 1], the first frame's first.
            tables: of the frames, [C, entries * features], from `blend`.
            counts: how many rows of x each frame has; they sum to N.
            rows: as `encode` takes them, in order.

        Returns:
            Features [N, L * F].
        """
        some = [None] * len(counts) if rows is None else rows_of_parts(rows, counts)
        parts = [
            encode(part, table.view(-1, self.layout.n_features), self.layout, self.backend, own)
            for part, table, own in zip(x.split(counts), tables, some, strict=True)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)
