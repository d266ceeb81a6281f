"""The sound of a video that is being written: encoded as far as its pictures have come."""

from __future__ import annotations

from fractions import Fraction
from typing import cast

import av
import av.container
import numpy as np

CHUNK = 1024
"""Samples at a time: a frame of AAC."""
RATES = (8000, 12000, 16000, 24000, 48000)
"""Hz that every codec in use can carry."""


class SoundStream:
    """Mono sound in a container that is open for writing.

    container: of PyAV. codec: FFmpeg's name of the encoder. samples: float [n] in -1..1 at `rate` Hz, cut or filled
    with silence to the video's length.

    Raises ValueError for samples that are not [n], or a rate that is not in `RATES`.
    """

    def __init__(self, container: av.container.OutputContainer, codec: str, samples: np.ndarray, rate: int) -> None:
        if samples.ndim != 1:
            raise ValueError(f"audio must be [n], not {list(samples.shape)}")
        if rate not in RATES:
            raise ValueError(f"sample_rate must be one of {RATES}, not {rate}")
        self._container, self._samples, self._rate = container, samples, rate
        self._position = 0
        self._stream = cast(av.AudioStream, container.add_stream(codec, rate=rate, layout="mono"))
        self._form = "s16" if codec == "pcm_s16le" else "flt" if codec == "libopus" else "fltp"

    def write_until(self, seconds: Fraction, last: bool = False) -> None:
        """Encodes up to a time: whole chunks, and when `last` the remainder and what the encoder holds back."""
        end = round(seconds * self._rate)
        while self._position < end:
            count = min(CHUNK, end - self._position)
            if count < CHUNK and not last:
                return
            chunk = np.zeros((1, count), np.float32)  # silence where the video outlasts the sound
            part = self._samples[self._position : self._position + count]
            chunk[0, : part.size] = part
            if self._form == "s16":
                chunk = np.round(np.clip(chunk, -1, 1) * 32767).astype(np.int16)
            sound = av.AudioFrame.from_ndarray(chunk, format=self._form, layout="mono")
            sound.sample_rate = self._rate
            sound.time_base = Fraction(1, self._rate)
            sound.pts = self._position
            self._container.mux(self._stream.encode(sound))
            self._position += count
        if last:
            self._container.mux(self._stream.encode(None))
