"""Keeps the decoded pixels of a dataset in a file that is mapped into memory: decoded once, and never all in memory."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import threading
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import platformdirs
from jaxtyping import Bool, Integer, UInt8
from tqdm import tqdm

from aed_nerfstudio.dataset.schema import HEAD, Dataset
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import inside, open_to_update

CHANNELS = 8
"""The bytes of a pixel: image RGB, torso RGBA, head 1 or 0. Side by side, so that a drawn pixel touches one page."""
OPTION = "--pipeline.datamanager.frame-cache"
_MARK = struct.Struct("<8sI")
"""What is behind a frame's pixels: the digest of what they were decoded from, and their checksum."""
_ALIGNMENT = 1 << 16
"""The alignment of a frame in the file, a multiple of any machine's pages.

What is skipped takes no disk: the file is sparse.
"""

Array = TypeVar("Array", bound=Any)
"""NumPy's or torch's."""


@dataclass
class FramePixels:
    """Pixels of a frame, uint8 [..., 8], NumPy's or torch's."""

    values: UInt8[Any, "*n 8"]

    @property
    def image(self) -> UInt8[Any, "*n 3"]:
        """Returns the picture as filmed, uint8 [..., 3]."""
        return self.values[..., :3]

    @property
    def torso(self) -> UInt8[Any, "*n 4"]:
        """Returns the torso without the head, uint8 [..., 4] RGBA."""
        return self.values[..., 3:7]

    @property
    def head(self) -> Bool[Any, "*n"]:
        """Returns where the head is, bool [...]."""
        return self.values[..., 7] != 0


def decode(dataset: Dataset, index: int) -> FramePixels:
    """Reads a frame's pixels [H, W] from its pictures.

    Raises:
        InputError: a picture is missing, damaged or of another size.
    """
    frame = dataset.frames[index]
    head = (dataset.parsing(frame) == HEAD).astype(np.uint8)
    return FramePixels(np.dstack([dataset.image(frame), dataset.torso(frame), head]))


def over_background(torso: Array, background: Array) -> Array:
    """Lays a torso uint8 [..., 4] RGBA over a background uint8 [..., 3].

    Returns [..., 3] in 0..1, floats of the arrays' library.
    """
    torso, background = torso / 255, background / 255
    alpha = torso[..., 3:]
    return alpha * torso[..., :3] + (1 - alpha) * background


class FrameStore:
    """Keeps a dataset's pixels in one file.

    A frame is decoded when it is first asked for, or with many others by `fill`, and written into a file, out of which
    it is read from then on, also in later runs. Each process checks each frame once: that its pictures are still those
    it was decoded from (by name, size and time of change) and that its pixels are whole (by their checksum); if not, it
    is decoded anew. So nothing that ends a program or changes the dataset leaves wrong pixels behind, and several
    processes may share the file.

    Drawn pages are given back to the system at once: they stay in its cache as long as it has room, and do not count
    as memory of this process.

    Args:
        dataset: whose frames.
        folder: where to keep the file; when None `.frames` in the dataset folder or, where that cannot be written, the
            user's cache folder.

    Raises:
        InputError: the file cannot be made, or its disk is too small for all frames.
    """

    def __init__(self, dataset: Dataset, folder: Path | None = None) -> None:
        self.dataset = dataset
        camera = dataset.camera
        self._frame_bytes = CHANNELS * camera.w * camera.h
        self.total_bytes = self._frame_bytes * sum(frame.usable for frame in dataset.frames)
        """Of all frames that may be drawn."""
        self._slot = -(self._frame_bytes + _MARK.size) // _ALIGNMENT * -_ALIGNMENT
        size = self._slot * len(dataset.frames)
        self.path, self._file = _open(dataset.root, folder, f"{camera.w}x{camera.h}.pixels")
        status = os.fstat(self._file.fileno())
        _check_room(self.path, self.total_bytes, status)
        if status.st_size < size:
            self._file.truncate(size)
        self._map = mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ)
        self._checked: set[int] = set()
        self._writing = threading.Lock()

    def fill(self, indices: Sequence[int], progress: bool = True) -> None:
        """Decodes frames that are not in the file yet, on all cores, and checks the others.

        Args:
            indices: of the frames.
            progress: whether to show how far it is.

        Raises:
            InputError: a picture is missing or damaged, or the disk is full.
        """
        pool = ThreadPoolExecutor(os.cpu_count())
        try:
            done = pool.map(self._filled, indices)
            for _ in tqdm(done, "frames", len(indices), leave=False, unit="frame", disable=not progress):
                pass
        finally:
            pool.shutdown(cancel_futures=True)

    def _filled(self, index: int) -> None:
        """Has a frame in its place, and its pages not in memory."""
        start = index * self._slot
        if index not in self._checked:
            self._check(index, start, np.frombuffer(self._map, np.uint8, self._frame_bytes, start))
            self._give_back(start)

    def _give_back(self, start: int) -> None:
        advise = getattr(self._map, "madvise", None)  # Windows has none
        if advise and hasattr(mmap, "MADV_DONTNEED"):
            advise(mmap.MADV_DONTNEED, start, self._slot)

    def draw(self, index: int, pixels: Integer[np.ndarray, " n"] | None = None) -> FramePixels:
        """Copies pixels [N] (row-major numbers) of a frame, or all of them where None: N = H * W.

        Raises:
            InputError: a picture is missing or damaged, or the disk is full.
        """
        start = index * self._slot
        advise = getattr(self._map, "madvise", None)  # Windows has none
        if advise and hasattr(mmap, "MADV_WILLNEED"):
            advise(mmap.MADV_WILLNEED, start, self._slot)
        stored = np.frombuffer(self._map, np.uint8, self._frame_bytes, start).reshape(-1, CHANNELS)
        if index not in self._checked:
            self._check(index, start, stored)
        drawn = stored.copy() if pixels is None else stored[pixels]
        self._give_back(start)
        return FramePixels(drawn)

    def _check(self, index: int, start: int, stored: np.ndarray) -> None:
        """Decodes a frame into its place, unless it is there and whole."""
        sources = self._sources(index)
        end = start + self._frame_bytes
        if self._map[end : end + _MARK.size] != _MARK.pack(sources, zlib.crc32(stored.data)):
            values = decode(self.dataset, index).values
            mark = _MARK.pack(sources, zlib.crc32(values.data))
            try:
                # Through the file and not through the mapping, in which a full disk would kill the process.
                with self._writing:
                    self._file.seek(start)
                    self._file.write(values.data)
                    self._file.flush()
                    self._file.write(mark)
                    self._file.flush()
            except OSError as error:
                raise InputError(
                    f"{self.path}: {error.strerror}; make room, or give a folder on a larger disk with {OPTION}"
                ) from error
        self._checked.add(index)

    def _sources(self, index: int) -> bytes:
        """Returns a digest of the names, sizes and times of change of a frame's pictures."""
        frame = self.dataset.frames[index]
        stamp: list[object] = [CHANNELS, self.dataset.camera.w, self.dataset.camera.h]
        for kind in ("images", "torso", "parsing"):
            path = self.dataset.path(kind, frame)
            stamp.append(str(path.relative_to(self.dataset.root)))
            if path.exists():  # folders of RAD-NeRF may be without a torso
                stamp += [path.stat().st_size, path.stat().st_mtime_ns]
        return blake2b(repr(stamp).encode(), digest_size=8).digest()


def _open(root: Path, folder: Path | None, name: str) -> tuple[Path, BinaryIO]:
    """Opens the file for reading and writing, and returns it behind its path."""
    root = root.resolve()
    own = f"{root.name}-{blake2b(str(root).encode(), digest_size=6).hexdigest()}"
    if folder is not None:
        places = [Path(folder) / own]
    else:
        places = [root / ".frames", platformdirs.user_cache_path("aed-nerfstudio") / "frames" / own]
    reason = None
    for place in places:
        inside(place / name, place.parent)  # no link of a folder that somebody else has made
        try:
            place.mkdir(parents=True, exist_ok=True)
            return place / name, open_to_update(place / name, place)
        except OSError as error:
            reason = error.strerror
    raise InputError(
        f"{places[-1]}: cannot be written ({reason}), and decoded frames are kept there; give a folder with {OPTION}"
    )


def _check_room(path: Path, needed: int, status: os.stat_result) -> None:
    """Raises InputError where a disk has no room for so many bytes, less those that the file takes already."""
    missing = needed - getattr(status, "st_blocks", 0) * 512  # what a sparse file takes already; Windows does not tell
    free = shutil.disk_usage(path.parent).free
    if missing > free:
        raise InputError(
            f"{path}: the decoded frames need {missing / 2**30:.1f} GiB more, and the disk has {free / 2**30:.1f} GiB; "
            f"make room, or give a folder on a larger disk with {OPTION}"
        )
