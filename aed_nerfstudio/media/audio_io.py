"""Reading the sound of any audio or video file, and writing WAV files."""

from __future__ import annotations

import math
import wave
from pathlib import Path

import av
import numpy as np

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import replacing
from aed_nerfstudio.media.video_reader import open_media, time_zero

# A jump of the time stamps larger than this is a gap to keep (as silence); smaller ones are rounding.
GAP_SECONDS = 0.05
# All gaps together that are longer than this are no pauses: a small file could fill the memory with silence.
LONGEST_GAP = 600.0
# Full scale is 1; sound above this was never scaled, or is junk.
LOUDEST = 16.0
# Loudness is judged over windows of this length, so that one word in a long silence still counts.
LOUDNESS_WINDOW = 1600


def _mono(frames: list[av.AudioFrame]) -> list[np.ndarray]:
    """Each planar float frame [channels, n] as the mean of its channels, [n].

    FFmpeg's own down-mix to mono is not used: in float it raises the level by 3 dB and can pass 1.
    """
    return [frame.to_ndarray().mean(axis=0, dtype=np.float32) for frame in frames]


def read_audio(path: str | Path, sample_rate: int = 16000, longest: float = math.inf) -> np.ndarray:
    """The first audio stream of any audio or video file.

    Returns float32 [n], mono, full scale -1..1, at `sample_rate` Hz. Sample 0 is the file's time zero (see
    video_reader): a stream that starts late is padded with zeros in front, sound before zero (encoder delay) is cut,
    and gaps inside become silence.

    longest: seconds that are taken.

    Raises InputError when the file is missing, cannot be read, holds no audio stream, its audio is damaged (gaps of
    more than ten minutes together, or samples that are no numbers or far beyond full scale), or it is longer than
    `longest`: by what it declares, or by what has been decoded of it.
    """
    path = Path(path)

    def check_length(seconds: float) -> None:
        if seconds > longest + GAP_SECONDS:
            raise InputError(f"{path}: its sound is longer than {longest / 60:g} min, which is the most here; give "
                             "a shorter one")  # fmt: skip

    with open_media(path) as container:
        if not container.streams.audio:
            raise InputError(f"{path}: holds no audio stream; give a file with sound")
        stream = container.streams.audio[0]
        zero = time_zero(container)
        if stream.duration is not None:
            check_length(float(stream.duration * stream.time_base))
        elif container.duration is not None:
            check_length(container.duration / av.time_base)
        decoded = silence = 0.0
        segments: list[tuple[float, list[np.ndarray]]] = []
        resampler: av.AudioResampler | None = None
        form: tuple | None = None
        expected = 0.0
        for frame in container.decode(stream):
            time = expected if frame.time is None else frame.time - zero
            silence += max(0.0, time - expected)
            if silence > LONGEST_GAP:
                raise InputError(f"{path}: lacks {silence:.0f} s of its sound until {time:.0f} s; cut it there, or "
                                 "export it again without the gaps")  # fmt: skip
            this_form = (frame.format.name, frame.layout.name, frame.sample_rate)
            # A new segment at the start, after a gap, and when the sound's form changes in mid-stream.
            if resampler is None or this_form != form or abs(time - expected) > GAP_SECONDS:
                if resampler is not None:
                    segments[-1][1].extend(_mono(resampler.resample(None)))
                resampler = av.AudioResampler(format="fltp", layout=frame.layout, rate=sample_rate)
                form, expected = this_form, time
                segments.append((time, []))
            expected += frame.samples / frame.sample_rate
            decoded += frame.samples / frame.sample_rate
            check_length(max(expected, decoded))  # stretches may lie over one another
            frame.pts = None  # the placing is done here, so the resampler must not do it a second time
            segments[-1][1].extend(_mono(resampler.resample(frame)))
        if resampler is None:
            raise InputError(f"{path}: its audio stream is empty or damaged; re-export it")
        segments[-1][1].extend(_mono(resampler.resample(None)))

    placed = [(round(start * sample_rate), np.concatenate(parts)) for start, parts in segments if parts]
    length = max((start + part.size for start, part in placed), default=0)
    samples = np.zeros(max(length, 0), np.float32)
    for start, part in placed:
        part = part[max(0, -start) :]
        start = max(start, 0)
        samples[start : start + part.size] = part
    # Only such are looked for one by one, because every other sound would be read once more.
    if not (samples.size == 0 or max(samples.max(), -samples.min()) <= LOUDEST):
        bad = np.abs(samples) > LOUDEST
        bad |= ~np.isfinite(samples)
        raise InputError(
            f"{path}: {bad.sum()} of its {bad.size} samples are no numbers or far beyond full scale, first at "
            f"{bad.argmax() / sample_rate:.2f} s; export it again as 16-bit WAV"
        )
    return samples


def write_wav(path: str | Path, samples: np.ndarray, sample_rate: int = 16000, root: Path | None = None) -> None:
    """Write mono samples, float [n] in -1..1 (clipped), as 16-bit PCM; the file appears whole or not at all.

    root: the folder that it must not lead out of, see `files.inside`. Raises InputError when it cannot be
    written, ValueError when samples is not [n].
    """
    path = Path(path)
    samples = np.asarray(samples)
    if samples.ndim != 1:
        raise ValueError(f"samples must be [n], not {list(samples.shape)}")
    pcm = np.round(np.clip(np.nan_to_num(samples), -1.0, 1.0) * 32767.0).astype("<i2")
    with replacing(path, root) as temporary, wave.open(str(temporary), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(int(sample_rate))
        out.writeframes(pcm.tobytes())


def is_silent(samples: np.ndarray, threshold_db: float = -60.0) -> bool:
    """Whether no window of 1,600 samples (0.1 s at 16 kHz) is louder than threshold_db (RMS, dB of full scale).

    samples: float [n] in -1..1; an empty array is silent.
    """
    samples = np.asarray(samples).reshape(-1)
    windows = (samples[start : start + LOUDNESS_WINDOW] for start in range(0, samples.size, LOUDNESS_WINDOW))
    return not any(np.square(w, dtype=np.float64).mean() >= 10.0 ** (threshold_db / 10.0) for w in windows)
