"""`aed demo`: the whole way, from a computer-made actor to a talking avatar, without a video, a download or a GPU."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np

from aed_nerfstudio.bounds import SEED, Between
from aed_nerfstudio.commands.flags import check_flags
from aed_nerfstudio.errors import InputError


@dataclass
class Demo:
    """Record a computer-made actor, train an avatar of it, and let it say an unseen sentence with every emotion."""

    output: Path = Path("demo")
    """Folder for the dataset, the training run, the video and the picture."""
    size: Annotated[int, Between(32, 2048, "pixels")] = 160
    """Width and height of the actor's video in pixels."""
    clip_seconds: Annotated[float, Between(0.4, 600.0, "s")] = 2.0
    """How long the actor is recorded with every emotion at every intensity, each in another posture of the head."""
    steps: Annotated[int, Between(10, 10_000_000)] | None = None
    """Training steps; those of the aed-nerf-tiny preset by default. Fewer are faster and less sharp."""
    speech_seconds: Annotated[float, Between(0.1, 10.0, "s")] = 4.0
    """How much of the unseen sentence the avatar speaks."""
    seed: Annotated[int, SEED] = 0
    """Seed of the actor's performance and of the training."""

    def main(self) -> None:
        start = time.monotonic()
        check_flags(self)
        from aed_nerfstudio.jobs.folder_lock import folder_lock

        root = self.output.resolve()
        with folder_lock(root):
            self._make(root, start)

    def _make(self, root: Path, start: float) -> None:
        """Takes all three steps; `start` is when they began, by `time.monotonic`."""
        from aed_nerfstudio.files import make_folder, remove_parts

        make_folder(root)
        for name in ("demo.png", "demo.mp4"):
            remove_parts(root / name)
        self._record(root / "data")
        config = self._train(root)

        from aed_nerfstudio.avatar.avatar import Avatar
        from aed_nerfstudio.synthetic.record import unseen_speech

        print("\n3/3 speaking an unseen sentence")
        avatar = Avatar.load(config)
        speech = unseen_speech(self.speech_seconds)
        write_contact_sheet(avatar, speech, root / "demo.png")
        write_video(avatar, speech, root / "demo.mp4")
        run = _shown(config)
        print(
            f"\nDone in {(time.monotonic() - start) / 60:.1f} minutes.\n"
            f"  video with sound  {_shown(root / 'demo.mp4')}\n"
            f"  contact sheet     {_shown(root / 'demo.png')}\n"
            f"  dataset           {_shown(root / 'data')}\n"
            f"  training run      {run}\n"
            "Next:\n"
            f"  aed render --load-config {run} --audio YOUR.wav --emotion happy --intensity 0.7 --output happy.mp4\n"
            f"  ns-viewer --load-config {run}\n"
            f"  ns-eval --load-config {run} --output-path metrics.json\n"
            "  aed process YOUR.mp4 --output data/you && ns-train aed-nerf --data data/you"
        )

    def _record(self, data: Path) -> None:
        """Records the actor, unless an earlier run already has."""
        from aed_nerfstudio.dataset.schema import FPS, read_dataset

        if (data / "dataset.json").exists():
            known = read_dataset(data)
            if (known.camera.w, known.clips[0].count) != (self.size, round(self.clip_seconds * FPS)):
                raise InputError(f"{data}: was recorded with another --size or --clip-seconds; remove it or choose "
                                 "another --output")  # fmt: skip
            print(f"1/3 the actor is recorded already: {_shown(data)}")
            return
        from aed_nerfstudio.synthetic.record import record_dataset

        print(f"1/3 recording the actor to {_shown(data)}")
        record_dataset(data, size=self.size, clip_seconds=self.clip_seconds, seed=self.seed, postures=True)

    def _train(self, root: Path) -> Path:
        """Trains through nerfstudio's own trainer, as `ns-train aed-nerf-tiny` does; returns the run's config.yml."""
        from nerfstudio.scripts.train import main as train

        from aed_nerfstudio.jobs.signals import STOP, leave, on_signals
        from aed_nerfstudio.method_configs.aed_nerf import aed_nerf_tiny
        from aed_nerfstudio.nerfstudio_plugin.model import AedNerfModelConfig

        config = copy.deepcopy(aed_nerf_tiny.config)
        model = config.pipeline.model
        assert isinstance(model, AedNerfModelConfig)
        config.data = root / "data"
        config.output_dir = root / "outputs"
        config.experiment_name = "demo"
        config.timestamp = "demo"
        config.vis = "tensorboard"
        config.machine.seed = self.seed
        if self.steps is not None:
            # Every stage is shortened alike, so that the torso still gets its part.
            schedule = model.schedule
            head, lips = (round(part * self.steps / schedule.total) for part in (schedule.head, schedule.lips))
            model.schedule = replace(schedule, head=head, lips=lips, torso=self.steps - head - lips)
            config.max_num_iterations = self.steps
        print(f"\n2/3 training for {config.max_num_iterations} steps")
        with on_signals(leave, *STOP):  # nerfstudio ends a training at KeyboardInterrupt, and goes on
            train(config)
        return config.get_base_dir() / "config.yml"


def write_contact_sheet(avatar, speech: np.ndarray, path: Path) -> None:
    """Writes a PNG of one moment of speech with every emotion (columns) at every intensity (rows)."""
    from aed_nerfstudio.evaluation.pictures import emotion_grid
    from aed_nerfstudio.media.provenance import write_synthetic

    vocabulary = avatar.vocabulary
    track = avatar.track(speech, vocabulary.encode(vocabulary.categories[0]), "still")
    loudness = [np.square(part).mean() for part in np.array_split(speech, len(track))]
    write_synthetic(path, emotion_grid(avatar, track[int(np.argmax(loudness))]), {"model": avatar.name})


def write_video(avatar, speech: np.ndarray, path: Path) -> None:
    """Writes a video of the speech in all emotions side by side, then in one that grows from its weakest to its
    strongest."""
    from aed_nerfstudio.audio.features import SAMPLE_RATE
    from aed_nerfstudio.commands.render import with_progress
    from aed_nerfstudio.dataset.schema import FPS
    from aed_nerfstudio.media.captions import BAND
    from aed_nerfstudio.media.video_writer import VideoWriter

    height, width = avatar.frame_size()
    count = round(len(speech) / SAMPLE_RATE * FPS)
    sound = np.zeros(count * SAMPLE_RATE // FPS, np.float32)
    sound[: len(speech)] = speech[: len(sound)]
    size = (width * len(avatar.vocabulary.categories), height + BAND)
    frames = _video_frames(avatar, sound)
    with VideoWriter(path, FPS, size, np.tile(sound, 2)) as video:
        for frame in with_progress(frames, 2 * count, "rendering"):
            video.write(frame)


def _video_frames(avatar, sound: np.ndarray) -> Iterator[np.ndarray]:
    from aed_nerfstudio.media.captions import labelled

    vocabulary = avatar.vocabulary
    categories, strongest = vocabulary.categories, vocabulary.intensities[-1]
    panels = [avatar.render(avatar.track(sound, vocabulary.encode(c, strongest))) for c in categories]
    labels = [c if c == "neutral" else f"{c}, {strongest}" for c in categories]
    for faces in zip(*panels, strict=True):
        yield np.hstack([labelled(face, label) for face, label in zip(faces, labels, strict=True)])

    swept = "happy" if "happy" in categories else categories[-1]
    seconds = len(sound) / 16000
    track = avatar.track(sound, lambda t: vocabulary.encode(swept, min(t / seconds, 1.0)))
    for index, face in enumerate(avatar.render(track)):
        share = index / max(1, len(track) - 1)
        panel = labelled(face, f"{swept}, {share:.2f}")
        height, width = panel.shape[:2]
        canvas = np.zeros((height, width * len(categories), 3), np.uint8)
        left = (canvas.shape[1] - width) // 2
        canvas[:, left : left + width] = panel
        canvas[-3:, left : left + round(width * share)] = (255, 160, 60)
        yield canvas


def _shown(path: Path) -> str:
    """Returns a path as the user would type it: relative to the current folder where it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
