"""Light, distance and camera of every label: what differs between takes and has nothing to do with the expression."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from aed_nerfstudio.dataset.schema import BACKGROUND, Dataset
from aed_nerfstudio.dataset.take_light import SIDES, SKIN, skin_colours

LOOKED_AT = 8
"""Pictures of a label, evenly spread over its usable frames."""
LUMINANCE = (0.2126, 0.7152, 0.0722)
MEASURED = ("light", "shading", "green-red", "blue-yellow", "background", "distance", "across", "down")
"""The columns of `LabelLooks`: luminance of the face's skin over the usual label's; the logarithm (base 2) of the
picture's left half over the right; the skin's colour, units of CIELAB; grey levels between the background in the
pictures and `background.png`; the head's distance over the usual label's; the head's place, shares of the picture."""


@dataclass(frozen=True)
class LabelLooks:
    """Medians over the frames of L labels: names, and median and spread within labels [L, 8], see `MEASURED`."""

    names: list[str]
    median: np.ndarray
    spread: np.ndarray

    def odd(self, columns: tuple[str, ...], limit: float) -> list[tuple[str, np.ndarray]]:
        """Returns the labels that differ from the median of the others by more than a limit and by more than twice the
        spread within labels, with their difference in these columns."""
        at = [MEASURED.index(column) for column in columns]
        within = 2 * float(np.linalg.norm(np.sqrt((self.spread[:, at] ** 2).mean(axis=0)))) if self.names else 0.0
        found = []
        for i, name in enumerate(self.names if len(self.names) > 1 else []):
            away = self.median[i, at] - np.median(np.delete(self.median[:, at], i, axis=0), axis=0)
            found += [(name, away)] if np.linalg.norm(away) > max(limit, within) else []
        return found


def label_looks(dataset: Dataset, distance: np.ndarray, usable: np.ndarray) -> LabelLooks:
    """Measures light, distance and place of every label that has usable frames.

    distance: [N] of the head from the camera. usable: bool [N].

    Raises:
        InputError: a picture is missing or damaged.
    """
    labels = np.array(dataset.labels)
    names = list(dict.fromkeys(labels[usable].tolist()))
    still = dataset.static_background().astype(np.float32) if names else np.zeros(0)
    marks = {clip.name: dataset.landmarks(clip.name) for clip in dataset.clips}
    rows = []
    for name in names:
        own = np.flatnonzero(usable & (labels == name))
        own = own[np.unique(np.linspace(0, len(own) - 1, LOOKED_AT).astype(int))]
        frames = [dataset.frames[i] for i in own]
        looks = [_light(dataset.image(f), marks[f.clip][f.index], dataset.parsing(f), still) for f in frames]
        places = [_place(dataset, np.array(f.camera_to_world)) for f in frames]
        rows.append(np.column_stack([np.array(looks), distance[own], np.array(places)]))
    median = np.array([np.median(row, axis=0) for row in rows]).reshape(-1, len(MEASURED))
    spread = np.array([row.std(axis=0) for row in rows]).reshape(-1, len(MEASURED))
    for ratio in (MEASURED.index("light"), MEASURED.index("distance")) if names else ():
        usual = max(float(np.median(median[:, ratio])), 1e-6)
        median[:, ratio], spread[:, ratio] = median[:, ratio] / usual, spread[:, ratio] / usual
    return LabelLooks(names, median, spread)


def _light(image: np.ndarray, marks: np.ndarray, parsing: np.ndarray, still: np.ndarray) -> list[float]:
    """Returns the first five columns of `MEASURED` of a frame; its luminance is not over another's yet."""
    left, right, skin = skin_colours(image, marks, *SIDES, SKIN)
    light = [float(colour**2.2 @ np.array(LUMINANCE)) + 1e-4 for colour in (left, right, skin)]
    colour = cv2.cvtColor(skin[None, None], cv2.COLOR_RGB2LAB)[0, 0]
    behind = parsing == BACKGROUND
    moved: np.ndarray = np.abs(image[behind].astype(np.float32) - still[behind]).mean(axis=1)
    away = float(np.median(moved)) if moved.size else 0.0
    return [light[2], float(np.log2(light[0] / light[1])), float(colour[1]), float(colour[2]), away]


def _place(dataset: Dataset, camera_to_world: np.ndarray) -> tuple[float, float]:
    """Returns where the head's origin is seen, as shares of the picture's sides."""
    camera = dataset.camera
    x, y, z = -camera_to_world[:3, :3].T @ camera_to_world[:3, 3]
    depth = max(-z, 1e-6)
    return (camera.cx + camera.fl_x * x / depth) / camera.w, (camera.cy - camera.fl_y * y / depth) / camera.h
