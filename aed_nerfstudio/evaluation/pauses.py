"""Whether the mouth is at rest where nothing is said."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from aed_nerfstudio.dataset.schema import FPS
from aed_nerfstudio.face.face_mesh import face_width, mouth_opening

PAUSE_SECONDS = 0.3
"""Silence is a pause where it lasts longer than that: the closures within words are shorter."""
PAUSE_DB = 25
"""How far below its take's loudest frame the sound of a pause lies: rooms are heard 32 to 36 dB below speech."""
AT_REST = 0.9
"""The share of the person's pausing frames whose mouth counts as closed."""


def pauses(level: Float[np.ndarray, " f"]) -> Bool[np.ndarray, " f"]:
    """Returns which frames of a take lie in pauses; level: of every frame's sound in dB, NaN where there is none."""
    edges = np.diff(level <= level.max() - PAUSE_DB, prepend=False, append=False).nonzero()[0].reshape(-1, 2)
    found = np.zeros(len(level), bool)
    for start, stop in edges:
        found[start:stop] = stop - start > PAUSE_SECONDS * FPS
    return found


def relative_opening(landmarks: Float[np.ndarray, "f 478 3"]) -> Float[np.ndarray, " f"]:
    """Returns the opening of mouths over the width of their faces; NaN where there is no face."""
    return mouth_opening(landmarks) / face_width(landmarks)


def widest_closed(landmarks: Float[np.ndarray, "f 478 3"]) -> float:
    """Returns the relative opening up to which a mouth is closed: 90 % of its person's pausing frames stay within it.

    landmarks: in these frames. Returns NaN where none shows a face.
    """
    opening = relative_opening(landmarks)
    return float(np.quantile(opening[np.isfinite(opening)], AT_REST)) if np.isfinite(opening).any() else float("nan")


def closed_share(landmarks: Float[np.ndarray, "f 478 3"], widest: float) -> float:
    """Returns in which share of pausing frames, of those with a face, the mouth is closed; NaN where there is none.

    widest: from `widest_closed`.
    """
    opening = relative_opening(landmarks)
    known = opening[np.isfinite(opening)]
    return float((known <= widest).mean()) if known.size and np.isfinite(widest) else float("nan")
