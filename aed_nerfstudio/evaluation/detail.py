"""How much detail the regions of a sequence have, and how calm they are: sharpness and steadiness."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from aed_nerfstudio.evaluation.regions import REGIONS

SHARPNESS, STEADINESS = ([f"{kind}_{region}" for region in REGIONS] for kind in ("sharpness", "steadiness"))
"""The figures' names, a region each."""
GREY = np.array([[0.299, 0.587, 0.114]], np.float32)
"""What red, green and blue count in the luminance (BT.601)."""


def luminance(image: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w"]:
    """Returns how bright each pixel is, 0 to 255, unrounded."""
    return cv2.transform(image.astype(np.float32), GREY)


def gradient(bright: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Returns the magnitude of the gradient of a luminance by Sobel's 3 x 3 filters, grey levels a pixel."""
    across, down = (cv2.Sobel(bright, cv2.CV_32F, *axis, scale=1 / 8) for axis in ((1, 0), (0, 1)))
    # The last bit of cv2.magnitude depends on where an array lies in memory; here equal pictures have equal gradients.
    return np.sqrt(across * across + down * down)


class Detail:
    """Looks at a sequence frame after frame, and keeps two means over every region of every frame.

    Args:
        masks: gives the regions of the frame at a position, see `aed_nerfstudio.evaluation.regions.regions`: those of
            the recorded frame, so that the same pixels are looked at of all sequences.
        follows: [F], whether a frame comes right after the one before it, in the same take.

    Attributes:
        values: [2, F, regions], the means of the gradient's magnitude, grey levels a pixel, and of the magnitude of the
            second difference in time (of a frame with the one before and the one after it), grey levels; NaN where a
            region has no pixels or one of the three frames is missing.
    """

    def __init__(self, masks: Callable[[int], Mapping[str, np.ndarray]], follows: Bool[np.ndarray, " f"]) -> None:
        self._masks, self._follows = masks, follows
        self.values = np.full((2, len(follows), len(REGIONS)), np.nan)

    def watching(self, images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Passes the frames of the sequence on, uint8 [H, W, 3] each, and looks at them; three are kept at a time."""
        gradients, changes = self.values
        past: list[np.ndarray] = []
        masks: Mapping[str, np.ndarray] = {}
        for k, image in enumerate(images):
            bright = luminance(image)
            past = past[-2:] if self._follows[k] else []
            if len(past) == 2:
                changes[k - 1] = _means(np.abs(past[0] - 2 * past[1] + bright), masks)
            masks = self._masks(k)
            gradients[k] = _means(gradient(bright), masks)
            past.append(bright)
            yield image

    def means(self) -> dict[str, float]:
        """Returns the sequence's own sharpness and steadiness by the figures' names; NaN where it has none."""
        return _figures(self.values, np.ones_like(self.values), np.isfinite(self.values))

    def over(self, recorded: Detail) -> dict[str, float]:
        """Returns them over those of the recorded sequence; NaN where that has none, or shows no change at all."""
        return _figures(self.values, recorded.values, np.isfinite(self.values) & np.isfinite(recorded.values))


def _means(values: np.ndarray, masks: Mapping[str, np.ndarray]) -> list[float]:
    return [cv2.mean(values, masks[name])[0] if masks[name].any() else np.nan for name in REGIONS]


def _figures(values: np.ndarray, beside: np.ndarray, known: np.ndarray) -> dict[str, float]:
    """Returns the sums of values over those beside them, each [2, F, regions], of what is known."""
    above, below = (np.where(known, part, 0).sum(axis=1) for part in (values, beside))
    ratio = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
    return dict(zip((*SHARPNESS, *STEADINESS), ratio.ravel().tolist(), strict=True))
