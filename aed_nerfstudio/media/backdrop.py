"""What an avatar stands before: a colour or a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageOps

from aed_nerfstudio.errors import InputError

LARGEST = 4
"""A picture is used at up to so many times the recording's resolution."""


def read_backdrop(name: str, width: int, height: int) -> np.ndarray | None:
    """A background by its name, float32 [H, W, 3] in 0..1 in the shape of width x height, of any resolution.

    Args:
        name: `original`; a colour such as white, #00b140 or rgb(0, 177, 64); or a picture file, of which the middle is
            cut out in the recording's shape.
        width, height: of the recording, pixels.

    Returns:
        None for `original`. A colour has one pixel.

    Raises:
        InputError: neither a colour nor a file that is a picture.
    """
    if name == "original":
        return None
    try:
        colour = ImageColor.getcolor(name, "RGB")
    except ValueError:
        pass
    else:
        return np.array(colour, np.float32)[None, None] / 255
    path = Path(name)
    if not path.is_file():
        raise InputError(f"{name}: neither a colour (white, #00b140) nor a picture file; give one, or original")
    try:
        with Image.open(path) as image:
            picture = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot be read as a picture ({error}); give a PNG or JPEG") from error
    scale = min(max(min(picture.width / width, picture.height / height), 1), LARGEST)
    picture = ImageOps.fit(picture, (round(width * scale), round(height * scale)), Image.Resampling.LANCZOS)
    return np.asarray(picture, np.float32) / 255
