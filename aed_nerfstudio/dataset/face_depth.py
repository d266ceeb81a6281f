"""Where the surface of a person's face is in every frame of a dataset, from its tracked landmarks.

A head that hardly turns within a take leaves its depth open: any surface explains the pictures. FaceMesh's landmarks
say what it is but for two numbers a person, for their z is relative: along the camera's axis, a landmark lies at
`t0 + offset + scale * z * t0 / focal`, with t0 the depth of the head's origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int32
from scipy.spatial import Delaunay

from aed_nerfstudio.dataset.schema import Camera, Dataset
from aed_nerfstudio.face.face_mesh import BROWS, EYE_OUTLINES, EYE_RINGS, FIRST_IRIS, INNER_LIPS, LIPS, OVAL, STABLE
from aed_nerfstudio.rendering.z_buffer import rasterise

USUAL_OFFSET, OFFSET_SPREAD = -0.34, 0.05
"""Of people, units: the middle of FaceMesh's depths from the point between the ears."""
USUAL_SCALE, SCALE_SPREAD = 0.62, 0.15
LEAST_NOISE = 1e-3
"""Of a landmark in the head's frame, units."""
LEAST_TURN = 0.01
"""Of the head, radians, that depths can be told from."""
FITTED_FRAMES = 200
LIPS_TRUST = 0.1
"""Weight of the depths of lips, which FaceMesh guesses as they move, over those of other skin. With as much, lips
followed the sound less by a tenth; with none, they hung before the face of a head that is bent back."""
MOVING = np.concatenate([LIPS, *EYE_OUTLINES, *EYE_RINGS, *BROWS])
"""Landmarks of what an expression moves most."""
MAP_CELLS = 160
"""Along the longer side of a face."""


@dataclass(frozen=True)
class FaceMap:
    """What is seen of a face, in S x S cells about it."""

    left: float
    """Pixels: where the cells begin."""
    top: float
    cell: float
    """Their side, pixels."""
    depth: Float64[np.ndarray, "s s"]
    """Along the camera's axis, units; NaN beside the face."""
    lips: Bool[np.ndarray, "s s"]
    skin: Bool[np.ndarray, "s s"]
    """Where it is skin that moves little."""


@dataclass(frozen=True)
class FaceDepth:
    """Depths of the landmarks of a dataset's usable frames.

    Args:
        camera: of all frames.
        landmarks: x and y, pixels, and depth along the camera's axis, units, of the landmarks on the skin: [F, 468, 3];
            NaN in frames without any.
        triangles: numbers of landmarks, [T, 3], that cover the face but for the inside of the mouth.
        shape: of the person's mean face in the head's frame, units, [468, 3].
        offset: of the person, units.
        scale: of the person.
    """

    camera: Camera
    landmarks: Float32[np.ndarray, "f 468 3"]
    triangles: Int[np.ndarray, "t 3"]
    shape: Float32[np.ndarray, "468 3"]
    offset: float
    scale: float

    @classmethod
    def of(cls, dataset: Dataset) -> FaceDepth | None:
        """Returns the depths of a dataset's frames; None where its landmarks have no depths (RAD-NeRF's folders)."""
        poses = np.array([frame.camera_to_world for frame in dataset.frames])[:, :3]
        clips = {clip.name: dataset.landmarks(clip.name) for clip in dataset.clips}
        marks = np.array([clips[frame.clip][frame.index, :FIRST_IRIS] for frame in dataset.frames])
        marks[[not frame.usable for frame in dataset.frames]] = np.nan
        if not np.nanmax(np.abs(marks[..., 2])):
            return None
        known = dataset.split("train")
        picks = [known[i] for i in np.unique(np.linspace(0, len(known) - 1, FITTED_FRAMES).astype(int))]
        camera = dataset.camera
        rays, base, slope = _in_head(poses[picks], marks[picks].astype(np.float64), camera)
        offset, scale = _fit(poses[picks], rays[:, STABLE], base[:, STABLE], slope[:, STABLE])
        shape = (base + offset * rays + scale * slope).mean(axis=0)
        depths = _depths(poses, marks, camera, offset, scale)
        depths += _correction(marks, depths, _depth_of(shape, poses))
        marks[..., 2] = depths
        return cls(camera, marks, _triangles(shape), shape.astype(np.float32), offset, scale)

    def distances(self, frame: int, x: Int[np.ndarray, " n"], y: Int[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
        """Returns how far from the camera the face is along the rays through pixels (column, row), units; NaN beside
        it."""
        return self.surface(frame, x, y)[:, 0]

    def surface(self, frame: int, x: Int[np.ndarray, " n"], y: Int[np.ndarray, " n"]) -> Float32[np.ndarray, "n 3"]:
        """Returns `distances`; their weights; and 1 where it is skin that moves little (not lips, eyes and brows), else
        0."""
        out = np.full((len(x), 3), (np.nan, 1, 0), np.float32)
        found = self.map(frame)
        if found is None:
            return out
        size = len(found.depth)
        column, row = (
            ((x + 0.5 - found.left) / found.cell).astype(int),
            ((y + 0.5 - found.top) / found.cell).astype(int),
        )
        inside = (x + 0.5 >= found.left) & (y + 0.5 >= found.top) & (column < size) & (row < size)
        row, column = row[inside], column[inside]
        out[inside, 0] = found.depth[row, column]
        out[inside, 1] = np.where(found.lips[row, column], LIPS_TRUST, 1)
        out[inside, 2] = found.skin[row, column]
        c = self.camera
        out[:, 0] *= np.sqrt(1 + ((x + 0.5 - c.cx) / c.fl_x) ** 2 + ((y + 0.5 - c.cy) / c.fl_y) ** 2)
        return out

    @cached_property
    def _kinds(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns which triangles have a landmark of the lips, and which one that moves, bool [T] each."""
        lips, moving = (np.isin(self.triangles, of).any(axis=1) for of in (LIPS, MOVING))
        return np.atleast_1d(lips), np.atleast_1d(moving)

    def map(self, frame: int) -> FaceMap | None:
        """Returns what is seen of the face in a frame; None where it has no landmarks."""
        marks = self.landmarks[frame].astype(np.float64)
        if not np.isfinite(marks).all():
            return None
        left, top = marks[:, :2].min(axis=0)
        cell = max(1.0, float(np.ptp(marks[:, :2], axis=0).max()) / MAP_CELLS)
        placed = np.column_stack([(marks[:, 0] - left) / cell, (marks[:, 1] - top) / cell, marks[:, 2]])
        depths, seen = depth_map(placed, self.triangles, int(np.ceil(placed[:, :2].max())) + 1)
        lips, moving = self._kinds
        return FaceMap(left, top, cell, depths, (seen >= 0) & lips[seen], (seen >= 0) & ~moving[seen])


def depth_map(
    points: Float64[np.ndarray, "n 3"], triangles: Int[np.ndarray, "t 3"], size: int
) -> tuple[Float64[np.ndarray, "size size"], Int32[np.ndarray, "size size"]]:
    """Returns what is seen of triangles [T, 3] between points [N, 3] (x, y in pixels, depth), by pixel of a picture of
    size x size: its depth, NaN where nothing is, and the triangle, -1."""
    screen = np.column_stack([points[:, :2], 1 / points[:, 2]])
    ids, bary, inverse = np.empty((size, size), np.int32), np.empty((size, size, 2)), np.empty((size, size))
    rasterise(screen, triangles, np.ones(len(triangles), bool), size, ids, bary, inverse)
    with np.errstate(divide="ignore"):
        return np.where(inverse > 0, 1 / inverse, np.nan), ids


def _depth_of(points: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """Returns the depths along the cameras' axes of points [L, 3] of the head in poses [F, 3, 4]: [F, L]."""
    return -np.einsum("flk,fk->fl", points - poses[:, None, :, 3], poses[:, :, 2])


def _depths(poses: np.ndarray, marks: np.ndarray, camera: Camera, offset: float, scale: float) -> np.ndarray:
    """Returns the depths of landmarks [F, L, 3] along the camera's axis: [F, L]."""
    middle = _depth_of(np.zeros((1, 3)), poses)
    return middle + offset + scale * marks[..., 2] * middle / camera.fl_x


def _in_head(poses: np.ndarray, marks: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns landmarks [F, L, 3] in the head's frame as base + offset * rays + scale * slope: rays, base and slope,
    [F, L, 3] each."""
    x, y = (marks[..., 0] - camera.cx) / camera.fl_x, (marks[..., 1] - camera.cy) / camera.fl_y
    rays = np.einsum("fij,flj->fli", poses[:, :, :3], np.stack([x, -y, -np.ones_like(x)], -1))
    middle = _depth_of(np.zeros((1, 3)), poses)[..., None]
    return rays, poses[:, None, :, 3] + middle * rays, rays * marks[..., 2:] * middle / camera.fl_x


def _fit(poses: np.ndarray, rays: np.ndarray, base: np.ndarray, slope: np.ndarray) -> tuple[float, float]:
    """Returns the offset and scale with which rigid points [F, L, 3] stay where they are in the head's frame.

    Only what follows the poses [F, 3, 4] tells: else the noise of z would make a face that hardly turns a flat one.
    People's usual ones where the head does not turn enough.
    """
    turns = (poses - poses.mean(axis=0)).reshape(len(poses), -1) / LEAST_TURN
    follows = turns @ np.linalg.solve(turns.T @ turns + len(poses) * np.eye(turns.shape[1]), turns.T)
    varied = np.stack([(follows @ part.reshape(len(poses), -1)).ravel() for part in (rays, slope)], -1)
    wanted = -(follows @ base.reshape(len(poses), -1)).ravel()
    free = np.linalg.lstsq(varied, wanted, rcond=None)[0]
    noise = max(LEAST_NOISE, float(np.sqrt(np.mean((varied @ free - wanted) ** 2))))
    usual, weight = np.array([USUAL_OFFSET, USUAL_SCALE]), np.diag([OFFSET_SPREAD**-2, SCALE_SPREAD**-2])
    trust = 1 / (base.shape[1] * noise**2)  # errors go together across the face
    found = np.linalg.solve(trust * varied.T @ varied + weight, trust * varied.T @ wanted + weight @ usual)
    return float(found[0]), float(found[1])


def _correction(marks: np.ndarray, depths: np.ndarray, rigid: np.ndarray) -> np.ndarray:
    """Returns what to add to depths [F, L] so that the stable landmarks of each frame lie where the person's shape has
    them, `rigid` [F, L]: a plane over the picture, for FaceMesh's idea of a head's tilt is not the tracker's."""
    out = np.zeros_like(depths)
    for k in np.flatnonzero(np.isfinite(depths).all(axis=1)):
        middle = marks[k, STABLE, :2].mean(axis=0)
        plane = np.column_stack([marks[k, :, :2] - middle, np.ones(depths.shape[1])])
        lack = (rigid - depths)[k, STABLE]
        out[k] = plane @ np.linalg.lstsq(plane[STABLE], lack, rcond=None)[0]
    return out


def _triangles(shape: np.ndarray) -> np.ndarray:
    """Returns triangles [T, 3] between landmarks [L, 3] of a face in the head's frame, within its outline and outside
    the mouth."""
    import cv2

    found = Delaunay(shape[:, :2]).simplices
    outline = (shape[OVAL, :2] * 1000).astype(np.float32)
    inside = [cv2.pointPolygonTest(outline, tuple(map(float, p)), False) >= 0 for p in 1000 * shape[found, :2].mean(1)]
    return found[np.array(inside) & ~np.isin(found, INNER_LIPS).all(axis=1)]
