"""One pass over a video: the face in every frame, where scenes change, and who else is in the picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from aed_nerfstudio.capture.camera_choice import choose_stream
from aed_nerfstudio.capture.landmarks import LONGEST, FaceTracker
from aed_nerfstudio.capture.parallel import ahead
from aed_nerfstudio.dataset.schema import FPS, write_arrays
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.face_mesh import COUNT
from aed_nerfstudio.media.video_reader import fitted, probe, read_frames

THUMBNAIL = (32, 18)  # width, height
# Mean absolute difference of two thumbnails (0..255), and the face's movement in one frame over its height. Of 1 779
# frames of a newsreader 99 % stay below 2.5 and 0.02; another shot is above 12, a jump cut above 4 and 0.03.
CUT_DIFFERENCE = 9.0
JUMP_DIFFERENCE = 3.5
JUMP = 0.03
CUT_RATIO = 5.0  # to what is usual around it: a swinging camera and a nodding head change much in every frame
NEIGHBOURHOOD = 12  # frames on either side
MINIMUM_FACES = 0.02  # of the frames
MINIMUM_SECONDS = 2.0


@dataclass
class VideoTrack:
    """What one pass over a video of F frames (25 a second) saw.

    landmarks: float32 [F, 478, 3] pixels of the video, NaN where the face was lost. others: bool [F], another face
    beside it. thumbnails: uint8 [F, 18, 32, 3]. size: width and height in pixels. stream: index in the file of the
    stream of pictures.
    """

    landmarks: np.ndarray
    others: np.ndarray
    thumbnails: np.ndarray
    size: tuple[int, int]
    stream: int = 0

    def save(self, path: Path, root: Path) -> None:
        """Writes the track; root: the folder that `path` must not lead out of."""
        write_arrays(path, root, **vars(self))

    @classmethod
    def load(cls, path: Path) -> VideoTrack:
        """Reads a track that `save` has written."""
        with np.load(path) as stored:
            width, height = (int(v) for v in stored["size"])
            return cls(stored["landmarks"], stored["others"], stored["thumbnails"], (width, height),
                       int(stored["stream"]))  # fmt: skip


def decoded(video: Path, warnings: list[str], stream: int, longest: int | None = None) -> Iterator[np.ndarray]:
    """Returns the frames of a video; one that breaks off after enough of them is used up to there, with a warning."""
    count = 0
    try:
        for image in read_frames(video, FPS, longest, stream):
            yield image
            count += 1
    except InputError as error:
        if count < MINIMUM_SECONDS * FPS:
            raise
        text = f"{error}; only the first {count / FPS:.1f} s are used"
        if text not in warnings:
            warnings.append(text)


def too_short(video: Path, seconds: float) -> str:
    """Returns the error text for a video of too few seconds."""
    return f"{video}: only {seconds:.1f} s long; give at least {MINIMUM_SECONDS:.0f} s (minutes are better)"


def track_video(video: Path, warnings: list[str], shown) -> VideoTrack:
    """Follows the face through a video; what is odd about the file is added to `warnings`.

    shown: wraps the iterator of frames, for a progress bar.

    Raises:
        InputError: the file cannot be read, is too short, or shows no face.
    """
    stream = choose_stream(video, warnings)
    info = probe(video, stream)
    warnings += info.notes
    size = info.width, info.height
    # Landmarks are found in smaller pictures and told in the video's pixels, z with x.
    scale = np.array(size, np.float32)[[0, 1, 0]] / np.array(fitted(size, LONGEST), np.float32)[[0, 1, 0]]
    broken: list[str] = []
    lost = np.full((COUNT, 3), np.nan, np.float32)
    tracked, others, thumbnails = [], [], []
    with FaceTracker() as tracker:
        for image in shown(ahead(decoded(video, broken, stream, LONGEST))):
            small = cv2.resize(image, THUMBNAIL, interpolation=cv2.INTER_AREA)
            if thumbnails and _difference(small, thumbnails[-1]) > JUMP_DIFFERENCE:
                tracker.forget()
            points = tracker.track(image)
            tracked.append(lost if points is None else points * scale)
            others.append(tracker.others)
            thumbnails.append(small)
    count = len(tracked)
    if count < MINIMUM_SECONDS * FPS:
        raise InputError(too_short(video, count / FPS))
    warnings += broken
    if not broken and count / FPS < 0.9 * info.declared:
        # Some containers (Matroska) do not tell the reader that they were cut off; the stated length does.
        warnings.append(f"{video.name}: states {info.declared:.1f} s and ends after {count / FPS:.1f} s; cut off?")
    if 0 < info.fps < FPS - 1:
        warnings.append(f"{video.name}: has {info.fps:.0f} frames a second, so some are shown twice and the lips "
                        f"stutter; film at {FPS} or more")  # fmt: skip
    landmarks = np.stack(tracked)
    if np.isfinite(landmarks[:, 0, 0]).sum() < max(1, MINIMUM_FACES * count):
        raise InputError(f"no face found in {video}; give a video in which one person faces the camera, well lit")
    return VideoTrack(landmarks, np.array(others), np.stack(thumbnails), size, stream)


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(np.int16) - b).mean())


def find_cuts(track: VideoTrack) -> tuple[list[int], list[tuple[int, int]]]:
    """Returns where the picture changes at once.

    Returns the frames with which a new take begins (hard cuts and jump cuts; fades are none), and the stretches [a, b)
    of up to half a second after which all is as it was before: flashes and inserted frames.
    """
    small = track.thumbnails.astype(np.int16)
    count = len(small)
    change = np.zeros(count)
    change[1:] = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2, 3))
    height = np.nanmedian(np.ptp(track.landmarks[..., 1], axis=1))
    jump = np.zeros(count)
    moved = np.linalg.norm(np.diff(track.landmarks[..., :2], axis=0), axis=-1).mean(axis=1) / height
    jump[1:] = np.nan_to_num(moved)
    cuts: list[int] = []
    inserts: list[tuple[int, int]] = []
    for k in np.flatnonzero((change > CUT_DIFFERENCE) | ((change > JUMP_DIFFERENCE) & (jump > JUMP))).tolist():
        if inserts and k <= inserts[-1][1]:
            continue
        around = np.r_[max(k - NEIGHBOURHOOD, 1) : k, k + 1 : min(k + NEIGHBOURHOOD + 1, count)]
        sudden = change[k] > CUT_RATIO * np.median(change[around])
        sudden &= change[k] > CUT_DIFFERENCE or jump[k] > CUT_RATIO * np.median(jump[around])
        if not sudden:
            continue
        later = range(k + 1, min(k + NEIGHBOURHOOD + 1, count))
        back = next((n for n in later if _difference(small[k - 1], small[n]) < change[k] / 3), None)
        if back is None:
            cuts.append(k)
        else:
            inserts.append((k, back))
    return cuts, inserts
