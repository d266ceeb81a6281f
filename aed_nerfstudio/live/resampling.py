"""Sound of any rate that comes in pieces, as 16 kHz mono."""

from __future__ import annotations

import io
import struct
import wave

import av
import numpy as np
from jaxtyping import Float32

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.bounds import Between
from aed_nerfstudio.errors import InputError

RATES = Between(4000, 192_000, "samples a second")
CHANNELS = Between(1, 8, "channels")


class Resampler:
    """Makes 16 kHz mono of PCM16 at another rate, piece by piece, without seams.

    Raises:
        InputError: a rate or a number of channels that no sound has.
    """

    def __init__(self, rate: int, channels: int = 1) -> None:
        RATES.check("rate", rate)
        CHANNELS.check("channels", channels)
        self._rate, self._channels = rate, channels
        self._through = None
        if rate != SAMPLE_RATE:
            self._through = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)

    def __call__(self, pcm: bytes) -> Float32[np.ndarray, " n"]:
        """Returns the sound of a piece of interleaved PCM16, float32 [n]; some of it comes with the next one.

        Raises:
            InputError: not a whole number of samples.
        """
        if len(pcm) % (2 * self._channels):
            raise InputError(f"{len(pcm)} bytes are no 16-bit samples of {self._channels} channel(s); send PCM16")
        sound = np.frombuffer(pcm, "<i2").reshape(-1, self._channels).mean(1).astype(np.float32) / 32768
        if self._through is None or not sound.size:
            return sound
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[None]), "flt", "mono")
        frame.sample_rate = self._rate
        return self._joined(self._through.resample(frame))

    def rest(self) -> Float32[np.ndarray, " n"]:
        """Returns what is left of the pieces before, float32 [n], at the end of the sound."""
        return np.zeros(0, np.float32) if self._through is None else self._joined(self._through.resample(None))

    @staticmethod
    def _joined(frames: list[av.AudioFrame]) -> np.ndarray:
        found = [np.clip(frame.to_ndarray()[0], -1, 1) for frame in frames]
        return np.concatenate([np.zeros(0, np.float32), *found])


def read_wav_header(start: bytes) -> tuple[int, int, bytes]:
    """Returns the rate, the channels and the samples of a WAV file's beginning, which may go on without an end.

    Raises:
        InputError: it is no WAV of 16-bit PCM.
    """
    try:
        place = start.index(b"fmt ", 12) + 8
        form, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", start, place)
        data = start.index(b"data", place) + 8
    except (ValueError, struct.error) as error:
        raise InputError("the sound is no WAV file, or damaged; send PCM16 as WAV") from error
    if form not in (1, 0xFFFE) or bits != 16:
        raise InputError(f"the WAV holds {bits}-bit samples of kind {form}; send 16-bit PCM")
    RATES.check("the WAV's rate", rate)
    CHANNELS.check("the WAV's channels", channels)
    return rate, channels, start[data:]


def read_wav(content: bytes) -> Float32[np.ndarray, " n"]:
    """Returns the sound of a whole WAV file, float32 [n] at 16 kHz.

    Raises:
        InputError: it is no WAV of 16-bit PCM, or is cut off.
    """
    try:
        with wave.open(io.BytesIO(content)) as file:
            if file.getsampwidth() != 2:
                raise InputError(f"the WAV holds {8 * file.getsampwidth()}-bit samples; send 16-bit PCM")
            resampler = Resampler(file.getframerate(), file.getnchannels())
            pcm = file.readframes(file.getnframes())
    except (wave.Error, EOFError, struct.error) as error:
        raise InputError(f"the sound is no WAV file of PCM, or damaged ({error}); send PCM16 as WAV") from error
    return np.concatenate([resampler(pcm), resampler.rest()])
