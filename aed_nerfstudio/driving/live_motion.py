"""Head, eyes and emotion through a stream without an end: from frame to frame, without a jump, whatever is asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from aed_nerfstudio.driving.blinking import Blinking
from aed_nerfstudio.driving.take_choice import TakeChoice
from aed_nerfstudio.driving.take_player import TakePlayer

CHANGE = 8
"""Frames that a change of emotion lasts: 0.3 s."""
SMOOTHERS, KEPT = 3, 0.86
"""The takes' shares go through so many running means, each of which keeps this much from frame to frame: the head goes
over within a second, and neither its place nor its velocity jumps, however often another take is chosen."""
WHOLE = 1e-3
"""A take's share below which it is none."""


@dataclass(frozen=True)
class Moment:
    """How a face is at one frame of a stream, beside its lips."""

    frame: int
    emotion: Float[np.ndarray, " dim"]
    """float32 [dim], from `EmotionVocabulary.encode` or between two such."""
    pose: Float[np.ndarray, "3 4"]
    """Camera-to-world in the head's frame."""
    eyes: float
    """Openness, 0..1."""
    torso: Float[np.ndarray, " m"] | None
    """Motion of the shoulders, where it was measured."""
    before: Float[np.ndarray, " dim"]
    """The emotion that the change began with."""
    target: Float[np.ndarray, " dim"]
    """The emotion that it ends with."""
    left: int
    """Frames until then."""
    means: Float[np.ndarray, "3 k"]
    """The running means of the K takes' shares."""
    take: int
    """Number of the take that goes with the emotion."""


class LiveMotion:
    """Makes each moment from the one before it; a moment may be gone on from any number of times."""

    def __init__(self, player: TakePlayer, choice: TakeChoice) -> None:
        """Takes what plays an avatar's takes, and what chooses them."""
        self._player, self._choice = player, choice
        self._takes = player.motion.longest_first
        self._blinking = Blinking(player.motion)

    def first(self, emotion: Float[np.ndarray, " dim"], frame: int = 0) -> Moment:
        """Returns the moment that a stream begins with; emotion: [dim]."""
        take = self._choice(emotion)
        means = np.tile(self._shown(take), (SMOOTHERS, 1))
        return self._moment(frame, emotion, emotion, emotion, 0, means, take)

    def after(self, moment: Moment, target: Float[np.ndarray, " dim"]) -> Moment:
        """Returns the moment of the next frame; target: the emotion to be shown, [dim], which takes `CHANGE` frames."""
        before, left = moment.before, moment.left
        if not np.array_equal(target, moment.target):
            before, left = moment.emotion, CHANGE
        left = max(left - 1, 0)
        share = 1 - left / CHANGE
        emotion = target if left == 0 else (before + (target - before) * share).astype(np.float32)
        take = self._choice(target, moment.take)
        means, value = moment.means.copy(), self._shown(take)
        for number in range(SMOOTHERS):
            value = means[number] = KEPT * means[number] + (1 - KEPT) * value
        return self._moment(moment.frame + 1, emotion, before, target, left, means, take)

    def _shown(self, take: int) -> np.ndarray:
        return (np.array(self._takes) == take).astype(np.float64)

    def _moment(
        self,
        frame: int,
        emotion: np.ndarray,
        before: np.ndarray,
        target: np.ndarray,
        left: int,
        means: np.ndarray,
        take: int,
    ) -> Moment:
        shares = np.where(means[-1] < WHOLE, 0, means[-1])
        pose, eyes, torso = self._player.at(frame, shares / shares.sum())
        eyes = float(np.clip(eyes * self._blinking(frame), 0, 1))
        return Moment(frame, emotion, pose, eyes, torso, before, target, left, means, take)
