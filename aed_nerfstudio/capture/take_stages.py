"""The first stages: faces are tracked through the videos, and these are split into takes with a crop for all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from aed_nerfstudio.capture.context import VERSION, Capture
from aed_nerfstudio.capture.sources import Source
from aed_nerfstudio.capture.takes import Take, crop_takes, split_takes
from aed_nerfstudio.capture.tracking import VideoTrack, track_video
from aed_nerfstudio.capture.upright import LOOKED_AT, FewPictures, turn_command, turned
from aed_nerfstudio.dataset.schema import FPS
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.engine import engine_name
from aed_nerfstudio.face.face_mesh import COUNT
from aed_nerfstudio.files import digest, stamp
from aed_nerfstudio.media.video_reader import probe

FIRST_ENGINE = "mediapipe 0.10.9 face mesh"
"""What found faces before there was a choice: folders begun with it go on, so its name is in no stage's key."""


def track_key(video: Path, engine: str) -> str:
    """Returns the digest of what a video's tracks are made from, and with it all that follows.

    engine: the name of what finds faces.
    """
    return digest(VERSION, stamp(video), *([] if engine == FIRST_ENGINE else [engine]))


def track_videos(run: Capture) -> tuple[list[str], list[VideoTrack]]:
    """Makes the stages `track:`: returns the key and the track of every video.

    Raises:
        InputError: no face is found in a video, or it lies on its side.
    """
    keys, tracks = [], []
    for source in run.sources:
        keys.append(track_key(source.video, engine_name()))
        run.stage(f"track:{source.name}", keys[-1], partial(_track, run, source))
        tracks.append(read_track(run, source))
    return keys, tracks


def read_track(run: Capture, source: Source) -> VideoTrack:
    """Reads the track of a video that was tracked."""
    return VideoTrack.load(run.work_file("track", source.name))


def _track(run: Capture, source: Source, _: bool) -> dict:
    warnings: list[str] = []
    few = FewPictures()
    total = round(probe(source.video).duration * FPS) or None

    def shown(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        return few.watch(run.bar(frames, total, f"track {source.name}"))

    try:
        track = track_video(source.video, warnings, shown)
    except InputError:
        _check_upright(source.video, few.kept, None)  # where no face is found, that may be why
        raise
    _check_upright(source.video, few.kept, track)
    track.save(run.work_file("track", source.name), run.root)
    return {"warnings": warnings}


def _check_upright(video: Path, pictures: dict[int, np.ndarray], track: VideoTrack | None) -> None:
    """Raises InputError where the video lies on its side or upside down; pictures: some of it, by frame."""
    marks = {k: np.full((COUNT, 3), np.nan, np.float32) for k in pictures}
    if track:
        scale = {k: np.float32(picture.shape[1] / track.size[0]) for k, picture in pictures.items()}
        marks = {k: track.landmarks[k] * scale[k] for k in pictures}
        marks = {k: points for k, points in marks.items() if np.isfinite(points).all()}
    picks = [list(marks)[n] for n in np.unique(np.linspace(0, len(marks) - 1, LOOKED_AT).astype(int))] if marks else []
    quarters = turned([pictures[k] for k in picks], [marks[k] for k in picks])
    if quarters:
        how = "upside down" if quarters == 2 else "on its side"
        raise InputError(f"{video}: the face lies {how}; turn the video with {turn_command(quarters)}")


def cut_takes(run: Capture, keys: list[str], tracks: list[VideoTrack]) -> list[Take]:
    """Makes the stage `takes`: returns the takes of all videos; keys: of their tracks."""
    found = run.stage("takes", digest(keys, run.size), lambda _: _cut(run, tracks))
    takes = [Take(**{**take, "crop": tuple(take["crop"])}) for take in found["takes"]]
    run.stages.remember(take.name for take in takes)
    return takes


def _cut(run: Capture, tracks: list[VideoTrack]) -> dict:
    warnings: list[str] = []
    takes: list[Take] = []
    for number, (source, track) in enumerate(zip(run.sources, tracks, strict=True)):
        takes += split_takes(source.video, number, source.name, track, warnings)
    crop_takes(takes, tracks, [source.video for source in run.sources], run.size, warnings)
    return {"takes": [take.as_dict() for take in takes], "warnings": warnings}
