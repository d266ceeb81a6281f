"""`aed set-driving`: what an avatar says and shows in nerfstudio's own commands, which cannot be told."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from aed_nerfstudio.bounds import FRAME_RATE
from aed_nerfstudio.commands.flags import check_flags
from aed_nerfstudio.errors import InputError

if TYPE_CHECKING:
    from aed_nerfstudio.nerfstudio_plugin.camera_driver import DrivingConfig


@dataclass(kw_only=True)
class SetDriving:
    """Write a changed copy of a run's config.yml, by which ns-render and ns-viewer show another sound or emotion.

    The copy lies beside the original and shares its checkpoints. What is not given stays as it was.
    """

    load_config: Path
    """The training run's config.yml, or a copy that this command has made."""
    name: str = "driven"
    """What the copy is called: NAME.yml."""
    audio: Path | None = None
    """What to say: any audio or video file with sound."""
    audio_features_file: Path | None = None
    """Ready features of --audio (.npy), for an avatar that was trained on such."""
    emotion: str | None = None
    """One of the emotions that were recorded, or a mixture such as happy:0.7+sad:0.3."""
    intensity: str | None = None
    """How strong: a label (weak, medium, strong) or a number from 0 to 1, within what was recorded."""
    background: str | None = None
    """What is behind the avatar: a colour (white, #00b140), a picture file, or original."""
    clock: Literal["times", "frames"] | None = None
    """Whether the sound follows the cameras' times, 0 to 1 over the whole of it, or is played at its own speed along
    the frames of the video. Frames, where --audio is given and this is not."""
    fps: Annotated[float, FRAME_RATE] | None = None
    """Frames a second of the video that will be made, for the clock frames; 25 by default."""
    data: Path | None = None
    """Where the dataset of the training is now; by default where it was, or beside the run."""

    def main(self) -> None:
        """Runs the command."""
        check_flags(self)
        if not re.fullmatch(r"[\w.-]{1,100}", self.name) or self.name.startswith(".") or self.name == "config":
            raise InputError(f"{self.name!r} cannot be the copy's name; use letters, digits, - and _, and not config")
        self._check_files()
        import yaml

        from aed_nerfstudio.avatar.portrait import Portrait
        from aed_nerfstudio.commands.avatar_flags import run_files
        from aed_nerfstudio.driving.track import DatasetTrack
        from aed_nerfstudio.files import keep_apart, write
        from aed_nerfstudio.jobs.folder_lock import folder_lock
        from aed_nerfstudio.loading import dataset_of, load_network, read_run
        from aed_nerfstudio.nerfstudio_plugin.camera_driver import CameraDriver
        from aed_nerfstudio.nerfstudio_plugin.places import find_inputs, own_pipeline
        from aed_nerfstudio.nerfstudio_plugin.run_config import read_config

        kept = read_run(self.load_config)  # a run that cannot be loaded is told now
        dataset = dataset_of(kept, self.data)
        load_network(kept, dataset)
        run = self.load_config.resolve().parent
        config = read_config(self.load_config)
        model = own_pipeline(config).model
        driving = model.driving = replace(model.driving, **self._given())
        find_inputs(config, run, dataset.root)
        if run.parent.name == config.method_name and len(run.parents) > 2:  # else it cannot be said to nerfstudio
            config.output_dir, config.experiment_name, config.timestamp = run.parents[2], run.parents[1].name, run.name
        portrait = Portrait.of(dataset)
        driver = CameraDriver(driving, portrait, DatasetTrack.of(dataset, portrait.vocabulary))  # finds what is wrong
        path = run / f"{self.name}.yml"
        given = [self.audio, self.audio_features_file, self.background]
        keep_apart([path], [*given, *run_files(run / "config.yml"), *dataset.sources])
        with folder_lock(path):
            write(path, yaml.dump(config), run)
        print(f"{path}: for --load-config of ns-render and ns-viewer")
        if driving.audio is not None:
            self._say_how(path, driving, driver.seconds)

    def _check_files(self) -> None:
        """Finds what is wrong with them before the seconds that loading the avatar takes."""
        from aed_nerfstudio.audio.feature_files import read_feature_file
        from aed_nerfstudio.audio.hearing import count_frames
        from aed_nerfstudio.driving.emotion import parse_mixture
        from aed_nerfstudio.media.audio_io import read_audio
        from aed_nerfstudio.media.backgrounds import open_background

        if self.emotion is not None:
            parse_mixture(self.emotion)
        if self.background is not None:
            open_background(self.background)
        samples = None if self.audio is None else read_audio(self.audio)
        if samples is not None and self.audio_features_file is not None:
            read_feature_file(self.audio_features_file, count_frames(samples))

    def _given(self) -> dict:
        """Returns the fields of the driving's config that this command line changes."""
        names = ("audio", "audio_features_file", "emotion", "intensity", "background", "clock", "fps")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.audio is not None:
            given = {"clock": "frames", "audio_features_file": None, **given}
        if self.background is not None and Path(self.background).is_file():
            given["background"] = str(Path(self.background).resolve())
        for name in ("audio", "audio_features_file"):
            if given.get(name) is not None:
                given[name] = given[name].resolve()
        return {**given, "drive_frames": True}

    @staticmethod
    def _say_how(path: Path, driving: DrivingConfig, seconds: float) -> None:
        """Prints commands that make a video as long as the sound, and the one that adds it."""
        config, sound = shlex.quote(str(path)), shlex.quote(str(driving.audio))
        print(
            f"{driving.audio}: {seconds:.2f} s at {driving.fps:g} frames/s. For example:\n"
            f"  ns-render spiral --load-config {config} --seconds {seconds:.2f} --frame-rate {driving.fps:g} "
            "--output-path silent.mp4\n"
            f"  ffmpeg -i silent.mp4 -i {sound} -map 0:v -map 1:a -c:v copy -c:a aac talking.mp4"
        )
