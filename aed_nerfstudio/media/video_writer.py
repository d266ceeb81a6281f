"""Writing video files with sound, streamed frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import cast

import av
import av.error
import numpy as np
from jaxtyping import UInt8

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import move, temporary_beside, unwritable
from aed_nerfstudio.media.formats import FORMATS, choose_format
from aed_nerfstudio.media.provenance import SYNTHETIC_NOTE
from aed_nerfstudio.media.sound_stream import SoundStream

LARGEST = 16384
"""Pixels of a side that H.264 can code."""


class VideoFile:
    """Context manager for a video file that lies under a temporary name until it is complete.

    Leaving the block normally, or by Ctrl-C (KeyboardInterrupt), puts a playable file at `path`; leaving it by any
    other exception leaves nothing, and a file that was at `path` before stays as it was. `finish` is called with the
    complete file before it takes its place; where that fails, it does not.
    """

    finish: Callable[[Path], None] | None = None

    def __init__(
        self, path: Path, form: str, fps: float, audio: np.ndarray | None, sample_rate: int, metadata: dict | None
    ) -> None:
        self.path = path
        self.form = FORMATS[form]
        self.rate = Fraction(fps).limit_denominator(1001)
        if self.rate <= 0:
            raise ValueError(f"fps must be positive, not {fps}")
        self.frames_written = 0
        self._temporary: Path | None = temporary_beside(self.path)
        self._sound = None
        try:
            # use_metadata_tags: without it MP4 keeps only the tags that it knows.
            movie = self.form.container in ("mp4", "mov")
            options = {"movflags": "use_metadata_tags+faststart"} if movie else {}
            self._container = av.open(str(self._temporary), "w", format=self.form.container, options=options)
            tags = {"comment": SYNTHETIC_NOTE, **(metadata or {})}
            self._container.metadata.update({str(key): str(value) for key, value in tags.items()})
            self._open_pictures()
            if audio is not None:
                audio = np.ascontiguousarray(audio, np.float32)
                self._sound = SoundStream(self._container, self.form.sound, audio, sample_rate)
        except BaseException:
            self._discard()
            raise

    def _open_pictures(self) -> None:
        """Adds the stream of pictures to the container, before any sound."""
        raise NotImplementedError

    def _flush_pictures(self) -> None:
        """Writes what an encoder holds back."""

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns what the disk has against the work into one error."""
        try:
            yield
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _written(self, count: int) -> None:
        """Counts pictures that have been written, and lets the sound follow."""
        self.frames_written += count
        if self._sound is not None:
            self._sound.write_until(self.frames_written / self.rate)

    def _check_open(self) -> None:
        if self._temporary is None:
            raise ValueError(f"{self.path}: the writer is closed")

    def close(self) -> None:
        """Completes the file and puts it at `path`; a second call does nothing.

        Raises InputError when no frame was written (nothing is left then).
        """
        if self._temporary is None:
            return
        if self.frames_written == 0:
            self._discard()
            raise InputError(f"{self.path}: no frame was written, so there is no video to save")
        try:
            with self._writing():
                self._flush_pictures()
                if self._sound is not None:
                    self._sound.write_until(self.frames_written / self.rate, last=True)
                self._container.close()
                if self.finish is not None:
                    self.finish(self._temporary)
                move(self._temporary, self.path)
        except BaseException:
            self._discard()
            raise
        self._temporary = None

    def _discard(self) -> None:
        """Closes the container, whatever state it is in, and removes the temporary file."""
        try:
            if getattr(self, "_container", None) is not None:
                self._container.close()
        except (av.error.FFmpegError, OSError, ValueError):
            pass  # the file is thrown away: an error on closing it changes nothing
        finally:
            if self._temporary is not None:
                self._temporary.unlink(missing_ok=True)
            self._temporary = None

    def __enter__(self):
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif issubclass(kind, KeyboardInterrupt) and self.frames_written > 0:
            self.close()  # whoever stops a long render keeps what is there
        else:
            self._discard()


class VideoWriter(VideoFile):
    """Writes a video from pictures, with sound if given; see `VideoFile` for what is left when the block is left.

    path: with the suffix of a format. fps: frames per second. size: (width, height) pixels of the frames written; odd
    sizes are padded to even ones by repeating the last column or row (halved colour needs even sizes).
    audio: float [n] mono in -1..1 at sample_rate Hz, or None; cut or filled with silence to the video's length.
    metadata: further tags, over the default comment that calls the file synthetic. form: a key of `FORMATS`; by the
    suffix when None. transparent: frames have an alpha channel.

    Raises InputError when the folder cannot be written, the suffix is none that is known, the format cannot be
    transparent or the size is too large (at construction, before any work), and when the block ends normally without a
    frame.
    """

    def __init__(
        self,
        path: str | Path,
        fps: float = 25,
        size: tuple[int, int] = (512, 512),
        audio: np.ndarray | None = None,
        sample_rate: int = 16000,
        metadata: dict[str, str] | None = None,
        form: str | None = None,
        transparent: bool = False,
    ) -> None:
        self.size = (int(size[0]), int(size[1]))
        self.transparent = transparent
        if min(self.size) < 1:
            raise ValueError(f"size must be positive, not {size}")
        if max(self.size) > LARGEST:
            raise InputError(f"{path}: {self.size[0]} x {self.size[1]} pixels are more than the {LARGEST} a side that "
                             "a video can have; choose a smaller size")  # fmt: skip
        form = choose_format(Path(path), form, transparent)
        super().__init__(Path(path), form, fps, audio, sample_rate, metadata)

    def _open_pictures(self) -> None:
        width, height = self.size
        stream = self._container.add_stream(self.form.codec, rate=self.rate, options=dict(self.form.options))
        self._video = cast(av.VideoStream, stream)
        self._video.width, self._video.height = width + width % 2, height + height % 2
        self._video.pix_fmt = self.form.transparent_pixels if self.transparent else self.form.pixels
        self._video.time_base = 1 / self.rate

    def write(self, frame: UInt8[np.ndarray, "h w c"]) -> None:
        """Appends one frame, uint8 [H, W, 3] RGB of the size given at construction ([H, W, 4] with alpha, not
        premultiplied, when transparent), and the sound that goes with it.

        Raises ValueError for another shape or type, or when the writer is closed.
        """
        self._check_open()
        width, height = self.size
        shape = (height, width, 4 if self.transparent else 3)
        if frame.shape != shape or frame.dtype != np.uint8:
            raise ValueError(f"frames must be uint8 {list(shape)}, not {frame.dtype} {list(frame.shape)}")
        if width % 2 or height % 2:
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgba" if self.transparent else "rgb24")
        picture.pts = self.frames_written
        picture.time_base = 1 / self.rate
        with self._writing():
            self._container.mux(self._video.encode(picture))
            self._written(1)

    def _flush_pictures(self) -> None:
        self._container.mux(self._video.encode(None))
