"""An avatar against the part of its own video that it has not seen, and against copying a training frame."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from aed_nerfstudio.avatar import Avatar, to_uint8
from aed_nerfstudio.dataset.face_mesh import mouth_opening
from aed_nerfstudio.dataset.frames import FrameStore
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.evaluation.image_metrics import psnr
from aed_nerfstudio.evaluation.landmark_distance import detect, face_width, lip_landmark_distance
from aed_nerfstudio.evaluation.sync import audio_mouth_correlation, correlation

HEAD_CORNERS = np.stack(np.meshgrid(*[[-0.4, 0.4]] * 3), -1).reshape(-1, 3)


@dataclass
class Evaluation:
    """What `evaluate` found: `metrics` for the report; uint8 [H, W, 3] frames per held-out frame for contact sheets."""

    metrics: dict
    labels: list[str]
    truth: list[np.ndarray]
    ours: list[np.ndarray]
    nearest: list[np.ndarray]


def projected_corners(poses: np.ndarray, focal: float) -> np.ndarray:
    """Where a head-sized box's corners appear in poses [F, 3, 4]: [F, 8, 2] pixels from the principal point."""
    seen = np.einsum("nfk,fkl->fnl", HEAD_CORNERS[:, None] - poses[:, :, 3], poses[:, :, :3])
    return focal * seen[..., :2] / -seen[..., 2:]


def nearest_poses(poses: np.ndarray, known: np.ndarray, focal: float) -> np.ndarray:
    """For each pose [F, 3, 4] the nearest of known [K, 3, 4], by mean pixel distance of a head's box: indices [F]."""
    targets = projected_corners(known, focal)
    seen = projected_corners(poses, focal)
    return np.array([np.linalg.norm(targets - corners, axis=-1).mean(axis=1).argmin() for corners in seen])


def _means(images: list[np.ndarray], truth: list[np.ndarray], boxes: list[list[int]]) -> dict:
    """PSNR of each frame, averaged."""
    whole = [psnr(a, b) for a, b in zip(images, truth, strict=True)]
    face = [psnr(a, b, box) for a, b, box in zip(images, truth, boxes, strict=True)]
    return {"psnr": float(np.mean(whole)), "psnr_face": float(np.mean(face))}


def _lips(landmarks: np.ndarray, truth: np.ndarray) -> dict:
    """Lip figures over the frames in which a face is found in both."""
    distance = lip_landmark_distance(landmarks, truth)
    known = np.isfinite(distance)
    if not known.any():
        return {"lmd_px": None, "lmd_percent": None, "mouth_correlation": None, "frames_without_face": len(known)}
    return {
        "lmd_px": float(distance[known].mean()),
        "lmd_percent": float(100 * (distance / face_width(truth))[known].mean()),
        "mouth_correlation": correlation(mouth_opening(landmarks), mouth_opening(truth)),
        "frames_without_face": int((~known).sum()),
    }


def evaluate(avatar: Avatar, frames: int | None = None, seed: int = 0) -> Evaluation:
    """Renders the held-out frames with their own audio, emotion and pose, then with their audio shuffled.

    Args:
        avatar: the trained avatar.
        frames: at most that many held-out frames, the first of them; all when None.
        seed: of the shuffling.

    Raises:
        InputError: the dataset has fewer than three held-out frames.
    """
    import torch

    dataset, track = avatar.dataset, avatar.model.track
    held_out, training = dataset.split("val")[:frames], dataset.split("train")
    if len(held_out) < 3:
        raise InputError(f"{dataset.root}: has only {len(held_out)} held-out frames; process a longer video")
    store = FrameStore(dataset)
    truth, ours, with_true_torso = [], [], []
    seconds = 0.0
    for index in held_out:
        pixels = store[index]
        start = time.perf_counter()
        layers = avatar.images(track[index])
        seconds += time.perf_counter() - start
        torso = store.torso_over_background(pixels, np.arange(pixels.head.size)).reshape(pixels.image.shape)
        behind = torch.from_numpy(torso).to(avatar.model.device)
        truth.append(pixels.image)
        ours.append(to_uint8(layers["rgb"]))
        with_true_torso.append(to_uint8(layers["head"] + (1 - layers["accumulation"]) * behind))

    order = np.random.default_rng(seed).permutation(held_out)
    shuffled = [
        to_uint8(avatar.images(replace(track[a], audio=track[b].audio))["rgb"])
        for a, b in zip(held_out, order, strict=True)
    ]
    poses = np.array([frame.camera_to_world for frame in dataset.frames])[:, :3]
    picks = nearest_poses(poses[held_out], poses[training], dataset.camera.fl_x)
    nearest = [store[training[i]].image for i in picks]

    boxes = [dataset.frames[i].face_box for i in held_out]
    marks = {name: detect(images) for name, images in
             (("truth", truth), ("ours", ours), ("shuffled", shuffled), ("nearest", nearest))}  # fmt: skip
    opening = mouth_opening(marks["truth"])
    metrics = {
        "frames": len(held_out),
        "self_driven": {
            "full": {
                **_means(ours, truth, boxes),
                **_lips(marks["ours"], marks["truth"]),
                "mouth_correlation_shuffled": correlation(mouth_opening(marks["shuffled"]), opening),
            },
            "ground_truth_torso": _means(with_true_torso, truth, boxes),
        },
        "baselines": {
            "nearest_pose": {**_means(nearest, truth, boxes), **_lips(marks["nearest"], marks["truth"])},
        },
        "speed": {"frames_per_second": len(held_out) / seconds, "device": str(avatar.model.device)},
    }
    labels = [dataset.frames[i].clip for i in held_out]
    return Evaluation(metrics, labels, truth, ours, nearest)


def follows_sound(samples: np.ndarray, landmarks: np.ndarray) -> dict:
    """How the mouth in frames, [F, 478, 3], follows their sound, float [n] at 16 kHz."""
    opening = mouth_opening(landmarks)
    r, shift = audio_mouth_correlation(samples, opening)
    return {
        "audio_mouth_correlation": r,
        "mouth_after_sound_frames": shift,
        "mouth_opening_std_px": float(np.nanstd(opening)),
        "frames": len(landmarks),
    }
