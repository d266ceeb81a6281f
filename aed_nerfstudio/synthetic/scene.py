"""Rendering of the synthetic actor: a z-buffer rasteriser with per-pixel materials, exact cameras and landmarks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from aed_nerfstudio.dataset.schema import HEAD, METRES_PER_UNIT, Camera
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.face_finder import FaceFinder
from aed_nerfstudio.face.face_mesh import (
    COUNT,
    FIRST_IRIS,
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    OUTER_LOWER_LIP,
    OUTER_UPPER_LIP,
    padded_box,
)
from aed_nerfstudio.rendering.z_buffer import rasterise
from aed_nerfstudio.synthetic.actor import BODY, LEFT_EYE, MOUTH, PLUG, RIGHT_EYE, Actor
from aed_nerfstudio.synthetic.painting import label, lip_depth
from aed_nerfstudio.synthetic.shading import averages, majorities, shade

DECIMETRES_PER_UNIT = 10.0 * METRES_PER_UNIT
CAMERA_DISTANCE = 10.0  # dm from the resting head's origin
FOCAL = 2.1  # focal length in picture heights
CAMERA_DROP = 0.45  # dm of the camera below the eyes
SUPERSAMPLING = 2
TORSO_SHARE = 0.2  # how much of the head's motion the torso makes


@dataclass
class Rendering:
    """One frame: image uint8 [S, S, 3] RGB, parsing uint8 [S, S], torso uint8 [S, S, 4] RGBA (straight alpha),
    landmarks float32 [478, 3] (x, y, depth relative to the head's centre; pixels), camera_to_world float64 [4, 4]."""

    image: np.ndarray
    parsing: np.ndarray
    torso: np.ndarray
    landmarks: np.ndarray
    camera_to_world: np.ndarray

    @property
    def face_box(self) -> list[int]:
        """Returns the box around the face: left, top, right, bottom; right and bottom exclusive."""
        return padded_box(self.landmarks, 0.05, len(self.image))

    @property
    def face(self) -> np.ndarray:
        """Returns which pixels are face, bool [S, S]: head within the landmarks' outline, lowered jaw included."""
        outline = cv2.convexHull(np.round(self.landmarks[:, :2]).astype(np.int32))
        within = cv2.fillConvexPoly(np.zeros(self.parsing.shape, np.uint8), outline, (1,))
        return (within > 0) & (self.parsing == HEAD)


@dataclass
class HeadPose:
    """Rigid motion of the head: angles in degrees (yaw: face towards +x, pitch: face up, roll), shift in dm."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def transform(self, pivot: np.ndarray, share: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rotation [3, 3] and translation [3] (dm) about a pivot; `share` scales the motion."""
        yaw, pitch, roll = (math.radians(share * a) for a in (self.yaw, -self.pitch, self.roll))
        c, s = math.cos, math.sin
        ry = np.array([[c(yaw), 0, s(yaw)], [0, 1, 0], [-s(yaw), 0, c(yaw)]])
        rx = np.array([[1, 0, 0], [0, c(pitch), -s(pitch)], [0, s(pitch), c(pitch)]])
        rz = np.array([[c(roll), -s(roll), 0], [s(roll), c(roll), 0], [0, 0, 1]])
        rotation = rz @ ry @ rx
        return rotation, pivot - rotation @ pivot + share * np.array(self.shift)


def make_background(size: int, seed: int = 0) -> np.ndarray:
    """Returns a still room-like backdrop: uint8 [size, size, 3]."""
    rng = np.random.default_rng(1000 + seed)
    big = 2 * size
    y, x = np.mgrid[0:big, 0:big] / big
    top, bottom = np.array([196, 204, 206.0]), np.array([128, 140, 150.0])
    image = top + (bottom - top) * (0.8 * y + 0.2 * x)[..., None]
    image = np.ascontiguousarray(image.astype(np.uint8))
    for _ in range(5):
        left, up = rng.uniform(-0.05, 0.85), rng.uniform(-0.05, 0.6)
        wide, tall = rng.uniform(0.1, 0.3, 2)
        shade = (np.array([168, 160, 148]) + rng.uniform(-45, 35, 3)).tolist()
        cv2.rectangle(
            image, (int(left * big), int(up * big)), (int((left + wide) * big), int((up + tall) * big)), shade, -1
        )
    for _ in range(3):
        centre = (int(rng.uniform(0, 1) * big), int(rng.uniform(0, 0.9) * big))
        shade = (np.array([150, 165, 150]) + rng.uniform(-40, 50, 3)).tolist()
        cv2.circle(image, centre, int(rng.uniform(0.04, 0.12) * big), shade, -1, cv2.LINE_AA)
    image = cv2.GaussianBlur(image, (0, 0), big / 110)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


class _Samples:
    """What is drawn of triangles, [side] * 2 samples: which one is seen (-1: none) and where on it, colours and
    labels."""

    def __init__(self, side: int) -> None:
        self.ids = np.empty((side, side), np.int64)
        self.bary = np.zeros((side, side, 2))
        self.depth = np.empty((side, side))
        self.colour = np.zeros((side, side, 3))
        self.labels = np.zeros((side, side), np.uint8)


class Scene:
    """One actor in front of a still camera and background."""

    def __init__(self, actor: Actor, size: int = 256, seed: int = 0) -> None:
        self.actor, self.size = actor, int(size)
        self.background = make_background(self.size, seed)
        focal = FOCAL * size
        self.camera = Camera(fl_x=focal, fl_y=focal, cx=size / 2, cy=size / 2, w=self.size, h=self.size)
        self.eye = actor.origin + (0.0, -CAMERA_DROP, CAMERA_DISTANCE)  # camera position in the room, dm
        self.front, self._behind_head = (_Samples(self.size * SUPERSAMPLING) for _ in range(2))
        centroid = actor.canonical[actor.triangles].mean(1)
        head = np.array([label(m, *c) == HEAD for m, c in zip(actor.materials, centroid, strict=True)])
        self._front = actor.materials != PLUG
        self._below = ~head
        self._map: tuple[np.ndarray, np.ndarray] | None = None

    def pose_vertices(self, vertices: np.ndarray, pose: HeadPose) -> np.ndarray:
        """Returns vertices [V, 3] in the room: blended between the head's and the torso's motion."""
        rotation, move = pose.transform(self.actor.pivot)
        torso_pivot = self.actor.pivot - (0.0, 1.6, 0.0)
        torso_rotation, torso_move = pose.transform(torso_pivot, TORSO_SHARE)
        w = self.actor.head_weight[:, None]
        return w * (vertices @ rotation.T + move) + (1 - w) * (vertices @ torso_rotation.T + torso_move)

    def camera_to_world(self, pose: HeadPose) -> np.ndarray:
        """Returns the camera in the head's frame: float64 [4, 4], OpenGL, units of METRES_PER_UNIT."""
        rotation, move = pose.transform(self.actor.pivot)
        matrix = np.eye(4)
        matrix[:3, :3] = rotation.T
        matrix[:3, 3] = (rotation.T @ (self.eye - move) - self.actor.origin) / DECIMETRES_PER_UNIT
        return matrix

    def pose_of(self, camera_to_world: np.ndarray) -> HeadPose:
        """Returns the pose of the head that a camera of `camera_to_world`, [4, 4] or [3, 4], sees."""
        matrix = np.asarray(camera_to_world, np.float64)
        rotation = matrix[:3, :3].T
        roll, yaw, down = Rotation.from_matrix(rotation).as_euler("ZYX", degrees=True).tolist()
        pivot = self.actor.pivot
        shift = self.eye - rotation @ (matrix[:3, 3] * DECIMETRES_PER_UNIT + self.actor.origin - pivot) - pivot
        return HeadPose(yaw, -down, roll, (float(shift[0]), float(shift[1]), float(shift[2])))

    def project(self, points: np.ndarray) -> np.ndarray:
        """Projects room points [n, 3] (dm) -> [n, 3]: x, y in pixels and depth in dm."""
        p = points - self.eye
        depth = -p[:, 2]
        return np.stack(
            [
                self.camera.cx + self.camera.fl_x * p[:, 0] / depth,
                self.camera.cy - self.camera.fl_y * p[:, 1] / depth,
                depth,
            ],
            1,
        )

    def _draw(
        self,
        screen: np.ndarray,
        normals: np.ndarray,
        drawn: np.ndarray,
        samples: _Samples,
        shaded: np.ndarray | None = None,
    ) -> np.ndarray:
        """Draws triangles, and returns where there is one, bool [side] * 2; colours only where `shaded` is true."""
        a, s = self.actor, samples
        rasterise(screen, a.triangles, drawn, len(s.ids), s.ids, s.bary, s.depth)
        covered = s.ids >= 0
        if shaded is not None:
            s.ids[~shaded] = -1
        shade(s.ids, s.bary, a.triangles, a.materials, a.canonical, normals, a.palette, s.colour, s.labels)
        return covered

    def _prepare(self, units: dict[str, float], pose: HeadPose) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        vertices = self.pose_vertices(self.actor.deform(units), pose)
        corner = vertices[self.actor.triangles]
        face = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        normals = np.stack(
            [np.bincount(self.actor.triangles.ravel(), np.repeat(face[:, k], 3), len(vertices)) for k in range(3)], 1
        )
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
        screen = self.project(vertices)
        raster = np.stack([screen[:, 0] * SUPERSAMPLING, screen[:, 1] * SUPERSAMPLING, 1 / screen[:, 2]], 1)
        return vertices, normals, raster

    def landmarks(self, vertices: np.ndarray, pose: HeadPose) -> np.ndarray:
        """Returns MediaPipe's 478 landmarks of posed vertices [V, 3]: float32 [478, 3], see Rendering."""
        index, weight = self.landmark_map()
        points = (vertices[index] * weight[..., None]).sum(1)
        out = self.project(points)
        rotation, move = pose.transform(self.actor.pivot)
        centre = self.project((rotation @ self.actor.origin + move)[None])[0, 2]
        out[:, 2] = (out[:, 2] - centre) * self.camera.fl_x / centre
        return out.astype(np.float32)

    def landmark_map(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns where the landmarks sit on the mesh: vertex indices int64 [478, 3] and weights float64 [478, 3]."""
        if self._map is None:
            self._map = _landmark_map(self.actor.identity)
        return self._map

    def render(self, units: dict[str, float], pose: HeadPose, *, landmarks: bool = True) -> Rendering:
        """Draw one frame; units: weights of face units by name."""
        vertices, normals, raster = self._prepare(units, pose)
        n, k, front, behind = self.size, SUPERSAMPLING, self.front, self._behind_head
        covered = self._draw(raster, normals, self._front, front)
        # The torso's picture differs from the whole one behind the head only: on slim necks the plug sticks out.
        head = covered & (front.labels == HEAD)
        covered_behind = self._draw(raster, normals, self._below, behind, head)
        whole, torso = np.empty((n, n, 4)), np.empty((n, n, 4))
        averages(front.colour, covered, behind.colour, covered_behind, head, k, whole, torso)
        image = np.round(whole[..., :3] + (1 - whole[..., 3:]) * self.background).astype(np.uint8)
        colour, alpha = torso[..., :3], torso[..., 3:]
        straight = np.where(alpha > 0, colour / np.maximum(alpha, 1e-9), 0)
        torso = np.round(np.concatenate([straight, 255 * alpha], -1)).astype(np.uint8)
        parsing = np.empty((n, n), np.uint8)
        majorities(front.labels, k, parsing)
        marks = self.landmarks(vertices, pose) if landmarks else np.zeros((COUNT, 3), np.float32)
        return Rendering(image, parsing, torso, marks, self.camera_to_world(pose))


@lru_cache(maxsize=4)
def _landmark_map(identity: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns `Scene.landmark_map`: MediaPipe's mesh on a frontal picture with parted lips, cast onto the surface."""
    scene = Scene(Actor(identity), 512)
    a = scene.actor
    picture = scene.render({"jawOpen": 0.25}, HeadPose(), landmarks=False)
    with FaceFinder() as finder:
        found = finder.landmarks(picture.image)
    if np.isnan(found).any():
        raise InputError(f"identity {identity}: MediaPipe finds no face in the actor; choose another identity")
    xy = found[:, :2].astype(np.float64) * SUPERSAMPLING
    ids, bary = scene.front.ids, scene.front.bary
    rows, cols = np.nonzero((ids >= 0) & (scene.front.labels == HEAD))
    tri = ids[rows, cols]
    weight = np.concatenate([bary[rows, cols], 1 - bary[rows, cols].sum(1, keepdims=True)], 1)
    place = (a.canonical[a.triangles[tri]] * weight[..., None]).sum(1)
    opening = np.zeros(len(a.canonical))
    index, delta = a.units["jawOpen"]
    opening[index] = -delta[:, 1]
    lowered = (opening[a.triangles[tri]] * weight).sum(1)
    body = np.isin(a.materials[tri], (BODY, MOUTH))
    eyes = np.flatnonzero(np.isin(a.materials[tri], (LEFT_EYE, RIGHT_EYE)))
    lips = body & (place[:, 2] > 1.25)
    lips[lips] = np.array([lip_depth(*p) for p in place[lips]]) > -0.01
    skin = np.flatnonzero((a.materials[tri] == BODY) | lips)
    lower_lip, upper_lip = np.flatnonzero(lips & (lowered > 0.15)), np.flatnonzero(lips & (lowered <= 0.15))
    out_index, out_weight = np.zeros((COUNT, 3), int), np.zeros((COUNT, 3))
    for n in range(COUNT):
        allowed = skin
        if n in INNER_UPPER_LIP or n in OUTER_UPPER_LIP:
            allowed = upper_lip
        elif n in INNER_LOWER_LIP or n in OUTER_LOWER_LIP:
            allowed = lower_lip
        elif n >= FIRST_IRIS:
            allowed = eyes
        across = cols[allowed] + 0.5 - xy[n, 0]
        distance = across**2 + (rows[allowed] + 0.5 - xy[n, 1]) ** 2
        if n in INNER_UPPER_LIP or n in INNER_LOWER_LIP:
            # The lip's rim: in the landmark's column, the point next to the opening.
            column = np.abs(across) < 1.5
            if column.any():
                allowed = allowed[column]
                distance = -rows[allowed] if n in INNER_UPPER_LIP else rows[allowed]
        best = allowed[distance.argmin()]
        out_index[n], out_weight[n] = a.triangles[tri[best]], weight[best]
    return out_index, out_weight
