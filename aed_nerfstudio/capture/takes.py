"""From tracked videos to clips: uninterrupted takes of one scene, and the crop around the head that they share."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from aed_nerfstudio.capture.landmarks import head_crop, in_picture, to_crop
from aed_nerfstudio.capture.tracking import MINIMUM_SECONDS, THUMBNAIL, VideoTrack, find_cuts
from aed_nerfstudio.dataset.schema import FPS
from aed_nerfstudio.errors import InputError

SAME_SCENE = 14.0  # mean difference of the thumbnails' backgrounds, 0..255
ENOUGH = 12  # of the thumbnails' 576 pixels must show background to compare by it
SAME_SIZE = 1.5  # ratio of the faces' heights
SHARED_CROP = 0.9  # of the frames with a face must fit into the common crop


@dataclass
class Take:
    """Frames `first` to `first + count` of a video (25 a second), and the square (left, top, side; pixels) cut out."""

    name: str
    video: int
    first: int
    count: int
    crop: tuple[int, int, int] = (0, 0, 0)

    def as_dict(self) -> dict:
        """Returns it as JSON holds it."""
        return asdict(self)


def _clock(frame: int) -> str:
    seconds = frame / FPS
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"


def _scene(track: VideoTrack, a: int, b: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns median thumbnail [18, 32, 3] of frames a..b, where it shows background (bool [18, 32]), and the face's
    height.
    """
    picks = np.unique(np.linspace(a, b - 1, 50).astype(int))
    picture = np.median(track.thumbnails[picks], axis=0)
    landmarks = track.landmarks[a:b]
    landmarks = landmarks[np.isfinite(landmarks[:, 0, 0])]
    if not len(landmarks):
        return picture, np.ones(picture.shape[:2], bool), np.nan
    scale = np.array(THUMBNAIL) / track.size
    low = np.median(landmarks[..., :2].min(axis=1), axis=0) * scale
    high = np.median(landmarks[..., :2].max(axis=1), axis=0) * scale
    wide, tall = high - low
    ys, xs = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    head = (np.abs(xs - (low[0] + high[0]) / 2) < wide) & (ys > low[1] - 0.6 * tall)
    body = (np.abs(xs - (low[0] + high[0]) / 2) < 2.2 * wide) & (ys > high[1] - 0.1 * tall)
    return picture, ~(head | body), float(np.median(np.ptp(landmarks[..., 1], axis=1)))


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
    picture, free, height = _scene(track, *parts[main])
    takes = []
    for a, b in parts:
        other_picture, other_free, other_height = _scene(track, a, b)
        both = free & other_free
        both = both if both.sum() >= ENOUGH else np.ones_like(both)
        difference = float(np.abs(picture - other_picture)[both].mean())
        ratio = max(height, other_height) / min(height, other_height)
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
    """Gives every take its crop: videos of one size were filmed by one camera and share one.

    Raises:
        InputError: a face is never wholly in the picture.
    """
    for width, height in dict.fromkeys(tracks[take.video].size for take in takes):
        group = [take for take in takes if tracks[take.video].size == (width, height)]
        points = [tracks[take.video].landmarks[take.first : take.first + take.count] for take in group]
        shared = head_crop(np.concatenate(points), width, height)
        for take, landmarks in zip(group, points, strict=True):
            take.crop = shared
            fits = in_picture(to_crop(landmarks, shared, size), size)
            faces = np.isfinite(landmarks[:, 0, 0]).sum()
            own = head_crop(landmarks, width, height)
            if len(group) > 1 and fits.sum() < SHARED_CROP * faces:
                # As large as the shared one, so that the focal length stays one.
                middle = np.array(own[:2]) + own[2] / 2 - shared[2] / 2
                take.crop = (round(middle[0]), round(middle[1]), shared[2])
                fits = in_picture(to_crop(landmarks, take.crop, size), size)
                warnings.append(f"{videos[take.video].name}: the head is elsewhere than in the other videos, so "
                                "the background cannot fit; film all of them with one still camera")  # fmt: skip
            if not fits.any():
                raise InputError(f"{videos[take.video]}: the face is never wholly in the picture; film head and "
                                 "shoulders")  # fmt: skip
