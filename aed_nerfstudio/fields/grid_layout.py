"""Where the entries of a multiresolution hash grid lie, the same on every backend: instant-ngp's layout."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

HASH_PRIMES = (1, 2654435761, 805459861)


@dataclass(frozen=True)
class HashGridLayout:
    """Says where every level's entries lie in the table, as in tiny-cuda-nn's HashGrid.

    Level l interpolates at x * scales[l] + 0.5. A level whose resolution ** n_dims entries fit in 2 ** log2_size stores
    them densely (x fastest); a larger one is hashed into 2 ** log2_size entries.
    """

    n_dims: int
    n_levels: int = 16
    n_features: int = 2
    log2_size: int = 16
    base_resolution: int = 16
    top_resolution: int = 2048
    scales: np.ndarray = field(init=False, repr=False, compare=False)
    """Cells along an axis of [0, 1] by level, [L] float32."""
    resolutions: np.ndarray = field(init=False, repr=False, compare=False)
    """Vertices along an axis by level, [L] uint32."""
    offsets: np.ndarray = field(init=False, repr=False, compare=False)
    """The first entry of each level, then the total, [L + 1] int64."""
    hashed: np.ndarray = field(init=False, repr=False, compare=False)
    """Whether a level's entries are hashed, [L] bool; else they are stored densely."""

    def __post_init__(self):
        if self.n_dims not in (2, 3):
            raise ValueError(f"a hash grid has 2 or 3 dimensions, not {self.n_dims}")
        if self.n_levels < 1 or self.n_features < 1 or not 3 <= self.log2_size <= 31:
            raise ValueError("a hash grid needs at least one level, one feature and 3 <= log2_size <= 31")
        if not 2 <= self.base_resolution <= self.top_resolution:
            raise ValueError(f"bad resolutions, from {self.base_resolution} to {self.top_resolution}")
        growth = math.exp(math.log(self.top_resolution / self.base_resolution) / max(self.n_levels - 1, 1))
        # Rounded to float32 before the ceiling, so that the top level's 2047.0000000001 does not become 2049 vertices.
        scales = np.array([self.base_resolution * growth**level - 1 for level in range(self.n_levels)], np.float32)
        resolutions = np.ceil(scales).astype(np.int64) + 1
        vertices = resolutions**self.n_dims
        entries = np.minimum((vertices + 7) // 8 * 8, 2**self.log2_size)
        object.__setattr__(self, "scales", scales)
        object.__setattr__(self, "resolutions", resolutions.astype(np.uint32))
        object.__setattr__(self, "offsets", np.concatenate([[0], np.cumsum(entries)]).astype(np.int64))
        object.__setattr__(self, "hashed", vertices > 2**self.log2_size)

    @property
    def n_entries(self) -> int:
        """Returns how many entries the tables of all levels have together."""
        return int(self.offsets[-1])

    @property
    def n_outputs(self) -> int:
        """Returns how many features a point has, L * F."""
        return self.n_levels * self.n_features

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Returns (scales, resolutions, offsets, hashed), in the order in which the kernels take them."""
        return self.scales, self.resolutions, self.offsets, self.hashed
