"""Which of several streams of pictures in one file shows the person."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from aed_nerfstudio.capture.landmarks import LONGEST
from aed_nerfstudio.face.face_finder import FaceFinder
from aed_nerfstudio.media.video_reader import probe, read_frames, video_streams

LOOKS = 5
SECONDS = 4.0  # between two of them


def choose_stream(video: Path, warnings: list[str]) -> int:
    """Returns the index in the file of the stream of pictures to take: the default one, or the first one with a face.

    warnings: where there are several, which one is taken is added.

    Raises InputError when the file holds no pictures.
    """
    streams = video_streams(video)
    if len(streams) == 1:
        return streams[0]
    with FaceFinder() as finder:
        found = next((index for index in streams if _shows_face(video, index, finder)), streams[0])
    info = probe(video, found)
    reason = "which is the default one" if found == streams[0] else "because the default one shows no face"
    warnings.append(f"{video.name}: has {len(streams)} picture tracks; stream {found} ({info.width}x{info.height}) is "
                    f"taken, {reason}")  # fmt: skip
    return found


def _shows_face(video: Path, index: int, finder: FaceFinder) -> bool:
    pictures = read_frames(video, 1 / SECONDS, LONGEST, index)
    return any(finder.find(picture) for picture in islice(pictures, LOOKS))
