"""`aed eval`: an avatar measured against its held-out frames, and its mouth against sound."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from aed_nerfstudio.bounds import SEED, Between
from aed_nerfstudio.commands.avatar_flags import AvatarFlags
from aed_nerfstudio.commands.flags import check_flags
from aed_nerfstudio.errors import InputError

UNFINISHED = "folder for an unfinished evaluation"
EMOTION_FRAMES = 24
"""Held-out conditions that are rendered with every emotion."""


@dataclass(kw_only=True)
class Eval(AvatarFlags):
    """Measure an avatar on the frames it was not trained on; writes metrics.json, tables, and a page with videos.

    An avatar file (--avatar) has no such frames: give its dataset (--data), or other audio to be measured on (--audio).
    """

    output: Path | None = None
    """Folder for the results; `evaluation` beside the config.yml, or NAME-evaluation beside the avatar, by default."""
    audio: Path | None = None
    """Any sound: the avatar also speaks it (spoken.mp4), and its mouth is compared with the sound."""
    emotion: str | None = None
    """Emotion for --audio; by default neutral, or the first that was recorded."""
    intensity: str | None = None
    """Intensity for --audio; by default as near to the middle as was recorded."""
    syncnet: Path | None = None
    """Weights of SyncNet (syncnet_v2.model), for Sync-C and Sync-D."""
    frames: Annotated[int, Between(3, 10**9)] | None = None
    """At most that many held-out frames, the first of every clip alike; all by default."""
    seed: Annotated[int, SEED] = 0
    """Of the shuffling of the audio."""
    audio_features_file: Path | None = None
    """Ready features of --audio (.npy), for an avatar that was trained on such."""

    def main(self) -> None:
        check_flags(self)
        self.check_avatar(with_dataset=True)
        if self.avatar is not None and self.audio is None and self.data is None:
            raise InputError(f"{self.avatar}: holds no recording to be measured against; give its dataset (--data), or "
                             "a sound (--audio) to see whether its mouth follows that")  # fmt: skip
        if self.audio_features_file is not None and self.audio is None:
            raise InputError(f"{self.audio_features_file}: features of which sound? give it with --audio")
        if self.syncnet is not None and not self.syncnet.is_file():
            raise InputError(f"{self.syncnet}: no such file; give SyncNet's weights (syncnet_v2.model)")
        from aed_nerfstudio.media.audio_io import read_audio

        notes: list[str] = []
        samples = None if self.audio is None else read_audio(self.audio, notes=notes)
        for note in notes:
            print(f"note: {note}")
        folder = self.output or self._usual_folder()
        with self._to_fill(folder) as part:
            self._evaluate(samples, part)
        print(f"{(folder / 'index.html').resolve()}: tables, pictures and videos; figures in metrics.json, metrics.md")

    def _usual_folder(self) -> Path:
        if self.load_config is not None:
            return self.load_config.parent / "evaluation"
        file = self.named()
        # Not inside the package, where those lie that come with it.
        return (file if file == self.avatar else Path(file.name)).with_suffix(".evaluation")

    @contextmanager
    def _to_fill(self, folder: Path) -> Iterator[Path]:
        """Provides a folder to write to, whose files take their places in `folder` when all went well."""
        from aed_nerfstudio.evaluation.report import FILES, SPOKEN
        from aed_nerfstudio.files import keep_apart, make_folder, make_own, move, remove_own
        from aed_nerfstudio.jobs.folder_lock import folder_lock

        given = [self.audio, self.audio_features_file, self.syncnet, self.data, *self.avatar_files()]
        places = [folder / name for name in (*FILES, SPOKEN)]
        keep_apart(places, given)
        with folder_lock(folder):
            created = not folder.exists()
            make_folder(folder, folder.parent if self.output is None else None)
            part = folder / ".unfinished"
            remove_own(part, UNFINISHED)  # of a run that was killed
            try:
                yield make_own(part, UNFINISHED)
                for place in places:
                    if (part / place.name).exists():
                        move(part / place.name, place, folder)
            finally:
                remove_own(part, UNFINISHED)
                if created and not any(folder.iterdir()):
                    folder.rmdir()

    def _evaluate(self, samples: np.ndarray | None, folder: Path) -> None:
        """Fills a folder; samples: of --audio."""
        from aed_nerfstudio.commands.render import with_progress
        from aed_nerfstudio.evaluation import cross_driven, self_driven
        from aed_nerfstudio.evaluation.emotion import evaluate_emotion, no_emotion
        from aed_nerfstudio.evaluation.held_out import HeldOut
        from aed_nerfstudio.evaluation.instruments import Instruments
        from aed_nerfstudio.evaluation.metrics import FORMAT, VERSION, conventions, emotion_section, empty_row
        from aed_nerfstudio.evaluation.report import SPOKEN, markdown, write_report
        from aed_nerfstudio.evaluation.surface import evaluate_surface, no_surface
        from aed_nerfstudio.files import keep_apart

        net = self._syncnet()
        avatar, dataset = self.avatar_of(), self._dataset()
        keep_apart([folder], [*avatar.files, *([] if dataset is None else dataset.sources)])
        emotion = avatar.vocabulary.encode(self.emotion, self.intensity)
        features = None if samples is None else avatar.features(samples, self.audio_features_file)
        instruments = Instruments(avatar.device, net)
        spoken = empty_row("no other audio was given (--audio)")
        if samples is not None:
            spoken = cross_driven.evaluate(
                avatar, samples, emotion, folder / SPOKEN, instruments, with_progress, features
            )
        found, why = None, "an avatar file holds no recording; give its dataset (--data)"
        sections, emotions, surface = self_driven.unmeasured(avatar, why), no_emotion(why), no_surface(why)
        if dataset is not None:
            held = HeldOut(dataset, self.frames)
            found = self_driven.evaluate(avatar, held, instruments, self.seed, with_progress)
            print("rendering the emotions")
            sections = found.sections
            surface = evaluate_surface(avatar, held)
            emotions = evaluate_emotion(avatar, dataset, min(EMOTION_FRAMES, len(held)), self.seed)
        metrics = {
            "format": FORMAT,
            "version": VERSION,
            "run": {
                "config": str(self.named().resolve()),
                "step": avatar.step,
                "dataset": None if dataset is None else str(dataset.root.resolve()),
            },
            "settings": {
                "audio": None if self.audio is None else str(self.audio),
                "audio_features_file": None if self.audio_features_file is None else str(self.audio_features_file),
                "emotion": self.emotion,
                "intensity": self.intensity,
                "syncnet": None if self.syncnet is None else str(self.syncnet),
                "frames": self.frames,
                "seed": self.seed,
            },
            **sections,
            "cross_driven": spoken,
            "depth": surface.section,
            "emotion": emotion_section(emotions),
            "conventions": conventions(),
        }
        write_report(folder, avatar, found, surface, metrics, with_progress)
        print(markdown(metrics))

    def _dataset(self):
        """Returns the avatar's recording; None for an avatar file without --data."""
        if self.load_config is not None:
            from aed_nerfstudio.loading import dataset_of, read_run_config

            return dataset_of(read_run_config(self.load_config), self.data)
        if self.data is None:
            return None
        from aed_nerfstudio.dataset.schema import read_dataset

        return read_dataset(self.data)

    def _syncnet(self):
        """Returns the network of `--syncnet`, or None."""
        if self.syncnet is None:
            return None
        from aed_nerfstudio.evaluation.syncnet import SyncNet

        return SyncNet.load(self.syncnet)
