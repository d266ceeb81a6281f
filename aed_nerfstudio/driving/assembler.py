"""The one place where what drives a frame is put together: sound, emotion, head motion and blinks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from aed_nerfstudio.audio.features import FRAME_RATE, STEPS_PER_FRAME
from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.driving.head_motion import HeadMotion
from aed_nerfstudio.driving.head_pose import ping_pong, smooth
from aed_nerfstudio.driving.live_motion import LiveMotion, Moment
from aed_nerfstudio.driving.take_choice import TakeChoice
from aed_nerfstudio.driving.take_player import TakePlayer
from aed_nerfstudio.driving.track import DrivingTrack, FrameCondition

Emotion = Float[np.ndarray, " emotion_dim"] | Callable[[float], Float[np.ndarray, " emotion_dim"]]
"""A vector from `EmotionVocabulary.encode` for a whole track, or a function from the time in seconds to one."""
Poses = Literal["dataset", "still"] | Float[np.ndarray, "n 3 4"]


class Assembler:
    """Makes the conditions of frames from sound features, an emotion and the head motion of a recording.

    Args:
        motion: of the avatar's recording.
        vocabulary: of its emotions.
    """

    def __init__(self, motion: HeadMotion, vocabulary: EmotionVocabulary) -> None:
        self.motion = motion
        self._choice = TakeChoice(motion, vocabulary)
        self._player = TakePlayer(motion)

    def speech(
        self,
        features: Float[np.ndarray, "steps feature_dim"],
        emotion: Emotion,
        poses: Poses = "dataset",
        fps: float = FRAME_RATE,
        take: int | None = None,
        lip_gain: float = 1.0,
    ) -> DrivingTrack:
        """Returns the track of a stretch of sound, one condition a frame.

        Args:
            features: float32 [2 F, dim], two 50-Hz steps a frame of 25 a second.
            emotion: of the whole track, or over time; a function is asked for all times here, and again for each frame.
            poses: `dataset` plays the take that was recorded with the emotion, forth and back (`TakeChoice`), and goes
                over to another where the emotion changes (`TakePlayer`); `still` holds the typical pose;
                camera-to-world [N, 3, 4] of 25 a second are smoothed and played forth and back. The take's blinks are
                played in all three. The shoulders move as they were recorded with the head, and as its pose tells
                (`TorsoRegression`) where poses are given.
            fps: frames a second.
            take: see `FrameCondition.take`.
            lip_gain: see `FrameCondition.lip_gain`.
        """
        length = len(features) // STEPS_PER_FRAME
        played, eyes, torso = self._player(self._chosen(emotion, length))
        if isinstance(poses, np.ndarray):
            played = smooth(poses)[ping_pong(len(poses), length)]
            torso = self._told_by(played)
        elif poses == "still":
            played = np.repeat(self.motion.typical_pose[None], length, axis=0)
            still = self.motion.typical_torso
            torso = None if still is None else np.repeat(still[None], length, axis=0)
        return DrivingTrack(features, emotion, played, eyes, fps, take, torso, lip_gain)

    def _told_by(self, poses: np.ndarray) -> np.ndarray | None:
        """Returns the motion of the shoulders that goes with head poses [F, 3, 4], [F, M]; None where none was
        measured."""
        tells = self.motion.regression
        return None if tells is None else np.stack([tells(pose) for pose in poses])

    def _chosen(self, emotion: Emotion, length: int) -> np.ndarray:
        """Returns the number of the take that goes with each frame of 25 a second, int64 [length]."""
        if callable(emotion):
            return self._choice.over_time(np.stack([emotion(frame / FRAME_RATE) for frame in range(length)]))
        return np.full(length, self._choice(emotion))

    def recorded(
        self,
        features: Float[np.ndarray, "steps feature_dim"],
        emotion: Emotion,
        poses: Float[np.ndarray, "f 3 4"],
        eye_openness: Float[np.ndarray, " f"],
    ) -> DrivingTrack:
        """Returns the track of a clip as it was recorded, at 25 frames a second; poses [F, 3, 4], eye_openness [F]."""
        poses = smooth(poses)
        return DrivingTrack(features, emotion, poses, eye_openness, FRAME_RATE, torso=self._told_by(poses))

    def live(self) -> LiveMotion:
        """Returns what moves the head through a stream without an end; `moment` makes its conditions."""
        return LiveMotion(self._player, self._choice)

    def moment(
        self,
        features: Float[np.ndarray, "steps feature_dim"],
        index: int,
        moment: Moment,
        lip_gain: float = 1.0,
    ) -> FrameCondition:
        """Returns the condition of one frame of a stream.

        Args:
            features: float32 [2 F, dim] of the sound around it.
            index: number of the frame in these.
            moment: how head, eyes and emotion are, from `live`.
            lip_gain: see `FrameCondition.lip_gain`.
        """
        torso = None if moment.torso is None else np.repeat(moment.torso[None], index + 1, axis=0)
        poses = np.repeat(moment.pose[None], index + 1, axis=0)
        eyes = np.full(index + 1, moment.eyes, np.float32)
        return DrivingTrack(features, moment.emotion, poses, eyes, torso=torso, lip_gain=lip_gain)[index]

    def blinks(self, emotion: Float[np.ndarray, " dim"]) -> Float[np.ndarray, " n"]:
        """Returns eye openness of the take of an emotion [dim], forth and back, so that it can be repeated; [N], 25 a
        second."""
        eyes = self.motion.take(self._choice(emotion)).eye_openness
        return eyes[ping_pong(len(eyes), max(1, 2 * len(eyes) - 2))]

    def seen_from(self, condition: FrameCondition, camera_to_world: Float[np.ndarray, "3 4"]) -> FrameCondition:
        """Returns the condition for a camera that stands elsewhere, [3, 4]: the torso, which is a picture, follows it
        as far as the head was recorded."""
        pose = self.motion.range.nearest(camera_to_world)
        return replace(condition, head_pose=pose, torso=self.motion.torso_with(pose))

    def changed(
        self,
        condition: FrameCondition,
        emotion: Float[np.ndarray, " emotion_dim"] | None = None,
        still: bool = False,
        eye_openness: float | None = None,
    ) -> FrameCondition:
        """Returns the condition with another emotion, the typical pose or other eyes; what is None stays."""
        return replace(
            condition,
            emotion=condition.emotion if emotion is None else emotion,
            head_pose=self.motion.typical_pose if still else condition.head_pose,
            torso=self.motion.typical_torso if still else condition.torso,
            eye_openness=condition.eye_openness if eye_openness is None else eye_openness,
        )
