"""What is behind the avatar in the viewer."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from aed_nerfstudio.dataset.schema import FPS
from aed_nerfstudio.media.backgrounds import open_background
from aed_nerfstudio.viewer.uploads import uploaded_file

SQUARES = 24
"""Of the checkerboard, along an edge."""


def plain(colour: tuple[int, int, int]) -> Tensor:
    """One colour, 0..255, as a picture [1, 1, 3] in 0..1."""
    return torch.tensor(colour, dtype=torch.float32).view(1, 1, 3) / 255


def checkerboard(side: int = 480) -> Tensor:
    """What image editors show for nothing, [side, side, 3] in 0..1."""
    x = torch.arange(side) * SQUARES // side
    dark = (x[:, None] + x[None, :]) % 2
    return (0.8 - 0.2 * dark.float())[..., None].expand(-1, -1, 3).contiguous()


def uploaded(name: str, content: bytes, size: tuple[int, int]) -> Tensor:
    """An uploaded picture, or the first of a video, cropped to (width, height): float [height, width, 3] in 0..1.

    Raises:
        InputError: it is no picture.
    """
    with uploaded_file(name, content) as path:
        picture = next(open_background(str(path)).frames(size, FPS, 0))
    return torch.from_numpy(np.ascontiguousarray(picture)).float() / 255
