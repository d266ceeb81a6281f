"""Hash grids blended by the expression, one table a coefficient (NeRFBlendshape, Gao et al. 2022, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aed_nerfstudio.backends import Backend
from aed_nerfstudio.fields.hash_grid import HashGridLayout, encode


class ExpressionGrid(nn.Module):
    """Features that are linear in the expression's coefficients: `params` is [coefficients, entries * features].

    The tables are blended before the lookup, so a frame costs one lookup however many coefficients there are, and a
    mixture of two expressions is the mixture of their features.
    """

    def __init__(self, layout: HashGridLayout, coefficients: int, backend: Backend = "auto") -> None:
        super().__init__()
        self.layout = layout
        self.backend = backend
        self.params = nn.Parameter(torch.empty(coefficients, layout.n_entries * layout.n_features))
        nn.init.uniform_(self.params, -1e-4, 1e-4)

    @property
    def n_outputs(self) -> int:
        return self.layout.n_outputs

    def blend(self, coefficients: Tensor) -> Tensor:
        """The tables of C expressions, coefficients [C, K] -> [C, entries * features]."""
        return coefficients @ self.params

    def forward(self, x: Tensor, tables: Tensor, counts: list[int]) -> Tensor:
        """Coordinates x [N, D] in [0, 1], tables of C frames from `blend`, counts: rows of x of each frame, in order.

        Returns: features [N, L * F].
        """
        parts = [
            encode(part, table.view(-1, self.layout.n_features), self.layout, self.backend)
            for part, table in zip(x.split(counts), tables, strict=True)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)
