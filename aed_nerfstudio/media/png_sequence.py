"""A render as a folder of PNG files, with its sound and what it is beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import write_wav
from aed_nerfstudio.media.provenance import SYNTHETIC_NOTE, write_synthetic
from aed_nerfstudio.media.settings_file import begin

METADATA = "metadata.json"
SOUND = "audio.wav"
PART = ".unfinished.part"
PATTERN = "[0-9]" * 6 + ".png"


class PngSequence:
    """Context manager that writes 000000.png, 000001.png, ..., audio.wav and metadata.json into a folder.

    path: the folder, which is made; it must be empty or hold an earlier sequence, which is replaced. fps: frames a
    second. size: (width, height) pixels. audio: float [n] mono at sample_rate Hz, or None; cut or filled with silence
    to the sequence's length. metadata: tags, written into every file and into metadata.json. transparent: frames have
    an alpha channel. settings, resume: as for `ResumableVideo`; whatever the reason it was left for, a sequence can be
    resumed until it is complete.

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
        self.path = Path(path)
        self.size = (int(size[0]), int(size[1]))
        self.rate = Fraction(fps).limit_denominator(1001)
        self._audio, self._sample_rate = audio, sample_rate
        self._channels = 4 if transparent else 3
        self._metadata = metadata or {}
        self._settings = self.path / "unfinished.json"
        self._make_folder(resume)
        begin(self._settings, settings or {}, self.path)
        self.frames_written = len(list(self.path.glob(PATTERN)))

    def _make_folder(self, resume: bool) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            others = [p.name for p in self.path.iterdir() if not (p.match(PATTERN) or p.name in self._own())]
            if others:
                raise InputError(f"{self.path}: holds {others[0]}, which is no part of a PNG sequence; give an empty "
                                 "or a new folder")  # fmt: skip
            if not (resume and self._settings.is_file()):
                for old in self.path.iterdir():
                    old.unlink()
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written as a folder ({error}); choose another") from error

    def _own(self) -> tuple[str, ...]:
        return METADATA, SOUND, self._settings.name, f".{self._settings.name}.part", PART

    def write(self, frame: np.ndarray) -> None:
        """Append one frame, uint8 [H, W, 3], or [H, W, 4] with alpha, not premultiplied, when transparent.

        Raises ValueError for another shape or type.
        """
        shape = (self.size[1], self.size[0], self._channels)
        if frame.shape != shape or frame.dtype != np.uint8:
            raise ValueError(f"frames must be uint8 {list(shape)}, not {frame.dtype} {list(frame.shape)}")
        write_synthetic(self.path / f"{self.frames_written:06d}.png", frame, self._metadata, self.path)
        self.frames_written += 1

    def _describe(self) -> None:
        """The sound, as long as the frames so far, and the description."""
        if self._audio is not None:
            count = round(self.frames_written * self._sample_rate / self.rate)
            sound = np.zeros(count, np.float32)
            sound[: len(self._audio)] = self._audio[:count]
            write_wav(self.path / SOUND, sound, self._sample_rate)
        about = {
            "comment": SYNTHETIC_NOTE,
            **self._metadata,
            "frames": self.frames_written,
            "fps": float(self.rate),
            "size": list(self.size),
            "sound": None if self._audio is None else SOUND,
        }
        part = self.path / PART
        part.write_text(json.dumps(about, indent=1), "utf-8")
        os.replace(part, self.path / METADATA)

    def __enter__(self) -> PngSequence:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        (self.path / PART).unlink(missing_ok=True)
        if self.frames_written:
            self._describe()
        if kind is None:
            self._settings.unlink()
            if not self.frames_written:
                raise InputError(f"{self.path}: no frame was written")
