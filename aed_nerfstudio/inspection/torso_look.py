"""How the shoulders move in a recording, and how the neck goes on under the chin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aed_nerfstudio.dataset.chin_line import Places, colour_step, seam_places
from aed_nerfstudio.dataset.schema import Dataset
from aed_nerfstudio.dataset.torso_motion import torso_motion

LOOKED_AT = 48
"""Frames, evenly spread over the usable ones."""


@dataclass(frozen=True)
class TorsoLook:
    """Shoulders and neck of a recording.

    shift: pixels, how far the shoulders lie from their mean place, root mean square over frames; None where too little
    of the torso is seen. turn: degrees, the same of their tilt. chin: mean step in colour from the chin to the neck
    (Delta E 1976); made_up: from the neck that is made up under the chin to the same neck; NaN where no neck is seen.
    """

    shift: float | None
    turn: float
    chin: float
    made_up: float


def torso_look(dataset: Dataset, usable: np.ndarray) -> TorsoLook:
    """Measures shoulders and neck of a dataset's frames that are usable, bool [N].

    Raises:
        InputError: a picture is missing or damaged.
    """
    known = np.flatnonzero(usable)
    picks = known[np.unique(np.linspace(0, len(known) - 1, min(LOOKED_AT, len(known))).round().astype(int))].tolist()
    chin, made_up = _neck(dataset, picks)
    motion = torso_motion(dataset, picks, picks[len(picks) // 2]) if picks else np.zeros((0, 6))
    if not motion.any():
        return TorsoLook(None, 0.0, chin, made_up)
    moved = motion - motion.mean(axis=0)
    shift = dataset.camera.w / 2 * np.linalg.norm(moved[:, :2], axis=1)
    return TorsoLook(_size(shift), float(np.degrees(_size((moved[:, 4] - moved[:, 3]) / 2))), chin, made_up)


def _size(values: np.ndarray) -> float:
    """Returns the root mean square."""
    return float(np.sqrt(np.square(values).mean()))


def _neck(dataset: Dataset, picks: list[int]) -> tuple[float, float]:
    """Returns `chin` and `made_up` of frames."""
    marks = {clip.name: dataset.landmarks(clip.name) for clip in dataset.clips}
    steps = [(float("nan"), float("nan"))]
    for i in picks:
        frame = dataset.frames[i]
        places = seam_places(marks[frame.clip][frame.index], dataset.parsing(frame))
        layer = dataset.torso(frame)
        steps.append((colour_step(dataset.image(frame), places), colour_step(layer[..., :3], _opaque(layer, places))))
    chin, made_up = (_mean(part) for part in np.array(steps).T)
    return chin, made_up


def _mean(values: np.ndarray) -> float:
    """Returns the mean of the finite ones; NaN where there are none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _opaque(layer: np.ndarray, places: Places) -> Places:
    """Returns the pairs of places at both of which a torso's layer [H, W, 4] shows something."""
    alphas = [layer[np.floor(side[:, 1]).astype(int), np.floor(side[:, 0]).astype(int), 3] for side in places]
    kept = (alphas[0] == 255) & (alphas[1] == 255)
    return places[0][kept], places[1][kept]
