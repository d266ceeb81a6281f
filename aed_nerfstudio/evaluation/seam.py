"""The step in colour from chin to neck of a sequence, where the head is laid over the torso."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from aed_nerfstudio.dataset.chin_line import Places, colour_step


class Seam:
    """Looks at a sequence frame after frame, and keeps the step of each.

    Args:
        places: gives the `seam_places` of the recorded frame at a position.
        count: of the frames, F.
    """

    def __init__(self, places: Callable[[int], Places], count: int) -> None:
        self._places = places
        self.values = np.full(count, np.nan)

    def watching(self, images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Passes the frames of the sequence on, uint8 [H, W, 3] each, and looks at them."""
        for k, image in enumerate(images):
            self.values[k] = colour_step(image, self._places(k))
            yield image

    def mean(self) -> float:
        """Returns the sequence's own mean step; NaN where no neck is seen."""
        known = self.values[np.isfinite(self.values)]
        return float(known.mean()) if known.size else float("nan")

    def over(self, recorded: Seam) -> float:
        """Returns the mean step over that of the recorded sequence; NaN where that has none."""
        beside = recorded.mean()
        return self.mean() / beside if beside > 0 else float("nan")
