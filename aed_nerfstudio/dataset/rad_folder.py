"""Folders of AD-NeRF, RAD-NeRF and ER-NeRF as datasets: read where they lie, nothing is copied.

World frame of theirs: the tracker's face model, x towards the person's left, y up, z out of the face, in metres (its
decimetres over ten); cameras are OpenGL camera-to-world, as ours are. So ours is theirs, shifted and scaled.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float32

from aed_nerfstudio.dataset.checked_json import MOST_BYTES, Field, check_poses, read_json
from aed_nerfstudio.dataset.schema import (
    BACKGROUND,
    HEAD,
    LARGEST_SIDE,
    METRES_PER_UNIT,
    NECK,
    TORSO,
    Camera,
    Clip,
    Dataset,
    Frame,
    read_image,
)
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.face_68 import from_68
from aed_nerfstudio.face.face_mesh import COUNT, OUTER_LIPS, eye_ratio, padded_box
from aed_nerfstudio.outside import BoundedFolder, csv_rows, read_text

MEND = "make it again by their data_utils/process.py"
COLOURS = {BACKGROUND: (255, 255, 255), HEAD: (0, 0, 255), NECK: (0, 255, 0), TORSO: (255, 0, 0)}
"""The colours of their parsing maps, RGB."""
IMAGES = ("gt_imgs", "com_imgs", "ori_imgs")
"""The folders where frames are, best first: before the static background (RAD-NeRF's, AD-NeRF's), or as filmed."""
HEAD_CENTRE = "head_centre"
"""What `aed export-rad` calls the head's centre in their world, metres; the peers ignore it."""
MOST_FRAMES = 250_000
GAPS, FEW_FRAMES = 4, 1000
"""Frames have numbers up to so many times as many as there are, or up to the other."""
DISTANCES = (0.8, 40.0)
"""The distances of a camera from the head that may be right, units."""


@dataclass
class RadFolder(Dataset):
    """A dataset of one clip, its frames numbered as theirs; those that their lists leave out are not usable."""

    speech: Float32[np.ndarray, "steps feature_dim"] = field(default_factory=lambda: np.zeros((0, 1), np.float32))
    """Audio features [2 * count, feature_dim]."""
    marks: Float32[np.ndarray, "f 478 3"] = field(default_factory=lambda: np.zeros((0, COUNT, 3), np.float32))
    """Landmarks [count, 478, 3], from their 68 by `from_68`."""
    held_out: frozenset[int] | None = None
    """Frames of transforms_val.json; the last 1/11 when None."""
    pictures: str = IMAGES[0]
    has_torso: bool = True
    """Whether there are torso_imgs; else the torso is what the parsing calls so."""
    mend: ClassVar[str] = MEND

    def path(self, kind: str, frame: Frame) -> Path:
        folder, suffix = {"images": (self.pictures, "jpg"), "torso": ("torso_imgs", "png")}.get(kind, (kind, "png"))
        return self.root / folder / f"{frame.index}.{suffix}"

    @property
    def background(self) -> Path:
        return self.root / "bc.jpg"

    @property
    def sources(self) -> list[Path]:
        lists = ("transforms_train.json", "transforms_val.json", "ori_imgs", "aud.npy")
        return [*super().sources, self.sound(""), *(self.root / name for name in lists)]

    def sound(self, clip: str) -> Path:
        return self.root / "aud.wav"

    def pictures_of(self, frame: Frame) -> list[Path]:
        return [self.path(kind, frame) for kind in ("images", "parsing", "torso") if kind != "torso" or self.has_torso]

    def parsing(self, frame: Frame) -> np.ndarray:
        colours = self._sized(self.path("parsing", frame), 3)
        labels = np.select(
            [(colours > 127).all(axis=-1), colours.max(axis=-1) < 128], [BACKGROUND, BACKGROUND],
            np.array([TORSO, NECK, HEAD])[colours.argmax(axis=-1)],
        )  # fmt: skip
        return labels.astype(np.uint8)

    def torso(self, frame: Frame) -> np.ndarray:
        if self.has_torso:
            return super().torso(frame)
        labels = self.parsing(frame)
        body = (labels == TORSO) | (labels == NECK)
        return np.dstack([self.image(frame), np.where(body, 255, 0).astype(np.uint8)])

    def features(self, clip: str) -> np.ndarray:
        return self.speech

    def landmarks(self, clip: str) -> np.ndarray:
        return self.marks

    def split(self, name: str) -> list[int]:
        if self.held_out is None:
            return super().split(name)
        return [i for i, f in enumerate(self.frames) if f.usable and (i in self.held_out) == (name != "train")]


def read_rad_folder(
    root: Path, scale: float = 1 / METRES_PER_UNIT, head_centre: tuple[float, float, float] | None = None
) -> RadFolder:
    """Reads a folder as their `process.py` leaves it, all but the sound: it has front end "none" and features of zeros.

    Needed are transforms_train.json and transforms_val.json (or transforms.json, split as ours are), gt_imgs (or
    com_imgs, ori_imgs), parsing, bc.jpg and ori_imgs/*.lms; used where present: torso_imgs, au.csv (blinks).

    Args:
        root: the folder.
        scale: our units per unit of their cameras; 4, as in RAD-NeRF, where these are metres.
        head_centre: where the head's centre (between the ears, at the height of the eyes) is in their world; what the
            transforms say of it, else their origin, when None.

    Raises:
        InputError: a file is missing or damaged or leads outside the folder, a value in one is wrong, or the cameras do
            not look at the head.
    """
    root = Path(root)
    inside = BoundedFolder(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give one of AD-NeRF, RAD-NeRF or ER-NeRF")
    parts = _read_transforms(root, inside)
    views, held_out = _read_views(parts)
    count = max(views) + 1
    pictures, listed = _listed(root, inside, views)
    has_torso = bool(listed["torso_imgs"])
    camera = _read_camera(parts[0], root / pictures / f"{min(views)}.jpg")
    warnings = [] if has_torso else [f"{root}: has no torso_imgs; the torso is cut out of the frames, without the neck "
                                     "behind the chin"]  # fmt: skip
    points, found = _read_points(root, listed["ori_imgs"], views, count)
    if not all(found[k] for k in views):
        warnings.append(f"{root}: no landmarks in {sum(not found[k] for k in views)} frames; they are left out")
    marks = from_68(points)
    usable = found & _in_picture(points, camera)
    if head_centre is None:
        head_centre = _head_centre(parts[0])
    name, poses = root.resolve().name, _poses(views, count, scale, head_centre)
    frames = _frames(name, poses, marks, usable, _openness(inside.check(root / "au.csv"), marks, usable), camera)
    dataset = RadFolder(
        root=root,
        camera=camera,
        clips=[Clip(name, "aud.wav", 0, count)],
        frames=frames,
        categories=["neutral"],
        intensities=["medium"],
        front_end="none",
        feature_dim=1,
        warnings=warnings,
        speech=np.zeros((2 * count, 1), np.float32),
        marks=marks,
        held_out=held_out,
        pictures=pictures,
        has_torso=has_torso,
    )
    inside.check(dataset.background)
    dataset.static_background()
    _check_view(parts[0], dataset)
    inside.check(dataset.sound(""))
    return dataset


def _read_transforms(root: Path, inside: BoundedFolder) -> list[Field]:
    """Reads the training part and the held-out one, or all frames in one."""
    missing = "not a folder that AD-NeRF, RAD-NeRF or ER-NeRF made; their process.py --task 9 writes it"
    names = ["transforms_train.json", "transforms_val.json"]
    if not (root / names[0]).exists() and (root / "transforms.json").exists():
        names = ["transforms.json"]
    return [read_json(inside.check(root / name), missing, MEND) for name in names]


def _read_views(parts: list[Field]) -> tuple[dict[int, Field], frozenset[int] | None]:
    """Reads the matrices of the frames by their numbers, and which frames are held out."""
    views: dict[int, Field] = {}
    numbers = []
    for part in parts:
        numbers.append(set())
        for frame in part["frames"].list():
            number = frame["img_id"].integer(0, MOST_FRAMES)
            if frame.get("aud_id", number).integer(0, MOST_FRAMES) != number:
                raise frame["aud_id"].wrong(f"the frame's own number, {number}")
            if number in views:
                raise frame["img_id"].wrong("a number that no other frame has")
            frame["transform_matrix"].matrix()
            views[number] = frame["transform_matrix"]
            numbers[-1].add(number)
        if not numbers[-1]:
            raise part["frames"].wrong("a list of at least one frame")
    check_poses(list(views.values()), np.array([view.value for view in views.values()], np.float64), 1e4)
    return views, frozenset(numbers[1]) if len(numbers) > 1 else None


def _read_camera(part: Field, picture: Path) -> Camera:
    """Reads the camera; the pictures' size is the first frame's."""
    height, width = read_image(picture, MEND).shape[:2]
    if max(height, width) > LARGEST_SIDE:
        raise InputError(f"{picture}: is larger than {LARGEST_SIDE} pixels; {MEND}")
    names = ("focal_len", "focal_len") if "focal_len" in part else ("fl_x", "fl_y")
    fl_x, fl_y = (part[name].number(1e-3) for name in names)
    cx, cy = part["cx"].number(0), part["cy"].number(0)
    for name, value, side in (("cx", cx, width), ("cy", cy, height)):
        if abs(2 * value - side) > 2:
            raise part[name].wrong(f"the middle, {side / 2:g}, of {picture.parent.name}/{picture.name}")
    return Camera(fl_x, fl_y, cx, cy, width, height)


def _head_centre(part: Field) -> tuple[float, float, float]:
    """Reads where the head's centre is in their world; the origin where nothing is said of it."""
    if HEAD_CENTRE not in part:
        return (0.0, 0.0, 0.0)
    centre = [value.number(-10, 10) for value in part[HEAD_CENTRE].list()]
    if len(centre) != 3:
        raise part[HEAD_CENTRE].wrong("three numbers")
    return centre[0], centre[1], centre[2]


def _listed(root: Path, inside: BoundedFolder, views: dict[int, Field]) -> tuple[str, dict[str, set[str]]]:
    """Returns the name of the folder that holds the frames, and the names of the files in it and beside it by folder.

    Raises:
        InputError: a frame's picture is missing, or the frames are numbered with wide gaps.
    """
    pictures, last = _picture_folder(root, inside), max(views)
    listed = {kind: inside.files(root / kind) for kind in (pictures, "parsing", "ori_imgs", "torso_imgs")}
    for folder, suffix in ((pictures, "jpg"), ("parsing", "png")):
        _need(root / folder, listed[folder], suffix, views)
    if last >= FEW_FRAMES + GAPS * len(listed[pictures]):
        raise InputError(f"{root / pictures}: has {len(listed[pictures])} frames, and one is to be number {last}; "
                         f"number them from 0 on without gaps, or {MEND}")  # fmt: skip
    if listed["torso_imgs"]:
        _need(root / "torso_imgs", listed["torso_imgs"], "png", views)
    return pictures, listed


def _picture_folder(root: Path, inside: BoundedFolder) -> str:
    """Returns the folder that holds the frames."""
    for name in IMAGES:
        if any(path.endswith(".jpg") for path in inside.files(root / name)):
            return name
    raise InputError(f"{root}: has no frames in {', '.join(IMAGES)}; their process.py --task 3 writes them")


def _need(folder: Path, present: set[str], suffix: str, numbers: dict[int, Field]) -> None:
    """Raises InputError where a frame's file is not among those present."""
    for number in sorted(numbers):
        if f"{number}.{suffix}" not in present:
            raise InputError(f"{folder / f'{number}.{suffix}'} is missing, though {_place(numbers[number])} names its "
                             f"frame; {MEND}")  # fmt: skip


def _place(matrix: Field) -> str:
    """Returns the name of the file that a matrix is from."""
    return Path(str(matrix).split(": ")[0]).name


def _read_points(root: Path, present: set[str], views: dict[int, Field], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads their landmarks, [count, 68, 2], and for which frames there are any; zeros elsewhere."""
    points, found = np.zeros((count, 68, 2), np.float32), np.zeros(count, bool)
    for number in views:
        name = f"{number}.lms"
        if name in present:
            points[number], found[number] = _read_lms(root / "ori_imgs" / name), True
    if not found.any():
        raise InputError(f"{root / 'ori_imgs'}: has no .lms file of any frame; their process.py --task 7 writes them")
    return points, found


def _read_lms(path: Path) -> np.ndarray:
    """Reads 68 lines of x and y, [68, 2]."""
    try:
        values = np.array(read_text(path, 1 << 16, MEND).split(), np.float64)
    except ValueError as error:
        raise InputError(f"{path} is damaged; {MEND}") from error
    if values.shape != (136,) or not (np.abs(values) < 1e6).all():
        raise InputError(f"{path} must hold 68 lines of two numbers; {MEND}")
    return values.reshape(68, 2)


def _in_picture(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Returns whether at most a fifth of the landmarks is outside; [F, 68, 2] -> bool [F]."""
    inside = ((points >= 0) & (points < [camera.w, camera.h])).all(axis=-1)
    return inside.mean(axis=1) >= 0.8


def _openness(units: Path, marks: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Returns how far the eyes are open, [F] in 0..1.

    It is told by OpenFace's action unit 45 as in ER-NeRF, else by the landmarks.
    """
    if os.path.lexists(units):
        blinks = _read_blinks(units)
        if abs(len(blinks) - len(marks)) > 25:
            raise InputError(f"{units} has {len(blinks)} rows for {len(marks)} frames; run OpenFace again")
        blinks = np.pad(blinks, (0, max(0, len(marks) - len(blinks))), mode="edge")[: len(marks)]
        return 1 - np.clip(blinks, 0, 2) / 2
    ratio = eye_ratio(np.where(usable[:, None, None], marks, np.nan))
    if not np.isfinite(ratio).any():
        return np.ones(len(marks))
    return np.clip(np.nan_to_num(ratio / max(float(np.nanpercentile(ratio, 95)), 1e-6), nan=1.0), 0, 1)


def _read_blinks(path: Path) -> np.ndarray:
    """Reads OpenFace's AU45_r, [rows]."""
    mend = "run OpenFace again, or remove the file"
    rows = csv_rows(path, read_text(path, MOST_BYTES, mend))
    try:
        column = next(rows, (1, []))[1].index("AU45_r")
        values = np.array([float(row[column]) for _, row in rows])
    except (ValueError, IndexError) as error:
        raise InputError(f"{path} has no whole column AU45_r; {mend}") from error
    if not values.size or not np.isfinite(values).all():
        raise InputError(f"{path}: AU45_r is empty or not finite; {mend}")
    return values


def _poses(views: dict[int, Field], count: int, scale: float, centre: tuple[float, ...]) -> np.ndarray:
    """Returns the cameras in our world, [count, 4, 4]; frames without one have their neighbour's."""
    numbers = np.array(sorted(views))
    poses = np.array([views[k].value for k in numbers], np.float64)
    poses[:, :3, 3] = (poses[:, :3, 3] - centre) * scale
    nearest = np.clip(np.searchsorted(numbers, np.arange(count)), 0, len(numbers) - 1)
    return poses[nearest]


def _frames(
    name: str, poses: np.ndarray, marks: np.ndarray, usable: np.ndarray, openness: np.ndarray, camera: Camera
) -> list[Frame]:
    """Returns the frames of the clip; boxes of unusable ones are the whole picture."""
    whole, frames = [0, 0, camera.w, camera.h], []
    for k, seen in enumerate(usable):
        face = padded_box(marks[k], 0.05, (camera.w, camera.h)) if seen else whole
        lips = padded_box(marks[k, OUTER_LIPS], 0.2, (camera.w, camera.h)) if seen else whole
        frames.append(Frame(name, k, poses[k].tolist(), list(face), list(lips), float(openness[k]), bool(seen)))
    return frames


def _check_view(part: Field, dataset: RadFolder) -> None:
    """Checks that the cameras look at a head at the origin from where a camera may be."""
    seen = [frame for frame in dataset.frames if frame.usable]
    if not seen:
        raise InputError(f"{dataset.root}: no frame has landmarks inside the picture; {MEND}")
    poses = np.array([frame.camera_to_world for frame in seen])
    boxes = np.array([frame.face_box for frame in seen])
    places = -np.einsum("fji,fj->fi", poses[:, :3, :3], poses[:, :3, 3])  # the origin, seen from the cameras
    distance = float(np.median(-places[:, 2]))
    c = dataset.camera
    depth = np.where(places[:, 2] < 0, -places[:, 2], np.nan)
    x, y = c.cx + c.fl_x * places[:, 0] / depth, c.cy - c.fl_y * places[:, 1] / depth
    wide, high = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    off = np.abs(x - boxes[:, [0, 2]].mean(1)) / wide, np.abs(y - boxes[:, [1, 3]].mean(1)) / high
    if not (DISTANCES[0] <= distance <= DISTANCES[1] and all(np.median(share) < 0.75 for share in off)):
        raise InputError(f"{part}: its cameras do not look at a head at the origin (distance {distance:.2f} units, "
                         f"where a face 0.8 units high is expected); give --scale and --head-centre")  # fmt: skip
