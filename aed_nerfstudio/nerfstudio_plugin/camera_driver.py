"""What drives the cameras of nerfstudio's own commands and viewer, which know of sound and emotion nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras

from aed_nerfstudio.audio.features import SAMPLE_RATE, STEPS_PER_FRAME
from aed_nerfstudio.audio.hearing import hear, hear_silence
from aed_nerfstudio.avatar.portrait import Portrait
from aed_nerfstudio.dataset.schema import FPS
from aed_nerfstudio.driving.emotion import parse_mixture
from aed_nerfstudio.driving.track import DatasetTrack, FrameCondition
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.backgrounds import open_background

SILENT_FRAMES = 16
"""Silence after a sound: the audio encoder looks 8 frames back and 8 forth."""


@dataclass
class DrivingConfig:
    """What the cameras of nerfstudio's own commands show; they know of sound and emotion nothing."""

    emotion: str | None = None
    """Emotion (happy, happy:0.7+sad:0.3) of cameras that name no frame of the dataset, as those of camera paths and the
    viewer; None: neutral, where recorded."""
    intensity: str | None = None
    """A label, or 0 to 1; None: the middle of what was recorded."""
    take: str | None = None
    """Whose light the avatar is shown in (name or label of a take), for such cameras; None: a neutral take's."""
    audio: Path | None = None
    """Sound that such cameras speak, any audio or video file; None: the dataset's own."""
    audio_features_file: Path | None = None
    """Ready features of `audio` (.npy), for an avatar that was trained on such."""
    background: str | None = None
    """What is behind the avatar for such cameras: a colour (white, #00b140), a picture file or original; None: the
    recording's."""
    clock: Literal["times", "frames"] = "times"
    """What such cameras follow: their times, 0 to 1 over the whole sound, or their number, at `fps`. Cameras without
    times always follow their number, and the viewer's their times."""
    fps: float = float(FPS)
    """Frames a second of the video that the cameras make, where their number counts."""
    drive_frames: bool = False
    """Cameras that name a frame (ns-render dataset, ns-eval) show `emotion`, `background` and, in their order, `audio`
    as well, instead of that frame's own; where None, these stay."""


class CameraDriver:
    """Conditions for cameras that bring at most a time and the number of a dataset's frame.

    A camera that names a frame is driven by that frame, unless the config says otherwise (`drive_frames`). All others
    follow the config's sound, or the dataset's, at their time; with the config's emotion; and the torso follows the
    camera as far as the head was recorded.

    Args:
        config: of the model.
        portrait: the avatar's.
        track: the recording's own frames; None where there is no recording.

    Raises:
        InputError: an emotion that was not recorded, a sound or a picture that cannot be read or heard, a frame rate
            not above 0.
    """

    def __init__(self, config: DrivingConfig, portrait: Portrait, track: DatasetTrack | None) -> None:
        if not config.fps > 0:
            raise InputError(f"fps must be positive, not {config.fps}")
        if config.audio is None and config.audio_features_file is not None:
            raise InputError(f"{config.audio_features_file}: features of which sound? give it as audio")
        self.config, self.portrait = config, portrait
        self.dataset_track = track
        mixture = None if config.emotion is None else parse_mixture(config.emotion)
        self.emotion = portrait.vocabulary.encode(mixture, config.intensity)
        self.assembler = portrait.assembler()
        self.take = None if config.take is None else portrait.take_number(config.take)
        self.blinks = self.assembler.blinks(self.emotion)
        self._sounds = track is None or config.audio is not None
        self.track: Sequence[FrameCondition] = (
            self.assembler.speech(self._heard(), self.emotion, "still") if track is None or self._sounds else track
        )
        """The conditions that cameras are driven by: the dataset's frames or the config's sound, with silence at its
        end."""
        self.length = len(self.track) - (SILENT_FRAMES if self._sounds else 0)
        """Frames of the track that the cameras' times run through, from 0 at the first to 1 at the last."""
        self.played = 0
        """Cameras so far that were taken for the frames of a video."""
        self._background = self._opened()

    @property
    def seconds(self) -> float:
        """Returns the length of what the times run through."""
        return self.length / FPS

    def _heard(self) -> np.ndarray:
        """Returns the features of the config's sound and of silence after it."""
        front_end, dim = self.portrait.front_end, self.portrait.feature_dim
        if self.config.audio is None:
            return hear_silence(SILENT_FRAMES + FPS, front_end, dim)
        from aed_nerfstudio.media.audio_io import read_audio  # PyAV, which a training is without

        samples, file = read_audio(self.config.audio), self.config.audio_features_file
        if file is None:
            samples = np.pad(samples, (0, SILENT_FRAMES * SAMPLE_RATE // FPS))
            return hear(samples, front_end, dim)
        features = hear(samples, front_end, dim, file)
        return np.pad(features, ((0, SILENT_FRAMES * STEPS_PER_FRAME), (0, 0)), mode="edge")

    def _opened(self) -> torch.Tensor | None:
        """Returns the config's background, float [H, W, 3] in 0..1; None: the recording's."""
        background = None if self.config.background is None else open_background(self.config.background)
        if background is None:
            return None
        if background.frames is None:
            raise InputError("transparent: nerfstudio gives this as the output rgba, whatever the background is")
        camera = self.portrait.camera
        picture = next(background.frames((camera.w, camera.h), FPS, 0))  # of a video, its first frame
        return torch.from_numpy(picture) / 255

    def background_for(self, camera: Cameras, device: torch.device) -> Float[torch.Tensor, "h w 3"] | None:
        """Returns what is behind the avatar for a camera, float [H, W, 3] in 0..1; None: the recording's."""
        if self._background is None or not self.drives(camera):
            return None
        self._background = self._background.to(device)
        return self._background

    def drives(self, camera: Cameras) -> bool:
        """Returns whether the config's sound, emotion and background are for this camera, and not a frame's own."""
        return self.config.drive_frames or "frame" not in (camera.metadata or {})

    def condition(self, camera: Cameras) -> FrameCondition:
        """Returns what drives one camera, of shape [] or [1].

        Cameras without times, and with the clock `frames` all but the viewer's, are taken for the frames of a video in
        their order, each `1 / fps` seconds after the one before: after the end of the config's sound the avatar is
        silent and goes on blinking, after the dataset's last frame it begins again.
        """
        metadata, c = camera.metadata or {}, self.config
        if "frame" not in metadata:
            by_time = c.clock == "times" or "cam_idx" in metadata
            pose = camera.camera_to_worlds.reshape(-1, 3, 4)[0].cpu().numpy()
            if camera.times is not None and by_time:
                moment = self._moment(self._at(float(camera.times.flatten()[0])))
            else:
                moment = self._moment(self._next())
            lit = replace(self.assembler.changed(moment, emotion=self.emotion), take=self.take)
            return self.assembler.seen_from(lit, pose)
        if self.dataset_track is None:
            raise ValueError("the camera names a frame of a recording, and there is none")
        frame = self.dataset_track[int(metadata["frame"].flatten()[0])]
        if c.drive_frames and c.audio is not None:
            frame = replace(frame, audio=self._moment(self._next()).audio)
        if c.drive_frames and c.emotion is not None:
            frame = self.assembler.changed(frame, emotion=self.emotion)
        return frame

    def _at(self, time: float) -> int:
        """Returns the frame of a time, 0 to 1 over the track; the viewer's splines overshoot."""
        return round(min(max(time, 0.0), 1.0) * (self.length - 1))

    def _next(self) -> int:
        """Counts a camera of a video, and returns its frame."""
        index = int(self.played * FPS / self.config.fps + 1e-6)
        self.played += 1
        return index

    def _moment(self, index: int) -> FrameCondition:
        """Returns the track's condition number `index`, which may lie beyond its end."""
        if not self._sounds:
            return self.track[index % self.length]
        moment = self.track[min(index, self.length + SILENT_FRAMES // 2)]
        return self.assembler.changed(moment, eye_openness=float(self.blinks[index % len(self.blinks)]))
