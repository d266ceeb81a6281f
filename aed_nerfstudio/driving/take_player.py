"""Recorded takes that are played one after the other: how the head goes over from one to the next."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import convolve1d, gaussian_filter1d

from aed_nerfstudio.audio.features import FRAME_RATE
from aed_nerfstudio.driving.head_motion import HeadMotion
from aed_nerfstudio.driving.head_pose import SMOOTHING, between, ping_pong, smooth, steps

SHORTEST, LONGEST = 0.6, 4.0
"""Seconds that a change from take to take lasts: the former, unless the head would move faster than it may."""
SPEED = np.array([math.radians(45), 1.0])
"""Radians and units a second that the head may always turn and move, however still its person sat: unhurried."""


class TakePlayer:
    """Plays takes forth and back, each by the same clock whether it is shown or not, with the head's motion smoothed.

    Where the take changes, the head goes over with minimum jerk (Flash and Hogan 1985): at rest before and after, half
    way at the change. Changes that follow each other faster than they last add up, so that a head which is called from
    side to side stays between. No step from frame to frame is larger than the largest within the takes, or `SPEED`,
    where a change of `LONGEST` keeps it so.
    """

    def __init__(self, motion: HeadMotion) -> None:
        """Takes the motion of a recording."""
        self.motion = motion
        self._smoothed: dict[int, np.ndarray] = {}
        self._smoothed_torso: dict[int, np.ndarray] = {}

    def __call__(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Plays the takes that were chosen for each of F frames, 25 a second.

        Args:
            chosen: numbers of takes, int [F].

        Returns:
            Camera-to-world [F, 3, 4]; eye openness [F] and, where it was measured, motion of the shoulders [F, M], both
            of which are mixed while a take changes.
        """
        numbers = list(dict.fromkeys(chosen.tolist()))
        poses, eyes = zip(*(self._played(number, len(chosen)) for number in numbers), strict=True)
        torso = self._shoulders(numbers, len(chosen))
        if len(numbers) == 1:
            return poses[0], eyes[0], None if torso is None else torso[0]
        shown, poses = chosen[:, None] == numbers, np.stack(poses)
        fastest = np.max([steps(self._smooth(number)).max(axis=0, initial=0) for number in numbers], axis=0)
        allowed = np.maximum(fastest, SPEED / FRAME_RATE)
        span = SHORTEST
        while True:
            shares = went_over(shown, span * FRAME_RATE)
            mixed = mixture(poses, shares)
            excess = (steps(mixed) / allowed).max()
            if excess <= 1.001 or span >= LONGEST:
                mixed_eyes = np.einsum("fk,kf->f", shares, np.stack(eyes)).astype(eyes[0].dtype)
                if torso is not None:
                    torso = np.einsum("fk,kfm->fm", shares, torso).astype(np.float32)
                return mixed, mixed_eyes, torso
            span = min(span * max(excess, 1.05), LONGEST)

    def at(self, frame: int, shares: np.ndarray) -> tuple[np.ndarray, float, np.ndarray | None]:
        """Returns what a mixture of takes shows at one frame of a stream.

        Args:
            frame: its number, 25 a second.
            shares: of the takes, in the order of `motion.longest_first`, [K]; they sum to 1.

        Returns:
            Camera-to-world [3, 4]; the usual openness of the eyes between blinks; motion of the shoulders [M], or None
            where it was not measured.
        """
        played = np.flatnonzero(shares > 0)
        numbers, shares = [self.motion.longest_first[k] for k in played], shares[played]
        poses = np.stack([self._smooth(n)[ping_pong(len(self._smooth(n)), 1, frame)] for n in numbers])
        pose = mixture(poses, shares[None])[0]
        eyes = float(shares @ [np.median(self.motion.take(n).eye_openness) for n in numbers])
        if self.motion.torso is None:
            return pose, eyes, None
        takes = [self._smooth_torso(n) for n in numbers]
        torso = np.stack([take[ping_pong(len(take), 1, frame)[0]] for take in takes])
        return pose, eyes, (shares @ torso).astype(np.float32)

    def _played(self, number: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the poses and eyes of one take for a number of frames."""
        poses = self._smooth(number)
        order = ping_pong(len(poses), frames)
        return poses[order], self.motion.take(number).eye_openness[order]

    def _shoulders(self, numbers: list[int], frames: int) -> np.ndarray | None:
        """Returns the motion of the shoulders in K takes for a number of frames, [K, F, M], as smooth as the
        heads' that it goes with; None where it was not measured."""
        if self.motion.torso is None:
            return None
        smoothed = [self._smooth_torso(number) for number in numbers]
        return np.stack([take[ping_pong(len(take), frames)] for take in smoothed])

    def _smooth_torso(self, number: int) -> np.ndarray:
        if number not in self._smoothed_torso:
            assert self.motion.torso is not None  # see those who call
            take = self.motion.torso[self.motion.takes == number]
            self._smoothed_torso[number] = gaussian_filter1d(take, SMOOTHING, axis=0, mode="nearest")
        return self._smoothed_torso[number]

    def _smooth(self, number: int) -> np.ndarray:
        if number not in self._smoothed:
            self._smoothed[number] = smooth(self.motion.take(number).poses)
        return self._smoothed[number]


def went_over(shown: np.ndarray, span: float) -> np.ndarray:
    """Returns how much of each of K takes is in each of F frames, where a change lasts for `span` frames; before the
    first frame and after the last one nothing changes.

    Args:
        shown: bool [F, K], which one is chosen; one a frame.
        span: frames.

    Returns:
        float64 [F, K], shares that sum to 1 and have no velocity where a change begins and ends.
    """
    reach = math.ceil(span / 2)
    time = np.clip((np.arange(-reach, reach + 2) - 0.5) / span + 0.5, 0, 1)
    kernel = np.diff(time**3 * (10 - 15 * time + 6 * time**2))
    return np.round(convolve1d(shown.astype(np.float64), kernel, axis=0, mode="nearest"), 9)


def mixture(poses: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Returns poses [F, 3, 4] that lie between those of K takes [K, F, 3, 4], by their shares [F, K]; a take that has
    the whole share gives its own poses, to the last bit."""
    result = poses[shares.argmax(axis=1), np.arange(len(shares))]
    moving = shares.max(axis=1) < 1
    among, shares = poses[:, moving], shares[moving]
    mean, total = among[0], shares[:, 0]
    for others, share in zip(among[1:], shares.T[1:], strict=True):
        total = total + share
        mean = between(mean, others, np.divide(share, total, out=np.zeros_like(share), where=total > 0))
    result[moving] = mean
    return result
