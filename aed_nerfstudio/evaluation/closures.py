"""Whether a mouth closes where its person's does: p, b and m are closed lips, whatever is around them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

CLOSED = 0.25
"""The share of the recorded frames whose mouth counts as closed: those with the smallest openings."""
NEAR = 2
"""Frames by which a closure may come early or late."""
ELSEWHERE = 25
"""Frames, a second: further away a mouth knows nothing of a closure."""


def widest_closure(opening: Float[np.ndarray, " f"]) -> float:
    """Returns the opening up to which a mouth counts as closed, of the openings [F] in frames that show one; NaN
    without any."""
    known = opening[np.isfinite(opening)]
    return float(np.quantile(known, CLOSED)) if known.size else float("nan")


def closures(opening: Float[np.ndarray, " f"], widest: float, follows: Bool[np.ndarray, " f"]) -> list[tuple[int, int]]:
    """Returns where a mouth closes for a while and opens again: first frame and the one after the last.

    Args:
        opening: of the mouth, [F]; NaN where there is no face.
        widest: up to which it counts as closed.
        follows: whether a frame comes right after the one before it, [F].
    """
    found = []
    starts = np.flatnonzero(~follows).tolist()
    for first, last in zip(starts, [*starts[1:], len(opening)], strict=True):
        closed = opening[first:last] <= widest
        edges = np.diff(closed.astype(int), prepend=0, append=0)
        runs = zip((edges > 0).nonzero()[0], (edges < 0).nonzero()[0], strict=True)
        found += [(int(first + a), int(first + b)) for a, b in runs if a > 0 and first + b < last]
    return found


def closures_hit(opening: Float[np.ndarray, " f"], found: list[tuple[int, int]], widest: float) -> float:
    """Returns in which share of closures another mouth is closed too, in one of their frames or at most `NEAR` before
    or after; NaN without any.

    Args:
        opening: of the other mouth, [F]; NaN where there is no face.
        found: from `closures`.
        widest: up to which it counts as closed.
    """
    hit = [bool((opening[max(0, a - NEAR) : b + NEAR] <= widest).any()) for a, b in found]
    return float(np.mean(hit)) if hit else float("nan")


def hit_by_chance(opening: Float[np.ndarray, " f"], found: list[tuple[int, int]], widest: float) -> float:
    """Returns what `closures_hit` is for the same mouth at other times: the mean over all shifts of a second or more,
    round the end; NaN where there are none."""
    shifts = range(ELSEWHERE, len(opening) - ELSEWHERE + 1)
    hits = [closures_hit(np.roll(opening, shift), found, widest) for shift in shifts]
    return float(np.mean(hits)) if hits else float("nan")
