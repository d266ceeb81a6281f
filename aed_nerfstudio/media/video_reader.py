"""Reading video files: what is in them, and their frames at a constant rate.

Times are seconds on the file's time line (see `clock`), whose zero is the earliest start of its pictures and its sound;
`audio_io.read_audio` uses the same, so frame k of `read_frames` belongs to sample k / fps * sample_rate. Sizes and
pixels are those of the pictures as shown (see `appearance`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
import av.container
import numpy as np

from aed_nerfstudio.media.appearance import Appearance, check_size, deinterlaced
from aed_nerfstudio.media.clock import Clock, read_clock
from aed_nerfstudio.media.containers import damaged, open_media, picture_stream, picture_streams, sound_streams

# Containers such as Matroska round time stamps to a millisecond: a frame may be late by that without being late.
TIME_SLACK = 0.002
# A stream is called truncated when it ends this much (both of the two) before the length that its header declares.
TRUNCATED_SECONDS = 0.5
TRUNCATED_FRACTION = 0.1
# FFmpeg's own decoders of these leave the transparency out.
WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds.

    width, height: pixels, as shown. fps: average frames per second. duration: seconds from the time line's zero to the
    end of the video stream. declared: seconds that its header states. rotation: degrees anti-clockwise by which the
    stored frames are turned for display (0, 90, 180 or 270; None where they are mirrored). notes: what is odd about the
    file and was mended in reading.
    """

    width: int
    height: int
    fps: float
    duration: float
    declared: float
    has_audio: bool
    rotation: int | None
    notes: tuple[str, ...] = ()

    @property
    def longest(self) -> float:
        """Returns the seconds that it has, or would have were it not cut off."""
        return max(self.duration, self.declared)


def fitted(size: tuple[int, int], longest: int | None) -> tuple[int, int]:
    """Returns width and height of a picture that is made smaller until no side is longer than `longest` pixels."""
    share = min(1.0, (longest or max(size)) / max(size))
    return max(1, round(share * size[0])), max(1, round(share * size[1]))


def video_streams(path: str | Path) -> list[int]:
    """Returns the indices in the file of its moving-picture streams, the one that players show first.

    Raises InputError where there is none.
    """
    with open_media(path) as container:
        picture_stream(container, Path(path))
        return [stream.index for stream in picture_streams(container)]


def probe(path: str | Path, stream: int | None = None) -> VideoInfo:
    """Describes a video file: reads its clock, which the first time takes all of the file, and decodes its first frame.

    stream: index of the stream of pictures; the default one when None.

    Raises InputError when the file is missing, holds no video or holds no frame that can be decoded.
    """
    path = Path(path)
    clock = read_clock(path, stream)
    with open_media(path) as container:
        pictures = _open_stream(container, path, stream)
        rate = pictures.average_rate or pictures.guessed_rate
        has_audio = bool(sound_streams(container))
        frame = next(_decoded(container, pictures, clock), None)
        if frame is None:
            raise damaged(path, "no frame could be decoded")
        shown = Appearance(path, pictures, frame)
        notes = (*clock.notes, *shown.notes(frame))
        length = clock.ends[pictures.index]
        # Where the clock jumps, the stated length is that of the jump.
        declared = length if clock.notes or container.duration is None else container.duration / av.time_base
        return VideoInfo(*shown.size, float(rate or 0.0), length, declared, has_audio, shown.turn.rotation, notes)


def _open_stream(container: av.container.InputContainer, path: Path, index: int | None) -> av.VideoStream:
    """Returns a stream of pictures, ready to be decoded."""
    stream = picture_stream(container, path, index)
    check_size(path, stream.codec_context.width, stream.codec_context.height)
    stream.thread_type = "AUTO"
    return stream


def _decoded(container: av.container.InputContainer, stream: av.VideoStream, clock: Clock) -> Iterator[av.VideoFrame]:
    """Yields a stream's frames, with times from the time line's zero."""
    decoder: av.VideoCodecContext = stream.codec_context
    if stream.metadata.get("alpha_mode") == "1" and decoder.name in WITH_ALPHA:
        decoder = cast(av.VideoCodecContext, av.CodecContext.create(WITH_ALPHA[decoder.name], "r"))
    for packet in clock.packets(container, stream):
        if packet.size or packet.dts is None:  # else: the picture before stands on
            yield from decoder.decode(packet)


def read_frames(
    path: str | Path, fps: float = 25.0, longest: int | None = None, stream: int | None = None
) -> Iterator[np.ndarray]:
    """Streams a video's frames at a constant rate, whatever its own rate is.

    longest: pixels; larger pictures are made smaller until their longer side fits, which is cheap while decoding.
    stream: index of the stream of pictures; the default one when None.
    Yields uint8 [H, W, 3] RGB, all of the size that `probe` tells, `fitted` to `longest`; item k is the frame shown
    at k / fps seconds: the latest one that starts no later. A stream that starts late has its first frame repeated in
    front. An array may be yielded more than once, so copy it before changing it. Memory: one frame.

    Raises InputError when the file is missing, is no video, holds no frame, fails to decode part-way, has contradictory
    clocks, changes its size, or (after its frames have been yielded) ends far short of the length it declares.
    """
    path = Path(path)
    if not fps > 0:
        raise ValueError(f"fps must be positive, not {fps}")
    clock = read_clock(path, stream)
    with open_media(path) as container:
        pictures = _open_stream(container, path, stream)
        frames = deinterlaced(_decoded(container, pictures, clock), pictures)
        first = next(frames, None)
        if first is None:
            raise damaged(path, "no frame could be decoded")
        appearance = Appearance(path, pictures, first)
        source_fps = float(pictures.average_rate or pictures.guessed_rate or fps)
        k = 0
        for shown, until in _shown(path, first, frames, pictures, clock, source_fps):
            image = None
            while k / fps < until - TIME_SLACK:
                # Only frames that are shown are converted: the conversion costs about as much as the decoding.
                if image is None:
                    image = appearance.picture(shown, fitted(appearance.size, longest))
                yield image
                k += 1


def _shown(
    path: Path,
    first: av.VideoFrame,
    others: Iterable[av.VideoFrame],
    pictures: av.VideoStream,
    clock: Clock,
    source_fps: float,
) -> Iterator[tuple[av.VideoFrame, float]]:
    """Yields the frames of a stream, each with the time up to which it is shown; the first stands in from zero on.

    source_fps: for the lengths of frames that say none.

    Raises InputError, after the last frame, when the stream ends far short of the length that it declares.
    """
    shown = first
    first_time = 0.0 if first.time is None else first.time
    since = max(first_time, 0.0)
    for frame in others:
        time = since + 1.0 / source_fps if frame.time is None else frame.time
        yield shown, time
        shown, since = frame, max(time, since)
    length = float(shown.duration * (shown.time_base or 0)) if shown.duration else 1.0 / source_fps
    # A last frame of nearly no length is still shown if an output instant falls on it.
    end = since + max(min(length, clock.standing), 2 * TIME_SLACK)
    yield shown, end
    if pictures.duration is not None and not clock.notes:
        declared = float(pictures.duration * (pictures.time_base or 0))
        missing = declared - (end - first_time)
        if missing > max(TRUNCATED_SECONDS, TRUNCATED_FRACTION * declared):
            raise damaged(path, f"it declares {declared:.1f} s of video and ends {missing:.1f} s early")
