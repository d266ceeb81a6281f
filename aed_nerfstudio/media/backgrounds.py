"""What an avatar is shown before: a colour, a picture, a video, or nothing."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from aed_nerfstudio.errors import InputError, reason
from aed_nerfstudio.outside import is_file, open_file, regular_file

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Of pictures, Pillow's names: none that another program is started for."""
MOVING = ("GIF", "PNG", "WEBP")
"""Of these, what can move; a TIFF's pages and a phone's second picture in a JPEG do not."""
LARGE_SIDE = 4096
"""Pixels that a background has use for."""
MOST_PIXELS = 100_000_000
"""Of a background's picture."""


@dataclass(frozen=True)
class Background:
    """A background that fills the frame; pictures are enlarged and cropped about their middle to its shape."""

    name: str
    """As it was asked for."""
    frames: Callable[[tuple[int, int], float, int], Iterator[np.ndarray]] | None
    """(width, height), frames a second and the number of the first frame -> an endless stream of uint8 [H, W, 3]; the
    memory of one frame. None: transparent."""
    stamp: str = ""
    """Tells versions of the file apart, where there is one."""

    @property
    def transparent(self) -> bool:
        return self.frames is None


TRANSPARENT = Background("transparent", None)


def open_background(name: str) -> Background | None:
    """Returns the background that the command line calls so.

    Args:
        name: `original` (None is returned); `transparent`; a path of a picture or of a video, which is repeated; or a
            colour: a CSS name, `#rrggbb`, `rgb(r, g, b)`.

    Raises:
        InputError: none of these, or a file that cannot be read as a picture or a video.
    """
    if name == "original":
        return None
    if name == TRANSPARENT.name:
        return TRANSPARENT
    path = Path(name)
    if is_file(path):
        return _of_file(path)
    try:
        colour = np.array(ImageColor.getrgb(name)[:3], np.uint8)
    except (ValueError, OverflowError) as error:  # also of rgb(300, 0, 0)
        if os.path.exists(path):
            regular_file(path, "give a colour, or a picture's or video's file")
        shown = name if len(name) <= 200 else f"{name[:200]}..."
        what = "is no colour (such as green or #00ff00) and no picture's or video's file"
        raise InputError(f"{shown}: {what}") from error
    return Background(name, lambda size, fps, first: repeat(np.broadcast_to(colour, (size[1], size[0], 3)).copy()))


def _of_file(path: Path) -> Background:
    """Makes a background of a picture's or a video's file."""
    about = path.stat()
    stamp = f"{about.st_size} bytes of {about.st_mtime:.0f}"
    picture = _picture(path)
    if picture is not None:
        return Background(str(path), lambda size, fps, first: repeat(_fill(picture, size)), stamp)
    from aed_nerfstudio.media.video_reader import probe  # PyAV, which a training is without

    probe(path)
    return Background(str(path), lambda size, fps, first: _of_video(path, size, fps, first), stamp)


def _picture(path: Path) -> np.ndarray | None:
    """Reads a picture's file as [H, W, 3]; None where it is none, or one that moves."""
    try:
        with open_file(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # there is a bound of our own
            image = Image.open(file, formats=FORMATS)
            image.draft("RGB", (LARGE_SIDE, LARGE_SIDE))  # of a JPEG that is larger than twice that, half the pixels
            if image.width * image.height > MOST_PIXELS:
                raise InputError(f"{path}: {image.width} x {image.height} pixels are too many; make it smaller")
            if image.format in MOVING and getattr(image, "is_animated", False):
                return None
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except UnidentifiedImageError:
        return None
    except InputError:
        raise
    except Exception as error:  # Pillow promises nothing about what it raises for damaged files
        raise InputError(f"{path}: damaged or too large a picture; export it again ({reason(error)})") from error


def _of_video(path: Path, size: tuple[int, int], fps: float, first: int) -> Iterator[np.ndarray]:
    """Yields the video again and again, from the frame on that comes `first` after its start."""
    from aed_nerfstudio.media.video_reader import read_frames  # see `_of_file`

    while True:
        count = 0
        for picture in read_frames(path, fps):
            if count >= first:
                yield _fill(picture, size)
            count += 1
        first = max(first - count, 0) % count  # whole rounds need not be decoded


def _fill(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scales a picture [H, W, 3] and crops it to (width, height)."""
    return np.array(ImageOps.fit(Image.fromarray(picture), size, Image.Resampling.BICUBIC))
