"""What the avatar says in the viewer: a clip of its dataset, or an uploaded recording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.audio.hearing import hear, hear_silence
from aed_nerfstudio.avatar.portrait import Portrait
from aed_nerfstudio.dataset.schema import FPS, Dataset
from aed_nerfstudio.driving.assembler import Assembler
from aed_nerfstudio.driving.track import DrivingTrack
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.viewer.uploads import uploaded_file

SILENT_SECONDS = 8
"""Of `speech_of_nothing`."""


@dataclass(frozen=True)
class Speech:
    """A stretch of sound with the head motion and the blinks that go with it."""

    name: str
    samples: np.ndarray | None
    """float [n], mono, 16 kHz; None: there is no sound to hear."""
    track: DrivingTrack
    """At `FPS`; its emotion is replaced by the panel's."""
    assembler: Assembler | None = None
    """Gives it the head motion of an emotion; None: it keeps its own, as it was recorded."""

    def shown_with(self, emotion: np.ndarray) -> DrivingTrack:
        """Returns the track with the head motion and the blinks that go with an emotion [dim]."""
        return self.track if self.assembler is None else self.assembler.speech(self.track.features, emotion)


class Recordings:
    """The clips that an avatar can repeat: those of a dataset, or none, and then it is silent until it is given sound.

    Args:
        dataset: that the avatar learnt from; None where it is not there.
    """

    def __init__(self, dataset: Dataset | None = None) -> None:
        self._dataset = dataset
        self.names: list[str] = []
        """Of the clips with training frames, in the order of the recording."""
        if dataset is not None:
            self.names = list(dict.fromkeys(dataset.frames[i].clip for i in dataset.split("train")))

    def first(self, portrait: Portrait) -> Speech:
        """Returns what is said before anybody has chosen."""
        return self.speech(self.names[0], portrait) if self.names else speech_of_nothing(portrait)

    def speech(self, name: str, portrait: Portrait) -> Speech:
        """Returns a clip as it was recorded.

        Raises:
            InputError: its features or its sound are damaged.
        """
        from aed_nerfstudio.media.audio_io import read_if_there  # PyAV, which a training is without

        dataset = self._dataset
        if dataset is None:
            raise InputError(f"{name}: there is no recording to repeat")
        frames = [frame for frame in dataset.frames if frame.clip == name]
        samples = read_if_there(dataset.sound(name))
        track = portrait.assembler().recorded(
            dataset.features(name),
            portrait.vocabulary.encode(),
            np.array([frame.camera_to_world for frame in frames], np.float32)[:, :3],
            np.array([frame.eye_openness for frame in frames], np.float32),
        )
        return Speech(name, samples if samples.size else None, track)


def speech_of_nothing(portrait: Portrait) -> Speech:
    """Returns some seconds of silence, with the head motion of a take of each emotion."""
    features = hear_silence(SILENT_SECONDS * FPS, portrait.front_end, portrait.feature_dim)
    return _speech("silence", None, features, portrait)


def speech_of_upload(
    portrait: Portrait,
    name: str,
    content: bytes,
    longest: float,
    report: Callable[[str, float], None],
) -> Speech:
    """Returns the speech of an uploaded audio or video file, with the head motion of a take of each emotion.

    Args:
        content: of the file called `name`.
        longest: minutes of sound that are taken; the browser is given its sound as a whole.
        report: is told what is being done and how much of it is done, 0 to 1.

    Raises:
        InputError: no sound can be read from it, it is too long, or the avatar's front end needs more than sound.
    """
    from aed_nerfstudio.media.audio_io import read_audio  # PyAV, which a training is without

    report("reading the sound", 0.1)
    with uploaded_file(name, content) as path:
        samples = read_audio(path, longest=60 * longest)
    report(f"listening ({portrait.front_end}, {len(samples) / SAMPLE_RATE:.0f} s)", 0.3)
    features = hear(samples, portrait.front_end, portrait.feature_dim)
    report("ready", 1.0)
    return _speech(name, samples, features, portrait)


def _speech(name: str, samples: np.ndarray | None, features: np.ndarray, portrait: Portrait) -> Speech:
    """Returns the speech of sound that was not recorded with the avatar."""
    assembler = portrait.assembler()
    return Speech(name, samples, assembler.speech(features, portrait.vocabulary.encode()), assembler)
