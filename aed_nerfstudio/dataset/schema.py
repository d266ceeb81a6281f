"""The dataset folder: what `aed process` and the synthetic actor write and what the dataparser reads.

World frame: the head stands still at the origin (mid-point between the ears, at the height of the eyes), x towards the
person's left (image right), y up, z out of the face; one unit is `METRES_PER_UNIT` metres. The camera moves around it
(OpenGL camera-to-world: the camera looks along its -z).
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np

from aed_nerfstudio.errors import InputError

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
"""What may be said against a frame."""


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
        return f"{self.clip}/{self.index:05d}"


@dataclass
class Camera:
    """Shared pinhole camera, pixels."""

    fl_x: float
    fl_y: float
    cx: float
    cy: float
    w: int
    h: int


@dataclass
class Dataset:
    """Everything of a dataset folder but its pixels."""

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

    def clip(self, name: str) -> Clip:
        return next(c for c in self.clips if c.name == name)

    @property
    def labels(self) -> list[str]:
        """Every frame's emotion and intensity in one word, such as `happy strong`."""
        known = {clip.name: f"{clip.emotion} {clip.intensity}" for clip in self.clips}
        return [known[frame.clip] for frame in self.frames]

    def path(self, kind: str, frame: Frame) -> Path:
        """File of a frame; kind is images, parsing or torso."""
        return self.root / kind / f"{frame.stem}.{'jpg' if kind == 'images' else 'png'}"

    @property
    def background(self) -> Path:
        return self.root / "background.png"

    def features(self, clip: str) -> np.ndarray:
        """Audio features of a clip, float32 [2*count, feature_dim]."""
        path = self.root / "audio_features" / f"{clip}.npy"
        try:
            array = np.load(path)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is missing or damaged; run `aed process` again to rebuild it") from error
        expected = (2 * self.clip(clip).count, self.feature_dim)
        if array.shape != expected:
            raise InputError(f"{path} has shape {array.shape}, expected {expected}; run `aed process` again")
        return array.astype(np.float32)

    def landmarks(self, clip: str) -> np.ndarray:
        """Landmarks of a clip, float32 [count, 478, 3] pixels."""
        path = self.root / "landmarks" / f"{clip}.npy"
        try:
            return np.load(path)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is missing or damaged; run `aed process` again to rebuild it") from error

    def split(self, name: str) -> list[int]:
        """Indices of the usable frames of `train` (first 10/11 of each clip) or `val`/`test` (the last 1/11)."""
        counts = {c.name: c.count for c in self.clips}
        first_val = {c: n - max(1, n // VALIDATION_SHARE) for c, n in counts.items()}
        is_train = name == "train"
        return [i for i, f in enumerate(self.frames) if f.usable and (f.index < first_val[f.clip]) == is_train]


def write_json(path: Path, value: object) -> None:
    """Writes JSON atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    with open(temporary, "w") as file:
        json.dump(value, file, indent=1)
    os.replace(temporary, path)


def write_array(path: Path, array: np.ndarray) -> None:
    """Writes a `.npy` file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    with open(temporary, "wb") as file:
        np.save(file, array)
    os.replace(temporary, path)


def write_image(path: Path, image: np.ndarray, quality: int = 97) -> None:
    """Writes an RGB, RGBA or single-channel uint8 image atomically; the suffix chooses JPEG or PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    ok, data = cv2.imencode(path.suffix, image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise InputError(f"{path} could not be encoded")
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(data.tobytes())
    os.replace(temporary, path)


def read_image(path: Path) -> np.ndarray:
    """Reads an image as uint8: [H,W,3] RGB, [H,W,4] RGBA or [H,W].

    Raises:
        InputError: the file is missing or damaged.
    """
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise InputError(f"{path} is missing or damaged; run `aed process` again to rebuild it")
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
        write_json(dataset.root / "report.json", dataset.report)
    write_json(dataset.root / "transforms.json", {"camera_model": "OPENCV", **camera, **names, "frames": frames})
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
        },
    )


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is missing: no finished dataset folder; make one with `aed process VIDEO --output {path.parent}`"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); run `aed process` again to rebuild it") from error


def read_dataset(root: Path) -> Dataset:
    """Reads and validates a dataset folder.

    Raises:
        InputError: a file is missing or damaged, or the folder is of a newer format version.
    """
    root = Path(root)
    info = _read_json(root / "dataset.json")
    if info.get("format") != FORMAT:
        raise InputError(f"{root / 'dataset.json'} is not an {FORMAT} description; was it made by another program?")
    if info.get("version", 0) > VERSION:
        raise InputError(
            f"{root / 'dataset.json'} has format version {info['version']}, this program reads up to {VERSION}; "
            "upgrade with `pip install -U aed-nerfstudio`"
        )
    transforms = _read_json(root / "transforms.json")
    try:
        camera = Camera(**{k: transforms[k] for k in ("fl_x", "fl_y", "cx", "cy", "w", "h")})
        frames = [
            Frame(
                clip=f["clip"],
                index=f["index"],
                camera_to_world=f["transform_matrix"],
                face_box=f["face_box"],
                lips_box=f["lips_box"],
                eye_openness=f["eye_openness"],
                usable=f["usable"],
                sharpness=f.get("sharpness", 1.0),
                flags=f.get("flags", []),
            )
            for f in transforms["frames"]
        ]
        dataset = Dataset(
            root=root,
            camera=camera,
            clips=[Clip(**c) for c in info["clips"]],
            frames=frames,
            categories=info["emotions"]["categories"],
            intensities=info["emotions"]["intensities"],
            front_end=info["audio"]["front_end"],
            feature_dim=info["audio"]["feature_dim"],
            warnings=info.get("warnings", []),
            tools=info.get("tools", {}),
            report=_read_json(root / "report.json") if (root / "report.json").is_file() else {},
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{root}: transforms.json or dataset.json lacks {error}; run `aed process` again") from error
    for path in [dataset.background] + [
        dataset.path(k, f) for k in ("images", "parsing", "torso") for f in frames if f.usable
    ]:
        if not path.is_file():
            raise InputError(f"{path} is missing; run `aed process` again to rebuild it")
    for clip in dataset.clips:
        dataset.features(clip.name)
    return dataset


def check_pixels(dataset: Dataset) -> None:
    """Reads every picture of the usable frames, and their landmarks.

    Raises:
        InputError: one is missing or damaged.
    """
    read_image(dataset.background)
    for clip in dataset.clips:
        dataset.landmarks(clip.name)
    for frame in dataset.frames:
        for kind in ("images", "parsing", "torso") if frame.usable else ():
            read_image(dataset.path(kind, frame))


def discard(root: Path) -> None:
    """Removes an unfinished dataset folder (one without `dataset.json`)."""
    if not (root / "dataset.json").exists():
        shutil.rmtree(root, ignore_errors=True)
