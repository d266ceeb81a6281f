"""Recordings of a clapper: flashes with beeps, in any container, codec, turn and pixel aspect that PyAV can write."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from aed_nerfstudio.media.audio_io import read_audio
from aed_nerfstudio.media.video_reader import read_frames

RATE = 16000
FPS = 25
FLASH = 0.2
"""Seconds that a flash and its beep last."""


def clapper(
    path: Path,
    seconds: float,
    claps: Sequence[float],
    *,
    size: tuple[int, int] = (64, 48),
    picture: str | None = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    sound: str | None = "aac",
    rate: int = RATE,
    layout: str = "mono",
    aspect: Fraction = Fraction(1),
    full: bool = False,
    offset: float = 0.0,
    late: tuple[float, float] = (0.0, 0.0),
) -> Path:
    """Writes a video that is dark and silent but for the claps, with a red corner in its upper left.

    Args:
        path: its suffix says the container.
        seconds: its length.
        claps: when there are flashes and beeps, seconds.
        size: width and height as stored.
        picture: the codec, None for none. pix_fmt, options: of it.
        sound: the codec, None for none. rate, layout: of it.
        aspect: of a pixel.
        full: range of the colours.
        offset: at which its clock starts, seconds.
        late: when its pictures and its sound begin, seconds.
    """
    times = np.arange(round(seconds * rate)) / rate
    heard = np.zeros(len(times), np.float32)
    for clap in claps:
        part = (times >= clap) & (times < clap + FLASH)
        heard[part] = 0.5 * np.sin(2 * np.pi * 440 * times[part])
    with av.open(str(path), "w", options={"output_ts_offset": str(offset)}) as out:
        if picture:
            video = out.add_stream(picture, rate=FPS, options=options or {})
            video.width, video.height, video.pix_fmt = *size, pix_fmt
            video.codec_context.sample_aspect_ratio = aspect
            if full:
                video.codec_context.color_range = 2
        block = 1
        if sound:
            audio = out.add_stream(sound, rate=rate, layout=layout)
            audio.bit_rate = 96000
            audio.codec_context.open()
            block, form = audio.codec_context.frame_size or rate // 16, audio.codec_context.format.name
            resampler = av.AudioResampler(form, layout, rate)
        # As recorders do it, a second of each in turn.
        for second in range(int(np.ceil(seconds))):
            for k in range(second * FPS, min((second + 1) * FPS, round(seconds * FPS)) if picture else 0):
                if k / FPS < late[0]:
                    continue
                light = any(clap <= k / FPS < clap + FLASH for clap in claps)
                shown = np.full((size[1], size[0], 3), 220 * light + 10, np.uint8)
                shown[: size[1] // 4, : size[0] // 4] = 220, 0, 0
                frame = av.VideoFrame.from_ndarray(shown, "rgb24")
                frame = frame.reformat(format=pix_fmt, dst_color_range=2 if full else 1)
                frame.pts, frame.time_base = k, Fraction(1, FPS)
                out.mux(video.encode(frame))
            first = -(-second * rate // block) * block if sound else 0
            for start in range(first, min((second + 1) * rate, len(heard)) if sound else 0, block):
                if start / rate < late[1]:
                    continue
                part = av.AudioFrame.from_ndarray(heard[None, start : start + block], "fltp", "mono")
                part.sample_rate, part.pts, part.time_base = rate, start, Fraction(1, rate)
                for frame in resampler.resample(part):
                    out.mux(audio.encode(frame))
        out.mux([*(video.encode(None) if picture else []), *(audio.encode(None) if sound else [])])
    return path


def turned(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Writes a matrix into an MP4's first track: (x, y), y downwards, is shown at (a x + c y, b x + d y)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    numbers = (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    data[at : at + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in numbers)
    path.write_bytes(data)
    return path


def starts(there: np.ndarray, rate: float) -> list[float]:
    """Seconds at which something begins that was not there for half a second before."""
    found = np.flatnonzero(there) / rate
    return [float(t) for t, before in zip(found, [-9, *found], strict=False) if t - before > 0.5]


def claps_in(path: Path) -> list[float]:
    """When the flashes are, after checking that every one has its beep within a frame and a half."""
    flashes = starts(np.array([frame.mean() for frame in read_frames(path)]) > 120, FPS)
    beeps = starts(np.abs(read_audio(path)) > 0.2, RATE)
    assert len(flashes) == len(beeps) and np.abs(np.subtract(flashes, beeps)).max() < 1.5 / FPS, (flashes, beeps)
    return flashes
