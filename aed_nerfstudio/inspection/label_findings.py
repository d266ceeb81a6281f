"""Whether a dataset's labels differ in nothing but the expression."""

from __future__ import annotations

import numpy as np

from aed_nerfstudio.inspection.findings import Finding
from aed_nerfstudio.inspection.label_looks import LabelLooks
from aed_nerfstudio.inspection.label_poses import BROKEN_DEGREES, RIGHT_DEGREES, LabelPoses
from aed_nerfstudio.inspection.measures import Measures
from aed_nerfstudio.inspection.wording import NAMED, by_percent

LABEL_SHARE = 0.5
"""Of the median label: a label with less is learnt worse than the others and drowns in blends."""


LIGHT = 0.15
"""Of the skin's luminance, against the other labels': seen as another exposure."""
SHADED = 0.4
"""Of the logarithm (base 2) of the brightness of the face's two sides: one is a third brighter than with the others."""
COLOURED = 5.0
"""Units of CIELAB: skin of clearly another colour."""
ELSEWHERE = 8.0
"""Grey levels between the background in the pictures and the dataset's one: another place, camera or light."""
NEARER = 0.1
"""Of the distance."""
MOVED = 0.1
"""Of the picture's side, between the places of the head."""
SAME_HEAD = "record every emotion with the same head movements: in each take look slowly left, right, up and down"
SAME_PLACE = "record all labels in one session, with the camera, the seat and the lamps left as they are"


def judge_labels(measures: Measures) -> list[Finding]:
    """Judges whether every label has enough, and whether labels differ in more than the expression; nothing of a single
    label.
    """
    return [*_balance(measures), *_postures(measures.poses), *_light(measures.looks), *_camera(measures.looks)]


def _postures(poses: LabelPoses) -> list[Finding]:
    """Judges whether each label was seen at the poses of the others."""
    pairs = poses.apart()
    if not pairs:
        return [Finding("ok", "poses of labels", "shared by all labels")] if len(poses.names) > 1 else []
    broken = [f"{one} at the poses of {other} ({away:.0f})" for away, one, other in pairs if away >= BROKEN_DEGREES]
    doubtful = [f"{one} at those of {other} ({away:.0f})" for away, one, other in pairs if away < BROKEN_DEGREES]
    total = len(poses.names) * (len(poses.names) - 1) // 2
    text = (f"{len(pairs)} of {total} pairs of labels do not share their poses (degrees in brackets), so an emotion is "
            "learnt together with a posture. What works: each emotion with the head held as in its own takes, within "
            f"{RIGHT_DEGREES:.0f} degrees")  # fmt: skip
    if broken:
        text += f". Weaker, and with `aed-nerf-paper` with doubled eyes and brows: {_some(broken)}"
    if doubtful:
        text += f". Unsure: {_some(doubtful)}"
    return [Finding("warn", "poses of labels", text, f"{SAME_HEAD}; or keep each emotion to the head motion that was "
                    "recorded with it")]  # fmt: skip


def _light(looks: LabelLooks) -> list[Finding]:
    """Judges whether light and background go with a label."""
    faults = [f"with {name} the face is {by_percent(away[0])} {'brighter' if away[0] > 0 else 'darker'}"
              for name, away in looks.odd(("light",), LIGHT)]  # fmt: skip
    faults += [f"with {name} the light comes more from the {'left' if away[0] > 0 else 'right'}"
               for name, away in looks.odd(("shading",), SHADED)]  # fmt: skip
    faults += [f"with {name} the skin has another colour (by {np.linalg.norm(away):.0f} units of CIELAB)"
               for name, away in looks.odd(("green-red", "blue-yellow"), COLOURED)]  # fmt: skip
    if not faults:
        return []
    return [Finding("warn", "light of labels", f"{_some(faults)}, against the other labels: choosing the emotion will "
                    "change the light as well", SAME_PLACE)]  # fmt: skip


def _camera(looks: LabelLooks) -> list[Finding]:
    """Judges whether distance, place in the picture and background go with a label."""
    faults = [f"with {name} the head is {by_percent(away[0])} {'farther' if away[0] > 0 else 'nearer'}"
              for name, away in looks.odd(("distance",), NEARER)]  # fmt: skip
    faults += [f"with {name} the head is elsewhere, by {by_percent(float(np.linalg.norm(away)))} of the picture"
               for name, away in looks.odd(("across", "down"), MOVED)]  # fmt: skip
    faults += [f"with {name} the background is another" for name, _ in looks.odd(("background",), ELSEWHERE)]
    if not faults:
        return []
    return [Finding("warn", "camera of labels", f"{_some(faults)}, against the other labels: choosing the emotion will "
                    "move the head or blur neck and background", SAME_PLACE)]  # fmt: skip


def _some(texts: list[str]) -> str:
    """Returns the first `NAMED` texts and how many more there are."""
    more = f"; and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return "; ".join(texts[:NAMED]) + more


def _balance(measures: Measures) -> list[Finding]:
    seconds = {label: sum(parts) for label, parts in measures.labels.items()}
    if len(seconds) < 2:
        return []
    usual = float(np.median(list(seconds.values())))
    poor = [f"{label} ({value:.1f} s)" for label, value in seconds.items() if value < LABEL_SHARE * usual]
    text = f"{len(seconds)} labels, {min(seconds.values()):.1f} to {max(seconds.values()):.1f} s each"
    if poor:
        return [Finding("warn", "labels", f"far below the others' median of {usual:.1f} s: {', '.join(poor)}",
                        "give more takes of these labels, or leave the labels out")]  # fmt: skip
    return [Finding("ok", "labels", text)]
