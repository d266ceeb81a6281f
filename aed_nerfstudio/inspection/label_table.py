"""The tables of labels on the page of `aed inspect`: what each looks like, and which poses they share."""

from __future__ import annotations

from aed_nerfstudio.inspection.label_looks import MEASURED
from aed_nerfstudio.inspection.measures import Measures

HEADS = ("label", "yaw", "pitch", "roll", "distance", "place", "light", "left:right", "colour a*, b*", "background")
Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


def look_table(measures: Measures) -> Table:
    """Returns headings and a row for every label: poses as mean and deviation in degrees, the others as medians."""
    rows = []
    poses, looks = measures.poses, measures.looks
    for name, mean, spread, values in zip(poses.names, poses.mean, poses.spread, looks.median, strict=True):
        of = dict(zip(MEASURED, values, strict=True))
        angles = [f"{middle:+.1f} ± {width:.1f}" for middle, width in zip(mean, spread, strict=True)]
        rows.append((name, *angles, f"{of['distance']:.2f}", f"{of['across']:.2f}, {of['down']:.2f}",
                     f"{of['light']:.2f}", f"{2 ** of['shading']:.2f}",
                     f"{of['green-red']:.0f}, {of['blue-yellow']:.0f}", f"{of['background']:.0f}"))  # fmt: skip
    return HEADS, rows


def pose_table(measures: Measures) -> Table:
    """Returns headings and a row for every label: the share of each label's poses that it was seen near."""
    poses = measures.poses
    rows = [
        (name, *(f"{100 * share:.0f} %" for share in row)) for name, row in zip(poses.names, poses.near, strict=True)
    ]
    return ("emotion / pose of", *poses.names), rows
