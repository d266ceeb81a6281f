"""Videos of one person to a dataset folder: tracking, pose, parsing, background, torso layer, sound.

Every stage writes files and then notes in `.stages.json` that it is done, so a run that was stopped goes on where it
was; `dataset.json`, which says that the folder is whole, comes last.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from aed_nerfstudio.capture.background import estimate_background
from aed_nerfstudio.capture.landmarks import (
    FaceTracker,
    cut,
    eye_openness,
    head_crop,
    in_picture,
    smooth_landmarks,
    to_crop,
)
from aed_nerfstudio.capture.pose_estimation import HeadPoses, estimate_poses
from aed_nerfstudio.capture.segmentation import PersonSegmenter, parse
from aed_nerfstudio.capture.torso import torso_layer
from aed_nerfstudio.dataset.face_mesh import COUNT, OUTER_LIPS, padded_box
from aed_nerfstudio.dataset.schema import (
    FPS,
    Camera,
    Clip,
    Dataset,
    Frame,
    check_pixels,
    read_dataset,
    read_image,
    write_array,
    write_dataset,
    write_image,
    write_json,
)
from aed_nerfstudio.driving.audio import FRONT_ENDS, SAMPLE_RATE, extract_features
from aed_nerfstudio.driving.emotion import CATEGORIES, INTENSITIES
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import is_silent, read_audio, write_wav
from aed_nerfstudio.media.video_reader import probe, read_frames

STAGES_VERSION = 1
MINIMUM_SECONDS = 2.0
MINIMUM_FACES = 0.02  # of the frames
SIZES = (64, 2048)
BACKGROUND_FRAMES = 100
PARTS = ("images", "landmarks", "parsing", "torso", "audio", "audio_features")
FILES = ("background.png", "pose.npz", "transforms.json", "dataset.json", ".stages.json")


class Stages:
    """What is already done, kept in `.stages.json`; `done` maps a stage's name to what it found out."""

    def __init__(self, root: Path, inputs: dict) -> None:
        self.path = root / ".stages.json"
        self.inputs = json.loads(json.dumps(inputs))
        self.done: dict[str, dict] = {}
        try:
            stored = json.loads(self.path.read_text())
            if stored["inputs"] == self.inputs:
                self.done = stored["done"]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # missing or damaged: everything is made anew

    def finish(self, name: str, found: dict | None = None) -> None:
        self.done[name] = found or {}
        write_json(self.path, {"inputs": self.inputs, "done": self.done})


def process_videos(
    videos: list[Path],
    output: Path,
    size: int = 512,
    emotions: Sequence[str] = ("neutral",),
    intensities: Sequence[str] = ("medium",),
    front_end: str = "moonshine",
    progress: bool = True,
) -> Dataset:
    """Makes a dataset folder from videos of one person.

    Args:
        videos: files in which one person talks, at least two seconds each; every file becomes a clip.
        output: the folder; must be new, empty or one that this function began with the same videos and options. A
            finished dataset is read again, and made anew where a file of it is missing or damaged.
        size: side of the square pictures, pixels.
        emotions: every video's label, or one for all; usually `driving.emotion.CATEGORIES`, others are added to these.
        intensities: the same from `driving.emotion.INTENSITIES`.
        front_end: name of the audio front end; with "none" the videos need no sound, and the lips follow none.
        progress: whether to show progress bars and warnings on stderr.

    Raises:
        InputError: something about the input, named in one line; no `dataset.json` is left then.
    """
    videos, output = [Path(v) for v in videos], Path(output)
    emotions, intensities = (_one_each(labels, videos, name) for labels, name in
                             ((emotions, "emotion"), (intensities, "intensity")))  # fmt: skip
    _check_options(videos, size, emotions, intensities, front_end)
    for video in videos:
        _check_video(video, front_end != "none")
    created = not output.exists()
    _check_output(output)
    options = {"size": size, "emotions": emotions, "intensities": intensities, "front_end": front_end}
    sources = [{"path": str(v.resolve()), "size": v.stat().st_size, "mtime": v.stat().st_mtime} for v in videos]
    stages = Stages(output, {"version": STAGES_VERSION, "options": options, "sources": sources})
    finished = (output / "dataset.json").exists()
    if finished and not stages.done:
        raise InputError(f"{output}: holds a dataset of other videos or options; choose another --output, or remove it")
    if finished:
        try:
            dataset = read_dataset(output)
            check_pixels(dataset)
            return dataset
        except InputError as error:
            print(f"warning: {error}; making the whole folder anew", file=sys.stderr)
            stages.done = {}
    if not stages.done:
        _clear(output)
    try:
        return _run(videos, output, stages, options, progress)
    except InputError:
        # The input itself is at fault: nothing here is worth keeping, unlike after an interruption.
        if created:
            shutil.rmtree(output, ignore_errors=True)
        else:
            _clear(output)
        raise
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror or error}); free space or choose another "
                         "--output, then run again to go on") from error


def _one_each(labels: Sequence[str], videos: list[Path], name: str) -> list[str]:
    """A label for every video."""
    if len(labels) not in (1, len(videos)):
        raise InputError(f"--{name} has {len(labels)} values for {len(videos)} videos; give one each, or one for all")
    return list(labels) * (len(videos) if len(labels) == 1 else 1)


def _check_options(videos: list[Path], size: int, emotions: list[str], intensities: list[str], front_end: str) -> None:
    if not videos:
        raise InputError("no video given; name at least one video file")
    if len({v.resolve() for v in videos}) < len(videos):
        raise InputError("the same video is given twice; name every file once")
    if not SIZES[0] <= size <= SIZES[1]:
        raise InputError(f"size {size} is out of range; choose {SIZES[0]} to {SIZES[1]} pixels")
    for emotion in emotions:
        if not re.fullmatch(r"[\w-]+", emotion):
            raise InputError(f"emotion {emotion!r} is no label; use one word such as {', '.join(CATEGORIES)}")
    for intensity in intensities:
        if intensity not in INTENSITIES:
            raise InputError(f"unknown intensity {intensity!r}; choose one of {', '.join(INTENSITIES)}")
    if front_end not in FRONT_ENDS:
        raise InputError(f"unknown audio front end {front_end!r}; choose one of {', '.join(sorted(FRONT_ENDS))}")


def _check_video(video: Path, needs_sound: bool) -> None:
    """What can be told of a file within a moment, before hours of work on the files before it."""
    info = probe(video)
    if needs_sound and not info.has_audio:
        raise InputError(f"{video}: holds no audio; speech drives the avatar, so give a video with its sound track (or "
                         "--audio-features none, for emotions without speech)")
    if 0 < info.duration < MINIMUM_SECONDS:
        raise InputError(_too_short(video, info.duration))


def _too_short(video: Path, seconds: float) -> str:
    return f"{video}: only {seconds:.1f} s long; give at least {MINIMUM_SECONDS:.0f} s (minutes are better)"


def _check_output(output: Path) -> None:
    """Makes the folder; refuses one that holds other things, because old frames would be deleted in it."""
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; choose a folder for --output")
    try:
        if output.exists() and any(output.iterdir()) and not (output / ".stages.json").exists():
            raise InputError(f"{output}: holds other files; choose a new or empty folder for --output")
        output.mkdir(parents=True, exist_ok=True)
        trial = output / ".trial"
        trial.write_bytes(b"")
        trial.unlink()
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror}); choose another folder") from error


def _clear(output: Path) -> None:
    """Removes what this module writes, and nothing else."""
    for name in ("dataset.json", *FILES):
        (output / name).unlink(missing_ok=True)
    for name in PARTS:
        shutil.rmtree(output / name, ignore_errors=True)


def _clip_names(videos: list[Path]) -> list[str]:
    """A unique folder name for every video, from its file name."""
    names: list[str] = []
    for video in videos:
        stem = re.sub(r"[^\w.-]+", "_", video.stem).strip("._") or "clip"
        name, number = stem, 2
        while name in names:
            name, number = f"{stem}_{number}", number + 1
        names.append(name)
    return names


def _bar(items: Iterable, total: int | None, title: str, progress: bool) -> Iterator:
    return iter(tqdm(items, total=total, desc=title, unit="frame", disable=not progress, file=sys.stderr, leave=True))


def _run(videos: list[Path], root: Path, stages: Stages, options: dict, progress: bool) -> Dataset:
    size = options["size"]
    names = _clip_names(videos)
    for name, video in zip(names, videos, strict=True):
        if f"track:{name}" not in stages.done:
            stages.finish(f"track:{name}", _track(video, root, name, size, progress))
    tracks = [stages.done[f"track:{name}"] for name in names]
    warnings = [text for track in tracks for text in track["warnings"]]
    counts = [track["count"] for track in tracks]
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(int)
    landmarks = np.concatenate([np.load(root / "landmarks" / f"{name}.npy") for name in names])
    usable = np.concatenate([np.asarray(track["usable"], bool) for track in tracks])

    if "pose" not in stages.done:
        if progress:
            print("pose: estimating the camera", file=sys.stderr)
        poses = estimate_poses(landmarks, usable, size, [int(s) for s in starts[:-1]])
        np.savez(root / "pose.npz", rotations=poses.rotations, translations=poses.translations, shape=poses.shape)
        stages.finish("pose", {"focal": poses.focal, "error": poses.error})
    found, stored = stages.done["pose"], np.load(root / "pose.npz")
    poses = HeadPoses(stored["rotations"], stored["translations"], found["focal"], stored["shape"], found["error"])
    if poses.error > 0.02 * size:
        warnings.append(f"head poses are imprecise: landmarks lie {poses.error:.1f} px from where the pose puts them")

    for name, a, b in zip(names, starts[:-1], starts[1:], strict=True):
        if f"parsing:{name}" not in stages.done:
            _parse_clip(root, name, landmarks[a:b], usable[a:b], progress)
            stages.finish(f"parsing:{name}")
    if "background" not in stages.done:
        stems = [(name, k) for name, a, b in zip(names, starts[:-1], starts[1:], strict=True)
                 for k in range(b - a) if usable[a + k]]
        chosen = np.unique(np.linspace(0, len(stems) - 1, BACKGROUND_FRAMES).round().astype(int))
        paths = [f"{stems[i][0]}/{stems[i][1]:05d}" for i in chosen]
        images = [read_image(root / "images" / f"{p}.jpg") for p in _bar(paths, len(paths), "background", progress)]
        parsings = [read_image(root / "parsing" / f"{p}.png") for p in paths]
        write_image(root / "background.png", estimate_background(images, parsings))
        stages.finish("background")
    for name, a, b in zip(names, starts[:-1], starts[1:], strict=True):
        if f"torso:{name}" not in stages.done:
            for k in _bar(range(b - a), int(b - a), f"torso {name}", progress):
                target = root / "torso" / name / f"{k:05d}.png"
                if usable[a + k] and not target.exists():
                    image = read_image(root / "images" / name / f"{k:05d}.jpg")
                    write_image(target, torso_layer(image, read_image(root / "parsing" / name / f"{k:05d}.png")))
            stages.finish(f"torso:{name}")
    for name, video, count in zip(names, videos, counts, strict=True):
        if f"audio:{name}" not in stages.done:
            stages.finish(f"audio:{name}", _sound(video, root, name, count, options["front_end"], progress))
        warnings += stages.done[f"audio:{name}"]["warnings"]

    clips, frames = [], []
    cameras = poses.camera_to_world()
    labels = zip(options["emotions"], options["intensities"], strict=True)
    for name, video, a, b, label in zip(names, videos, starts[:-1], starts[1:], labels, strict=True):
        clips.append(Clip(name, video.name, int(a), int(b - a), *label))
        frames += _frames(name, landmarks[a:b], usable[a:b], cameras[a:b], size)
    dataset = Dataset(
        root=root,
        camera=Camera(poses.focal, poses.focal, size / 2, size / 2, size, size),
        clips=clips,
        frames=frames,
        categories=list(dict.fromkeys([*CATEGORIES, *options["emotions"]])),
        intensities=list(INTENSITIES),
        front_end=options["front_end"],
        feature_dim=FRONT_ENDS[options["front_end"]].dim,
        warnings=warnings,
        tools={
            "landmarks": f"mediapipe {importlib.metadata.version('mediapipe')} face mesh",
            "parsing": "mediapipe selfie segmentation, face mesh and skin colour",
            "pose": f"mean reprojection error {poses.error:.2f} px, focal length {poses.focal:.0f} px",
        },
    )
    write_dataset(dataset)
    if progress:
        for text in warnings:
            print(f"warning: {text}", file=sys.stderr)
    return dataset


def _decoded(video: Path, warnings: list[str]) -> Iterator[np.ndarray]:
    """The frames of a video; a file that breaks off after enough of them is used up to there, with a warning."""
    count = 0
    try:
        for image in read_frames(video, FPS):
            yield image
            count += 1
    except InputError as error:
        if count < MINIMUM_SECONDS * FPS:
            raise
        text = f"{error}; only the first {count / FPS:.1f} s are used"
        if text not in warnings:
            warnings.append(text)


def _track(video: Path, root: Path, name: str, size: int, progress: bool) -> dict:
    """Landmarks, crop and pictures of one video."""
    warnings: list[str] = []
    info = probe(video)
    total = round(info.duration * FPS) or None
    folder = root / "images" / name
    square = info.width == info.height
    tracked: list[np.ndarray] = []
    lost = np.full((COUNT, 3), np.nan, np.float32)
    with FaceTracker() as tracker:
        for k, image in enumerate(_bar(_decoded(video, warnings), total, f"track {name}", progress)):
            points = tracker.process(image)
            tracked.append(lost if points is None else points)
            if square:
                # Most square videos are head crops already: their pictures are written in this one pass.
                write_image(folder / f"{k:05d}.jpg", cut(image, (0, 0, info.width), size))
        several, found = tracker.several, tracker.found
    count = len(tracked)
    if count < MINIMUM_SECONDS * FPS:
        raise InputError(_too_short(video, count / FPS))
    if not warnings and count / FPS < 0.9 * info.duration:
        # Some containers (Matroska) do not tell the reader that they were cut off; the stated length does.
        warnings.append(f"{video.name}: states {info.duration:.1f} s and ends after {count / FPS:.1f} s; cut off?")
    if found < max(1, MINIMUM_FACES * count):
        raise InputError(f"no face found in {video}; give a video in which one person faces the camera, well lit")
    landmarks = np.stack(tracked)
    crop = head_crop(landmarks, info.width, info.height)
    if not square or crop != (0, 0, info.width):
        for k, image in enumerate(_bar(_decoded(video, warnings), count, f"crop {name}", progress)):
            write_image(folder / f"{k:05d}.jpg", cut(image, crop, size))
    landmarks = to_crop(landmarks, crop, size)
    usable = in_picture(landmarks, size)
    if not usable.any():
        raise InputError(f"{video}: the face is never wholly in the picture; film head and shoulders")
    if not usable.all():
        warnings.append(f"{video.name}: face lost or out of the picture in {int((~usable).sum())} of {count} frames; "
                        "they are left out")
    if several:
        warnings.append(f"{video.name}: several faces in {several} frames; the largest one that stays was followed")
    landmarks[~usable] = np.nan
    write_array(root / "landmarks" / f"{name}.npy", smooth_landmarks(landmarks))
    return {"count": count, "crop": list(crop), "usable": usable.astype(int).tolist(), "warnings": warnings}


def _parse_clip(root: Path, name: str, landmarks: np.ndarray, usable: np.ndarray, progress: bool) -> None:
    """Parsing maps of one clip's usable frames; those that a stopped run left are kept."""
    with PersonSegmenter() as segmenter:
        for k in _bar(range(len(landmarks)), len(landmarks), f"parsing {name}", progress):
            target = root / "parsing" / name / f"{k:05d}.png"
            if usable[k] and not target.exists():
                image = read_image(root / "images" / name / f"{k:05d}.jpg")
                write_image(target, parse(image, landmarks[k], segmenter.process(image)))


def _sound(video: Path, root: Path, name: str, count: int, front_end: str, progress: bool) -> dict:
    """The clip's sound, exactly as long as its frames, and the features of it."""
    warnings = []
    samples = np.zeros(0, np.float32) if front_end == "none" else read_audio(video, SAMPLE_RATE)
    if front_end != "none" and is_silent(samples):
        warnings.append(f"{video.name}: its sound is silent; the mouth cannot learn from it")
    length = count * SAMPLE_RATE // FPS
    samples = np.pad(samples[:length], (0, max(0, length - len(samples))))
    (root / "audio").mkdir(exist_ok=True)
    write_wav(root / "audio" / f"{name}.wav", samples, SAMPLE_RATE)
    if progress:
        print(f"audio {name}: features by {front_end}", file=sys.stderr)
    write_array(root / "audio_features" / f"{name}.npy", extract_features(samples, count, front_end))
    return {"warnings": warnings}


def _frames(name: str, landmarks: np.ndarray, usable: np.ndarray, cameras: np.ndarray, size: int) -> list[Frame]:
    """The dataset's frames of one clip; boxes of unusable frames are the whole picture."""
    openness = eye_openness(landmarks)
    frames = []
    for k in range(len(landmarks)):
        face = padded_box(landmarks[k], 0.05, size) if usable[k] else [0, 0, size, size]
        lips = padded_box(landmarks[k, OUTER_LIPS], 0.2, size) if usable[k] else [0, 0, size, size]
        frames.append(Frame(name, k, cameras[k].tolist(), face, lips, float(openness[k]), bool(usable[k])))
    return frames
