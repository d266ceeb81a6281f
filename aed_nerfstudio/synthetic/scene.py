"""Rendering of the synthetic actor: a z-buffer rasteriser with per-pixel materials, exact cameras and landmarks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numba
import numpy as np

from aed_nerfstudio.dataset.schema import BACKGROUND, HEAD, METRES_PER_UNIT, NECK, TORSO, Camera
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.face_finder import FaceFinder
from aed_nerfstudio.synthetic.actor import BODY, LEFT_EYE, MOUTH, PLUG, RIGHT_EYE, TEETH, TONGUE, Actor

DECIMETRES_PER_UNIT = 10.0 * METRES_PER_UNIT
CAMERA_DISTANCE = 10.0  # dm from the resting head's origin
FOCAL = 2.1  # focal length in picture heights
CAMERA_DROP = 0.45  # dm of the camera below the eyes
SUPERSAMPLING = 2
TORSO_SHARE = 0.2  # how much of the head's motion the torso makes
EYE_X, EYE_Y = 0.2938, 8.2207  # canonical eye centre, dm
INNER_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
INNER_LOWER = (95, 88, 178, 87, 14, 317, 402, 318, 324)
OUTER_UPPER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
OUTER_LOWER = (146, 91, 181, 84, 17, 314, 405, 321, 375)


@numba.njit(cache=True)
def hair_depth(x, y, z):
    """How far (dm, roughly) a canonical skin point lies inside the hair; negative outside."""
    ax = abs(x)
    if z > 1.0:
        line = 8.86 - 0.25 * ax
    elif z > 0.72:
        line = 8.05 + (z - 0.72) / 0.28 * 0.62
    elif z > 0.1:
        line = 7.75 + (z - 0.1) / 0.62 * 0.30
    else:
        line = 7.35
    ear = ax > 0.655 and 7.6 < y < 8.29 and 0.1 < z < 0.75
    return -1.0 if ear else y - line


@numba.njit(cache=True)
def _jaw_line(z):
    """Canonical height (dm) of the border between head and neck at depth z."""
    if z > 1.2:
        return 7.0
    if z > 0.9:
        return 7.0 + (1.2 - z) / 0.3 * 0.1
    if z > 0.4:
        return 7.1 + (0.9 - z) / 0.5 * 0.35
    if z > -0.2:
        return 7.3 + (z + 0.2) / 0.6 * 0.15
    return 7.3


@numba.njit(cache=True)
def _in_shirt(x, y, z):
    """How far (dm) a canonical point lies inside the shirt; negative outside."""
    return 6.50 - 0.30 * (z - 0.3) - y


@numba.njit(cache=True)
def lip_depth(x, y, z):
    """How far (dm) a canonical point lies inside the lips; negative outside."""
    ax = abs(x)
    t = min(ax / 0.262, 1.0)
    seam = 7.502 - 0.02 * t
    upper = seam + 0.108 * (1.0 - t**1.7) + 0.012 * math.exp(-(((ax - 0.06) / 0.04) ** 2))
    lower = seam - 0.125 * (1.0 - t**2.6)
    if z < 1.0 or ax > 0.262:
        return -1.0
    return min(upper - y, y - lower)


@numba.njit(cache=True)
def _blend(edge, width):
    t = min(max(edge / width + 0.5, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@numba.njit(cache=True)
def _label(material, x, y, z):
    if material == PLUG:
        return NECK
    if material != BODY:
        return HEAD
    if _in_shirt(x, y, z) > 0:
        return TORSO
    if y > _jaw_line(z):
        return HEAD
    return NECK


@numba.njit(cache=True)
def _rasterise(screen, triangles, drawn, size, ids, bary, inverse_depth):
    """Z-buffer. screen [V, 3] (x, y pixels, 1 / depth); drawn bool [T] -> ids [S, S] (-1 none), bary [S, S, 2]."""
    ids[:] = -1
    inverse_depth[:] = 0.0
    for t in range(triangles.shape[0]):
        if not drawn[t]:
            continue
        a, b, c = screen[triangles[t, 0]], screen[triangles[t, 1]], screen[triangles[t, 2]]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if abs(area) < 1e-12:
            continue
        x0 = max(0, int(math.ceil(min(a[0], b[0], c[0]) - 0.5)))
        x1 = min(size - 1, int(math.floor(max(a[0], b[0], c[0]) - 0.5)))
        y0 = max(0, int(math.ceil(min(a[1], b[1], c[1]) - 0.5)))
        y1 = min(size - 1, int(math.floor(max(a[1], b[1], c[1]) - 0.5)))
        for py in range(y0, y1 + 1):
            for px in range(x0, x1 + 1):
                x, y = px + 0.5, py + 0.5
                u = ((b[0] - x) * (c[1] - y) - (b[1] - y) * (c[0] - x)) / area
                v = ((c[0] - x) * (a[1] - y) - (c[1] - y) * (a[0] - x)) / area
                w = 1.0 - u - v
                if u < 0 or v < 0 or w < 0:
                    continue
                q = u * a[2] + v * b[2] + w * c[2]
                if q > inverse_depth[py, px]:
                    inverse_depth[py, px] = q
                    ids[py, px] = t
                    bary[py, px, 0] = u * a[2] / q
                    bary[py, px, 1] = v * b[2] / q


@numba.njit(cache=True)
def _mix(colour, other, share):
    for k in range(3):
        colour[k] += (other[k] - colour[k]) * share


@numba.njit(cache=True, parallel=True)
def _shade(ids, bary, triangles, materials, canonical, normals, palette, out, labels):
    """Colours [S, S, 3] (0..255, only where ids >= 0) and labels [S, S] of a z-buffer."""
    size = ids.shape[0]
    white = np.array([238.0, 236.0, 232.0])
    dark = np.array([58.0, 22.0, 22.0])
    black = np.array([14.0, 11.0, 10.0])
    tongue = np.array([176.0, 84.0, 84.0])
    rose = np.array([205.0, 110.0, 96.0])
    light = np.array([0.30, 0.50, 0.81])
    for py in numba.prange(size):
        colour = np.zeros(3)
        for px in range(size):
            t = ids[py, px]
            if t < 0:
                labels[py, px] = BACKGROUND
                continue
            u, v = bary[py, px, 0], bary[py, px, 1]
            w = 1.0 - u - v
            i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            x = u * canonical[i, 0] + v * canonical[j, 0] + w * canonical[k, 0]
            y = u * canonical[i, 1] + v * canonical[j, 1] + w * canonical[k, 1]
            z = u * canonical[i, 2] + v * canonical[j, 2] + w * canonical[k, 2]
            nx = u * normals[i, 0] + v * normals[j, 0] + w * normals[k, 0]
            ny = u * normals[i, 1] + v * normals[j, 1] + w * normals[k, 1]
            nz = u * normals[i, 2] + v * normals[j, 2] + w * normals[k, 2]
            norm = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
            nx, ny, nz = nx / norm, ny / norm, nz / norm
            material = materials[t]
            labels[py, px] = _label(material, x, y, z)
            diffuse = 0.5 + 0.5 * (nx * light[0] + ny * light[1] + nz * light[2])
            shine = max(0.0, 0.15 * nx + 0.27 * ny + 0.95 * nz) ** 24
            gain = 0.40 + 0.62 * diffuse**1.6
            gloss = 7.0
            ax = abs(x)
            if material == LEFT_EYE or material == RIGHT_EYE:
                colour[:] = white
                r = math.sqrt((ax - EYE_X) ** 2 + (y - EYE_Y) ** 2)
                if z > 1.3:
                    _mix(colour, palette[4] * 0.55, _blend(0.078 - r, 0.010))
                    _mix(colour, palette[4], _blend(0.068 - r, 0.012))
                    _mix(colour, black, _blend(0.034 - r, 0.008))
                    gx = ax - EYE_X if x > 0 else EYE_X - ax
                    glint = math.sqrt((gx - 0.025) ** 2 + (y - EYE_Y - 0.03) ** 2)
                    _mix(colour, white * 1.05, _blend(0.014 - glint, 0.008))
                gain = (0.62 + 0.38 * diffuse) * (1.0 - 0.35 * _blend(y - 8.27, 0.08))
                gloss = 0.0
            elif material == TEETH:
                colour[:] = white
                gain = (0.45 + 0.35 * diffuse) * min(1.0, max(0.25, (z - 0.9) / 0.5))
                gloss = 0.0
            elif material == TONGUE:
                colour[:] = tongue
                gain = (0.35 + 0.3 * diffuse) * min(1.0, max(0.3, (z - 0.6) / 0.7))
                gloss = 2.0
            elif material == MOUTH:
                colour[:] = dark
                _mix(colour, palette[1] * 0.8, 0.8 * _blend(z - 1.40, 0.2))
                gain = (0.5 + 0.5 * diffuse) * min(1.0, max(0.3, (z - 0.6) / 0.7))
                gloss = 2.0
            else:
                colour[:] = palette[0]
                mottle = 1.0 + 0.018 * math.sin(9.1 * x + 3.0 * y) * math.sin(7.3 * y - 5.1 * z)
                shirt = _in_shirt(x, y, z) if material == BODY else -1.0
                # Cheeks and nose tip are rosier, eye sockets and the sides of the nose darker.
                cheek = math.exp(-(((ax - 0.42) / 0.17) ** 2) - ((y - 7.85) / 0.16) ** 2) if z > 0.9 else 0.0
                tip = math.exp(-((ax / 0.14) ** 2) - ((y - 7.86) / 0.12) ** 2) if z > 1.5 else 0.0
                _mix(colour, rose, 0.30 * cheek + 0.25 * tip)
                if z > 0.95 and 7.9 < y < 8.7:
                    socket = math.exp(-(((ax - EYE_X) / 0.20) ** 2) - ((y - EYE_Y) / 0.12) ** 2)
                    mottle *= 1.0 - 0.16 * socket
                    # Lid margins and lashes: skin that lies against the eyeball.
                    near = math.sqrt((ax - EYE_X) ** 2 + (y - EYE_Y) ** 2 + (z - 1.31) ** 2)
                    _mix(colour, black, (0.15 + 0.65 * _blend(y - 8.215, 0.03)) * _blend(0.163 - near, 0.012))
                    # Brows: an arc that is thick inside and thin outside.
                    s = (ax - 0.10) / 0.43
                    if 0.0 < s < 1.0:
                        arc = 8.43 + 0.085 * math.sin(min(1.0, s * 1.15) * 2.3) - 0.045 * s
                        half = 0.042 * (1.0 - 0.65 * s)
                        strand = 0.5 + 0.5 * math.sin(210.0 * ax + 120.0 * y)
                        side = min(_blend(ax - 0.11, 0.03), _blend(0.52 - ax, 0.04))
                        _mix(colour, palette[5], side * (0.72 + 0.2 * strand) * _blend(half - abs(y - arc), 0.022))
                if material == BODY and 7.3 < y < 7.7 and z > 0.5:
                    depth = lip_depth(x, y, z)
                    lips = _blend(depth, 0.012)
                    _mix(colour, palette[1], 0.85 * lips)
                    gloss = 7.0 + 12.0 * lips
                if material == BODY:
                    hair = hair_depth(x, y, z)
                    streak = math.sin(38.0 * math.atan2(x, z - 0.4) + 5.0 * math.sin(6.0 * y))
                    streak *= math.sin(11.0 * y + 9.0 * x)
                    hair += 0.025 * math.sin(40.0 * x) * math.sin(27.0 * z)
                    share = _blend(hair, 0.03)
                    if share > 0:
                        _mix(colour, palette[2] * (1.0 + 0.16 * streak), share)
                        gloss = gloss * (1.0 - share) + 5.0 * share
                    if shirt > 0:
                        colour[:] = palette[3]
                        weave = 1.0 + 0.03 * math.sin(26.0 * x) * math.sin(26.0 * y)
                        mottle = weave * (1.18 if shirt < 0.10 else 1.0)
                        gloss = 0.0
                    elif shirt > -0.08:
                        mottle *= 1.0 - 0.25 * (1.0 + shirt / 0.08)  # the collar's shadow
                if labels[py, px] == NECK:
                    mottle *= 1.0 - 0.28 * _blend(y - 6.85, 0.5)  # the chin's shadow
                for n in range(3):
                    colour[n] *= mottle
            for n in range(3):
                out[py, px, n] = min(255.0, max(0.0, colour[n] * gain + gloss * shine))


@dataclass
class Rendering:
    """One frame: image uint8 [S, S, 3] RGB, parsing uint8 [S, S], torso uint8 [S, S, 4] RGBA (straight alpha),
    landmarks float32 [478, 3] (x, y, depth relative to the head's centre; pixels), camera_to_world float64 [4, 4]."""

    image: np.ndarray
    parsing: np.ndarray
    torso: np.ndarray
    landmarks: np.ndarray
    camera_to_world: np.ndarray


@dataclass
class HeadPose:
    """Rigid motion of the head: angles in degrees (yaw: face towards +x, pitch: face up, roll), shift in dm."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def transform(self, pivot: np.ndarray, share: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Rotation [3, 3] and translation [3] (dm) about a pivot; `share` scales the motion."""
        yaw, pitch, roll = (math.radians(share * a) for a in (self.yaw, -self.pitch, self.roll))
        c, s = math.cos, math.sin
        ry = np.array([[c(yaw), 0, s(yaw)], [0, 1, 0], [-s(yaw), 0, c(yaw)]])
        rx = np.array([[1, 0, 0], [0, c(pitch), -s(pitch)], [0, s(pitch), c(pitch)]])
        rz = np.array([[c(roll), -s(roll), 0], [s(roll), c(roll), 0], [0, 0, 1]])
        rotation = rz @ ry @ rx
        return rotation, pivot - rotation @ pivot + share * np.array(self.shift)


def make_background(size: int, seed: int = 0) -> np.ndarray:
    """A still room-like backdrop: uint8 [size, size, 3]."""
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
        cv2.rectangle(image, (int(left * big), int(up * big)), (int((left + wide) * big), int((up + tall) * big)),
                      shade, -1)
    for _ in range(3):
        centre = (int(rng.uniform(0, 1) * big), int(rng.uniform(0, 0.9) * big))
        shade = (np.array([150, 165, 150]) + rng.uniform(-40, 50, 3)).tolist()
        cv2.circle(image, centre, int(rng.uniform(0.04, 0.12) * big), shade, -1, cv2.LINE_AA)
    image = cv2.GaussianBlur(image, (0, 0), big / 110)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


class Scene:
    """One actor in front of a still camera and background."""

    def __init__(self, actor: Actor, size: int = 256, seed: int = 0) -> None:
        self.actor, self.size = actor, int(size)
        self.background = make_background(self.size, seed)
        focal = FOCAL * size
        self.camera = Camera(fl_x=focal, fl_y=focal, cx=size / 2, cy=size / 2, w=self.size, h=self.size)
        self.eye = actor.origin + (0.0, -CAMERA_DROP, CAMERA_DISTANCE)  # camera position in the room, dm
        big = self.size * SUPERSAMPLING
        self._ids = np.empty((big, big), np.int64)
        self._bary = np.zeros((big, big, 2))
        self._depth = np.empty((big, big))
        self._colour = np.zeros((big, big, 3))
        self._labels = np.zeros((big, big), np.uint8)
        centroid = actor.canonical[actor.triangles].mean(1)
        head = np.array([_label(m, *c) == HEAD for m, c in zip(actor.materials, centroid, strict=True)])
        self._front = actor.materials != PLUG
        self._below = ~head
        self._map: tuple[np.ndarray, np.ndarray] | None = None

    def pose_vertices(self, vertices: np.ndarray, pose: HeadPose) -> np.ndarray:
        """Vertices [V, 3] in the room: blended between the head's and the torso's motion."""
        rotation, move = pose.transform(self.actor.pivot)
        torso_pivot = self.actor.pivot - (0.0, 1.6, 0.0)
        torso_rotation, torso_move = pose.transform(torso_pivot, TORSO_SHARE)
        w = self.actor.head_weight[:, None]
        return w * (vertices @ rotation.T + move) + (1 - w) * (vertices @ torso_rotation.T + torso_move)

    def camera_to_world(self, pose: HeadPose) -> np.ndarray:
        """Camera in the head's frame: float64 [4, 4], OpenGL, units of METRES_PER_UNIT."""
        rotation, move = pose.transform(self.actor.pivot)
        matrix = np.eye(4)
        matrix[:3, :3] = rotation.T
        matrix[:3, 3] = (rotation.T @ (self.eye - move) - self.actor.origin) / DECIMETRES_PER_UNIT
        return matrix

    def project(self, points: np.ndarray) -> np.ndarray:
        """Room points [n, 3] (dm) -> [n, 3]: x, y in pixels and depth in dm."""
        p = points - self.eye
        depth = -p[:, 2]
        return np.stack([self.camera.cx + self.camera.fl_x * p[:, 0] / depth,
                         self.camera.cy - self.camera.fl_y * p[:, 1] / depth, depth], 1)

    def _draw(self, screen: np.ndarray, normals: np.ndarray, drawn: np.ndarray) -> None:
        a = self.actor
        _rasterise(screen, a.triangles, drawn, self._ids.shape[0], self._ids, self._bary, self._depth)
        _shade(self._ids, self._bary, a.triangles, a.materials, a.canonical, normals, a.palette, self._colour,
               self._labels)

    def _reduce(self, colour: np.ndarray, covered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Supersampled colours and bool coverage -> premultiplied float [S, S, 3] and coverage [S, S, 1]."""
        k, n = SUPERSAMPLING, self.size
        alpha = covered.astype(float)
        colour = (colour * alpha[..., None]).reshape(n, k, n, k, 3).mean((1, 3))
        return colour, alpha.reshape(n, k, n, k).mean((1, 3))[..., None]

    def _prepare(self, units: dict[str, float], pose: HeadPose) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        vertices = self.pose_vertices(self.actor.deform(units), pose)
        corner = vertices[self.actor.triangles]
        face = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        normals = np.stack([np.bincount(self.actor.triangles.ravel(), np.repeat(face[:, k], 3), len(vertices))
                            for k in range(3)], 1)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
        screen = self.project(vertices)
        raster = np.stack([screen[:, 0] * SUPERSAMPLING, screen[:, 1] * SUPERSAMPLING, 1 / screen[:, 2]], 1)
        return vertices, normals, raster

    def landmarks(self, vertices: np.ndarray, pose: HeadPose) -> np.ndarray:
        """MediaPipe's 478 landmarks of posed vertices [V, 3]: float32 [478, 3], see Rendering."""
        index, weight = self.landmark_map()
        points = (vertices[index] * weight[..., None]).sum(1)
        out = self.project(points)
        rotation, move = pose.transform(self.actor.pivot)
        centre = self.project((rotation @ self.actor.origin + move)[None])[0, 2]
        out[:, 2] = (out[:, 2] - centre) * self.camera.fl_x / centre
        return out.astype(np.float32)

    def landmark_map(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the landmarks sit on the mesh: vertex indices int64 [478, 3] and weights float64 [478, 3]."""
        if self._map is None:
            self._map = _landmark_map(self.actor.identity)
        return self._map

    def render(self, units: dict[str, float], pose: HeadPose, *, landmarks: bool = True) -> Rendering:
        """Draw one frame; units: weights of face units by name."""
        vertices, normals, raster = self._prepare(units, pose)
        n, k = self.size, SUPERSAMPLING
        self._draw(raster, normals, self._below)
        below, covered_below = self._colour.copy(), self._ids >= 0
        self._draw(raster, normals, self._front)
        covered = self._ids >= 0
        colour, alpha = self._reduce(self._colour, covered)
        image = np.round(colour + (1 - alpha) * self.background).astype(np.uint8)
        # The torso's picture differs from the whole one behind the head only: on slim necks the plug sticks out.
        head = covered & (self._labels == HEAD)
        below = np.where(head[..., None], below, self._colour)
        colour, alpha = self._reduce(below, np.where(head, covered_below, covered))
        straight = np.where(alpha > 0, colour / np.maximum(alpha, 1e-9), 0)
        torso = np.round(np.concatenate([straight, 255 * alpha], -1)).astype(np.uint8)
        votes = np.stack([(self._labels == v).reshape(n, k, n, k).sum((1, 3)) for v in range(4)])
        parsing = votes.argmax(0).astype(np.uint8)
        marks = self.landmarks(vertices, pose) if landmarks else np.zeros((478, 3), np.float32)
        return Rendering(image, parsing, torso, marks, self.camera_to_world(pose))


@lru_cache(maxsize=4)
def _landmark_map(identity: int) -> tuple[np.ndarray, np.ndarray]:
    """See Scene.landmark_map: MediaPipe's mesh on a frontal picture with parted lips, cast back onto the surface."""
    scene = Scene(Actor(identity), 512)
    a = scene.actor
    picture = scene.render({"jawOpen": 0.25}, HeadPose(), landmarks=False)
    with FaceFinder() as finder:
        found = finder.landmarks(picture.image)
    if np.isnan(found).any():
        raise InputError(f"identity {identity}: MediaPipe finds no face in the actor; choose another identity")
    xy = found[:, :2].astype(np.float64) * SUPERSAMPLING
    ids, bary = scene._ids, scene._bary
    rows, cols = np.nonzero((ids >= 0) & (scene._labels == HEAD))
    tri = ids[rows, cols]
    weight = np.concatenate([bary[rows, cols], 1 - bary[rows, cols].sum(1, keepdims=True)], 1)
    place = (a.canonical[a.triangles[tri]] * weight[..., None]).sum(1)
    opening = np.zeros(len(a.canonical))
    index, delta = a.units["jawOpen"]
    opening[index] = -delta[:, 1]
    lowered = (opening[a.triangles[tri]] * weight).sum(1)
    body = np.isin(a.materials[tri], (BODY, MOUTH))
    eyes = np.isin(a.materials[tri], (LEFT_EYE, RIGHT_EYE))
    lips = body & (np.array([lip_depth(*p) for p in place]) > -0.01) & (place[:, 2] > 1.25)
    skin = (a.materials[tri] == BODY) | lips
    lower_lip = lips & (lowered > 0.15)
    upper_lip = lips & ~lower_lip
    out_index, out_weight = np.zeros((478, 3), int), np.zeros((478, 3))
    for n in range(478):
        allowed = skin
        if n in INNER_UPPER or n in OUTER_UPPER:
            allowed = upper_lip
        elif n in INNER_LOWER or n in OUTER_LOWER:
            allowed = lower_lip
        elif n >= 468:
            allowed = eyes
        distance = (cols + 0.5 - xy[n, 0]) ** 2 + (rows + 0.5 - xy[n, 1]) ** 2
        if n in INNER_UPPER or n in INNER_LOWER:
            # The lip's rim: in the landmark's column, the point next to the opening.
            column = np.abs(cols + 0.5 - xy[n, 0]) < 1.5
            if (allowed & column).any():
                allowed = allowed & column
                distance = -rows if n in INNER_UPPER else rows
        best = np.where(allowed, distance, np.inf).argmin()
        out_index[n], out_weight[n] = a.triangles[tri[best]], weight[best]
    return out_index, out_weight
