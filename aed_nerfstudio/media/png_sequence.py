"""A render as a folder of PNG files, with its sound and what it is beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatch
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import MARK, is_own, make_own, move, remove_own, write
from aed_nerfstudio.media.audio_io import write_wav
from aed_nerfstudio.media.provenance import SYNTHETIC_NOTE, write_synthetic
from aed_nerfstudio.media.settings_file import begin_folder

METADATA = "metadata.json"
SOUND = "audio.wav"
SETTINGS = "unfinished.json"
PATTERN = "[0-9]" * 6 + ".png"
SEQUENCE = "sequence of pictures"


class PngSequence:
    """Context manager that writes 000000.png, 000001.png, ..., audio.wav and metadata.json into a folder.

    Leaving the block normally, or by Ctrl-C, puts the folder at `path`, with all frames so far. Unless it was left
    normally, they also stay in a hidden folder beside it, from which to resume, and what was at `path` before is there
    unless Ctrl-C replaced it.

    path: the folder; it must be new, empty or an earlier sequence, which is replaced. fps: frames a second. size:
    (width, height) pixels. audio: float [n] mono at sample_rate Hz, or None; cut or filled with silence to the
    sequence's length. metadata: tags, written into every file and into metadata.json. transparent: frames have an alpha
    channel. settings, resume: as for `ResumableVideo`.

    Raises InputError when the folder cannot be written or holds something else, and when it is resumed with other
    settings.
    """

    def __init__(
        self,
        path: str | Path,
        fps: float = 25,
        size: tuple[int, int] = (512, 512),
        audio: np.ndarray | None = None,
        sample_rate: int = 16000,
        metadata: dict[str, str] | None = None,
        transparent: bool = False,
        settings: Mapping | None = None,
        resume: bool = False,
    ) -> None:
        self.path = Path(path).resolve()  # beside which the hidden folders are on the same disk
        self.size = (int(size[0]), int(size[1]))
        self.rate = Fraction(fps).limit_denominator(1001)
        self._audio, self._sample_rate = audio, sample_rate
        self._channels = 4 if transparent else 3
        self._metadata = metadata or {}
        self._folder, self._shown, self._before = (
            self.path.with_name(f".{self.path.name}.{what}") for what in ("frames", "shown", "before")
        )
        self._mend()
        self._check()
        begin_folder(self._folder, SEQUENCE, SETTINGS, settings, self.path, resume)
        self.frames_written = len(list(self._folder.glob(PATTERN)))

    def _mend(self) -> None:
        """Ends what a run was doing at the folder when it was killed."""
        remove_own(self._shown, SEQUENCE)
        if self.path.exists():
            remove_own(self._before, SEQUENCE)
        elif is_own(self._before, SEQUENCE):
            move(self._before, self.path)

    def _check(self) -> None:
        """Refuses a folder that is not ours, or holds what is not."""
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise InputError(f"{self.path}: is a file; give a folder for PNG files")
        names = [entry.name for entry in self.path.iterdir()]
        others = [name for name in names if not (fnmatch(name, PATTERN) or name in (METADATA, SOUND, MARK))]
        if others:
            raise InputError(f"{self.path}: holds {others[0]}, which is no part of a PNG sequence; give an empty or a "
                             "new folder")  # fmt: skip
        if names and not is_own(self.path, SEQUENCE):
            raise InputError(f"{self.path}: holds pictures that this program has not made; give an empty or a new "
                             "folder")  # fmt: skip

    def write(self, frame: np.ndarray) -> None:
        """Appends one frame, uint8 [H, W, 3], or [H, W, 4] with alpha, not premultiplied, when transparent.

        Raises ValueError for another shape or type.
        """
        shape = (self.size[1], self.size[0], self._channels)
        if frame.shape != shape or frame.dtype != np.uint8:
            raise ValueError(f"frames must be uint8 {list(shape)}, not {frame.dtype} {list(frame.shape)}")
        write_synthetic(self._folder / f"{self.frames_written:06d}.png", frame, self._metadata, self._folder)
        self.frames_written += 1

    def _describe(self, folder: Path) -> None:
        """Writes the sound, as long as the frames so far, and the description."""
        if self._audio is not None:
            count = round(self.frames_written * self._sample_rate / self.rate)
            sound = np.zeros(count, np.float32)
            sound[: len(self._audio)] = self._audio[:count]
            write_wav(folder / SOUND, sound, self._sample_rate, folder)
        about = {
            "comment": SYNTHETIC_NOTE,
            **self._metadata,
            "frames": self.frames_written,
            "fps": float(self.rate),
            "size": list(self.size),
            "sound": None if self._audio is None else SOUND,
        }
        write(folder / METADATA, json.dumps(about, indent=1), folder)

    def _put(self, folder: Path) -> None:
        """Lets a folder of ours take the place of `path`."""
        if is_own(self.path, SEQUENCE):
            move(self.path, self._before)
        move(folder, self.path)
        remove_own(self._before, SEQUENCE)

    def _show(self) -> None:
        """Puts copies of the frames so far at `path`."""
        make_own(self._shown, SEQUENCE)
        for picture in self._folder.glob(PATTERN):
            write(self._shown / picture.name, picture.read_bytes(), self._shown)
        self._describe(self._shown)
        self._put(self._shown)

    def __enter__(self) -> PngSequence:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.frames_written:
            remove_own(self._folder, SEQUENCE)
            if kind is None:
                raise InputError(f"{self.path}: no frame was written")
        elif kind is None or issubclass(kind, KeyboardInterrupt):
            self._check()  # nobody else has put anything there meanwhile
            if kind is not None:
                self._show()
                return
            self._describe(self._folder)
            (self._folder / SETTINGS).unlink()
            self._put(self._folder)
