"""What an avatar is shown before: a colour, a picture, a video, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.video_reader import probe, read_frames


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
    """A background by what the command line calls it.

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
    if path.is_file():
        return _of_file(path)
    try:
        colour = np.array(ImageColor.getrgb(name)[:3], np.uint8)
    except ValueError as error:
        raise InputError(f"{name}: is no colour (such as green or #00ff00) and no picture's or video's file") from error
    return Background(name, lambda size, fps, first: repeat(np.broadcast_to(colour, (size[1], size[0], 3)).copy()))


def _of_file(path: Path) -> Background:
    about = path.stat()
    stamp = f"{about.st_size} bytes of {about.st_mtime:.0f}"
    try:
        with Image.open(path) as image:
            if not getattr(image, "is_animated", False):
                picture = np.array(ImageOps.exif_transpose(image).convert("RGB"))
                return Background(str(path), lambda size, fps, first: repeat(_fill(picture, size)), stamp)
    except UnidentifiedImageError:
        pass  # a video, or neither
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: damaged or too large a picture; export it again ({error})") from error
    probe(path)
    return Background(str(path), lambda size, fps, first: _of_video(path, size, fps, first), stamp)


def _of_video(path: Path, size: tuple[int, int], fps: float, first: int) -> Iterator[np.ndarray]:
    """The video again and again, from the frame on that comes `first` after its start."""
    while True:
        count = 0
        for picture in read_frames(path, fps):
            if count >= first:
                yield _fill(picture, size)
            count += 1
        first = max(first - count, 0) % count  # whole rounds need not be decoded


def _fill(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture [H, W, 3] scaled and cropped to (width, height)."""
    return np.array(ImageOps.fit(Image.fromarray(picture), size, Image.Resampling.BICUBIC))
