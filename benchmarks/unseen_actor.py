"""An actor that no default was tuned on: another face, seed and voice, and speech that its avatar never heard.

    python benchmarks/unseen_actor.py record data/unseen --speech a.wav b.wav        # then train on data/unseen
    python benchmarks/unseen_actor.py measure outputs/.../config.yml --speech c.wav --output figures.json

The actor performs the unseen speech too, so that its own pictures are the truth: same head motion, blinks and emotion.
Any recordings will do; those of benchmarks/results were spoken by `espeak-ng -v en-us+m3 -s 140..160 -p 35..59`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro

IDENTITY, SEED = 3, 7


@dataclass
class Record:
    """Record the actor."""

    output: tyro.conf.Positional[Path]
    speech: tuple[Path, ...]
    size: int = 192
    clip_seconds: float = 6.6
    front_end: str = "log-mel"
    """The actor's mouth follows loudness and brightness, which Moonshine's states hold only in part."""

    def main(self) -> None:
        from aed_nerfstudio.synthetic.record import record_dataset

        record_dataset(self.output, size=self.size, clip_seconds=self.clip_seconds, identity=IDENTITY, seed=SEED,
                       speech=list(self.speech), front_end=self.front_end)  # fmt: skip


@dataclass
class Measure:
    """Let the avatar and the actor say the same, and compare."""

    load_config: tyro.conf.Positional[Path]
    speech: Path
    output: Path
    seconds: float = 4.0
    """Of each label: neutral, and the others at their strongest."""

    def main(self) -> None:
        from aed_nerfstudio.audio.features import SAMPLE_RATE, extract_features
        from aed_nerfstudio.avatar.avatar import Avatar, to_uint8
        from aed_nerfstudio.dataset.schema import FPS, HEAD, write_image, write_json
        from aed_nerfstudio.driving.track import DrivingTrack
        from aed_nerfstudio.evaluation.image_metrics import psnr
        from aed_nerfstudio.evaluation.landmark_distance import detect
        from aed_nerfstudio.evaluation.sync import correlation
        from aed_nerfstudio.face.face_mesh import mouth_opening
        from aed_nerfstudio.media.audio_io import read_audio
        from aed_nerfstudio.synthetic.actor import Actor
        from aed_nerfstudio.synthetic.performance import perform
        from aed_nerfstudio.synthetic.scene import Scene

        avatar = Avatar.load(self.load_config)
        size = avatar.portrait.camera.w
        scene = Scene(Actor(IDENTITY), size, SEED)
        samples = read_audio(self.speech)
        count = round(self.seconds * FPS)
        rng = np.random.default_rng(0)
        rows, sheet = {}, []
        for k, category in enumerate(avatar.vocabulary.categories):
            part = samples[k * count * SAMPLE_RATE // FPS :][: count * SAMPLE_RATE // FPS]
            if len(part) < count * SAMPLE_RATE // FPS:
                break
            intensity = avatar.vocabulary.intensities[-1]
            take = perform(part, count, category, intensity, seed=90 + k)
            drawn = [scene.render(units, pose) for units, pose in zip(take.units, take.poses, strict=True)]
            poses = np.array([d.camera_to_world for d in drawn], np.float32)[:, :3]
            features = extract_features(part, count, avatar.portrait.front_end)
            emotion = avatar.vocabulary.encode(category, intensity)
            track = DrivingTrack(features, emotion, poses, take.eye_openness)
            order = rng.permutation(count)
            ours = [to_uint8(avatar.images(c)["rgb"]) for c in track]
            shuffled = [
                to_uint8(avatar.images(replace(c, audio=track[j].audio))["rgb"])
                for c, j in zip(track, order.tolist(), strict=True)
            ]
            truth = [d.image for d in drawn]
            opening = [mouth_opening(detect(images)) for images in (truth, ours, shuffled)]
            inside = np.zeros((size, size), bool)
            inside[np.any([d.parsing == HEAD for d in drawn], axis=0)] = True
            rows_of, cols_of = np.nonzero(inside)
            inside[rows_of.min() : rows_of.max() + 1, cols_of.min() : cols_of.max() + 1] = True  # the head's box
            change = np.mean([np.abs(a.astype(int) - b)[~inside].mean() for a, b in zip(ours, shuffled, strict=True)])
            rows[category] = {
                "psnr": float(np.mean([psnr(a, b) for a, b in zip(ours, truth, strict=True)])),
                "mouth_correlation": correlation(opening[1], opening[0]),
                "mouth_correlation_shuffled": correlation(opening[2], opening[0]),
                "mouth_opening_std_px": [float(np.nanstd(o)) for o in opening[:2]],
                "change_outside_head_box": float(change),
            }
            picks = np.argsort(opening[0])[[5, count // 2, -5]]
            sheet.append(np.vstack([np.hstack([images[i] for i in picks]) for images in (truth, ours)]))
            print(category, {key: np.round(value, 3).tolist() for key, value in rows[category].items()}, flush=True)
        result = {"speech": self.speech.name, "labels": rows}
        for key in ("psnr", "mouth_correlation", "mouth_correlation_shuffled", "change_outside_head_box"):
            result[key] = float(np.mean([row[key] for row in rows.values()]))
        write_json(self.output, result)
        write_image(self.output.with_suffix(".jpg"), np.hstack(sheet))
        print({key: value for key, value in result.items() if key != "labels"})


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"record": Record, "measure": Measure}).main()
