"""One way to write a render, whatever kind of file it is, and several pictures as one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import make_folder
from aed_nerfstudio.media.captions import BAND, labelled
from aed_nerfstudio.media.formats import choose_format

if TYPE_CHECKING:
    from aed_nerfstudio.media.png_sequence import PngSequence
    from aed_nerfstudio.media.resumable_video import ResumableVideo

LEAST_BYTES = {"prores": 0.05, "png": 0.02}
"""The bytes of a pixel, in formats that keep all of a picture; plain pictures take more."""
LEAST_BYTES_LOSSY = 0.002


class FrameStream:
    """An iterator over frames that knows how many there will be."""

    def __init__(self, frames: Iterator[np.ndarray], count: int) -> None:
        self._frames, self._count = frames, count

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        return next(self._frames)

    def __len__(self) -> int:
        return self._count


def open_output(
    path: Path, form: str | None = None, transparent: bool = False, **options
) -> ResumableVideo | PngSequence:
    """Opens what to write frames to; both kinds know how many `frames_written` they begin with.

    Args:
        path: of the video, or of the folder for PNG files; the folder that it lies in is made.
        form: a key of `FORMATS`; by the suffix when None.
        transparent: frames have an alpha channel.
        options: of `ResumableVideo`, which are those of `PngSequence`.

    Raises:
        InputError: it cannot be written there or so.
    """
    from aed_nerfstudio.media.png_sequence import PngSequence  # PyAV, which a training is without
    from aed_nerfstudio.media.resumable_video import ResumableVideo

    form = choose_format(path, form, transparent)
    make_folder(path.parent)
    if form == "png":
        return PngSequence(path, transparent=transparent, **options)
    return ResumableVideo(path, form=form, transparent=transparent, **options)


def check_room(path: Path, form: str | None, transparent: bool, size: tuple[int, int], frames: int) -> None:
    """Raises InputError where the disk has surely no room for a render, which is told before its first frame.

    size: width and height in pixels. A video needs its room twice: its pictures wait in segments, to be joined.
    """
    form = choose_format(path, form, transparent)
    needed = LEAST_BYTES.get(form, LEAST_BYTES_LOSSY) * size[0] * size[1] * frames * (1 if form == "png" else 2)
    folder = next(place for place in path.absolute().parents if place.is_dir())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(f"{path}: {frames} frames of {size[0]} x {size[1]} pixels need {needed / 2**20:.0f} MiB or "
                         f"more, and the disk has {free / 2**20:.0f}; make room, or choose another disk")  # fmt: skip


def side_by_side(panels: Mapping[str, Iterator[np.ndarray]]) -> Iterator[np.ndarray]:
    """Yields frames [H, W, C] of equal size beside each other with captions, [H + BAND, n * W, C].

    A single panel passes as it is.
    """
    if len(panels) == 1:
        yield from next(iter(panels.values()))
        return
    for frames in zip(*panels.values(), strict=True):
        yield np.hstack([labelled(frame, caption) for caption, frame in zip(panels, frames, strict=True)])


def size_together(size: tuple[int, int], panels: int) -> tuple[int, int]:
    """Returns (width, height) of what `side_by_side` makes of panels of a (width, height)."""
    return size if panels == 1 else (panels * size[0], size[1] + BAND)
