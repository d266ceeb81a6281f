"""The dataset folder: what `aed process` and the synthetic actor write and what the dataparser reads.

World frame: the head stands still at the origin (mid-point between the ears, at the height of the eyes), x towards the
person's left (image right), y up, z out of the face; one unit is `METRES_PER_UNIT` metres. The camera moves around it
(OpenGL camera-to-world: the camera looks along its -z).
"""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from aed_nerfstudio.dataset.checked_json import Field, check_poses, read_json
from aed_nerfstudio.dataset.picture_files import MOST_BYTES, fault
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import replacing, write
from aed_nerfstudio.outside import BoundedFolder, is_file, read_array, read_bytes

FORMAT = "aed-talking-face"
VERSION = 2
"""2 adds `source_start`, `sharpness`, `flags` and `report.json`; folders of version 1 are read as well."""
METRES_PER_UNIT = 0.25
FPS = 25
VALIDATION_SHARE = 11
"""The last 1/11 of every clip is the validation part (the family's convention)."""
BACKGROUND, TORSO, NECK, HEAD = 0, 1, 2, 3
"""Values of the parsing maps."""
FLAGS = ("blurred", "mouth_covered", "eyes_covered", "other_face", "pose_outlier")
"""The faults that a frame may have."""
LARGEST_SIDE = 16384
"""The longest side of a picture, pixels."""
FARTHEST_MARK = 1e6
"""The largest distance of a landmark from the picture's corner, pixels."""
FARTHEST = 1000.0
"""The largest distance of a camera from the head, units."""
MEND = "run `aed process` again"


@dataclass
class Clip:
    """One uninterrupted take with one label; audio windows never cross its border."""

    name: str
    source: str
    first_frame: int
    count: int
    emotion: str = "neutral"
    intensity: str = "medium"
    source_start: float = 0.0
    """Where the clip begins in its source, seconds: a video with scene cuts gives several clips."""


@dataclass
class Frame:
    """One frame. Boxes are (left, top, right, bottom) pixels, right and bottom exclusive."""

    clip: str
    index: int
    camera_to_world: list[list[float]]
    """4x4, OpenGL."""
    face_box: list[int]
    lips_box: list[int]
    eye_openness: float = 1.0
    """0 closed, 1 fully open."""
    usable: bool = True
    """False where the face was lost or covered, left the picture or has no trustworthy pose; such frames are neither
    trained on nor evaluated."""
    sharpness: float = 1.0
    """Relative to the clip's median."""
    flags: list[str] = field(default_factory=list)
    """Out of `FLAGS`."""

    @property
    def stem(self) -> str:
        """Returns the frame's name in every folder, without a suffix: its clip and its number in that."""
        return f"{self.clip}/{self.index:05d}"


@dataclass
class Camera:
    """The pinhole camera that all frames share, pixels."""

    fl_x: float
    fl_y: float
    cx: float
    cy: float
    w: int
    h: int

    def resized(self, width: int, height: int) -> Camera:
        """Returns the same view in another number of pixels."""
        across, down = width / self.w, height / self.h
        return Camera(self.fl_x * across, self.fl_y * down, self.cx * across, self.cy * down, width, height)


@dataclass
class Dataset:
    """What is in a dataset folder, all but its pixels."""

    root: Path
    camera: Camera
    clips: list[Clip]
    frames: list[Frame]
    categories: list[str]
    intensities: list[str]
    front_end: str
    feature_dim: int
    warnings: list[str] = field(default_factory=list)
    tools: dict[str, str] = field(default_factory=dict)
    report: dict = field(default_factory=dict)
    """What capture measured (`report.json`); empty where nothing was."""
    consent: str = ""
    """Who agreed to what, in the words of whoever made the dataset; empty: not noted."""
    mend: ClassVar[str] = f"{MEND} to rebuild it"
    """What a user should do about a damaged file."""

    def clip(self, name: str) -> Clip:
        """Returns the clip of a name."""
        return next(c for c in self.clips if c.name == name)

    @property
    def labels(self) -> list[str]:
        """Returns every frame's emotion and intensity in one word, such as `happy strong`."""
        known = {clip.name: f"{clip.emotion} {clip.intensity}" for clip in self.clips}
        return [known[frame.clip] for frame in self.frames]

    def path(self, kind: str, frame: Frame) -> Path:
        """Returns the file of a frame; kind is images, parsing or torso."""
        return self.root / kind / f"{frame.stem}.{'jpg' if kind == 'images' else 'png'}"

    def pictures_of(self, frame: Frame) -> list[Path]:
        """Returns the files of a frame's pictures."""
        return [self.path(kind, frame) for kind in ("images", "parsing", "torso")]

    @property
    def background(self) -> Path:
        """Returns the file of the picture without the person."""
        return self.root / "background.png"

    @property
    def sources(self) -> list[Path]:
        """Returns what is read of the folder: files, and folders whose files are."""
        frames = {self.path(kind, frame).parent for kind in ("images", "parsing", "torso") for frame in self.frames}
        return [*frames, *folder_parts(self.root)]

    def sound(self, clip: str) -> Path:
        """Returns the file of a clip's sound; there may be none."""
        return self.root / "audio" / f"{clip}.wav"

    def image(self, frame: Frame) -> UInt8[np.ndarray, "h w 3"]:
        """Reads a frame as it was filmed, uint8 [h, w, 3]."""
        return self._sized(self.path("images", frame), 3)

    def torso(self, frame: Frame) -> UInt8[np.ndarray, "h w 4"]:
        """Reads a frame's torso without the head, uint8 [h, w, 4] RGBA."""
        return self._sized(self.path("torso", frame), 4)

    def parsing(self, frame: Frame) -> UInt8[np.ndarray, "h w"]:
        """Reads what each pixel of a frame is, uint8 [h, w]: BACKGROUND, TORSO, NECK or HEAD."""
        return self._sized(self.path("parsing", frame), 1)

    def own_background(self, clip: str) -> Path:
        """Returns the file of the picture without the person as a clip shows it; there may be none."""
        return self.root / "backgrounds" / f"{clip}.png"

    def static_background(self, clip: str | None = None) -> UInt8[np.ndarray, "h w 3"]:
        """Reads the picture without the person, uint8 [h, w, 3]: of a clip, where that has its own, else of all."""
        own = None if clip is None else self.own_background(clip)
        return self._sized(own if own is not None and is_file(own) else self.background, 3)

    def _sized(self, path: Path, channels: int) -> np.ndarray:
        """Reads a picture of the camera's size; its alpha is dropped where it is not asked for."""
        image = read_image(path, self.mend, (self.camera.w, self.camera.h))
        if channels == 3 and image.ndim == 3:
            image = image[..., :3]
        expected = (self.camera.h, self.camera.w) + ((channels,) if channels > 1 else ())
        if image.shape != expected:
            raise InputError(f"{path} has shape {image.shape}, expected {expected}; {self.mend}")
        return image

    def features(self, clip: str) -> Float32[np.ndarray, "steps feature_dim"]:
        """Reads the audio features of a clip, float32 [2*count, feature_dim]."""
        path = self.root / "audio_features" / f"{clip}.npy"
        array = _read_array(path, (2 * self.clip(clip).count, self.feature_dim))
        if not np.isfinite(array).all():
            raise InputError(f"{path} holds numbers that are not finite; {MEND}")
        return array

    def landmarks(self, clip: str) -> Float32[np.ndarray, "f 478 3"]:
        """Reads the landmarks of a clip, float32 [count, 478, 3] pixels.

        In frames that are not usable they may be anything, NaN too.
        """
        path = self.root / "landmarks" / f"{clip}.npy"
        array = _read_array(path, (self.clip(clip).count, 478, 3))
        there = np.asarray((np.abs(array) <= FARTHEST_MARK).all(axis=(1, 2)))
        lost = [f.index for f in self.frames if f.clip == clip and f.usable and not there[f.index]]
        if lost:
            raise InputError(f"{path} holds no pixels in frame {lost[0]}, which is usable; {MEND}")
        array[~there] = np.nan
        return array

    def split(self, name: str) -> list[int]:
        """Returns the indices of the usable frames of `train` (the first 10/11 of clips), `val` or `test` (others)."""
        counts = {c.name: c.count for c in self.clips}
        first_val = {c: n - max(1, n // VALIDATION_SHARE) for c, n in counts.items()}
        is_train = name == "train"
        return [i for i, f in enumerate(self.frames) if f.usable and (f.index < first_val[f.clip]) == is_train]

    def longest_take(self) -> list[int]:
        """Returns the indices of the training frames of the clip that has most of them, the first of equals."""
        training = self.split("train")
        names = [self.frames[i].clip for i in training]
        longest = max(dict.fromkeys(names), key=names.count, default=None)
        return [i for i in training if self.frames[i].clip == longest]


def folder_parts(root: Path) -> list[Path]:
    """Returns the files and folders of a dataset folder."""
    files = ("dataset.json", "transforms.json", "report.json", "background.png")
    folders = ("images", "parsing", "torso", "landmarks", "audio", "audio_features", "backgrounds")
    return [root / name for name in (*files, *folders)]


def write_json(path: Path, value: object, root: Path | None = None) -> None:
    """Writes JSON atomically: the same value gives the same bytes.

    root: the folder that it must not lead out of, see `files.inside`.

    Raises:
        InputError: the disk is full, or the folder cannot be written.
        ValueError: a number is NaN or infinite, which is no JSON.
    """
    write(path, json.dumps(value, indent=1, allow_nan=False), root)


def write_array(path: Path, array: np.ndarray, root: Path | None = None) -> None:
    """Writes a `.npy` file atomically; root: as for `write_json`."""
    # Not "wb": into such a file NumPy writes by itself, and says of a full disk only how much is missing.
    with replacing(path, root) as temporary, open(temporary, "r+b") as file:
        np.save(file, array)


def write_arrays(path: Path, root: Path | None = None, **arrays: np.ndarray | float | tuple) -> None:
    """Writes a `.npz` file atomically; root: as for `write_json`."""
    data = io.BytesIO()  # NumPy's archive, left open by a full disk, would complain about it at the program's end
    np.savez(data, allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})
    write(path, data.getvalue(), root)


def write_image(
    path: Path, image: UInt8[np.ndarray, "h w *channels"], quality: int = 97, root: Path | None = None
) -> None:
    """Writes an RGB, RGBA or single-channel uint8 image atomically; the suffix chooses JPEG or PNG. root: as for
    `write_json`."""
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    ok, data = cv2.imencode(path.suffix, image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise InputError(f"{path} could not be encoded")
    write(path, data.tobytes(), root)


def _read_array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Reads a `.npy` file of real numbers as float32."""
    array = read_array(path, f"{MEND} to rebuild it")
    if array.shape != shape:
        raise InputError(f"{path} has shape {array.shape}, expected {shape}; {MEND}")
    with np.errstate(over="ignore"):  # to infinity, which is no number either
        return np.array(array, np.float32)


def read_image(
    path: Path, mend: str = f"{MEND} to rebuild it", size: tuple[int, int] | None = None
) -> UInt8[np.ndarray, "h w *channels"]:
    """Reads an image as uint8: [H,W,3] RGB, [H,W,4] RGBA or [H,W].

    mend: what the error tells the user to do. size: width and height that it must have; any when None.

    Raises:
        InputError: the file is missing, damaged, cut off, or of another size.
    """
    if (wrong := fault(path, size, LARGEST_SIDE)) is not None:
        raise InputError(f"{path} {wrong}; {mend}")
    try:
        image = cv2.imdecode(np.frombuffer(read_bytes(path, MOST_BYTES, mend), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # for pictures of absurd sizes, for one
        image = None
    if image is None or image.dtype != np.uint8 or (image.ndim == 3 and image.shape[2] not in (3, 4)):
        raise InputError(f"{path} is missing or damaged; {mend}")
    if image.ndim == 2:
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def write_dataset(dataset: Dataset) -> None:
    """Writes `transforms.json` and, last of all, `dataset.json`, whose presence says that the folder is whole.

    Pixels, audio, features and landmarks must have been written before (`write_image`, `write_array`).
    """
    camera = asdict(dataset.camera)
    names = {
        f"{part}_filenames": [f"images/{dataset.frames[i].stem}.jpg" for i in dataset.split(part)]
        for part in ("train", "val", "test")
    }
    frames = [
        {
            "file_path": f"images/{f.stem}.jpg",
            "transform_matrix": f.camera_to_world,
            "clip": f.clip,
            "index": f.index,
            "face_box": f.face_box,
            "lips_box": f.lips_box,
            "eye_openness": f.eye_openness,
            "usable": f.usable,
            "sharpness": f.sharpness,
            "flags": f.flags,
        }
        for f in dataset.frames
    ]
    if dataset.report:
        write_json(dataset.root / "report.json", _plain(dataset.report), dataset.root)
    transforms = {"camera_model": "OPENCV", **camera, **names, "frames": frames}
    write_json(dataset.root / "transforms.json", transforms, dataset.root)
    write_json(
        dataset.root / "dataset.json",
        {
            "format": FORMAT,
            "version": VERSION,
            "fps": FPS,
            "emotions": {"categories": dataset.categories, "intensities": dataset.intensities},
            "audio": {"front_end": dataset.front_end, "feature_dim": dataset.feature_dim, "sample_rate": 16000},
            "clips": [asdict(c) for c in dataset.clips],
            "tools": dataset.tools,
            "warnings": dataset.warnings,
            "consent": dataset.consent,
        },
        dataset.root,
    )


def _plain(value: object) -> object:
    """Returns a report as JSON knows it: NumPy's numbers as Python's, and null for what is not finite."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_dataset(root: Path) -> Dataset:
    """Reads and validates a dataset folder: every value of its files, and that the usable frames' pictures are there.

    Raises:
        InputError: a file is missing or damaged, leads outside the folder or is of a newer format version, or a value
            in it is wrong, which is named: `transforms.json: frames[12].lips_box must be ...`.
    """
    root = Path(root)
    inside = BoundedFolder(root)
    missing = f"no finished dataset folder; make one with `aed process VIDEO --output {root}`"
    info, transforms = (
        read_json(inside.check(root / name), missing, MEND + " to rebuild it")
        for name in ("dataset.json", "transforms.json")
    )
    _check_format(info)
    emotions, audio = info["emotions"], info["audio"]
    categories, intensities = emotions["categories"].names(), emotions["intensities"].names()
    audio.get("sample_rate", 16000).integer(16000, 16000)
    camera = _read_camera(transforms)
    clips = [_read_clip(field, categories, intensities) for field in info["clips"].list()]
    if len({clip.name for clip in clips}) < max(1, len(clips)):
        raise info["clips"].wrong("a list of clips with different names")
    frames = _read_frames(transforms["frames"], clips, camera)
    _check_lists(transforms, frames)
    report = inside.check(root / "report.json")
    dataset = Dataset(
        root=root,
        camera=camera,
        clips=clips,
        frames=frames,
        categories=categories,
        intensities=intensities,
        front_end=_read_front_end(audio["front_end"]),
        feature_dim=audio["feature_dim"].integer(1, 1 << 16),
        warnings=info.get("warnings", []).texts(),
        tools={key: info["tools"][key].text() for key in info.get("tools", {}).object()},
        consent=info.get("consent", "").text(),
        report=read_json(report, MEND, MEND).object() if is_file(report) else {},
    )
    _check_files(dataset, inside)
    return dataset


def _check_format(info: Field) -> None:
    if info.get("format", None).value != FORMAT:
        raise InputError(f"{info} is not an {FORMAT} description; was it made by another program?")
    version = info["version"].integer(1)
    if version > VERSION:
        raise InputError(
            f"{info} has format version {version}, this program reads up to {VERSION}; "
            "upgrade with `pip install -U aed-nerfstudio`"
        )
    if info["fps"].number() != FPS:
        raise info["fps"].wrong(str(FPS))


def _read_camera(transforms: Field) -> Camera:
    w, h = (transforms[side].integer(1, LARGEST_SIDE) for side in ("w", "h"))
    fl_x, fl_y = (transforms[axis].number(1e-3) for axis in ("fl_x", "fl_y"))
    # A crop off the middle of a wide frame may have its principal point outside.
    cx, cy = (transforms[axis].number(-LARGEST_SIDE, 2 * LARGEST_SIDE) for axis in ("cx", "cy"))
    if transforms.get("camera_model", "OPENCV").value not in ("OPENCV", "PINHOLE"):
        raise transforms["camera_model"].wrong("OPENCV")
    return Camera(fl_x, fl_y, cx, cy, w, h)


def _read_clip(field: Field, categories: list[str], intensities: list[str]) -> Clip:
    clip = Clip(
        name=field["name"].name(),
        source=field["source"].text(),
        first_frame=field["first_frame"].integer(),
        count=field["count"].integer(1),
        emotion=field["emotion"].text(),
        intensity=field["intensity"].text(),
        source_start=field.get("source_start", 0.0).number(0),
    )
    if clip.emotion not in categories:
        raise field["emotion"].wrong(f"one of {', '.join(categories)}")
    if clip.intensity not in intensities:
        raise field["intensity"].wrong(f"one of {', '.join(intensities)}")
    return clip


def _read_front_end(field: Field) -> str:
    name = field.text()
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*|(\+\w[\w.-]*)+)?", name):
        raise field.wrong("the name of an audio front end")
    return name


def _read_frames(field: Field, clips: list[Clip], camera: Camera) -> list[Frame]:
    """Reads the frames, which must be those of the clips, in their order."""
    fields, frames = list(field.list()), []
    total = sum(clip.count for clip in clips)
    if len(fields) != total:
        raise field.wrong(f"a list of {total} frames, which the clips of dataset.json have")
    expected = [(clip.name, index) for clip in clips for index in range(clip.count)]
    for f, (clip, index) in zip(fields, expected, strict=True):
        if f["clip"].value != clip:
            raise f["clip"].wrong(f"{clip!r}, by the clips of dataset.json")
        if f["index"].integer() != index:
            raise f["index"].wrong(f"{index}: a clip's frames follow each other")
        frame = Frame(
            clip=clip,
            index=index,
            camera_to_world=f["transform_matrix"].matrix(),
            face_box=_read_box(f["face_box"], camera),
            lips_box=_read_box(f["lips_box"], camera),
            eye_openness=f["eye_openness"].number(0, 1),
            usable=f["usable"].boolean(),
            sharpness=f.get("sharpness", 1.0).number(0),
            flags=f.get("flags", []).texts(),
        )
        if not set(frame.flags) <= set(FLAGS):
            raise f["flags"].wrong(f"a list out of {', '.join(FLAGS)}")
        if f["file_path"].value != f"images/{frame.stem}.jpg":
            raise f["file_path"].wrong(f"images/{frame.stem}.jpg")
        frames.append(frame)
    matrices = [f["transform_matrix"] for f in fields]
    check_poses(matrices, np.array([m.value for m in matrices], np.float64), FARTHEST)
    return frames


def _read_box(field: Field, camera: Camera) -> list[int]:
    box = field.value
    whole = isinstance(box, list) and len(box) == 4 and all(type(v) is int for v in box)
    if not (whole and 0 <= box[0] < box[2] <= camera.w and 0 <= box[1] < box[3] <= camera.h):
        raise field.wrong(f"whole numbers left < right <= {camera.w}, top < bottom <= {camera.h}: [l, t, r, b]")
    return box


def _check_lists(transforms: Field, frames: list[Frame]) -> None:
    """Checks the lists by which other nerfstudio methods split the frames."""
    known = {f"images/{frame.stem}.jpg" for frame in frames}
    for part in ("train", "val", "test"):
        for name in transforms.get(f"{part}_filenames", []).list():
            if name.text() not in known:
                raise name.wrong("the file_path of a frame")


def _check_files(dataset: Dataset, inside: BoundedFolder) -> None:
    """Checks that what the usable frames need is there and lies in the folder, and that the audio features fit."""
    lost = [] if is_file(inside.check(dataset.background)) else [dataset.background]
    for kind, suffix in (("images", "jpg"), ("parsing", "png"), ("torso", "png")):
        found = {clip.name: inside.files(dataset.root / kind / clip.name) for clip in dataset.clips}
        # By name, because tens of thousands of paths take seconds to make.
        lost += [
            dataset.path(kind, frame)
            for frame in dataset.frames
            if frame.usable and f"{frame.index:05d}.{suffix}" not in found[frame.clip]
        ]
    if lost:
        raise InputError(f"{lost[0]} is missing; {MEND} to rebuild it")
    for clip in dataset.clips:
        optional = dataset.sound(clip.name), dataset.own_background(clip.name)
        for path in (*optional, dataset.root / "landmarks" / f"{clip.name}.npy"):
            inside.check(path)
        inside.check(dataset.root / "audio_features" / f"{clip.name}.npy")
        dataset.features(clip.name)


def check_pictures(dataset: Dataset) -> None:
    """Checks that every picture of the usable frames is there, whole to its end and of the camera's size.

    It is told by headers and last bytes: for 10 000 frames in a second or two.

    Raises:
        InputError: one is not.
    """
    size = dataset.camera.w, dataset.camera.h
    own = [dataset.own_background(clip.name) for clip in dataset.clips]
    paths = [dataset.background, *(path for path in own if is_file(path))]
    paths += [path for frame in dataset.frames if frame.usable for path in dataset.pictures_of(frame)]
    for path in paths:
        if (wrong := fault(path, size)) is not None:
            raise InputError(f"{path} {wrong}; {dataset.mend}")


def check_pixels(dataset: Dataset) -> None:
    """Reads every picture of the usable frames, and their landmarks, to find out whether they are whole.

    Raises:
        InputError: one is missing, damaged or of another size.
    """
    dataset.static_background()
    for clip in dataset.clips:
        dataset.static_background(clip.name)
        dataset.landmarks(clip.name)
    for frame in dataset.frames:
        for read in (dataset.image, dataset.parsing, dataset.torso) if frame.usable else ():
            read(frame)
