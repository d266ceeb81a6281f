"""Tracking one face through a video, the fixed head crop, and measures taken on landmarks.

Landmarks are float32 [478, 3]: x and y in pixels, z in pixels too (smaller is closer to the camera).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import gaussian_filter1d

from aed_nerfstudio.face.face_finder import FaceFinder
from aed_nerfstudio.face.face_mesh import EYES, LIPS

LONGEST = 1280  # pixels: FaceMesh looks at 192 x 192 of the face, so more costs time and tells nothing
SMOOTHING = 0.7  # frames: enough to calm the jitter of single frames, too little to lag behind a nod
LOST_FRAMES = 25  # after this many frames without the face its last place says nothing any more
# Where the finder takes every frame for itself, the part around the face is looked at before the whole frame: a face of
# 147 of 720 pixels is found there as well as in a close-up. Mouth openings then agree with those of the close-up with
# r .98, and .63 without; of a face of 134 pixels all frames are found instead of 61 to 74 %. (200 frames of a
# newsreader with MediaPipe 1.2.3, pasted into 1280x720; sides of 1.5 to 3 times the face's were alike.)
NEAR = 3.0  # the part's side, over the face's longer one
WHOLE_EVERY = 5  # frames: how often the whole frame is looked at all the same, for other faces
FACE_SHARE = 0.53  # of the crop's height: FaceMesh's oval is about 3/4 of the head with its hair
HEAD_CROP = (0.38, 0.75)  # a square video whose face height is in this range is a head crop already


@dataclass
class FaceTracker:
    """Follows one face: the largest at first, then the one nearest to where it was.

    others: whether the last frame that was looked at as a whole showed another face beside it.
    """

    others: bool = False
    _finder: FaceFinder = field(default_factory=lambda: FaceFinder(still=False, max_faces=3), repr=False)
    _previous: np.ndarray | None = field(default=None, repr=False)
    _lost: int = 0
    _since_whole: int = 0

    def __enter__(self) -> FaceTracker:
        self._finder.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._finder.__exit__()

    def track(self, image: np.ndarray) -> np.ndarray | None:
        """Returns the face's landmarks in one frame, uint8 [H, W, 3] RGB -> float32 [478, 3] pixels, or None."""
        chosen = self._choose(self._look_closer(image))
        self._since_whole += 1
        if chosen is None or self._since_whole >= WHOLE_EVERY:
            faces = _usable(self._finder.find(image))
            self.others, self._since_whole = _several(faces), 0
            chosen = self._choose(faces) if chosen is None else chosen
        if chosen is None:
            self._lost += 1
        else:
            self._lost, self._previous = 0, chosen
        return chosen

    def _choose(self, faces: list[np.ndarray]) -> np.ndarray | None:
        """Returns which of the faces, each [478, 3], is the one that is followed; None if it is someone else's."""
        if not faces:
            return None
        if self._previous is None or self._lost > LOST_FRAMES:
            return max(faces, key=_height)
        distances = np.linalg.norm(_centres(faces) - _centres([self._previous]), axis=1)
        nearest = int(distances.argmin())
        return None if distances[nearest] > 1.5 * _height(self._previous) else faces[nearest]

    def _look_closer(self, image: np.ndarray) -> list[np.ndarray]:
        """Returns the faces around where the face was in the frame before; none where the finder itself looks there."""
        if self._finder.uses_last_frame or self._previous is None or self._lost > LOST_FRAMES:
            return []
        part, left, top = around_face(image, self._previous)
        shift = np.array([left, top, 0], np.float32)
        return [face + shift for face in _usable(self._finder.find(part))] if part.size else []

    def forget(self) -> None:
        """Notes that the next frame has nothing to do with the last one: its largest face is taken."""
        self._previous = None


def around_face(image: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Returns the part of a picture [H, W, 3] around a face [478, 3], and its left and top; empty where the face is
    outside.
    """
    low, high = face[:, :2].min(axis=0), face[:, :2].max(axis=0)
    reach = NEAR * float((high - low).max())
    left, top = np.maximum((low + high - reach) / 2, 0).astype(int).tolist()
    right, bottom = np.ceil((low + high + reach) / 2).astype(int).tolist()
    return image[top:bottom, left:right], left, top


def _usable(faces: list[np.ndarray]) -> list[np.ndarray]:
    return [face for face in faces if np.isfinite(face).all() and _height(face) > 8]


def _height(face: np.ndarray) -> float:
    return float(np.ptp(face[:, 1]))


def _centres(faces: list[np.ndarray]) -> np.ndarray:
    return np.array([face[:, :2].mean(axis=0) for face in faces])


def _several(faces: list[np.ndarray]) -> bool:
    """Returns whether the faces are of several people: MediaPipe sometimes follows the same face twice, so they must
    lie apart.
    """
    if len(faces) < 2:
        return False
    centres, largest = _centres(faces), int(np.argmax([_height(face) for face in faces]))
    return bool(np.linalg.norm(centres - centres[largest], axis=1).max() > _height(faces[largest]) / 2)


def is_head_crop(landmarks: np.ndarray, width: int, height: int) -> bool:
    """Returns whether a video of width x height pixels is a square head crop already.

    landmarks: [F, 478, 3] pixels, NaN where the face was lost.
    """
    if width != height:
        return False
    share = float(np.nanmedian(np.ptp(landmarks[..., 1], axis=1))) / height
    return HEAD_CROP[0] <= share <= HEAD_CROP[1]


def head_crop(landmarks: np.ndarray, width: int, height: int) -> tuple[int, int, int]:
    """Returns the fixed square around head and shoulders: left, top and side in pixels; it may pass the frame's
    borders.

    landmarks: [F, 478, 3] pixels, NaN where the face was lost.
    """
    if is_head_crop(landmarks, width, height):
        return 0, 0, width
    low = np.nanmedian(landmarks[..., :2].min(axis=1), axis=0)
    high = np.nanmedian(landmarks[..., :2].max(axis=1), axis=0)
    side = float(high[1] - low[1]) / FACE_SHARE
    side = min(side, float(max(width, height)))
    # Where the face is large in a small frame the crop is shrunk to the frame rather than padded, down to a face
    # of 65 % of the height; only what lies beyond that is padded.
    side = max(min(side, float(min(width, height))), float(high[1] - low[1]) / 0.65)
    centre = (low + high) / 2
    # FaceMesh's oval ends at the hair line: hair needs room above, shoulders below.
    left, top = centre[0] - side / 2, centre[1] - 0.53 * side
    if side <= width:
        left = min(max(left, 0.0), width - side)
    if side <= height:
        top = min(max(top, 0.0), height - side)
    return round(left), round(top), round(side)


def cut(image: np.ndarray, crop: tuple[int, int, int], size: int) -> np.ndarray:
    """Returns the crop of a frame, uint8 [H, W, 3], resized to [size, size, 3]; borders repeat where the crop passes
    them.
    """
    import cv2

    left, top, side = crop
    height, width = image.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    part = image[y0:y1, x0:x1]
    pads = (y0 - top, top + side - y1, x0 - left, left + side - x1)
    if any(pads):
        part = cv2.copyMakeBorder(part, *pads, cv2.BORDER_REPLICATE)
    if part.shape[0] != size:
        part = cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC)
    return part


def to_crop(landmarks: np.ndarray, crop: tuple[int, int, int], size: int) -> np.ndarray:
    """Returns landmarks [..., 3] of the frame's pixels in the crop's, after its resizing to size x size."""
    left, top, side = crop
    return ((landmarks - np.array([left, top, 0])) * (size / side)).astype(np.float32)


def in_picture(landmarks: np.ndarray, size: int) -> np.ndarray:
    """Returns whether the face is there and at most a fifth of its landmarks outside; [F, 478, 3] -> bool [F]."""
    inside = ((landmarks[..., :2] >= 0) & (landmarks[..., :2] < size)).all(axis=-1)
    return np.isfinite(landmarks).all(axis=(1, 2)) & (inside.mean(axis=1) >= 0.8)


def runs(usable: np.ndarray) -> list[slice]:
    """Returns the uninterrupted stretches of usable frames, bool [F]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], usable.astype(np.int8), [0]])))
    return [slice(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def smooth(values: np.ndarray, usable: np.ndarray, sigma: float) -> np.ndarray:
    """Smooths values [F, ...] over time by a Gaussian (sigma in frames), never across unusable frames."""
    out = np.array(values, copy=True)
    for run in runs(usable):
        out[run] = gaussian_filter1d(values[run].astype(np.float64), sigma, axis=0, mode="nearest")
    return out


def smooth_landmarks(landmarks: np.ndarray) -> np.ndarray:
    """Returns landmarks [F, 478, 3] without the jitter of single frames; the lips' stay as seen, for they do move that
    fast.
    """
    out = smooth(landmarks, np.asarray(np.isfinite(landmarks).all(axis=(1, 2))), SMOOTHING)
    out[:, LIPS] = landmarks[:, LIPS]
    return out.astype(np.float32)


def eye_openness(landmarks: np.ndarray) -> np.ndarray:
    """Returns how far the eyes are open, [F, 478, 3] -> float [F]: 0 closed, 1 as at the 95th percentile of the clip.

    The mean of both eyes' aspect ratios; NaN frames give 1.
    """
    ratios = []
    for a, b, u1, l1, u2, l2 in EYES:
        lids = [np.linalg.norm(landmarks[:, u, :2] - landmarks[:, d, :2], axis=1) for u, d in ((u1, l1), (u2, l2))]
        ratios.append(sum(lids) / (2 * np.linalg.norm(landmarks[:, a, :2] - landmarks[:, b, :2], axis=1)))
    ratio = np.mean(ratios, axis=0)
    if not np.isfinite(ratio).any():
        return np.ones(len(ratio))
    return np.clip(np.nan_to_num(ratio / max(float(np.nanpercentile(ratio, 95)), 1e-6), nan=1.0), 0.0, 1.0)
