"""What `aed inspect` measures of a dataset: poses, sharpness, lost frames, labels and sound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
from tqdm import tqdm

from aed_nerfstudio.audio.late_sound import AudioSync, SpokenTake, estimate_shift
from aed_nerfstudio.capture.upright import roll
from aed_nerfstudio.dataset.schema import FPS, METRES_PER_UNIT, Dataset, Frame
from aed_nerfstudio.face.face_mesh import FACE_SIDES
from aed_nerfstudio.inspection.label_looks import LabelLooks, label_looks
from aed_nerfstudio.inspection.label_poses import LabelPoses, label_poses
from aed_nerfstudio.inspection.torso_look import TorsoLook, torso_look
from aed_nerfstudio.media.audio_io import is_silent, read_if_there

LOST_BY = {"mouth_covered": "mouth covered", "pose_outlier": "no trustworthy pose"}
BLURRED = 0.5
"""Of the clip's median sharpness: clearly softer to the eye."""
DRIFT_PART = 30.0
LONE_SECONDS = 10.0
"""Clips that are shorter and give no sure answer are judged together."""


@dataclass(frozen=True)
class SoundGroup:
    """Clips whose sound was judged as one. drift: seconds by which the sound runs away from the first to the last part
    of a long clip, None where that is not known. silent: all of them are."""

    title: str
    clips: list[str]
    sync: AudioSync
    drift: float | None = None
    silent: bool = False


@dataclass(frozen=True)
class Measures:
    """What a dataset of N frames holds.

    usable: bool [N]. yaw, pitch: [N] degrees, positive where the face is turned to the picture's right and upwards.
    tilt, away: [N] degrees by which the face is turned clockwise in its picture, and aside; NaN in unusable frames.
    distance: [N] metres from the camera. sharpness: [N]; None where it was not measured. flags: frames with each of
    them. lost: frames that are not usable, by reason. labels: seconds for training and held out, by label. poses,
    looks: how the head is held with every label, its light and place. torso: shoulders and neck. sound: empty where
    the dataset is without by choice.
    """

    usable: np.ndarray
    yaw: np.ndarray
    pitch: np.ndarray
    tilt: np.ndarray
    away: np.ndarray
    distance: np.ndarray
    sharpness: np.ndarray | None
    flags: dict[str, int]
    lost: dict[str, int]
    labels: dict[str, tuple[float, float]]
    poses: LabelPoses
    looks: LabelLooks
    torso: TorsoLook
    sound: list[SoundGroup]

    def blurred_share(self) -> float:
        """Returns how many of the usable frames are blurred, 0..1; 0 where that was not measured."""
        if self.sharpness is None or not self.usable.any():
            return 0.0
        return float((self.sharpness[self.usable] < BLURRED).mean())


def measure(dataset: Dataset, progress: bool = False) -> Measures:
    """Measures a dataset; see `Measures`.

    Raises:
        InputError: a file of the dataset is missing or damaged.
    """
    cameras = np.array([frame.camera_to_world for frame in dataset.frames], np.float64).reshape(-1, 4, 4)
    x, y, z = cameras[:, :3, 3].T  # the camera, seen from the head: what a radiance field learns views from
    sharpness = np.array([frame.sharpness for frame in dataset.frames])
    names = dataset.labels
    labels = {label: [0, 0] for label in names}
    usable = np.array([frame.usable for frame in dataset.frames], bool)
    tilt, away = np.concatenate([_facing_angles(dataset.landmarks(clip.name)) for clip in dataset.clips], axis=1)
    yaw, pitch = -np.degrees(np.arctan2(x, z)), -np.degrees(np.arctan2(y, np.hypot(x, z)))
    distance = METRES_PER_UNIT * np.linalg.norm(cameras[:, :3, 3], axis=1)
    for part, name in enumerate(("train", "val")):
        for i in dataset.split(name):
            labels[names[i]][part] += 1
    return Measures(
        usable=usable,
        yaw=yaw,
        pitch=pitch,
        tilt=np.where(usable, tilt, np.nan),
        away=np.where(usable, away, np.nan),
        distance=distance,
        sharpness=None if (sharpness == 1).all() else sharpness,
        flags=dict(Counter(flag for frame in dataset.frames for flag in frame.flags)),
        lost=dict(Counter(_why_lost(frame) for frame in dataset.frames if not frame.usable).most_common()),
        labels={label: (train / FPS, held / FPS) for label, (train, held) in labels.items()},
        poses=label_poses(dataset, yaw, pitch, usable),
        looks=label_looks(dataset, distance, usable),
        torso=torso_look(dataset, usable),
        sound=[] if dataset.front_end == "none" else _sound(dataset, progress),
    )


def _facing_angles(marks: np.ndarray) -> np.ndarray:
    """Returns `tilt` and `away` of a clip: landmarks [F, 478, 3], anything in unusable frames -> [2, F]."""
    across, down, behind = np.moveaxis(marks[:, FACE_SIDES[1]] - marks[:, FACE_SIDES[0]], -1, 0)
    return np.stack([roll(marks), np.degrees(np.arctan2(np.abs(behind), np.hypot(across, down)))])


def _why_lost(frame: Frame) -> str:
    """Returns why a frame is not usable."""
    return next((text for flag, text in LOST_BY.items() if flag in frame.flags), "face lost or out of the picture")


def _sound(dataset: Dataset, progress: bool) -> list[SoundGroup]:
    """Judges every clip whose shift is sure, or that is long, by itself; the others together."""
    usable: dict[str, np.ndarray] = {clip.name: np.zeros(clip.count, bool) for clip in dataset.clips}
    for frame in dataset.frames:
        usable[frame.clip][frame.index] = frame.usable
    groups: list[SoundGroup] = []
    short: dict[str, SpokenTake] = {}
    for clip in tqdm(dataset.clips, desc="sound", unit="clip", disable=not progress, leave=False):
        path = dataset.root / "audio" / f"{clip.name}.wav"
        samples = read_if_there(path)
        take = SpokenTake.of(dataset.landmarks(clip.name), usable[clip.name], samples)
        sync = estimate_shift([take])
        if sync.shift is not None or take.seconds >= LONE_SECONDS:
            groups.append(SoundGroup(clip.name, [clip.name], sync, _drift(take), is_silent(samples)))
        else:
            short[clip.name] = take
    if short:
        names = list(short)
        title = names[0] if len(names) == 1 else f"{len(names)} short clips together"
        silent = all(is_silent(take.samples) for take in short.values())
        groups.append(SoundGroup(title, names, estimate_shift(list(short.values())), None, silent))
    return groups


def _drift(take: SpokenTake) -> float | None:
    """Returns how much later the sound is in the last half minute of a take than in the first, seconds."""
    part = round(DRIFT_PART * FPS)
    if len(take.lips) < 2 * part:
        return None
    first, last = (estimate_shift([take.part(k, part)]).shift for k in (0, len(take.lips) - part))
    return None if first is None or last is None else last - first


def by_fault(groups: Iterable[SoundGroup]) -> list[SoundGroup]:
    """Returns the groups in order: the largest shifts first, the unknown ones last."""
    return sorted(groups, key=lambda group: -1 if group.sync.shift is None else abs(group.sync.shift), reverse=True)


def report_section(dataset: Dataset, name: str) -> dict:
    """Returns a part of what `aed process` reported; empty where there is none or it is no dictionary."""
    part = dataset.report.get(name)
    return part if isinstance(part, dict) else {}


def is_number(value: object) -> TypeGuard[float]:
    """Returns whether a report's value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))
