"""The end of `aed process`: what earlier tries left is removed, and the dataset is described."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from aed_nerfstudio.capture.context import Capture, TakeState
from aed_nerfstudio.capture.landmarks import eye_openness
from aed_nerfstudio.capture.pose_estimation import HeadPoses
from aed_nerfstudio.dataset.schema import FPS, Camera, Clip, Dataset, Frame
from aed_nerfstudio.driving.emotion import CATEGORIES, INTENSITIES
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.engine import engine_name
from aed_nerfstudio.face.face_mesh import OUTER_LIPS, padded_box
from aed_nerfstudio.files import inside
from aed_nerfstudio.outside import read_array

PICTURES = {"images": "jpg", "parsing": "png", "torso": "png"}
"""Folders with a folder for each take, and what its frames' files end in."""
ARRAYS = {"landmarks": "npy", "audio": "wav", "audio_features": "npy", "backgrounds": "png"}
"""Folders with a file for each take, and what it ends in."""


def describe(
    run: Capture, takes: list[TakeState], poses: HeadPoses, background: dict, shifts: dict[str, float],
    replaced: list[str],
) -> Dataset:  # fmt: skip
    """Returns the dataset of all that the stages have made.

    Args:
        run: whose folder it is.
        takes: whose pictures, layers and sound are there.
        poses: of the frames of all takes, one after the other.
        background: what is reported of it.
        shifts: seconds by which each take's sound was shifted, by name.
        replaced: names of the takes that were filmed before another background.

    Raises:
        InputError: the takes have audio features of different sizes.
    """
    clips, frames = [], []
    cameras = poses.camera_to_world()
    for take in takes:
        first, count, source = len(frames), take.take.count, take.source
        clips.append(Clip(take.name, source.video.name, first, count, source.emotion, source.intensity,
                          take.take.first / FPS))  # fmt: skip
        frames += _frames(take, cameras[first : first + count], run.size)
    size = run.size
    return Dataset(
        root=run.root,
        camera=Camera(poses.focal, poses.focal, size / 2, size / 2, size, size),
        clips=clips,
        frames=frames,
        categories=list(dict.fromkeys([*CATEGORIES, *(source.emotion for source in run.sources)])),
        intensities=list(INTENSITIES),
        front_end=run.options.front_end,
        feature_dim=_feature_size(run.root, takes),
        warnings=run.warnings,
        tools={
            "landmarks": engine_name(),
            "parsing": run.options.parser,
            "pose": f"mean reprojection error {poses.error:.2f} px, focal length {poses.focal:.0f} px",
            **_cameras(takes, poses.cameras, replaced),
        },
        report={
            "pose": poses.report.as_dict(),
            "background": background,
            "clips": {take.name: _clip_report(take, shifts[take.name], replaced) for take in takes},
            "seconds": run.stages.seconds(),
        },
        consent=run.options.consent,
    )


def _cameras(takes: list[TakeState], cameras: list[tuple[float, float]], replaced: list[str]) -> dict[str, str]:
    """Returns what is said of takes that do not share camera and background; nothing where all do."""
    other = [f"{take.name} (head {take.take.zoom:.2f} times as large; after cropping, focal length "
             f"{cameras[take.take.camera][0]:.2f} ± {cameras[take.take.camera][1]:.2f} times {takes[0].name}'s)"
             for take in takes if take.take.camera]  # fmt: skip
    said = {"cameras": f"cropped into one: {', '.join(other)}"} if other else {}
    return {**said, **({"backgrounds": f"replaced in {', '.join(replaced)}"} if replaced else {})}


def _clip_report(take: TakeState, shift: float, replaced: list[str]) -> dict:
    crop = list(take.take.crop)  # left, top, side: pixels of the video
    report = {"audio_shift_seconds": shift, "crop": crop, "view": take.view}
    if take.take.camera:
        report |= {"zoom": take.take.zoom, "moved": list(take.take.moved)}
    return {**report, "background_replaced": True} if take.name in replaced else report


def _feature_size(root: Path, takes: list[TakeState]) -> int:
    """Returns the size of the takes' audio features.

    It is that of the files: what 0.1 has noted of a sound lacks it where a full disk had stopped its last stage.
    """
    sizes = {read_array(root / "audio_features" / f"{take.name}.npy").shape[1] for take in takes}
    if len(sizes) > 1:
        raise InputError(f"{root}: the feature files have different sizes ({sorted(sizes)}); give files of one front "
                         "end")  # fmt: skip
    return sizes.pop()


def _frames(take: TakeState, cameras: np.ndarray, size: int) -> list[Frame]:
    """Returns the frames of one clip; boxes of unusable frames are the whole picture."""
    openness = eye_openness(take.landmarks)
    frames = []
    for k, landmarks in enumerate(take.landmarks):
        usable = bool(take.usable[k])
        face = padded_box(landmarks, 0.05, size) if usable else [0, 0, size, size]
        lips = padded_box(landmarks[OUTER_LIPS], 0.2, size) if usable else [0, 0, size, size]
        frames.append(Frame(take.name, k, cameras[k].tolist(), face, lips, float(openness[k]), usable,
                            float(take.sharpness[k]), take.flags[k]))  # fmt: skip
    return frames


def remove_older(root: Path, made: Iterable[str], counts: dict[str, int]) -> None:
    """Removes what earlier tries made and this one did not, and nothing that others have put into the folder.

    Args:
        root: the folder.
        made: names of all takes that were ever made in it.
        counts: frames by the names of this run's takes.

    Raises:
        InputError: a name leads out of the folder.
    """
    for name in {*made, *counts}:
        for part, suffix in PICTURES.items():
            folder = inside(root / part / name, root)
            for path in folder.iterdir() if folder.is_dir() else ():
                if re.fullmatch(rf"\d{{5,}}\.{suffix}", path.name) and int(path.stem) >= counts.get(name, 0):
                    path.unlink()
            if name not in counts:
                with contextlib.suppress(OSError):  # there is none, or something of others is in it
                    folder.rmdir()
        for part, suffix in ARRAYS.items() if name not in counts else ():
            inside(root / part / f"{name}.{suffix}", root).unlink(missing_ok=True)
