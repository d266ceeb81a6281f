"""What is behind the avatar in the viewer."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from aed_nerfstudio.errors import InputError

SQUARES = 24
"""Of the checkerboard, along an edge."""
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""Of uploaded pictures: none that another program is started for."""
LARGEST = 40_000_000
"""Pixels of an uploaded picture."""


def plain(colour: tuple[int, int, int]) -> Tensor:
    """Returns one colour, 0..255, as a picture [1, 1, 3] in 0..1."""
    return torch.tensor(colour, dtype=torch.float32).view(1, 1, 3) / 255


def checkerboard(side: int = 480) -> Tensor:
    """Returns what image editors show for nothing, [side, side, 3] in 0..1."""
    x = torch.arange(side) * SQUARES // side
    dark = (x[:, None] + x[None, :]) % 2
    return (0.8 - 0.2 * dark.float())[..., None].expand(-1, -1, 3).contiguous()


def uploaded(name: str, content: bytes, size: tuple[int, int]) -> Tensor:
    """Reads an uploaded picture, cropped to (width, height): float [height, width, 3] in 0..1.

    Raises:
        InputError: it is no picture, damaged, or has too many pixels.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > LARGEST:
                raise InputError(f"{name}: {image.width}x{image.height} pixels are too many; make it smaller")
            picture = ImageOps.exif_transpose(image).convert("RGB")
        picture = ImageOps.fit(picture, size, Image.Resampling.BICUBIC)
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: is no picture; give one of {', '.join(FORMATS)}") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name}: damaged or too large a picture; export it again ({error})") from error
    return torch.from_numpy(np.array(picture)).float() / 255
