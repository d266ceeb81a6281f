"""`aed process`: videos of one person to a dataset folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from aed_nerfstudio.bounds import DATASET_SIDE, SHIFT
from aed_nerfstudio.commands.capture_flags import judge
from aed_nerfstudio.commands.flags import check_flags


@dataclass
class Process:
    """Make a dataset folder from videos in which one person talks."""

    videos: tyro.conf.Positional[tuple[Path, ...]]
    """Video files with sound, at least two seconds each; every uninterrupted take becomes a clip."""
    output: Path
    """The folder to make; run again with the same options to go on after an interruption."""
    size: Annotated[int, DATASET_SIDE] = 512
    """Side of the square pictures, pixels."""
    emotion: tuple[str, ...] = ("neutral",)
    """Emotion shown in the videos, one for each in their order or one for all: neutral, angry, fearful, happy, sad or
    words of your own."""
    intensity: tuple[str, ...] = ("medium",)
    """How strongly it is shown, one for each video or one for all: weak, medium or strong."""
    audio_features: str = "moonshine"
    """What is read from the sound: moonshine, moonshine-live (as `aed live` hears it), whisper, log-mel, wav2vec2,
    hubert, xls-r, or several, as in moonshine+whisper; none for videos without sound and an avatar that shows emotions
    and does not speak."""
    features_file: tuple[Path, ...] = ()
    """Ready audio features instead, one .npy file a video: DeepSpeech, HuBERT or others, as AD-NeRF, RAD-NeRF and
    ER-NeRF write them; `--audio-features file/deepspeech` notes whose they are."""
    audio: tuple[Path, ...] = ()
    """Sound files instead of the videos' own sound, one a video."""
    audio_shift: Annotated[float, SHIFT] = 0.0
    """Seconds by which the sound comes later than the picture; `aed inspect` finds it, and this mends it."""
    parser: str = "mediapipe"
    """What tells head, neck, torso and background apart: mediapipe, segformer or bisenet."""
    parser_weights: Path | None = None
    """Folder (segformer) or file (bisenet) of the parser's weights."""
    consent: str | None = None
    """Who agreed to what: a text, or a file with it. It stays with the dataset and with every avatar made of it."""

    def main(self) -> None:
        """Runs the command."""
        check_flags(self)
        from aed_nerfstudio.audio.feature_files import FILE, is_file_front_end
        from aed_nerfstudio.capture.run import ProcessOptions, process_videos  # slow to import: mediapipe, scipy
        from aed_nerfstudio.dataset.consent import read_consent

        named = not self.features_file or is_file_front_end(self.audio_features)
        front_end = self.audio_features if named else FILE
        options = ProcessOptions(
            size=self.size,
            emotions=self.emotion,
            intensities=self.intensity,
            front_end=front_end,
            features=self.features_file,
            parser=self.parser,
            parser_weights=self.parser_weights,
            sound=self.audio,
            audio_shift=self.audio_shift,
            consent="" if self.consent is None else read_consent(self.consent),
        )
        judge(process_videos(list(self.videos), self.output, options))
