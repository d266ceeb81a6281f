"""Reading the sound of any audio or video file, and writing WAV files."""

from __future__ import annotations

import math
import os
import wave
from pathlib import Path

import av
import numpy as np
from jaxtyping import Float32

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import replacing
from aed_nerfstudio.media.clock import Clock, read_clock
from aed_nerfstudio.media.containers import open_media, sound_streams

# A jump of the time stamps larger than this is a gap to keep (as silence); smaller ones are rounding.
GAP_SECONDS = 0.05
# Full scale is 1; sound above this was never scaled, or is junk. What codecs let pass 1 a little is clipped.
LOUDEST = 16.0
# Loudness is judged over windows of this length, so that one word in a long silence still counts.
LOUDNESS_WINDOW = 1600
# What a channel counts in the mixture: voices are in the middle, and bass is none.
WEIGHTS = {"FC": 1.0, "FL": 0.7, "FR": 0.7, "FLC": 0.7, "FRC": 0.7, "DL": 0.7, "DR": 0.7, "LFE": 0.0, "LFE2": 0.0}
OTHERS = 0.5
# What is meant by so many channels without names.
UNNAMED = {6: "5.1", 8: "7.1"}
# Power over that of the loudest channel, below which a channel is empty.
EMPTY = 1e-4
# Power of the mixture, over what it is where channels have nothing to do with each other, below which they cancel.
CANCELLED = 0.1


class _Mixer:
    """From the channels to one, and what was in them.

    keep: the channels that are mixed, all when None. powers: sums of squares by channel (its number and name). power:
    the mixture's. apart: what that would be of channels that have nothing to do with each other.
    """

    def __init__(self, keep: set[tuple[int, str]] | None = None) -> None:
        self.keep = keep
        self.powers: dict[tuple[int, str], float] = {}
        self.power = self.apart = 0.0

    def __call__(self, frame: av.AudioFrame) -> Float32[np.ndarray, " n"]:
        """Mixes a packed float frame of C channels as float32 [n].

        FFmpeg's own down-mix to mono is not used: in float it raises the level by 3 dB and can pass 1. Packed, because
        PyAV 17.1 reads beyond the planes of eight channels.
        """
        names = _channels(frame.layout)
        sound = frame.to_ndarray().reshape(-1, len(names)).T
        weights = np.array([_weight(name) * (self.keep is None or name in self.keep) for name in names])
        if not weights.any():  # none but bass
            weights[:] = 1
        weights /= weights.sum()
        mixture = weights.astype(np.float32) @ sound
        powers = np.square(sound, dtype=np.float64).sum(axis=1)
        for name, power in zip(names, powers, strict=True):
            self.powers[name] = self.powers.get(name, 0.0) + float(power)
        self.power += float(np.square(mixture, dtype=np.float64).sum())
        self.apart += float((weights**2 * powers).sum())
        return mixture

    def better(self) -> set[tuple[int, str]] | None:
        """Returns the channels to keep instead; None where all is well.

        Where channels cancel each other it is the loudest; of more than two, some of them empty, those with sound.
        """
        if self.power < CANCELLED * self.apart:
            return {max(self.powers, key=lambda name: _weight(name) * self.powers[name])}
        heard = {name for name, power in self.powers.items() if power > EMPTY * max(self.powers.values())}
        return heard if len(self.powers) > 2 and 0 < len(heard) < len(self.powers) else None


def _channels(layout: av.AudioLayout) -> list[tuple[int, str]]:
    """Returns the numbers and names of a layout's channels."""
    if layout.nb_channels in UNNAMED and layout.name == f"{layout.nb_channels} channels":
        layout = av.AudioLayout(UNNAMED[layout.nb_channels])
    return [(number, channel.name) for number, channel in enumerate(layout.channels)]


def _weight(channel: tuple[int, str]) -> float:
    """Returns what a channel counts in the mixture."""
    return WEIGHTS.get(channel[1], OTHERS)


def read_audio(
    path: str | Path,
    sample_rate: int = 16000,
    longest: float = math.inf,
    beside: int | None = None,
    notes: list[str] | None = None,
) -> Float32[np.ndarray, " n"]:
    """Reads the sound of any audio or video file: of the stream that players play, or the first that is not silent.

    Returns float32 [n], mono, full scale -1..1, at `sample_rate` Hz. Sample 0 is the file's time zero (see
    video_reader): a stream that starts late is padded with zeros in front, sound before zero (encoder delay) is cut,
    and gaps inside become silence. Channels are mixed, those of voices most (of more than two those that
    are empty do not count); of channels that cancel each other the loudest is taken.

    longest: seconds that are taken. beside: index of the stream of pictures that it belongs to, the default one when
    None. notes: what was mended and which of several streams is taken is added to it.

    Raises InputError when the file is missing, cannot be read, holds no audio stream, its audio is damaged (clocks that
    contradict each other, or samples that are no numbers or far beyond full scale), or it is longer than `longest`: by
    what it declares, or by what has been decoded of it.
    """
    path = Path(path)
    clock = read_clock(path, beside)
    with open_media(path) as container:
        streams = [stream.index for stream in sound_streams(container)]
    if not streams:
        raise InputError(f"{path}: holds no audio stream; give a file with sound")
    said = [] if notes is None else notes
    said += [note for note in clock.notes if note not in said]
    samples = _read_stream(path, clock, streams[0], sample_rate, longest)
    taken = streams[0]
    for other in streams[1:]:
        if not is_silent(samples):
            break
        found = _read_stream(path, clock, other, sample_rate, longest)
        if not is_silent(found):
            taken, samples = other, found
    if len(streams) > 1:
        reason = "the default one" if taken == streams[0] else "the first that is not silent"
        said.append(f"{path.name}: has {len(streams)} sound tracks; stream {taken}, {reason}, is taken")
    return samples


def read_if_there(path: Path) -> np.ndarray:
    """Reads the sound of a file at 16 kHz, see `read_audio`; [0] where there is no such file."""
    return read_audio(path) if os.path.lexists(path) else np.zeros(0, np.float32)


def _read_stream(path: Path, clock: Clock, index: int, sample_rate: int, longest: float) -> np.ndarray:
    """Reads one stream's sound, float32 [n] in -1..1."""
    mixer = _Mixer()
    samples = _decoded(path, clock, index, sample_rate, longest, mixer)
    keep = mixer.better()
    if keep is not None:
        samples = _decoded(path, clock, index, sample_rate, longest, _Mixer(keep))
    return np.clip(samples, -1, 1, out=samples)


def _decoded(path: Path, clock: Clock, index: int, sample_rate: int, longest: float, mixer: _Mixer) -> np.ndarray:
    """Decodes one stream's sound, float32 [n], checked to be sound."""

    def check_length(seconds: float) -> None:
        if seconds > longest + GAP_SECONDS:
            raise InputError(f"{path}: its sound is longer than {longest / 60:g} min, which is the most here; give "
                             "a shorter one")  # fmt: skip

    check_length(clock.ends[index])
    with open_media(path) as container:
        stream = container.streams[index]
        decoded = 0.0
        segments: list[tuple[float, list[np.ndarray]]] = []
        resampler: av.AudioResampler | None = None
        form: tuple | None = None
        expected = 0.0
        for packet in clock.packets(container, stream):
            for frame in packet.decode():
                time = expected if frame.time is None else frame.time
                this_form = (frame.format.name, frame.layout.name, frame.sample_rate)
                # A new segment at the start, after a gap, and when the sound's form changes in mid-stream.
                if resampler is None or this_form != form or abs(time - expected) > GAP_SECONDS:
                    if resampler is not None:
                        segments[-1][1].extend(map(mixer, resampler.resample(None)))
                    resampler = av.AudioResampler(format="flt", layout=frame.layout, rate=sample_rate)
                    form, expected = this_form, time
                    segments.append((time, []))
                expected += frame.samples / frame.sample_rate
                decoded += frame.samples / frame.sample_rate
                check_length(max(expected, decoded))  # stretches may lie over one another
                frame.pts = None  # the placing is done here, so the resampler must not do it a second time
                segments[-1][1].extend(map(mixer, resampler.resample(frame)))
        if resampler is None:
            raise InputError(f"{path}: its audio stream is empty or damaged; re-export it")
        segments[-1][1].extend(map(mixer, resampler.resample(None)))

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
    """Writes mono samples, float [n] in -1..1 (clipped), as 16-bit PCM; the file appears whole or not at all.

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
    """Returns whether no window of 1,600 samples (0.1 s at 16 kHz) is louder than threshold_db (RMS, dB of full scale).

    samples: float [n] in -1..1; an empty array is silent.
    """
    samples = np.asarray(samples).reshape(-1)
    windows = (samples[start : start + LOUDNESS_WINDOW] for start in range(0, samples.size, LOUDNESS_WINDOW))
    return not any(np.square(w, dtype=np.float64).mean() >= 10.0 ** (threshold_db / 10.0) for w in windows)
