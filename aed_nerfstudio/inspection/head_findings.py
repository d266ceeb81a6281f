"""How the head is held and how well it was tracked, and whether what is behind it stands still."""

from __future__ import annotations

import numpy as np

from aed_nerfstudio.capture.upright import turn_command
from aed_nerfstudio.dataset.schema import Dataset
from aed_nerfstudio.inspection.findings import Finding, level_of
from aed_nerfstudio.inspection.measures import Measures, is_number, report_section
from aed_nerfstudio.inspection.wording import percent

LYING_DEGREES = 60.0
"""Median turn of the face in its picture: heads are tilted by 30, those of a wrong rotation flag lie by 90."""
AWAY_DEGREES = (40.0, 48.0)
"""Median turn to the side, from the landmarks' depth, which says 49 to 57 for an actor at 55 and for one at 70: the far
corner of the mouth is hidden."""
NARROW_DEGREES = 4.0
"""Range of yaw (5th to 95th percentile) below which depth cannot be told from colour."""
TURNED = (45.0, 0.1)
"""Degrees, share: further turned faces have half of the mouth hidden."""
ERROR_SHARE = (0.008, 0.03)
"""Reprojection error over the picture's width (4 and 15 pixels of 512): above the first the lips' place swims visibly,
above the second the poses are wrong."""
SHAKE_DEGREES = 0.2
"""Of rotation from frame to frame, beside real motion: visible as a trembling head."""
FOCAL_SHARE = 0.1
"""Of the focal length, one standard deviation: beyond it the perspective is a guess."""
MOVING = 0.05
"""Share of the background's pixels that do not stand still."""


def judge_head(dataset: Dataset, measures: Measures) -> list[Finding]:
    """Judges where the face is turned, how well its pose was tracked, and whether the background stands still."""
    return [*_facing(measures), *_poses(measures), *_tracking(dataset), *_background(dataset)]


def _facing(measures: Measures) -> list[Finding]:
    """Judges whether the face stands upright and is seen from the front."""
    tilt, away = np.nanmedian(measures.tilt), np.nanmedian(measures.away)
    found = []
    if abs(tilt) > LYING_DEGREES:
        found.append(Finding("fail", "upright", f"the face is turned by {abs(tilt):.0f} degrees in its picture",
                             turn_command(round(tilt / 90))))  # fmt: skip
    level = level_of(float(away), AWAY_DEGREES)
    if level != "ok":
        found.append(Finding(level, "facing", f"half of the time it is turned aside by {away:.0f} degrees or more: the "
                             "mouth is half hidden", "film the face from the front"))  # fmt: skip
    return found


def _poses(measures: Measures) -> list[Finding]:
    yaw = measures.yaw[measures.usable]
    low, high = np.percentile(yaw, [5, 95])
    turned = float((np.abs(yaw) > TURNED[0]).mean())
    text = f"the head turns from {low:.0f} to {high:.0f} degrees"
    if turned > TURNED[1]:
        return [Finding("warn", "poses", f"{text}; in {percent(turned)} of the frames half of the mouth is hidden",
                        "let the person face the camera")]  # fmt: skip
    if high - low < NARROW_DEGREES:
        return [Finding("warn", "poses", f"{text}, which is little: the avatar looks right from there only",
                        "let the person turn and nod a little, or render with poses of this recording")]  # fmt: skip
    return [Finding("ok", "poses", text)]


def _tracking(dataset: Dataset) -> list[Finding]:
    pose, found = report_section(dataset, "pose"), []
    error, shake = pose.get("landmark_error_mean"), pose.get("jitter")
    focal, spread = pose.get("focal"), pose.get("focal_deviation")
    if is_number(error):
        level = level_of(error / dataset.camera.w, ERROR_SHARE)
        mend = "use one camera that stands still, one person, and an even light; look at the marks in the pictures"
        found.append(Finding(level, "tracking", f"landmarks lie {error:.1f} px from where the pose puts them",
                             mend if level != "ok" else ""))  # fmt: skip
    if is_number(shake) and shake > SHAKE_DEGREES:
        found.append(Finding("warn", "jitter", f"the head's pose trembles by {shake:.2f} degrees from frame to frame",
                             "give a sharper, brighter or less compressed video"))  # fmt: skip
    if is_number(focal) and is_number(spread) and spread > FOCAL_SHARE * focal:
        found.append(Finding("warn", "focal length", f"{focal:.0f} ± {spread:.0f} px: the head hardly turned, so the "
                             "perspective is a guess", "let the person turn and nod a little, or keep to the recorded "
                             "poses"))  # fmt: skip
    return found


def _background(dataset: Dataset) -> list[Finding]:
    moving = report_section(dataset, "background").get("moving")
    if not is_number(moving):
        return []
    text = f"{percent(moving)} of it do not stand still"
    if moving > MOVING:
        return [Finding("warn", "background", text, "use a camera on a stand and a still background; else the moving "
                        "part is frozen or smeared")]  # fmt: skip
    return [Finding("ok", "background", text)]
