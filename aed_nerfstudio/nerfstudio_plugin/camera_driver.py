"""What drives the cameras of nerfstudio's own commands and viewer, which know of sound and emotion nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from nerfstudio.cameras.cameras import Cameras

from aed_nerfstudio.audio.features import SAMPLE_RATE, STEPS_PER_FRAME
from aed_nerfstudio.audio.hearing import hear
from aed_nerfstudio.dataset.schema import FPS, Dataset
from aed_nerfstudio.driving.emotion import EmotionVocabulary, parse_mixture
from aed_nerfstudio.driving.head_pose import ping_pong
from aed_nerfstudio.driving.pose_range import PoseRange
from aed_nerfstudio.driving.track import DatasetTrack, DrivingTrack, FrameCondition
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import read_audio

if TYPE_CHECKING:
    from aed_nerfstudio.nerfstudio_plugin.model import AedNerfModelConfig

SILENT_FRAMES = 16
"""Silence after a sound: the audio encoder looks 8 frames back and 8 forth."""


class CameraDriver:
    """Conditions for cameras that bring at most a time and the number of a dataset's frame.

    A camera that names a frame is driven by that frame, unless the config says otherwise (`drive_frames`). All others
    follow the config's sound, or the dataset's, at their time; with the config's emotion; and the torso follows the
    camera as far as the head was recorded.

    Args:
        config: of the model.
        dataset: the avatar's.
        vocabulary: the avatar's.
        track: the dataset's own frames.

    Raises:
        InputError: an emotion that was not recorded, a sound that cannot be read or heard, a frame rate not above 0.
    """

    def __init__(
        self, config: AedNerfModelConfig, dataset: Dataset, vocabulary: EmotionVocabulary, track: DatasetTrack
    ) -> None:
        if not config.fps > 0:
            raise InputError(f"fps must be positive, not {config.fps}")
        if config.audio is None and config.audio_features_file is not None:
            raise InputError(f"{config.audio_features_file}: features of which sound? give it as audio")
        self.config = config
        self.dataset_track = track
        mixture = None if config.emotion is None else parse_mixture(config.emotion)
        self.emotion = vocabulary.encode(mixture, config.intensity)
        self.pose_range = PoseRange(track.poses[dataset.split("train")])
        eyes = track.eye_openness[dataset.longest_take()]
        self.blinks = eyes[ping_pong(len(eyes), max(1, 2 * len(eyes) - 2))]
        self.track: Sequence[FrameCondition] = track
        """What is driven by: the dataset's frames or the config's sound, with silence at its end."""
        self.length = len(track)
        """Frames of the track that the cameras' times run through, from 0 at the first to 1 at the last."""
        if config.audio is not None:
            self.track = DrivingTrack(self._heard(dataset), self.emotion, self.pose_range.typical[None], fps=FPS)
            self.length = len(self.track) - SILENT_FRAMES
        self.played = 0
        """Cameras so far that were taken for the frames of a video."""

    @property
    def seconds(self) -> float:
        """Length of what the times run through."""
        return self.length / FPS

    def _heard(self, dataset: Dataset) -> np.ndarray:
        """The features of the config's sound and of silence after it."""
        samples, file = read_audio(self.config.audio), self.config.audio_features_file
        if file is None:
            samples = np.pad(samples, (0, SILENT_FRAMES * SAMPLE_RATE // FPS))
            return hear(samples, dataset.front_end, dataset.feature_dim)
        features = hear(samples, dataset.front_end, dataset.feature_dim, file)
        return np.pad(features, ((0, SILENT_FRAMES * STEPS_PER_FRAME), (0, 0)), mode="edge")

    def drives(self, camera: Cameras) -> bool:
        """Whether the config's sound, emotion and background are for this camera, and not a frame's own."""
        return self.config.drive_frames or "frame" not in (camera.metadata or {})

    def condition(self, camera: Cameras) -> FrameCondition:
        """What drives one camera, of shape [] or [1].

        Cameras without times, and with the clock `frames` all but the viewer's, are taken for the frames of a video in
        their order, each `1 / fps` seconds after the one before: after the end of the config's sound the avatar is
        silent and goes on blinking, after the dataset's last frame it begins again.
        """
        metadata, c = camera.metadata or {}, self.config
        if "frame" not in metadata:
            timed = camera.times is not None and (c.clock == "times" or "cam_idx" in metadata)
            pose = camera.camera_to_worlds.reshape(-1, 3, 4)[0].cpu().numpy()
            moment = self._moment(self._at(float(camera.times.flatten()[0])) if timed else self._next())
            return replace(moment, emotion=self.emotion, head_pose=self.pose_range.nearest(pose))
        frame = self.dataset_track[int(metadata["frame"].flatten()[0])]
        if c.drive_frames and c.audio is not None:
            frame = replace(frame, audio=self._moment(self._next()).audio)
        if c.drive_frames and c.emotion is not None:
            frame = replace(frame, emotion=self.emotion)
        return frame

    def _at(self, time: float) -> int:
        """The frame of a time, 0 to 1 over the track; the viewer's splines overshoot."""
        return round(min(max(time, 0.0), 1.0) * (self.length - 1))

    def _next(self) -> int:
        """The frame of the next camera of a video."""
        index = int(self.played * FPS / self.config.fps + 1e-6)
        self.played += 1
        return index

    def _moment(self, index: int) -> FrameCondition:
        """The track's condition number `index`, which may lie beyond its end."""
        if self.config.audio is None:
            return self.track[index % self.length]
        moment = self.track[min(index, self.length + SILENT_FRAMES // 2)]
        return replace(moment, eye_openness=float(self.blinks[index % len(self.blinks)]))
