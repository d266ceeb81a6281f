"""Whether the face of a video stands upright: a wrong rotation flag lays the head on its side or upside down.

Landmarks do not tell. A face that lies on its side is found as such, but on one that is upside down they lie as if it
stood, on hair and forehead. So a picture is looked at in all four turns: of these, only the one that puts the face
upside down shows it wrong, and three of four agree on where its chin is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from aed_nerfstudio.capture.landmarks import around_face
from aed_nerfstudio.face.face_finder import FaceFinder
from aed_nerfstudio.face.face_mesh import CHIN, FOREHEAD

AGREED = 0.6  # of the looks: 0.75 when all goes well
FEWEST = 6  # looks that found a face
LOOKED_AT = 6  # pictures


class FewPictures:
    """Keeps a few pictures of a video, evenly spread, while its frames pass.

    kept: picture by frame, `LOOKED_AT` to twice as many (fewer of a shorter video).
    """

    def __init__(self) -> None:
        self.kept: dict[int, np.ndarray] = {}

    def watch(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Returns the same frames; of some the picture is kept."""
        step = 1
        for k, image in enumerate(frames):
            if k % step == 0:
                self.kept[k] = image
            if len(self.kept) > 2 * LOOKED_AT:
                step *= 2
                self.kept = {n: picture for n, picture in self.kept.items() if n % step == 0}
            yield image


def roll(landmarks: np.ndarray) -> np.ndarray:
    """Returns degrees by which a face is turned clockwise in its picture, [..., 478, >=2] -> [...]: 0 with the chin
    below.
    """
    x, y = np.moveaxis(landmarks[..., CHIN, :2] - landmarks[..., FOREHEAD, :2], -1, 0)
    return np.degrees(np.arctan2(-x, y))


def turn_command(quarters: int) -> str:
    """Returns what turns a video anti-clockwise by quarter turns; also FFmpeg of before 6.0, which sets no rotation
    flags.
    """
    how = {1: "transpose=2", 2: "hflip,vflip", 3: "transpose=1"}[quarters % 4]
    return f"`ffmpeg -i IN -vf {how} -crf 16 -c:a copy OUT`"


def turned(pictures: Sequence[np.ndarray], landmarks: Sequence[np.ndarray]) -> int | None:
    """Returns by how many quarter turns anti-clockwise a video must be turned to stand upright: 0 to 3; None if that is
    unsure.

    pictures: uint8 [H, W, 3] RGB. landmarks: of each [478, 3], its pixels, NaN where no face was found: then the whole
    picture is looked at.

    Raises InputError: see `FaceFinder`.
    """
    votes = np.zeros(4, int)
    with FaceFinder() as finder:
        for picture, points in zip(pictures, landmarks, strict=True):
            part = _around(picture, points)
            for quarter in range(4):
                found = finder.landmarks(np.ascontiguousarray(np.rot90(part, quarter)))
                if np.isfinite(found).all():
                    votes[(quarter + round(float(roll(found)) / 90)) % 4] += 1
    best = int(votes.argmax())
    return best if votes.sum() >= FEWEST and votes[best] >= AGREED * votes.sum() else None


def _around(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns the part of a picture around a face."""
    if not np.isfinite(points).all():
        return picture
    part, _, _ = around_face(picture, points)
    return part if part.size else picture
