"""`aed eval`: an avatar measured against its held-out frames, and its mouth against sound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aed_nerfstudio.errors import InputError

if TYPE_CHECKING:
    from aed_nerfstudio.evaluation.self_driven import Evaluation

VERSION = 1
"""Of `metrics.json`."""
COLUMNS = ("psnr", "psnr_face", "lmd_px", "lmd_percent", "mouth_correlation", "mouth_correlation_shuffled")
SHEET_COLUMNS = 5


@dataclass
class Eval:
    """Measure an avatar on the frames it was not trained on; writes metrics.json and a sheet truth / ours / nearest."""

    load_config: Path
    """The training run's config.yml."""
    output: Path | None = None
    """Folder for the results; `evaluation` beside the config.yml by default."""
    audio: Path | None = None
    """Any sound: the avatar also speaks it (spoken.mp4), and its mouth is compared with the sound's loudness."""
    emotion: str = "neutral"
    """Emotion for --audio."""
    intensity: str = "medium"
    """Intensity for --audio."""
    frames: int | None = None
    """At most that many held-out frames; all by default."""

    def main(self) -> None:
        from aed_nerfstudio.avatar import Avatar
        from aed_nerfstudio.dataset.schema import write_image, write_json
        from aed_nerfstudio.evaluation.self_driven import evaluate
        from aed_nerfstudio.media.audio_io import read_audio

        if self.frames is not None and self.frames < 3:
            raise InputError(f"frames must be at least 3, not {self.frames}")
        samples = read_audio(self.audio) if self.audio else None
        avatar = Avatar.load(self.load_config)
        folder = self.output or self.load_config.parent / "evaluation"
        folder.mkdir(parents=True, exist_ok=True)
        found = evaluate(avatar, self.frames)
        metrics = {"format": "aed-metrics", "version": VERSION, **found.metrics}
        metrics["recorded"] = self._recorded(avatar)
        if samples is not None:
            metrics["cross_driven"] = self._speak(avatar, samples, folder / "spoken.mp4")
        write_json(folder / "metrics.json", metrics)
        write_image(folder / "sheet.png", contact_sheet(found))
        print(table(metrics))
        print(f"{folder.resolve()}: metrics.json, sheet.png (truth, ours, training frame of the nearest pose)")

    def _recorded(self, avatar) -> dict:
        """What the person's own mouth scores on the longest clip: the measure for `cross_driven`."""
        from aed_nerfstudio.evaluation.self_driven import follows_sound
        from aed_nerfstudio.media.audio_io import read_audio

        clip = max(avatar.dataset.clips, key=lambda c: c.count)
        samples = read_audio(avatar.dataset.root / "audio" / f"{clip.name}.wav")
        return follows_sound(samples, avatar.dataset.landmarks(clip.name))

    def _speak(self, avatar, samples: np.ndarray, path: Path) -> dict:
        from aed_nerfstudio.dataset.schema import FPS
        from aed_nerfstudio.evaluation.landmark_distance import detect
        from aed_nerfstudio.evaluation.self_driven import follows_sound
        from aed_nerfstudio.media.video_writer import VideoWriter

        track = avatar.track(samples, avatar.vocabulary.encode(self.emotion, self.intensity))
        height, width = avatar.frame_size()

        with VideoWriter(path, FPS, (width, height), samples) as video:

            def written():
                for frame in avatar.render(track):
                    video.write(frame)
                    yield frame

            landmarks = detect(written())
        return follows_sound(samples, landmarks)


def contact_sheet(found: Evaluation) -> np.ndarray:
    """Truth, ours and nearest above each other: a frame of every clip, or ten frames of the only one."""
    clips = list(dict.fromkeys(found.labels))
    if len(clips) > 1:
        members = [np.flatnonzero([label == clip for label in found.labels]) for clip in clips]
        picks = [int(part[len(part) // 2]) for part in members]
    else:
        picks = np.unique(np.linspace(0, len(found.truth) - 1, 2 * SHEET_COLUMNS).astype(int)).tolist()
    height, width = found.truth[0].shape[:2]
    blocks = []
    for start in range(0, len(picks), SHEET_COLUMNS):
        block = np.zeros((3 * height, min(len(picks), SHEET_COLUMNS) * width, 3), np.uint8)
        for column, index in enumerate(picks[start : start + SHEET_COLUMNS]):
            column_of = np.vstack([found.truth[index], found.ours[index], found.nearest[index]])
            block[:, column * width : (column + 1) * width] = column_of
        blocks.append(block)
    return np.vstack(blocks)


def table(metrics: dict) -> str:
    """The figures as Markdown."""

    def cell(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    rows = {
        "ours, full synthesis": metrics["self_driven"]["full"],
        "ours, ground-truth torso": metrics["self_driven"]["ground_truth_torso"],
        "training frame of the nearest pose": metrics["baselines"]["nearest_pose"],
    }
    lines = [f"Held-out frames: {metrics['frames']}. PSNR in dB over the frame and the face box; lip landmark distance "
             "(MediaPipe, centroid-aligned); Pearson's r of the mouth opening with the truth.", ""]  # fmt: skip
    lines += ["| | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(cell(row.get(c)) for c in COLUMNS) + " |" for name, row in rows.items()]
    lines.append("")
    for name in ("recorded", "cross_driven"):
        if name in metrics:
            found = metrics[name]
            r, shift = cell(found["audio_mouth_correlation"]), found["mouth_after_sound_frames"]
            lines.append(f"{name}: audio-mouth correlation {r} at {shift} frames' delay, {found['frames']} frames")
    speed = metrics["speed"]
    lines.append(f"speed: {speed['frames_per_second']:.2f} frames/s on {speed['device']}")
    return "\n".join(lines)
