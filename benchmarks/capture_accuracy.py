"""How right `aed process` is about the synthetic actor: poses, focal length, landmarks and parsing against the truth.

    python benchmarks/capture_accuracy.py data/accuracy --output figures.json

Every person speaks in two videos, in one with a moving head and in one with the head held still, which become one
dataset. What a video cannot tell is taken from the truth once a person: scale, place and axes of the head frame.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tyro
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.capture.landmarks import cut
from aed_nerfstudio.dataset.schema import (
    FPS,
    HEAD,
    METRES_PER_UNIT,
    TORSO,
    Dataset,
    read_dataset,
    read_image,
    write_image,
    write_json,
)
from aed_nerfstudio.face.face_mesh import STABLE
from aed_nerfstudio.media.video_writer import VideoWriter
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import HeadPose, perform
from aed_nerfstudio.synthetic.record import training_speech
from aed_nerfstudio.synthetic.scene import Scene

CM_PER_UNIT = 100 * METRES_PER_UNIT
STILL = HeadPose(yaw=4.0, pitch=-3.0, roll=1.5)


@dataclass
class Accuracy:
    """Record people, process their videos, compare."""

    folder: tyro.conf.Positional[Path]
    output: Path
    people: tuple[tuple[int, int], ...] = ((1, 11), (3, 12), (5, 13))
    """Identity and seed of each."""
    size: int = 512
    seconds: float = 12.0
    still_seconds: float = 4.0

    def main(self) -> None:
        figures = {}
        for identity, seed in self.people:
            root = self.folder / f"{identity}_{seed}"
            if not (root / "truth" / "truth.npz").exists():
                self._record(root, identity, seed)
            start = time.monotonic()
            videos = [root / "moving.mp4", root / "still.mp4"]
            command = [sys.executable, "-m", "aed_nerfstudio.commands.main", "process", *videos, "--output",
                       root / "dataset", "--size", self.size, "--audio-features", "log-mel"]  # fmt: skip
            subprocess.run([str(word) for word in command], check=True)
            found = measure(read_dataset(root / "dataset"), root / "truth")
            found["seconds"] = time.monotonic() - start
            found["peak_gib"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
            figures[f"identity {identity}, seed {seed}"] = found
            write_json(self.output, figures)
            print(f"identity {identity}, seed {seed}")
            for name, value in found.items():
                print(f"  {name:32s} {value:.4g}")

    def _record(self, root: Path, identity: int, seed: int) -> None:
        scene, voice = Scene(Actor(identity), self.size, seed), training_speech()
        cameras, marks = {}, {}
        for name, seconds in (("moving", self.seconds), ("still", self.still_seconds)):
            count = round(seconds * FPS)
            samples = voice[: count * SAMPLE_RATE // FPS]
            take = perform(samples, count, "neutral", "medium", seed=seed)
            poses = take.poses if name == "moving" else [STILL] * count
            (root / "truth" / name).mkdir(parents=True, exist_ok=True)
            cameras[name], marks[name] = [], []
            with VideoWriter(root / f"{name}.mp4", fps=FPS, size=(self.size, self.size), audio=samples,
                             sample_rate=SAMPLE_RATE) as writer:  # fmt: skip
                for k, (units, pose) in enumerate(zip(take.units, poses, strict=True)):
                    drawn = scene.render(units, pose)
                    writer.write(drawn.image)
                    write_image(root / "truth" / name / f"{k:05d}.png", drawn.parsing)
                    cameras[name].append(drawn.camera_to_world)
                    marks[name].append(drawn.landmarks)
        np.savez(root / "truth" / "truth.npz", focal=scene.camera.fl_x,
                 **{f"{name}_cameras": np.array(value) for name, value in cameras.items()},
                 **{f"{name}_landmarks": np.array(value) for name, value in marks.items()})  # fmt: skip


def measure(dataset: Dataset, truth: Path) -> dict[str, float]:
    """Figures of one person: angles in degrees, lengths in pixels or as a share of the head's distance."""
    with np.load(truth / "truth.npz") as stored:
        real = dict(stored)
    clips = [clip.name for clip in dataset.clips]
    usable = np.array([frame.usable for frame in dataset.frames])
    turn, place = _poses(np.array([frame.camera_to_world for frame in dataset.frames]))
    real_turn, real_place = _poses(np.concatenate([real[f"{name}_cameras"] for name in clips]))
    moving = np.concatenate([np.full(clip.count, clip.name == "moving") for clip in dataset.clips]) & usable

    gauge = (turn[usable].inv() * real_turn[usable]).mean()
    errors = np.degrees((real_turn * (turn * gauge).inv()).magnitude())

    def missed(x: np.ndarray) -> np.ndarray:
        """Returns what the places still miss, cm, with the head frame shifted by x[:3] and scaled by x[3]."""
        return x[3] * place + turn.apply(x[:3]) - real_place

    fit = least_squares(lambda x: missed(x)[usable].ravel(), [0, 0, 0, 1.0], loss="soft_l1", f_scale=0.1)
    off = np.linalg.norm(missed(fit.x), axis=1) / np.linalg.norm(real_place, axis=1)
    still = turn[~moving & usable]
    steps = np.degrees((still[1:] * still[:-1].inv()).magnitude())
    crops = [np.array(dataset.report["clips"][name]["crop"]) for name in clips]
    share = dataset.camera.w / crops[0][2]
    marks = np.concatenate([
        dataset.landmarks(name)[:, STABLE, :2] - (real[f"{name}_landmarks"][:, STABLE, :2] - crop[:2]) * share
        for name, crop in zip(clips, crops, strict=True)
    ])  # fmt: skip
    seen, wanted = _maps(dataset, truth, usable)
    focal = real["focal"] * share
    return {
        "frames": len(usable),
        "usable": int(usable.sum()),
        "rotation_median": float(np.median(errors[moving])),
        "rotation_max": float(errors[usable].max()),
        "translation_median": float(np.median(off[moving])),
        "translation_max": float(off[usable].max()),
        "focal_ratio": float(dataset.camera.fl_x / focal),
        "focal_deviation": float(dataset.report["pose"]["focal_deviation"] / focal),
        "still_jitter_median": float(np.median(steps)),
        "still_jitter_max": float(steps.max()),
        "reprojection": dataset.report["pose"]["landmark_error_mean"],
        "landmarks_off_truth": float(np.linalg.norm(marks[usable], axis=2).mean()),
        "iou_head": _iou(seen == HEAD, wanted == HEAD),
        "iou_torso": _iou(seen == TORSO, wanted == TORSO),
    }


def _poses(cameras: np.ndarray) -> tuple[Rotation, np.ndarray]:
    """Returns head to camera (OpenGL): rotations, and the origin's places [F, 3] in cm."""
    inverse = cameras[:, :3, :3].transpose(0, 2, 1)
    return Rotation.from_matrix(inverse), -CM_PER_UNIT * np.einsum("fij,fj->fi", inverse, cameras[:, :3, 3])


def _maps(dataset: Dataset, truth: Path, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the parsing of every fifth usable frame, estimated and true: [n, S, S]."""
    estimated, wanted = [], []
    for frame in (dataset.frames[k] for k in np.flatnonzero(usable)[::5]):
        crop = tuple(dataset.report["clips"][frame.clip]["crop"])
        real = read_image(truth / frame.clip / f"{frame.index:05d}.png")
        large = cut(real, crop, crop[2])
        estimated.append(read_image(dataset.path("parsing", frame)))
        wanted.append(cv2.resize(large, estimated[-1].shape, interpolation=cv2.INTER_NEAREST))
    return np.stack(estimated), np.stack(wanted)


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


if __name__ == "__main__":
    tyro.cli(Accuracy).main()
