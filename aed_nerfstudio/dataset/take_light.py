"""The light of every take: how bright the person's skin is in it, and in which colour, over one take's."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from aed_nerfstudio.dataset.schema import Dataset
from aed_nerfstudio.face.face_mesh import UPPER_FACE

SIDES = ((108, 118, 50, 205), (337, 347, 280, 425))
"""Forehead and cheek on the picture's left and right."""
SKIN = (*UPPER_FACE, *SIDES[0], *SIDES[1])
"""Landmarks on skin that neither hair nor beard covers."""
LOOKED_AT = 8
"""Pictures of a take, evenly spread over its usable frames."""
SAME = 0.02
"""Share by which two takes' light may differ and is taken for the same: a fortieth of a stop, which nobody sees."""
MOST = 4.0
"""Two stops: beyond it, a picture is no longer a matter of light."""


def skin_colours(
    image: UInt8[np.ndarray, "h w 3"], marks: Float[np.ndarray, "n _"], *groups: tuple[int, ...]
) -> list[Float32[np.ndarray, " 3"]]:
    """Returns the median colour at each group of landmarks, 0..1, float32 [3]; marks: of the picture, pixels."""
    calm = np.asarray(cv2.GaussianBlur(image, (0, 0), max(0.5, 0.02 * float(np.ptp(marks[:, 1])))), np.uint8)
    found = []
    for points in groups:
        x, y = np.clip(np.round(marks[list(points), :2]).astype(int), 0, np.array(image.shape[1::-1]) - 1).T
        found.append(np.median(calm[y, x], axis=0).astype(np.float32) / 255)
    return found


def take_light(dataset: Dataset, reference: int) -> Float32[np.ndarray, "takes 3"]:
    """Returns what red, green and blue of the person in take `reference` are to be multiplied by in each take, [T, 3].

    The ratios are of the pictures' own values, whose gamma makes of a gain in light another gain. A head that is held
    otherwise is lit otherwise, too, and that is part of it. Takes that differ from the reference by no more than SAME,
    or by no more than the spread of their frames can explain, are in its light, and have ones; so have takes without a
    usable training frame.

    Raises:
        InputError: a picture is missing or damaged.
    """
    usable = dataset.split("train")
    skins: list[np.ndarray] = []
    for clip in dataset.clips:
        own = [i for i in usable if dataset.frames[i].clip == clip.name]
        picks = [own[k] for k in np.unique(np.linspace(0, len(own) - 1, LOOKED_AT).astype(int))] if own else []
        marks = dataset.landmarks(clip.name) if own else np.zeros(0)
        found = [
            skin_colours(dataset.image(f), marks[f.index], SKIN)[0] for f in map(dataset.frames.__getitem__, picks)
        ]
        skins.append(np.log(np.maximum(np.array(found, np.float32).reshape(-1, 3), 1 / 255)))
    light = np.ones((len(skins), 3), np.float32)
    middle = np.median(skins[reference], axis=0)
    spread = float(np.sqrt(np.mean([skin.var(axis=0).sum() for skin in skins if len(skin)])))
    noise = 4 * spread / np.sqrt(LOOKED_AT)  # of a difference of medians, whose own is 1.8 times the mean's
    for number, skin in enumerate(skins):
        if number != reference and len(skin):
            away = np.median(skin, axis=0) - middle
            if np.linalg.norm(away) > max(np.log1p(SAME), noise):
                light[number] = np.exp(np.clip(away, -np.log(MOST), np.log(MOST)))
    return light
