"""Reading video files: what is in them, and their frames at a constant rate.

Times are seconds on the file's time line, whose zero is the earliest start of any of its audio and video streams;
`audio_io.read_audio` uses the same zero, so frame k of `read_frames` belongs to sample k / fps * sample_rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from aed_nerfstudio.errors import InputError

# Containers such as Matroska round time stamps to a millisecond: a frame may be late by that without being late.
TIME_SLACK = 0.002
# A stream is called truncated when it ends this much (both of the two) before the length that its header declares.
TRUNCATED_SECONDS = 0.5
TRUNCATED_FRACTION = 0.1
# A picture that stands longer than this, seconds, is a gap: a small file could ask for days of it.
LONGEST_GAP = 600.0
# FFmpeg opens still images and plain text as "video"; neither can be one here.
NOT_VIDEO_FORMATS = ("image2", "_pipe", "tty")
# These hold the names of other files, or addresses, whose contents FFmpeg would then give as theirs.
PLAYLISTS = {"concat", "dash", "hls", "imf", "rtsp", "sdp", "webm_dash_manifest"}


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds.

    width, height: pixels, after rotation. fps: average frames per second. duration: seconds of the video stream.
    rotation: degrees anti-clockwise by which the stored frames are turned for display (0, 90, 180 or 270).
    """

    width: int
    height: int
    fps: float
    duration: float
    has_audio: bool
    rotation: int


def damaged(path: Path, error: object = "") -> InputError:
    """The error for a file whose contents break off: names it, FFmpeg's reason, and the mend."""
    reason = f" ({error})" if error else ""
    return InputError(f"{path}: truncated or damaged; re-export it{reason}")


@contextmanager
def open_media(path: str | Path) -> Iterator[av.container.InputContainer]:
    """Open a media file for reading.

    Raises InputError when the file is missing, is a folder, cannot be read or is no media file; and when FFmpeg
    fails on it inside the `with` block.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path")
    if not path.is_file():
        raise InputError(f"{path}: not a file; give a video or audio file")
    try:
        # Undecodable text in tags (old cameras) is no reason to refuse the pictures.
        container = av.open(str(path), metadata_errors="ignore")
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read; check its permissions") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a readable video or audio file, or cut off; re-export it as .mp4 or .wav ({error})"
        ) from error
    with container:
        if PLAYLISTS & set(container.format.name.split(",")):
            raise InputError(f"{path}: is a playlist, which names other files; give the media file itself")
        try:
            yield container
        except av.error.FFmpegError as error:
            raise damaged(path, error) from error


def video_streams(container: av.container.InputContainer) -> list:
    """The moving-picture streams: cover art and still images left out."""
    name = container.format.name
    if any(part in name for part in NOT_VIDEO_FORMATS):
        return []
    attached = av.stream.Disposition.attached_pic
    return [s for s in container.streams.video if not s.disposition & attached and s.codec_context is not None]


def time_zero(container: av.container.InputContainer) -> float:
    """Seconds, on the container's own clock, of the earliest start of any audio or moving-picture stream."""
    streams = [*video_streams(container), *container.streams.audio]
    starts = [float(s.start_time * s.time_base) for s in streams if s.start_time is not None]
    return min(starts, default=0.0)


def _first_video_stream(container: av.container.InputContainer, path: Path):
    """The first moving-picture stream; InputError when there is none."""
    streams = video_streams(container)
    if not streams:
        raise InputError(f"{path}: holds no video stream; give a video file such as .mp4")
    return streams[0]


def _quarter_turns(frame: av.VideoFrame) -> int:
    """Anti-clockwise quarter turns (0..3) that the display matrix asks for; other angles go to the nearest."""
    return round(frame.rotation / 90) % 4


def _rgb(frame: av.VideoFrame, longest: int | None) -> np.ndarray:
    """The frame as shown: uint8 [H, W, 3] RGB with its rotation applied, and no side longer than `longest` pixels."""
    share = min(1.0, (longest or frame.width) / max(frame.width, frame.height))
    if share < 1:
        frame = frame.reformat(max(1, round(share * frame.width)), max(1, round(share * frame.height)), "rgb24")
    image = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(image, _quarter_turns(frame)))


def _gap(path: Path, start: float, end: float) -> InputError:
    return InputError(f"{path}: holds no picture from {start:.0f} s to {end:.0f} s; cut it there, or export it again "
                      "without the gap")  # fmt: skip


def probe(path: str | Path) -> VideoInfo:
    """Describe a video file; decodes its first frame only (the rotation is attached to frames).

    Raises InputError when the file is missing, holds no video or holds no frame that can be decoded.
    """
    path = Path(path)
    with open_media(path) as container:
        stream = _first_video_stream(container, path)
        rate = stream.average_rate or stream.guessed_rate
        if stream.duration is not None:
            duration = float(stream.duration * stream.time_base)
        else:
            duration = (container.duration or 0) / av.time_base
        has_audio = bool(container.streams.audio)
        frame = next(container.decode(stream), None)
        if frame is None:
            raise damaged(path, "no frame could be decoded")
        turns = _quarter_turns(frame)
        width, height = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
        return VideoInfo(width, height, float(rate or 0.0), duration, has_audio, 90 * turns)


def read_frames(path: str | Path, fps: float = 25.0, longest: int | None = None) -> Iterator[np.ndarray]:
    """Stream a video's frames at a constant rate, whatever its own rate is.

    longest: pixels; larger pictures are made smaller until their longer side fits, which is cheap while decoding.
    Yields uint8 [H, W, 3] RGB (rotation applied); item k is the frame shown at k / fps seconds: the latest one
    that starts no later. A stream that starts late has its first frame repeated in front. An array may be yielded
    more than once, so copy it before changing it. Memory: one frame.

    Raises InputError when the file is missing, is no video, holds no frame, fails to decode part-way, has a gap of more
    than ten minutes, or (after its frames have been yielded) ends far short of the length it declares.
    """
    path = Path(path)
    if not fps > 0:
        raise ValueError(f"fps must be positive, not {fps}")
    with open_media(path) as container:
        stream = _first_video_stream(container, path)
        stream.thread_type = "AUTO"
        zero = time_zero(container)
        source_fps = float(stream.average_rate or stream.guessed_rate or fps)
        shown: av.VideoFrame | None = None
        image: np.ndarray | None = None
        shown_time = 0.0
        k = 0
        for frame in container.decode(stream):
            if frame.time is not None:
                time = frame.time - zero
            else:
                time = shown_time + 1.0 / source_fps if shown is not None else 0.0
            if time - shown_time > LONGEST_GAP:
                raise _gap(path, shown_time, time)
            if shown is not None:
                # Every output instant before this frame starts still shows the frame before it. Only frames that
                # are shown are converted: the conversion costs about as much as the decoding.
                while k / fps < time - TIME_SLACK:
                    if image is None:
                        image = _rgb(shown, longest)
                    yield image
                    k += 1
                time = max(time, shown_time)
            else:
                # Late start: the first frame stands in from the time line's zero.
                first_time, time = time, max(time, 0.0)
            shown, shown_time, image = frame, time, None
        if shown is None:
            raise damaged(path, "no frame could be decoded")
        length = float(shown.duration * shown.time_base) if shown.duration else 1.0 / source_fps
        if length > LONGEST_GAP:
            raise _gap(path, shown_time, shown_time + length)
        # A last frame of nearly no length is still shown if an output instant falls on it.
        end = shown_time + max(length, 2 * TIME_SLACK)
        while k / fps < end - TIME_SLACK or k == 0:
            if image is None:
                image = _rgb(shown, longest)
            yield image
            k += 1
        if stream.duration is not None:
            declared = float(stream.duration * stream.time_base)
            missing = declared - (end - first_time)
            if missing > max(TRUNCATED_SECONDS, TRUNCATED_FRACTION * declared):
                raise damaged(path, f"it declares {declared:.1f} s of video and ends {missing:.1f} s early")
