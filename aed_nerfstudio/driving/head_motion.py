"""The head motion of a recording: what an avatar's head, blinks and torso are moved by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int32

from aed_nerfstudio.driving.head_pose import pose_vector
from aed_nerfstudio.driving.pose_range import PoseRange
from aed_nerfstudio.driving.torso_regression import TorsoRegression


@dataclass(frozen=True)
class HeadMotion:
    """Head poses and eye openness of F recorded frames, at 25 a second within a take."""

    poses: Float[np.ndarray, "f 3 4"]
    """float32 [F, 3, 4], camera-to-world in the head's frame."""
    eye_openness: Float[np.ndarray, " f"]
    """float32 [F], 0 closed to 1 open."""
    takes: Int32[np.ndarray, " f"]
    """int32 [F]: the number of the take that a frame belongs to; the frames of one take follow each other."""
    labels: tuple[str, ...]
    """Emotion and intensity of every take in one word, such as `happy strong`."""
    torso: Float[np.ndarray, "f m"] | None = None
    """float32 [F, M], motion of the shoulders (`aed_nerfstudio.dataset.torso_motion`); None: not measured."""

    @cached_property
    def range(self) -> PoseRange:
        """Returns the range of the head's poses, as far as the torso can follow."""
        return PoseRange(self.poses, self.typical_pose)

    @cached_property
    def typical_pose(self) -> Float[np.ndarray, "3 4"]:
        """Returns the pose [3, 4] of the most ordinary frame."""
        return self.poses[self.typical_frame]

    @property
    def typical_torso(self) -> Float[np.ndarray, " m"] | None:
        """Returns the motion of the shoulders [M] of the most ordinary frame; None where it was not measured."""
        return None if self.torso is None else self.torso[self.typical_frame]

    @cached_property
    def regression(self) -> TorsoRegression | None:
        """Returns what tells the motion of the shoulders from the head's pose; None where it was not measured."""
        return None if self.torso is None else TorsoRegression(self.poses, self.torso)

    def torso_with(self, pose: Float[np.ndarray, "3 4"]) -> Float[np.ndarray, " m"] | None:
        """Returns the motion of the shoulders [M] that most likely goes with a head pose [3, 4]; None where it was not
        measured."""
        return None if self.regression is None else self.regression(pose)

    @cached_property
    def typical_frame(self) -> int:
        """Returns the number of the most ordinary frame: the nearest to the median of all poses, where every label
        counts alike.

        A median, because a take that was held apart from all others draws a mean to where the head never was.
        """
        vectors = pose_vector(self.poses)
        words = np.array(self.labels)[self.takes]
        weights = np.zeros(len(words))
        for word in np.unique(words):
            weights[words == word] = 1 / (words == word).sum()
        middle = np.array([weighted_median(column, weights) for column in vectors.T])
        spread = vectors.std(axis=0) + 1e-6
        return int(np.square((vectors - middle) / spread).sum(axis=1).argmin())

    @cached_property
    def longest_first(self) -> list[int]:
        """Returns the numbers of the takes that have frames, those with most of them first; of equals, the first."""
        counts = np.bincount(self.takes)
        return sorted(dict.fromkeys(self.takes.tolist()), key=lambda take: -counts[take])

    def take(self, number: int) -> HeadMotion:
        """Returns the motion of one take."""
        kept = self.takes == number
        torso = None if self.torso is None else self.torso[kept]
        return HeadMotion(self.poses[kept], self.eye_openness[kept], self.takes[kept], self.labels, torso)

    def __len__(self) -> int:
        return len(self.poses)


def weighted_median(values: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"]) -> float:
    """Returns the value at which half of the weight lies on each side; values and weights: [N]."""
    order = np.argsort(values, kind="stable")
    share = weights[order].cumsum()
    return float(values[order][np.searchsorted(share, share[-1] / 2)])
