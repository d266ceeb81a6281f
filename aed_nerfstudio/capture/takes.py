"""From tracked videos to clips: uninterrupted takes of one scene, and the crop around the head that they share."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from aed_nerfstudio.capture.landmarks import head_crop, in_picture, to_crop
from aed_nerfstudio.capture.take_cameras import (
    ENOUGH,
    TakeView,
    beyond,
    by_camera,
    common_crops,
    compared,
    measure_heads,
    scene,
)
from aed_nerfstudio.capture.tracking import MINIMUM_SECONDS, VideoTrack, find_cuts
from aed_nerfstudio.dataset.schema import FPS
from aed_nerfstudio.errors import InputError

SAME_SCENE = 14.0  # mean difference of the thumbnails' backgrounds, 0..255
SAME_SIZE = 1.5  # ratio of the faces' heights
SHARED_CROP = 0.9  # of the frames with a face must fit into the common crop
MADE_UP = 0.15  # of a crop that fits other cameras' may lie beyond the picture's borders, where nothing is to be seen


@dataclass
class Take:
    """Frames `first` to `first + count` of a video (25 a second), and the square (left, top, side; pixels) cut out.

    camera: the number of its camera. zoom, moved: how much larger the head is in the video than in those of the first
    camera, and by which shares of the width it lies to the right and below; of takes of that camera 1 and 0.
    """

    name: str
    video: int
    first: int
    count: int
    crop: tuple[int, int, int] = (0, 0, 0)
    camera: int = 0
    zoom: float = 1.0
    moved: tuple[float, float] = (0.0, 0.0)

    def as_dict(self) -> dict:
        """Returns it as JSON holds it."""
        return asdict(self)


def _clock(frame: int) -> str:
    seconds = frame / FPS
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"


def split_takes(video: Path, number: int, name: str, track: VideoTrack, warnings: list[str]) -> list[Take]:
    """Returns the takes of one video: split at cuts; other scenes and stretches under two seconds are left out and
    named.

    Raises:
        InputError: nothing is left.
    """
    cuts, inserts = find_cuts(track)
    for a, b in inserts:
        track.landmarks[a:b] = np.nan  # somebody else's face, if any
        warnings.append(f"{video.name}: {_clock(a)}-{_clock(b)} shows something else; these frames are left out")
    borders = [0, *cuts, len(track.landmarks)]
    parts = list(zip(borders[:-1], borders[1:], strict=True))
    faces = [np.isfinite(track.landmarks[a:b, 0, 0]).sum() for a, b in parts]
    main = int(np.argmax(faces))
    usual = scene(track, *parts[main])
    takes = []
    for a, b in parts:
        other = scene(track, a, b)
        both = usual.free & other.free
        both = both if both.sum() >= ENOUGH else np.ones_like(both)
        difference = float(np.abs(usual.picture - other.picture)[both].mean())
        ratio = max(usual.height, other.height) / min(usual.height, other.height)
        span = f"{_clock(a)}-{_clock(b)}"
        if not np.isfinite(ratio):
            warnings.append(f"{video.name}: {span} shows no face and is left out")
        elif difference > SAME_SCENE or ratio > SAME_SIZE:
            warnings.append(f"{video.name}: {span} shows another scene and is left out")
        elif b - a < MINIMUM_SECONDS * FPS:
            warnings.append(f"{video.name}: {span} between two cuts is too short and is left out")
        else:
            takes.append(Take(name, number, a, b - a))
    if not takes:
        times = ", ".join(_clock(cut) for cut in cuts)
        raise InputError(f"{video}: is cut at {times}; no stretch of {MINIMUM_SECONDS:.0f} s shows one person in one "
                         "scene; give an uncut recording")  # fmt: skip
    if len(takes) > 1:
        warnings.append(f"{video.name}: has cuts; it is split into {len(takes)} clips")
        for k, take in enumerate(takes):
            take.name = f"{name}.{k + 1}"
    return takes


def crop_takes(takes: list[Take], tracks: list[VideoTrack], videos: list[Path], size: int, warnings: list[str]) -> None:
    """Gives every take its crop: those of one camera share one, and those of several show the head alike.

    Raises:
        InputError: a face is never wholly in the picture, or takes are too different for one avatar.
    """
    views = [scene(tracks[take.video], take.first, take.first + take.count) for take in takes]
    measure_heads(views)
    cameras = by_camera(views)
    if len(cameras) == 1:
        every = np.concatenate([view.landmarks for view in views])
        crops = [head_crop(every, *views[0].size)]
    else:
        crops = common_crops([[views[k] for k in camera] for camera in cameras])
        _compare(takes, views, cameras, crops, videos, warnings)
    for camera, crop in zip(cameras, crops, strict=True):
        for k in camera:
            takes[k].crop = crop
            _check_crop(takes[k], tracks[takes[k].video], videos[takes[k].video], size, len(camera) > 1, warnings)


def _check_crop(take: Take, track: VideoTrack, video: Path, size: int, shared: bool, warnings: list[str]) -> None:
    """Gives a take a crop of its own where the head is elsewhere than in the others of its camera.

    Raises:
        InputError: the face is never wholly in the picture.
    """
    landmarks = track.landmarks[take.first : take.first + take.count]
    fits = in_picture(to_crop(landmarks, take.crop, size), size)
    faces = np.isfinite(landmarks[:, 0, 0]).sum()
    if shared and fits.sum() < SHARED_CROP * faces:
        own, side = head_crop(landmarks, *track.size), take.crop[2]
        # As large as the shared one, so that the focal length stays one.
        middle = np.array(own[:2]) + own[2] / 2 - side / 2
        take.crop = (round(middle[0]), round(middle[1]), side)
        fits = in_picture(to_crop(landmarks, take.crop, size), size)
        warnings.append(f"{video.name}: the head is elsewhere than in the other videos, so the background cannot fit; "
                        "film all of them with one still camera")  # fmt: skip
    if not fits.any():
        raise InputError(f"{video}: the face is never wholly in the picture; film head and shoulders")


def _compare(
    takes: list[Take], views: list[TakeView], cameras: list[list[int]], crops: list[tuple[int, int, int]],
    videos: list[Path], warnings: list[str],
) -> None:  # fmt: skip
    """Notes how the takes of other cameras differ from those of the first one.

    Raises:
        InputError: by too much.
    """
    first = views[cameras[0][0]]
    for number, (camera, crop) in enumerate(zip(cameras, crops, strict=True)):
        view, video = views[camera[0]], videos[takes[camera[0]].video]
        own = head_crop(view.landmarks, *view.size)
        if (empty := beyond(crop, view.size)) > beyond(own, view.size) + MADE_UP:
            raise InputError(f"{video}: the head is so near to the border, or so large, that {empty:.0%} of what the "
                             "other videos show around it is missing; film it with as much room, or leave the video "
                             "out")  # fmt: skip
        zoom, moved = compared(first, view)
        for k in camera:
            takes[k].camera, takes[k].zoom, takes[k].moved = number, zoom, moved
        if number:
            names = ", ".join(takes[k].name for k in camera)
            across, down = moved
            warnings.append(f"{names}: filmed by another camera or elsewhere: the head is {zoom:.2f} times as large as "
                            f"in {takes[0].name} and lies {across:+.0%} of the width across and {down:+.0%} down; all "
                            "are cropped to look alike")  # fmt: skip
