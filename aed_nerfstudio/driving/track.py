"""The driving track: everything that drives one frame, assembled in one place for all who need it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from aed_nerfstudio.audio.features import FRAME_RATE, STEPS_PER_FRAME, windows_at
from aed_nerfstudio.dataset.schema import Dataset
from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.driving.head_pose import pose_at, value_at


@dataclass
class FrameCondition:
    """What drives one frame."""

    audio: Float[np.ndarray, "8 16 feature_dim"]
    """[8, 16, feature_dim]: the windows of frames f-4..f+3."""
    emotion: Float[np.ndarray, " emotion_dim"]
    """[categories + intensities]."""
    head_pose: Float[np.ndarray, "3 4"]
    """[3, 4] camera-to-world in the head's frame."""
    eye_openness: float = 1.0
    appearance: int = 0
    """Index of a training frame's code; inference takes the mean of all."""
    take: int | None = None
    """Number of the take in whose light the avatar is shown; None: in that of the portrait's `reference_take`."""
    torso: Float[np.ndarray, " motion_dim"] | None = None
    """Motion of the shoulders, see `aed_nerfstudio.dataset.torso_motion.MOTION_DIM`; None: what the head's pose tells
    of it."""
    lip_gain: float = 1.0
    """How far the lips move over how far they would."""


class DrivingTrack(Sequence[FrameCondition]):
    """A finite track over one stretch of audio, at any frame rate; its windows are cut when asked for.

    Args:
        features: 50 Hz audio features, float32 [2*F, dim].
        emotion: [dim] for the whole track, or a function of the time in seconds.
        poses: camera-to-world, [P, 3, 4], 25 a second; the last one is held.
        eye_openness: [P], 25 a second; open eyes where None.
        fps: frames a second of the track; what lies between two of 25 is interpolated.
        take: see `FrameCondition.take`.
        torso: motion of the shoulders [P, M], 25 a second; see `FrameCondition.torso`.
        lip_gain: see `FrameCondition.lip_gain`.
    """

    def __init__(
        self,
        features: Float[np.ndarray, "steps feature_dim"],
        emotion: Float[np.ndarray, " emotion_dim"] | Callable[[float], Float[np.ndarray, " emotion_dim"]],
        poses: Float[np.ndarray, "p 3 4"],
        eye_openness: Float[np.ndarray, " p"] | None = None,
        fps: float = FRAME_RATE,
        take: int | None = None,
        torso: Float[np.ndarray, "p motion_dim"] | None = None,
        lip_gain: float = 1.0,
    ) -> None:
        if len(features) % STEPS_PER_FRAME:
            raise ValueError(f"features must be [2 F, dim], not {list(features.shape)}")
        self.features = features
        self.emotion = emotion
        self.poses = poses
        self.eye_openness = eye_openness
        self.fps = fps
        self.take = take
        self.torso = torso
        self.lip_gain = lip_gain

    def __len__(self) -> int:
        count = len(self.features) // STEPS_PER_FRAME
        return max(round(count * self.fps / FRAME_RATE), min(count, 1))

    def __getitem__(self, index: int) -> FrameCondition:
        if not 0 <= index < len(self):
            raise IndexError(index)
        moment = index * FRAME_RATE / self.fps
        eyes = self.eye_openness
        return FrameCondition(
            audio=windows_at(self.features, moment),
            emotion=self.emotion(index / self.fps) if callable(self.emotion) else self.emotion,
            head_pose=pose_at(self.poses, moment),
            eye_openness=1.0 if eyes is None else float(np.interp(moment, np.arange(len(eyes)), eyes)),
            take=self.take,
            torso=None if self.torso is None else value_at(self.torso, moment),
            lip_gain=self.lip_gain,
        )


class DatasetTrack(Sequence[FrameCondition]):
    """The conditions of a dataset's own frames, indexed as its frames are.

    Args:
        features: per clip, in the dataset's order, 50 Hz features float32 [2*count, dim].
        clips: per frame, the clip's name.
        indices: [F], the frame's number within its clip.
        emotions: [F, dim].
        poses: [F, 3, 4].
        eye_openness: [F].
    """

    def __init__(
        self,
        features: dict[str, Float[np.ndarray, "_ feature_dim"]],
        clips: list[str],
        indices: list[int],
        emotions: Float[np.ndarray, "f emotion_dim"],
        poses: Float[np.ndarray, "f 3 4"],
        eye_openness: Float[np.ndarray, " f"],
    ) -> None:
        self.features = features
        self.clips = clips
        self._takes = {name: number for number, name in enumerate(features)}
        self.indices = indices
        self.emotions = emotions
        self.poses = poses
        self.eye_openness = eye_openness
        self.torso: dict[int, Float[np.ndarray, " motion_dim"]] = {}
        """Motion of the shoulders, where it is known."""

    @classmethod
    def of(cls, dataset: Dataset, vocabulary: EmotionVocabulary) -> DatasetTrack:
        """Returns the conditions of all frames of a dataset, with the emotions as a vocabulary encodes them.

        Raises:
            InputError: its audio features are missing or damaged.
        """
        labels = {clip.name: (clip.emotion, clip.intensity) for clip in dataset.clips}
        return cls(
            {clip.name: dataset.features(clip.name) for clip in dataset.clips},
            clips=[frame.clip for frame in dataset.frames],
            indices=[frame.index for frame in dataset.frames],
            emotions=np.stack([vocabulary.encode(*labels[frame.clip]) for frame in dataset.frames]),
            poses=np.array([frame.camera_to_world for frame in dataset.frames], np.float32)[:, :3],
            eye_openness=np.array([frame.eye_openness for frame in dataset.frames], np.float32),
        )

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> FrameCondition:
        return FrameCondition(
            audio=windows_at(self.features[self.clips[index]], self.indices[index]),
            emotion=self.emotions[index],
            head_pose=self.poses[index],
            eye_openness=float(self.eye_openness[index]),
            appearance=index,
            take=self._takes[self.clips[index]],
            torso=self.torso.get(index),
        )
