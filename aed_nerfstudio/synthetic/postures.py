"""Postures of takes: how the head is held while one emotion is acted, as people hold it otherwise in every take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aed_nerfstudio.synthetic.scene import HeadPose

PITCHES = (-14.0, -9.0, -6.0, -3.0, -2.0, -1.0, 7.0, 19.0)
"""Degrees, upwards positive: measured of eight takes of a real actor, one an emotion."""
YAW, ROLL = 3.0, 2.0
"""Degrees to either side that takes differ by."""


def postures(emotions: Sequence[str], seed: int = 0) -> list[HeadPose]:
    """Returns a posture for every take, in their order: each its own, and the same for the same seed.

    The pitches are spread over `PITCHES`, whole where there are eight takes. Takes of neutral have those in the middle,
    by number; the seed deals out the others, and yaw and roll within 3 and 2 degrees.

    emotions: the takes' categories.
    """
    count = len(emotions)
    rng = np.random.default_rng([seed, 3])
    middle = (len(PITCHES) - 1) / 2
    places = np.linspace(0, len(PITCHES) - 1, count) if count > 1 else np.array([middle])
    pitches = np.interp(places, np.arange(len(PITCHES)), PITCHES)
    outwards = np.argsort(np.abs(places - middle), kind="stable")
    neutral = [k for k, emotion in enumerate(emotions) if emotion == "neutral"]
    others = rng.permutation([k for k, emotion in enumerate(emotions) if emotion != "neutral"]).tolist()
    own = dict(zip([*neutral, *others], pitches[outwards].tolist(), strict=True))
    sides = rng.uniform(-1, 1, (count, 2)) * (YAW, ROLL)
    return [HeadPose(yaw=float(yaw), pitch=own[k], roll=float(roll)) for k, (yaw, roll) in enumerate(sides)]
