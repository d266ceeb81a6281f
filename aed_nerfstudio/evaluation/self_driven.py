"""An avatar against the part of its own video that it has not seen, and against copying training frames."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.avatar.avatar import Avatar, to_uint8
from aed_nerfstudio.dataset.frames import decode, over_background
from aed_nerfstudio.dataset.schema import FPS, Dataset
from aed_nerfstudio.dataset.torso_motion import torso_motion
from aed_nerfstudio.driving.track import DatasetTrack
from aed_nerfstudio.evaluation.held_out import HeldOut
from aed_nerfstudio.evaluation.instruments import Instruments
from aed_nerfstudio.evaluation.measure import Progress, Scale, unseen_progress
from aed_nerfstudio.evaluation.metrics import empty_row
from aed_nerfstudio.evaluation.sequence_figures import measure_frames
from aed_nerfstudio.evaluation.spooled import spooled

if TYPE_CHECKING:
    import torch

HEAD_CORNERS = np.stack(np.meshgrid(*[[-0.4, 0.4]] * 3), -1).reshape(-1, 3)
NOT_TOLD = "the avatar is not told how the shoulders move, or was made of another dataset"
MEAN_FRAMES = 100
"""Training frames that a label's mean frame is made of, at most."""


@dataclass
class SelfDriven:
    """Holds what `evaluate` has measured and rendered.

    sections: of metrics.json. ours: uint8 [F, H, W, 3] renders of the held-out frames. nearest: [F] dataset indices of
    the training frames of the nearest poses. openings: of the mouth, [F] pixels, by the curve's name.
    """

    held: HeldOut
    sections: dict
    ours: np.ndarray
    nearest: np.ndarray
    openings: dict[str, np.ndarray]

    def nearest_image(self, k: int) -> np.ndarray:
        """Returns the training frame of the nearest pose at a position, uint8 [H, W, 3]."""
        return training_image(self.held.dataset, int(self.nearest[k]))


def projected_corners(poses: np.ndarray, focal: float) -> np.ndarray:
    """Returns where a head-sized box's corners appear in poses [F, 3, 4]: [F, 8, 2] pixels from the principal point."""
    seen = np.einsum("nfk,fkl->fnl", HEAD_CORNERS[:, None] - poses[:, :, 3], poses[:, :, :3])
    return focal * seen[..., :2] / -seen[..., 2:]


def nearest_poses(poses: np.ndarray, known: np.ndarray, focal: float) -> np.ndarray:
    """Returns which of the known poses [K, 3, 4] is nearest to each pose [F, 3, 4], by pixels of a head's box: [F]."""
    targets = projected_corners(known, focal)
    seen = projected_corners(poses, focal)
    return np.array([np.linalg.norm(targets - corners, axis=-1).mean(axis=1).argmin() for corners in seen])


def training_image(dataset: Dataset, index: int) -> np.ndarray:
    """Returns a recorded frame by its index, uint8 [H, W, 3]."""
    return dataset.image(dataset.frames[index])


def mean_frames(dataset: Dataset, labels: set[str]) -> dict[str, np.ndarray]:
    """Returns the mean of up to 100 training frames, evenly spread, of each label: uint8 [H, W, 3] by label.

    A label without training frames has the mean of those of all labels.
    """
    training, labels_of_frames = dataset.split("train"), dataset.labels
    means = {}
    for label in labels:
        own = [i for i in training if labels_of_frames[i] == label] or training
        picks = [own[k] for k in np.unique(np.linspace(0, len(own) - 1, MEAN_FRAMES).astype(int))]
        total = np.zeros((dataset.camera.h, dataset.camera.w, 3))
        for index in picks:
            total += training_image(dataset, index)
        means[label] = np.round(total / len(picks)).astype(np.uint8)
    return means


def shuffled_partners(count: int, seed: int) -> np.ndarray:
    """Returns whose audio each of `count` frames is given, [count]: a random cycle, so that none keeps its own."""
    cycle = np.random.default_rng(seed).permutation(count)
    partners = np.empty(count, int)
    partners[cycle] = np.roll(cycle, -1)
    return partners


SPEED_FRAMES = 10
"""That are timed where nothing else is rendered."""


def unmeasured(avatar: Avatar, reason: str) -> dict:
    """Returns the sections that `evaluate` would, with nothing measured but the speed, for one reason."""
    track = avatar.track(np.zeros(SPEED_FRAMES * SAMPLE_RATE // FPS, np.float32), avatar.vocabulary.encode())
    to_uint8(avatar.images(track[0])["rgb"])
    start = time.perf_counter()
    for condition in track:
        to_uint8(avatar.images(condition)["rgb"])
    speed = {"frames_per_second": SPEED_FRAMES / (time.perf_counter() - start)}
    return {
        "frames": {"held_out": 0, "training": len(avatar.portrait.frames)},
        "ground_truth": empty_row(reason),
        "self_driven": {name: empty_row(reason) for name in ("full", "recorded_shoulders", "ground_truth_torso")},
        "baselines": {"nearest_pose": empty_row(reason), "mean_frame": empty_row(reason)},
        "speed": {**speed, "device": str(avatar.device), "frame_size": list(avatar.frame_size())},
    }


def evaluate(
    avatar: Avatar, held: HeldOut, instruments: Instruments, seed: int = 0, progress: Progress = unseen_progress
) -> SelfDriven:
    """Renders the held-out frames with their own audio, emotion and pose, then with their audio shuffled.

    Args:
        avatar: the trained avatar.
        held: the held-out frames of its dataset.
        instruments: what measures them.
        seed: of the shuffling.
        progress: shows how far each of the passes is.
    """
    dataset, track = held.dataset, DatasetTrack.of(held.dataset, avatar.vocabulary)
    count, height, width = len(held), dataset.camera.h, dataset.camera.w
    ours, with_true_torso = spooled(count, height, width), spooled(count, height, width)
    behind = _backgrounds(avatar, held)
    speed = _render(avatar, held, track, behind, ours, with_true_torso, progress)
    shoulders = _shoulders(avatar, held)

    def with_shoulders(k: int) -> np.ndarray:
        told = replace(track[held.indices[k]], torso=None if shoulders is None else shoulders[k])
        return to_uint8(avatar.images(told, background=behind[k])["rgb"])

    def with_others_audio() -> Iterator[np.ndarray]:
        partners = shuffled_partners(count, seed)
        for k in progress(range(count), count, "rendering with shuffled audio"):
            told = replace(track[held.indices[k]], audio=track[held.indices[partners[k]]].audio)
            yield to_uint8(avatar.images(told, background=behind[k])["rgb"])

    _, shuffled = measure_frames(with_others_audio(), instruments)
    scale = Scale(held, instruments, progress)
    training = dataset.split("train")
    poses = np.array([frame.camera_to_world for frame in dataset.frames])[:, :3]
    nearest = np.array(training)[nearest_poses(poses[held.indices], poses[training], dataset.camera.fl_x)]
    means = mean_frames(dataset, set(held.labels))

    full, marks = scale.row(ours.__getitem__, "measuring the renders", shuffled)
    true_torso, _ = scale.row(
        with_true_torso.__getitem__, "measuring with the recorded torso", "the head is that of self_driven.full"
    )
    moved = empty_row(NOT_TOLD)
    if shoulders is not None:
        what = "rendering and measuring with the recorded shoulders"
        moved, _ = scale.row(with_shoulders, what, "the head is that of self_driven.full")
    no_audio = "no audio drives a recorded frame"
    near, near_marks = scale.row(
        lambda k: training_image(dataset, int(nearest[k])), "measuring the nearest poses", no_audio
    )
    mean, _ = scale.row(lambda k: means[held.labels[k]], "measuring the mean frames", no_audio)
    sections = {
        "frames": {"held_out": count, "training": len(training)},
        "ground_truth": scale.ground_truth(),
        "self_driven": {"full": full, "recorded_shoulders": moved, "ground_truth_torso": true_torso},
        "baselines": {"nearest_pose": near, "mean_frame": mean},
        "speed": {**speed, "device": str(avatar.device), "frame_size": [height, width]},
    }
    openings = {"recorded": scale.truth, "ours": marks, "ours, shuffled audio": shuffled, "nearest pose": near_marks}
    return SelfDriven(held, sections, ours, nearest, {name: found.opening for name, found in openings.items()})


def _shoulders(avatar: Avatar, held: HeldOut) -> np.ndarray | None:
    """Returns how the shoulders move in the held-out frames, [F, M], against the frame that the avatar's own are told
    against; None where it is not told."""
    portrait, dataset = avatar.portrait, held.dataset
    if portrait.motion.torso is None or portrait.frame_count != len(dataset.frames):
        return None
    return torso_motion(dataset, held.indices, int(portrait.frames[portrait.motion.typical_frame]))


def _backgrounds(avatar: Avatar, held: HeldOut) -> list[torch.Tensor]:
    """Returns what is behind the person in each held-out frame, [H, W, 3] in 0..1: one tensor for each take."""
    import torch

    clips = [frame.clip for frame in held.frames]
    own = {clip: torch.from_numpy(held.dataset.static_background(clip)).to(avatar.device) / 255 for clip in set(clips)}
    return [own[clip] for clip in clips]


def _render(
    avatar: Avatar,
    held: HeldOut,
    track: DatasetTrack,
    behind: list[torch.Tensor],
    ours: np.ndarray,
    with_true_torso: np.ndarray,
    progress: Progress,
) -> dict[str, float]:
    """Fills the two sequences, and takes the time of the first."""
    import torch

    # The first frame compiles kernels and fills caches, which is no part of the speed.
    to_uint8(avatar.images(track[held.indices[0]])["rgb"])
    seconds = 0.0
    for k in progress(range(len(held)), len(held), "rendering"):
        condition = track[held.indices[k]]
        start = time.perf_counter()
        layers = avatar.images(condition, background=behind[k])
        ours[k] = to_uint8(layers["rgb"])
        seconds += time.perf_counter() - start
        pixels = decode(held.dataset, held.indices[k])
        below = over_background(torch.from_numpy(pixels.torso).to(avatar.device), 255 * behind[k])
        with_true_torso[k] = to_uint8(layers["head"] + (1 - layers["accumulation"]) * below)
    return {"frames_per_second": len(held) / seconds}
