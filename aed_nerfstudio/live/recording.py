"""A live session as a video: what its listener heard and saw, kept aside until the recording ends."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from aed_nerfstudio.audio.features import FRAME_RATE, SAMPLE_RATE
from aed_nerfstudio.audio.live_hearing import FRAME
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.live.performer import Cut
from aed_nerfstudio.live.protocol import PICTURE, Stamped, from_pcm16
from aed_nerfstudio.media.video_writer import VideoWriter

LONGEST = 600.0
"""Seconds of one recording; what comes later is not in it."""


class Recording:
    """Collects pictures in a nameless file and sound in memory; both are gone when it is closed.

    start: number of the sample that it begins with.
    """

    def __init__(self, start: int) -> None:
        self._start = -(-start // FRAME)
        self._file = tempfile.TemporaryFile()
        self._pictures: dict[int, tuple[int, int]] = {}
        self._sound: dict[int, bytes] = {}
        self._lock = threading.Lock()
        self._epoch = 0
        self._takes = True
        self._given_up = threading.Event()

    def take(self, item: Stamped | Cut) -> None:
        """Takes what goes to the listener, and forgets what an interruption makes void."""
        with self._lock:
            frame = item.stamp // FRAME - self._start
            if not self._takes or item.epoch < self._epoch:
                return
            self._epoch = item.epoch
            if isinstance(item, Cut):
                self._pictures = {n: place for n, place in self._pictures.items() if n < frame}
                self._sound = {n: sound for n, sound in self._sound.items() if n < frame}
            elif 0 <= frame < LONGEST * FRAME_RATE and item.kind == PICTURE:
                self._file.seek(0, 2)
                self._pictures[frame] = self._file.tell(), len(item.body)
                self._file.write(item.body)
            elif 0 <= frame < LONGEST * FRAME_RATE:
                self._sound[frame] = item.body

    def write(self, path: Path, end: int, size: tuple[int, int], tags: Mapping[str, str]) -> None:
        """Writes the video, 25 frames a second: where none was made the one before it stays.

        Args:
            path: of an MP4.
            end: number of the sample after the last that was heard.
            size: width and height in pixels.
            tags: metadata beside the note that it is synthetic.

        Raises:
            InputError: there is no picture in it, or it is given up meanwhile.
        """
        with self._lock:
            self._takes = False  # what follows belongs to this thread alone, and holds up nobody
        count = min(end // FRAME - self._start, round(LONGEST * FRAME_RATE))
        first = min(self._pictures, default=count)
        if first >= count:
            raise InputError("the recording holds no picture; let it run for a second or more")
        sound = np.zeros((count - first) * FRAME, np.float32)
        for frame, body in self._sound.items():
            if first <= frame < count:
                piece = from_pcm16(body)
                sound[(frame - first) * FRAME :][: piece.size] = piece
        shown = self._picture(first, size)
        with VideoWriter(path, FRAME_RATE, size, sound, SAMPLE_RATE, dict(tags)) as video:
            for frame in range(first, count):
                if self._given_up.is_set():
                    raise InputError("the recording was given up")
                if frame in self._pictures:
                    shown = self._picture(frame, size)
                video.write(shown)

    def _picture(self, frame: int, size: tuple[int, int]) -> np.ndarray:
        place, length = self._pictures[frame]
        self._file.seek(place)
        coded = np.frombuffer(self._file.read(length), np.uint8)
        picture = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        if picture.shape[1::-1] != size:  # the size was changed meanwhile
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(picture[..., ::-1])

    def give_up(self) -> None:
        """Has `write` end soon, without a video."""
        self._given_up.set()

    def close(self) -> None:
        """Forgets everything; not while `write` runs."""
        with self._lock:
            self._takes = False
            self._file.close()
