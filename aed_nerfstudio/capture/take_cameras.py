"""Whether takes were filmed by one camera, and the crops that bring those of several into one.

A crop with another side and place is another focal length and principal point. Over the few degrees that a head turns,
zoom and distance look alike, and so do a shifted principal point and a head that is held elsewhere. So of a take that
shows another room, the difference of the head's size and place is taken for the camera's: after cropping, every take
shows the head as large and at the same place, and one camera fits all of them. What is wrong then is the perspective
alone: of a take filmed from 1.5 times the distance, points at the face's rim and 5 cm before or behind its middle lie
0.6 % of the picture's width off, and nothing that is drawn from the recorded poses shows it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from aed_nerfstudio.capture.face_shape import mean_face, rough_poses
from aed_nerfstudio.capture.landmarks import head_crop
from aed_nerfstudio.capture.tracking import THUMBNAIL, VideoTrack

ENOUGH = 12
"""Of the thumbnails' 576 pixels must show background to compare by it."""
SAME_ROOM = 5.0
"""Grey levels between the thumbnails' backgrounds, each channel's brightness set equal."""
STILL_ROOM = 1.5
"""The same of a camera that stood still: what compression and light leave."""
SAME_SIZE = 1.1
"""Ratio of the heads' median sizes: what leaning towards a camera at arm's length does not reach."""
SAME_PLACE = 0.06
"""Shares of the picture's width between the heads' median places."""
UNSEEN_SIZE, UNSEEN_PLACE = 1.25, 0.15
"""The same two where no background is seen: an actor of MEAD differs by 1.14 and 0.06 between takes of one session."""
LARGEST_FACE = 0.65
"""Of the crop's height: a face is shown as large as this, so that no crop passes its picture's borders."""
ASIDE = 0.12
"""Of the crop's side: how far the face may lie from where it usually does, for the same reason."""
STEPS = 40
"""Sides that are tried."""


@dataclass
class TakeView:
    """What a take shows: thumbnail [18, 32, 3] and where that shows background (bool [18, 32]), width and height of the
    video, landmarks [F, 478, 3] of the frames with a face. scale, place: medians of the head's pixels a cm, and of the
    pixel [2] of its origin between the ears.
    """

    picture: np.ndarray
    free: np.ndarray
    size: tuple[int, int]
    landmarks: np.ndarray
    scale: float = 1.0
    place: tuple[float, float] = (0.0, 0.0)

    @property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the face's usual left and top [2], and right and bottom."""
        points = self.landmarks[..., :2]
        return np.median(points.min(axis=1), axis=0), np.median(points.max(axis=1), axis=0)

    @property
    def height(self) -> float:
        """Returns the face's usual height, pixels; NaN without a face."""
        return float(np.median(np.ptp(self.landmarks[..., 1], axis=1))) if len(self.landmarks) else np.nan


def scene(track: VideoTrack, a: int, b: int) -> TakeView:
    """Returns what frames a..b of a video show; without a face all of the thumbnail is background."""
    picks = np.unique(np.linspace(a, b - 1, 50).astype(int))
    picture = np.median(track.thumbnails[picks], axis=0)
    landmarks = track.landmarks[a:b]
    landmarks = landmarks[np.isfinite(landmarks[:, 0, 0])]
    view = TakeView(picture, np.ones(picture.shape[:2], bool), track.size, landmarks)
    if not len(landmarks):
        return view
    low, high = (corner * np.array(THUMBNAIL) / track.size for corner in view.box)
    wide, tall = high - low
    ys, xs = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    head = (np.abs(xs - (low[0] + high[0]) / 2) < wide) & (ys > low[1] - 0.6 * tall)
    body = (np.abs(xs - (low[0] + high[0]) / 2) < 2.2 * wide) & (ys > high[1] - 0.1 * tall)
    view.free = ~(head | body)
    return view


def measure_heads(views: list[TakeView]) -> None:
    """Sets the head's scale and place in all views of one person, each of which shows a face."""
    marks = np.concatenate([view.landmarks for view in views])
    face = mean_face(marks, np.ones(len(marks), bool))
    for view in views:
        scale, _, shift = rough_poses(view.landmarks, face)
        view.scale, view.place = float(np.median(scale)), tuple(np.median(shift, axis=0).tolist())


def room_difference(one: TakeView, other: TakeView, zoomed: bool = False) -> float | None:
    """Returns how far two takes' backgrounds differ, grey levels, each channel made as bright; None: too little of both
    is seen.

    zoomed: the other one's is laid over the first as the head's size and place would have it.
    """
    picture, free = other.picture.astype(np.float32), other.free
    if zoomed:
        zoom, _ = compared(one, other)
        cells = np.array(THUMBNAIL) / [one.size, other.size]
        here, there = np.array([one.place, other.place]) * cells
        ys, xs = np.mgrid[: free.shape[0], : free.shape[1]] + 0.5
        x, y = (((v - a) * zoom + b - 0.5).astype(np.float32) for v, a, b in zip((xs, ys), here, there, strict=True))
        picture = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        free = cv2.remap(free.astype(np.uint8), x, y, cv2.INTER_NEAREST) > 0
    both = one.free & free
    if both.sum() < ENOUGH:
        return None
    a, b = np.asarray(one.picture[both], np.float32), np.asarray(picture[both], np.float32)
    gain = np.median(a, axis=0) / np.maximum(np.median(b, axis=0), 1.0)
    return float(np.abs(a - b * np.clip(gain, 0.5, 2.0)).mean())


def share_camera(one: TakeView, other: TakeView) -> bool:
    """Returns whether a still camera may have filmed both: pictures of one size and, where the head has another size or
    place, the same room behind it, which did not become larger or move with the head. Tight pictures of heads show no
    room; of these only large differences count.
    """
    if one.size != other.size:
        return False
    zoom, moved = compared(one, other)
    if max(zoom, 1 / zoom) < SAME_SIZE and np.hypot(*moved) < SAME_PLACE:
        return True
    difference = room_difference(one, other)
    if difference is None:
        return max(zoom, 1 / zoom) < UNSEEN_SIZE and np.hypot(*moved) < UNSEEN_PLACE
    if difference > SAME_ROOM:
        return False
    with_head = room_difference(one, other, zoomed=True)
    return difference < STILL_ROOM or with_head is None or with_head > difference / 2


def compared(one: TakeView, other: TakeView) -> tuple[float, tuple[float, float]]:
    """Returns how much larger the head is in the other take's pictures, these as wide as the first's, and by which
    shares of the width it lies to the right and below.
    """
    width = one.size[0] / other.size[0]
    place = (np.array(other.place) / other.size[0] - np.array(one.place) / one.size[0]).tolist()
    return other.scale * width / one.scale, (place[0], place[1])


def by_camera(views: list[TakeView]) -> list[list[int]]:
    """Returns the takes' numbers, those of one camera together, in the order of each camera's first take."""
    groups: list[list[int]] = []
    for k, view in enumerate(views):
        known = next((group for group in groups if share_camera(views[group[0]], view)), None)
        groups.append([k]) if known is None else known.append(k)
    return groups


def common_crops(cameras: list[list[TakeView]]) -> list[tuple[int, int, int]]:
    """Returns a crop (left, top, side) for each camera, in all of which the head is as large and at the same place.

    As much is shown as fits into the pictures of all; only where even large faces do not fit, crops pass the borders.
    """
    scales = np.array([np.median([view.scale for view in views]) for views in cameras])
    places = np.array([np.median([view.place for view in views], axis=0) for views in cameras])
    sizes = np.array([views[0].size for views in cameras])
    own, tall, middle = [], [], []
    for views, scale, place in zip(cameras, scales, places, strict=True):
        own.append(head_crop(np.concatenate([view.landmarks for view in views]), *views[0].size)[2] / scale)
        low, high = np.median([view.box for view in views], axis=0)
        tall.append((high[1] - low[1]) / scale)
        middle.append((place - (low + high) / 2) / scale)
    # In centimetres of the head: the crop's side, and where in it the head's origin lies.
    least = min(max(tall) / LARGEST_FACE, min(own))
    for side in np.linspace(min(own), least, STEPS):
        wanted = np.median(middle, axis=0) + np.array([0.5, 0.53]) * side
        low, high = (side - (sizes - places) / scales[:, None]).max(axis=0), (places / scales[:, None]).min(axis=0)
        at = np.clip(wanted, np.minimum(low, (low + high) / 2), np.maximum(high, (low + high) / 2))
        at = np.clip(at, wanted - ASIDE * side, wanted + ASIDE * side)
        if (low <= at).all() and (at <= high).all():
            break
    corners = places - at * scales[:, None]
    sides = np.round(side * scales).astype(int).tolist()
    return [(round(x), round(y), s) for (x, y), s in zip(corners.tolist(), sides, strict=True)]


def beyond(crop: tuple[int, int, int], size: tuple[int, int]) -> float:
    """Returns which share of a crop lies outside of its picture of a width and height."""
    left, top, side = crop
    inside = [max(0, min(a + side, whole) - max(a, 0)) for a, whole in zip((left, top), size, strict=True)]
    return 1 - inside[0] * inside[1] / side**2
