"""Videos that can be interrupted and continued: pictures wait in segments, which are joined without coding them again.

A killed program loses at most the segment that it was writing; the sound is coded in one piece when all are joined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType

import numpy as np

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import move, remove_own, temporary_beside
from aed_nerfstudio.media.containers import open_media
from aed_nerfstudio.media.formats import FORMATS, choose_format
from aed_nerfstudio.media.settings_file import begin_folder
from aed_nerfstudio.media.video_writer import VideoFile, VideoWriter

SETTINGS = "settings.json"
UNFINISHED = "folder for an unfinished video"
SEGMENT = 250
"""Frames of one: the distance of key frames that x264 chooses anyway."""


class ResumableVideo:
    """Context manager that writes a video as `VideoWriter` does, and can go on where an earlier one was interrupted.

    path, fps, size, audio, sample_rate, metadata, form, transparent: as for `VideoWriter`. settings: everything that
    decides what the frames look like, as JSON values. resume: go on, if there is something to go on with; else begin
    anew. finish: is called with the complete file before it takes its place, to sign it; where that fails, nothing lies
    at `path`, and the frames stay to resume from. `frames_written` tells with which frame to begin.

    Leaving the block normally, or by Ctrl-C, puts a playable file of all frames so far at `path`. Unless it was left
    normally, the frames so far stay in a hidden folder beside it, from which to resume.

    Raises InputError as `VideoWriter` does, and when `settings` are not those of what there is to resume.
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
        settings: Mapping | None = None,
        resume: bool = False,
        finish: Callable[[Path], None] | None = None,
    ) -> None:
        self.path, self._finish = Path(path), finish
        self._form = choose_format(self.path, form, transparent)
        temporary_beside(self.path).unlink()  # whether it can be written is known before any work
        self._pictures = {"fps": fps, "size": size, "form": self._form, "transparent": transparent}
        self._sound = {"fps": fps, "audio": audio, "sample_rate": sample_rate, "metadata": metadata, "form": self._form}
        self._folder = self.path.with_name(f".{self.path.name}.segments")
        begin_folder(self._folder, UNFINISHED, SETTINGS, settings, self.path, resume)
        self._writer: VideoWriter | None = None
        self._finished = sum(count for _, count in self._segments())

    @property
    def frames_written(self) -> int:
        """Returns how many frames there are, those of the runs before included."""
        return self._finished + (0 if self._writer is None else self._writer.frames_written)

    def _segments(self) -> list[tuple[Path, int]]:
        """Returns the finished segments in order, with how many frames they have."""
        paths = sorted(self._folder.glob(f"segment-*{FORMATS[self._form].segment}"))
        return [(path, int(path.stem.split("-")[2])) for path in paths]

    def write(self, frame: np.ndarray) -> None:
        """Appends one frame; see `VideoWriter.write`."""
        if self._writer is None:
            path = self._folder / f"open{FORMATS[self._form].segment}"
            form = next(key for key, kind in FORMATS.items() if kind.codec == FORMATS[self._form].codec)
            self._writer = VideoWriter(path, **{**self._pictures, "form": form})
        self._writer.write(frame)
        if self._writer.frames_written == SEGMENT:
            self._finish_segment()

    def _finish_segment(self) -> None:
        """Closes the open segment, whose name then says which frames it holds."""
        if self._writer is None:
            return
        self._writer.close()
        path, self._writer = self._writer.path, None
        # Counted in the file, because Ctrl-C may have come when a frame was coded and not yet counted.
        with open_media(path) as source:
            count = sum(packet.size > 0 for packet in source.demux(source.streams.video[0]))
        move(path, self._folder / f"segment-{self._finished:09d}-{count}{path.suffix}")
        self._finished += count

    def _join(self) -> None:
        """Joins the finished segments to the video."""
        with _JoinedVideo(self.path, [path for path, _ in self._segments()], **self._sound) as video:
            video.finish = self._finish
            for path, _ in self._segments():
                video.append(path)

    def __enter__(self) -> ResumableVideo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None and self._writer.frames_written > 0:
            with suppress(InputError) if kind is not None else nullcontext():  # of a full disk, which was told already
                self._finish_segment()
        if self.frames_written and (kind is None or issubclass(kind, KeyboardInterrupt)):
            self._join()
        if kind is None or not self.frames_written:
            remove_own(self._folder, UNFINISHED)
        if kind is None and not self.frames_written:
            raise InputError(f"{self.path}: no frame was written, so there is no video to save")


class _JoinedVideo(VideoFile):
    """Takes its pictures, as they are coded, from other files of the same codec and settings."""

    def __init__(self, path: Path, segments: list[Path], form: str, fps: float, **sound) -> None:
        self._first = segments[0]
        super().__init__(path, form, fps, **sound)

    def _open_pictures(self) -> None:
        with open_media(self._first) as source:
            stream = source.streams.video[0]
            self._video = self._container.add_stream_from_template(stream)
            if stream.metadata.get("alpha_mode") == "1":  # VP9's alpha lies beside its pictures, and is not copied
                self._video.pix_fmt = self.form.transparent_pixels
        self._video.time_base = 1 / self.rate

    def append(self, path: Path) -> None:
        """Adds a segment's pictures after those that there are."""
        start = self.frames_written
        with self._writing(), open_media(path) as source:
            stream = source.streams.video[0]
            for packet in source.demux(stream):
                if packet.size == 0:  # the end
                    continue
                assert packet.pts is not None and packet.dts is not None  # in what we have written ourselves
                unit = packet.time_base * self.rate  # containers round times, frames lie at whole numbers
                packet.pts = start + round(packet.pts * unit)
                packet.dts = start + round(packet.dts * unit)
                packet.duration = 1
                packet.time_base = 1 / self.rate
                packet.stream = self._video
                self._container.mux(packet)
                self._written(1)
