"""Tracks of points on the rigid part of a head: every frame is matched against a few keyframes, of its clip or another.

A track is a point of one keyframe; all its other places are measured directly against that keyframe's picture, so
nothing drifts, however long the recording is, and clips of one person hang together. A frame is first bent into the
keyframe's view by the landmarks' rough pose, then dense optical flow (DIS) finds what is left, and Lucas-Kanade on the
full resolution sharpens it at the points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from aed_nerfstudio.capture.bundle_adjustment import USUAL_SHARE, landmark_poses
from aed_nerfstudio.face.face_mesh import BROWS, CHIN, EYE_RINGS, FOREHEAD, NOSE_BASE, NOSE_BRIDGE, OVAL

KEYFRAMES = 12  # at most, new ones in one clip
KEYFRAME_FOUND = 0.3  # of a keyframe's points; where fewer are found in a frame it is as good as none
KEYFRAME_TURN = 7.0  # degrees from the nearest keyframe at which a frame becomes one itself
KEYFRAME_ZOOM = 0.12  # the same for the size of the face
MATCHED = 3  # keyframes that a frame is compared with
POINTS = 250  # of one keyframe
WORK_SIZE = 320  # pixels: larger faces are shrunk to it
MARGIN = 12
DETAIL = 6  # pixels: light and shade that change more slowly than this are taken out before matching
LEAST_FACING = 0.4  # cosine between a point's normal and the view, below which it may hide or slide along the contour
CHECK = 3.0  # standard deviations by which a match may miss its start on the way back
WINDOW = 19
LEAST_TEXTURE = 4.0  # squared grey levels, larger eigenvalue of the structure tensor
BEST_MATCH = 0.08  # pixels: the error of a match where texture is plenty
PICTURE_NOISE = 0.9  # grey levels over the window: a match's variance is its square over the structure tensor


@dataclass
class RigidTracks:
    """What the flow saw in one clip: N observations of tracks, of which P begin in this clip.

    frame: int32 [N], index in the clip, ascending. point: int32 [N], numbers over all clips, in their order. xy:
    float32 [N, 2], pixels (pixel centres at .5). weight: float32 [N], 0..1. precision: float32 [P, 2, 2], 1 / pixels^2,
    inverse covariance of a track's places by its texture (on an edge only one direction is seen). start: float32
    [P, 3], cm in the head frame: roughly where the points lie. keyframes: int32 [K], index in the clip.
    """

    frame: np.ndarray
    point: np.ndarray
    xy: np.ndarray
    weight: np.ndarray
    precision: np.ndarray
    start: np.ndarray
    keyframes: np.ndarray


@dataclass
class _View:
    """The rough pose of one frame, as in `bundle_adjustment`: pixels from `centre`."""

    rotation: np.ndarray
    scale: float
    origin: np.ndarray
    kappa: float
    centre: float


@dataclass
class _Keyframe:
    view: _View
    picture: np.ndarray
    """Detail of the face, uint8 [h, w]."""
    first: int
    """Number of its first track."""
    points: np.ndarray
    """Places of its tracks in `picture`, float32 [n, 2], pixel centres at integers."""
    surface: np.ndarray
    """Where each pixel's point lies from the head's origin, head axes, cm: float32 [h, w, 3]."""
    normals: np.ndarray
    """Of the tracks' points, head axes: [n, 3]."""
    start: np.ndarray
    """The tracks' points in the head frame, cm: [n, 3]."""
    precision: np.ndarray
    """Of the tracks by their texture, see RigidTracks: [n, 2, 2]."""


def _depth(points: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Returns a smooth depth at places grid [h, w, 2] from landmarks [478, 3] in the same axes.

    A quadric through them all, which also goes on into the hair, and what the face differs from it.
    """
    centre, extent = points[:, :2].mean(axis=0), np.ptp(points[:, 1]) / 2
    bend = _quadric((points[:, :2] - centre) / extent)
    coefficients = np.linalg.lstsq(bend, points[:, 2], rcond=None)[0]
    rest = points[:, 2] - bend @ coefficients
    # On a coarse grid: the rest is smooth, and dies away outside the face.
    coarse = np.ascontiguousarray(grid[::6, ::6])
    squared = ((coarse[:, :, None] - points[:, :2]) ** 2).sum(axis=-1)
    near = np.exp(-squared / (2 * (0.05 * extent) ** 2))
    smooth = (near @ rest) / (near.sum(axis=-1) + 0.05)
    height, width = grid.shape[:2]
    rows, columns = np.meshgrid(np.arange(height) / 6, np.arange(width) / 6, indexing="ij")
    smooth = cv2.remap(
        smooth.astype(np.float32),
        columns.astype(np.float32),
        rows.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return _quadric((grid - centre) / extent) @ coefficients + smooth


def _quadric(xy: np.ndarray) -> np.ndarray:
    x, y = xy[..., 0], xy[..., 1]
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1)


def _hull(landmarks: np.ndarray) -> np.ndarray:
    """Returns the outline [n, 2] of forehead, temples and the hair above them, down to the nose's base, pixels."""
    oval = landmarks[OVAL, :2]
    centre, up = landmarks[NOSE_BRIDGE, :2], landmarks[FOREHEAD, :2] - landmarks[CHIN, :2]
    up = up / np.linalg.norm(up)
    height = (oval - centre) @ up
    above = height > 0
    lifted = oval.copy()
    # The skull goes on above the hair line, less so at the temples.
    reach = np.clip(height / height.max(), 0, 1)
    lifted[above] += ((0.55 * reach * height)[:, None] * up)[above]
    base = (landmarks[NOSE_BASE, :2] - centre) @ up
    below = height < base
    lifted[below] += ((base - height)[:, None] * up)[below]
    return lifted


def rigid_mask(landmarks: np.ndarray, shape: tuple[int, int], origin: np.ndarray, zoom: float) -> np.ndarray:
    """Returns where tracks may start, uint8 [h, w] (255 or 0), in a cut of the picture that begins at `origin`.

    landmarks: [478, 3] pixels. Eyes with their lids, brows, and all below the nose are left out.
    """
    mask = np.zeros(shape, np.uint8)
    place = (landmarks[:, :2] - origin) * zoom - 0.5
    outline = (_hull(landmarks) - origin) * zoom - 0.5
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(outline).astype(np.int32)), (255,))
    for ring in (*EYE_RINGS, *BROWS):
        cv2.fillConvexPoly(mask, cv2.convexHull(np.round(place[ring]).astype(np.int32)), (0,))
    return mask


def _detail(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns fine structure, float32 [h, w] grey levels, and the same at an even contrast, uint8 [h, w].

    What changes slowly is mostly the light.
    """
    fine = picture - _blur(picture, DETAIL)
    contrast = np.sqrt(_blur(fine * fine, 2 * DETAIL))
    return fine, np.clip(128 + 48 * fine / (contrast + 3.0), 0, 255).astype(np.uint8)


def _structure(fine: np.ndarray) -> np.ndarray:
    """Returns the structure tensor, mean over a window: [h, w, 2, 2], squared grey levels a pixel."""
    across, down = (cv2.Sobel(fine, cv2.CV_32F, *d, ksize=3, scale=1 / 8) for d in ((1, 0), (0, 1)))
    pairs = (across, across), (across, down), (down, down)
    xx, xy, yy = (cv2.blur(cv2.multiply(*pair), (WINDOW, WINDOW)) for pair in pairs)
    return np.stack([np.stack([xx, xy], -1), np.stack([xy, yy], -1)], -2)


def _spread(score: np.ndarray) -> np.ndarray:
    """Returns the best place of each cell of a grid, if it is good enough: x and y, int [n, 2]; score: [h, w]."""
    step = max(4, int(np.sqrt((score > 0).sum() / POINTS)))
    height, width = (n // step * step for n in score.shape)
    cells = score[:height, :width].reshape(height // step, step, width // step, step).transpose(0, 2, 1, 3)
    cells = cells.reshape(height // step, width // step, -1)
    best = cells.argmax(axis=-1)
    row, column = np.nonzero(cells.max(axis=-1) > LEAST_TEXTURE)
    inner = best[row, column]
    return np.stack([column * step + inner % step, row * step + inner // step], axis=1)


def _blur(picture: np.ndarray, radius: int) -> np.ndarray:
    """Blurs by two box filters: as good as a Gaussian here, and as fast at any radius."""
    size = (2 * radius + 1, 2 * radius + 1)
    return cv2.blur(cv2.blur(picture, size), size)


class HeadTracker:
    """Tracks through the clips of one person filmed by one camera, one clip after another.

    face: [478, 3] cm, the person's mean face. size: pixels of the square pictures.
    """

    def __init__(self, face: np.ndarray, size: int) -> None:
        self._face, self._size = face, size
        self._keyframes: list[_Keyframe] = []
        self._points = 0
        self._flow = cv2.DISOpticalFlow.create(0)
        self._flow.setFinestScale(1)

    def track(self, frames: Iterable[np.ndarray], landmarks: np.ndarray) -> RigidTracks:
        """Tracks of one clip; frames are read one after another and not kept.

        frames: uint8 [S, S, 3], F of them. landmarks: [F, 478, 3] pixels, NaN where the face was lost; those frames
        are passed over.
        """
        views = self._views(landmarks)
        seen, keyframes, known = [], [], len(self._keyframes)
        for f, picture in enumerate(frames):
            if f not in views:
                continue
            grey = _grey(picture)
            near = self._nearest(views[f])[:MATCHED]
            found = [(keyframe, *self._match(grey, views[f], keyframe)) for _, keyframe in near]
            share = max((np.count_nonzero(weights) / max(1, len(weights)) for _, _, weights in found), default=0.0)
            if len(keyframes) < KEYFRAMES and (not near or near[0][0] > 1 or share < KEYFRAME_FOUND):
                keyframe, pixels = self._add(grey, landmarks[f], views[f])
                keyframes.append(f)
                found.append((keyframe, pixels, np.ones(len(pixels))))
            for keyframe, places, weights in found:
                kept = np.flatnonzero(weights)
                seen.append((np.full(len(kept), f), keyframe.first + kept, places[kept], weights[kept]))
        new = self._keyframes[known:]
        types = {"frame": np.int32, "point": np.int32, "xy": np.float32, "weight": np.float32}
        columns = zip(*seen, strict=True) if seen else [np.zeros((1, 0)), np.zeros((1, 0)), np.zeros((1, 0, 2)),
                                                         np.zeros((1, 0))]  # fmt: skip
        parts = {name: np.concatenate(column).astype(types[name]) for name, column in zip(types, columns, strict=True)}
        return RigidTracks(
            **parts,
            precision=np.concatenate([np.zeros((0, 2, 2)), *(k.precision for k in new)]).astype(np.float32),
            start=np.concatenate([np.zeros((0, 3)), *(k.start for k in new)]).astype(np.float32),
            keyframes=np.array(keyframes, np.int32),
        )

    def remember(self, picture: Callable[[int], np.ndarray], landmarks: np.ndarray, keyframes: np.ndarray) -> None:
        """Stands in for `track` for a clip that was tracked in an earlier run: makes its keyframes again.

        picture: a frame of the clip by its index. landmarks: as for `track`. keyframes: of its `RigidTracks`.
        """
        views = self._views(landmarks)
        for f in keyframes.tolist():
            self._add(_grey(picture(f)), landmarks[f], views[f])

    def _views(self, landmarks: np.ndarray) -> dict[int, _View]:
        """Returns the rough poses of a clip's frames, by their index."""
        index = np.flatnonzero(np.isfinite(landmarks).all(axis=(1, 2)))
        if not index.size:
            return {}
        poses, kappa = landmark_poses(landmarks[index], self._face, self._size), 1 / (USUAL_SHARE * self._size)
        return {f: _View(poses.rotation[k], float(poses.scale[k]), poses.origin[k], kappa, self._size / 2)
                for k, f in enumerate(index.tolist())}  # fmt: skip

    def _nearest(self, view: _View) -> list[tuple[float, _Keyframe]]:
        """Returns keyframes by how far their view lies from this one, 1 being the distance at which one is due."""
        found = []
        for keyframe in self._keyframes:
            cosine = (np.trace(keyframe.view.rotation.T @ view.rotation) - 1) / 2
            turn = np.degrees(np.arccos(np.clip(cosine, -1, 1))) / KEYFRAME_TURN
            zoom = abs(np.log(keyframe.view.scale / view.scale)) / KEYFRAME_ZOOM
            found.append((float(np.hypot(turn, zoom)), keyframe))
        return sorted(found, key=lambda pair: pair[0])

    def _add(self, grey: np.ndarray, landmarks: np.ndarray, view: _View) -> tuple[_Keyframe, np.ndarray]:
        """Makes a keyframe of a frame; returns it and the pixels [n, 2] of its tracks."""
        outline = _hull(landmarks)
        low, high = np.floor(outline.min(axis=0)) - MARGIN, np.ceil(outline.max(axis=0)) + MARGIN
        zoom = min(1.0, WORK_SIZE / float((high - low).max()))
        width, height = (int(v) for v in np.ceil((high - low) * zoom))
        columns, rows = np.meshgrid(np.arange(width), np.arange(height))
        pixels = (np.stack([columns, rows], axis=-1) + 0.5) / zoom + low
        places = pixels - view.centre
        turned = self._face @ view.rotation.T * view.scale
        flat = (turned[:, :2] + view.origin) / (1 + view.kappa * turned[:, 2:])
        depth = _depth(np.column_stack([flat, turned[:, 2]]), places)[..., None]
        surface = np.dstack([places * (1 + view.kappa * depth) - view.origin, depth]) @ view.rotation / view.scale
        fine, picture = _detail(_sample(grey, pixels, zoom))
        mask = rigid_mask(landmarks, (height, width), low, zoom)
        normals = np.cross(np.gradient(surface, axis=0), np.gradient(surface, axis=1))
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
        mask[_facing(normals, view) < LEAST_FACING] = 0
        inside = cv2.erode(mask, np.ones((5, 5), np.uint8)) > 0
        tensor = _structure(fine)
        index = _spread(np.where(inside, np.linalg.eigvalsh(tensor)[..., 1], 0))
        points = index.astype(np.float32)
        at = index[:, 1], index[:, 0]
        spread = PICTURE_NOISE**2 * np.linalg.inv(tensor[at] + 0.02 * np.eye(2)) + BEST_MATCH**2 * np.eye(2)
        # Measured in work pixels, wanted in the frame's.
        precision = np.linalg.inv(spread / zoom**2)
        surface = surface.astype(np.float32)
        keyframe = _Keyframe(view, picture, self._points, points, surface, normals[at], surface[at], precision)
        self._points += len(points)
        self._keyframes.append(keyframe)
        return keyframe, pixels[at]

    def _match(self, grey: np.ndarray, view: _View, keyframe: _Keyframe) -> tuple[np.ndarray, np.ndarray]:
        """Returns a keyframe's points in a frame: pixels [n, 2] and weights [n], 0 where they were not found."""
        # Every pixel of the keyframe in this frame, by the rough pose.
        turned = keyframe.surface @ (view.scale * view.rotation.T).astype(np.float32)
        guess = (turned[..., :2] + view.origin.astype(np.float32)) / (1 + view.kappa * turned[..., 2:]) + view.centre
        _, bent = _detail(_sample(grey, guess, 1.0))
        made_here: Any = None  # the flow, which the stubs want to be given
        flow = self._flow.calc(keyframe.picture, bent, made_here)
        start = keyframe.points
        seen = start + cv2.remap(flow, start[:, :1], start[:, 1:], cv2.INTER_LINEAR)[:, 0]
        options = {"winSize": (WINDOW, WINDOW), "maxLevel": 0, "flags": cv2.OPTFLOW_USE_INITIAL_FLOW,
                   "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.005)}  # fmt: skip
        seen, found, _ = cv2.calcOpticalFlowPyrLK(keyframe.picture, bent, start, seen, **options)
        back, returned, _ = cv2.calcOpticalFlowPyrLK(bent, keyframe.picture, seen, start.copy(), **options)
        miss = np.sqrt(np.einsum("ni,nij,nj->n", back - start, keyframe.precision, back - start))
        good = (found[:, 0] > 0) & (returned[:, 0] > 0) & (miss < CHECK)
        good &= _facing(keyframe.normals, view) > LEAST_FACING
        place = cv2.remap(guess, seen[:, :1], seen[:, 1:], cv2.INTER_LINEAR, borderValue=(-1e4, -1e4))[:, 0]
        return place, np.where(good, 1 / (1 + miss**2), 0)


def _facing(normals: np.ndarray, view: _View) -> np.ndarray:
    """Returns the cosine between normals [..., 3] in head axes and the way to the camera."""
    return -(normals @ view.rotation[2])


def _grey(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _sample(grey: np.ndarray, places: np.ndarray, zoom: float) -> np.ndarray:
    """Returns a grey picture at continuous places [h, w, 2], float32 [h, w]."""
    x, y = (np.ascontiguousarray(places[..., k] - 0.5, np.float32) for k in range(2))
    return cv2.remap(grey, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
