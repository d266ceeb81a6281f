"""What the avatar says in the viewer: a clip of its dataset, or an uploaded recording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aed_nerfstudio.audio.features import SAMPLE_RATE, STEPS_PER_FRAME
from aed_nerfstudio.audio.hearing import hear
from aed_nerfstudio.dataset.schema import FPS, Dataset
from aed_nerfstudio.driving.head_pose import ping_pong, smooth
from aed_nerfstudio.driving.track import DrivingTrack
from aed_nerfstudio.media.audio_io import read_audio, read_if_there
from aed_nerfstudio.viewer.uploads import uploaded_file


@dataclass(frozen=True)
class Speech:
    """A stretch of sound with the head motion and the blinks that go with it."""

    name: str
    samples: np.ndarray | None
    """float [n], mono, 16 kHz; None: there is no sound to hear."""
    track: DrivingTrack
    """At `FPS`; its emotion is replaced by the panel's."""


def speech_of_clip(dataset: Dataset, clip: str, emotion: np.ndarray) -> Speech:
    """A clip as it was recorded.

    Raises:
        InputError: its features or its sound are damaged.
    """
    frames = [frame for frame in dataset.frames if frame.clip == clip]
    samples = read_if_there(dataset.sound(clip))
    return Speech(clip, samples if samples.size else None, _track(dataset.features(clip), emotion, frames))


def speech_of_upload(
    dataset: Dataset,
    name: str,
    content: bytes,
    emotion: np.ndarray,
    longest: float,
    report: Callable[[str, float], None],
) -> Speech:
    """An uploaded audio or video file, with the head motion of the longest clip, played forth and back.

    Args:
        content: of the file called `name`.
        longest: minutes of sound that are taken; the browser is given its sound as a whole.
        report: is told what is being done and how much of it is done, 0 to 1.

    Raises:
        InputError: no sound can be read from it, it is too long, or the avatar's front end needs more than sound.
    """
    report("reading the sound", 0.1)
    with uploaded_file(name, content) as path:
        samples = read_audio(path, longest=60 * longest)
    report(f"listening ({dataset.front_end}, {len(samples) / SAMPLE_RATE:.0f} s)", 0.3)
    features = hear(samples, dataset.front_end, dataset.feature_dim)
    report("ready", 1.0)
    frames = [dataset.frames[i] for i in dataset.longest_take()]
    order = ping_pong(len(frames), len(features) // STEPS_PER_FRAME)
    return Speech(name, samples, _track(features, emotion, frames, order))


def _track(features: np.ndarray, emotion: np.ndarray, frames: list, order: np.ndarray | None = None) -> DrivingTrack:
    poses = smooth(np.array([frame.camera_to_world for frame in frames], np.float32)[:, :3])
    eyes = np.array([frame.eye_openness for frame in frames], np.float32)
    order = np.arange(len(frames)) if order is None else order
    return DrivingTrack(features, emotion, poses[order], eyes[order], FPS)
