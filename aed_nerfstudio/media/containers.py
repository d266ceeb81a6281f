"""Opening media files, and which of their streams are taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import av.container
import av.error
import av.stream

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.outside import regular_file

# FFmpeg opens still images and plain text as "video"; neither can be one here.
NOT_VIDEO_FORMATS = ("image2", "_pipe", "tty")
# These hold the names of other files, or addresses, whose contents FFmpeg would then give as theirs.
PLAYLISTS = {"concat", "dash", "hls", "imf", "rtsp", "sdp", "webm_dash_manifest"}
SOUND_RATES = (1000, 768_000)
"""Samples a second: beyond these a header is junk, or asks for far more sound than the file holds."""


def damaged(path: Path, error: object = "") -> InputError:
    """Returns the error for a file whose contents break off: names it, FFmpeg's reason, and the mend."""
    reason = f" ({error})" if error else ""
    return InputError(f"{path}: truncated or damaged; re-export it{reason}")


@contextmanager
def open_media(path: str | Path) -> Iterator[av.container.InputContainer]:
    """Opens a media file for reading.

    Raises InputError when the file is missing, is no regular file, cannot be read or is no media file; and when FFmpeg
    fails on it inside the `with` block.
    """
    path = Path(path)
    regular_file(path, "give a video or audio file")
    try:
        # With `file:` a colon in the name begins no protocol. Undecodable text in tags (old cameras) is no reason to
        # refuse the pictures.
        container = av.open(f"file:{path}", metadata_errors="ignore")
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


def picture_streams(container: av.container.InputContainer) -> list[av.VideoStream]:
    """Returns the moving-picture streams, without cover art and still images.

    Those that players show by default come first.
    """
    name = container.format.name
    if any(part in name for part in NOT_VIDEO_FORMATS):
        return []
    still = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    found = [s for s in container.streams.video if not s.disposition & still and s.codec_context is not None]
    return sorted(found, key=_not_default)


def picture_stream(container: av.container.InputContainer, path: Path, index: int | None = None) -> av.VideoStream:
    """Returns a moving-picture stream: the default one, or the one of that index in the file.

    Raises InputError when there is none.
    """
    streams = [s for s in picture_streams(container) if index in (None, s.index)]
    if not streams:
        raise InputError(f"{path}: holds no video stream; give a video file such as .mp4")
    return streams[0]


def sound_streams(container: av.container.InputContainer) -> list[av.AudioStream]:
    """Returns the sound streams that can be decoded, those that players play by default first.

    Raises InputError when one claims a rate of samples that no sound has.
    """
    found = [s for s in container.streams.audio if s.codec_context is not None]
    for stream in found:
        rate = stream.codec_context.sample_rate
        if rate and not SOUND_RATES[0] <= rate <= SOUND_RATES[1]:
            raise InputError(f"{container.name.removeprefix('file:')}: claims {rate} samples of sound a second; export "
                             f"it again with a usual rate, such as 48000")  # fmt: skip
    return sorted(found, key=_not_default)


def _not_default(stream: av.stream.Stream) -> bool:
    """Returns whether a stream is not one that players take by default."""
    return not stream.disposition & av.stream.Disposition.default
