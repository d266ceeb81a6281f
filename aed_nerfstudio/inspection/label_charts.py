"""Charts of how the head is held with every label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aed_nerfstudio.dataset.schema import Dataset
from aed_nerfstudio.inspection.label_poses import RIGHT_DEGREES, LabelPoses
from aed_nerfstudio.inspection.measures import Measures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOTS = 3000  # poses that are drawn
NAMED = 10  # labels, at most, that a legend names
WRITTEN = 12  # labels, at most, whose shares are written into their squares
PALE = "#e6e6e6"


def short(text: str, most: int) -> str:
    """Returns a text of at most so many characters for a chart, in which a dollar sign begins no formula."""
    return (text if len(text) <= most else text[: most - 1] + "…").replace("$", r"\$")


def poses_chart(axes: Axes, dataset: Dataset, measures: Measures) -> None:
    """Draws yaw and pitch of the usable frames, every label in its colour."""
    axes.set_title("Where the face points")
    usable = np.flatnonzero(measures.usable)
    if len(usable):
        usable = usable[np.unique(np.linspace(0, len(usable) - 1, DOTS).astype(int))]
        labels = np.array(dataset.labels)[usable]
        for name, colour in zip(measures.poses.names, _colours(len(measures.poses.names)), strict=True):
            own = usable[labels == name]
            axes.scatter(measures.yaw[own], measures.pitch[own], s=9, color=colour, alpha=0.35, linewidths=0)
        spans = [(values[usable].min(), values[usable].max()) for values in (measures.yaw, measures.pitch)]
        half = max(8.0, *(0.55 * (high - low) for low, high in spans))
        for setter, (low, high) in zip((axes.set_xlim, axes.set_ylim), spans, strict=True):
            setter((low + high) / 2 - half, (low + high) / 2 + half)
        for name, place, colour in zip(measures.poses.names, measures.poses.mean, _colours(len(measures.poses.names)),
                                       strict=True):  # fmt: skip
            axes.plot(place[0], place[1], "+", color=colour, markersize=12, markeredgewidth=2.5, label=short(name, 18))
        if 1 < len(measures.poses.names) <= NAMED:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=9)
    axes.set_aspect("equal", adjustable="box")
    axes.axhline(0, color=PALE, linewidth=1, zorder=0)
    axes.axvline(0, color=PALE, linewidth=1, zorder=0)
    axes.set_xlabel("yaw, degrees (right: to the picture's right)")
    axes.set_ylabel("pitch, degrees (up: upwards)")


def shared_chart(axes: Axes, poses: LabelPoses) -> None:
    """Draws which share of the poses of each label (columns) every label (rows) was seen near."""
    axes.set_title(f"Poses shared within {RIGHT_DEGREES:.0f} degrees")
    axes.imshow(100 * poses.near, cmap="RdYlGn", vmin=0, vmax=100, aspect="equal")
    at, names = np.arange(len(poses.names)), [short(name, 18) for name in poses.names]
    axes.set_xticks(at, names, rotation=90)
    axes.set_yticks(at, names)
    axes.set_ylabel("emotion")
    axes.set_xlabel("at the poses of (numbers: % of them)")
    for (row, column), share in np.ndenumerate(poses.near) if len(names) <= WRITTEN else ():
        axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=9)


def _colours(count: int) -> list[tuple[float, ...]]:
    """Returns a colour for every label."""
    from matplotlib import colormaps

    return [colormaps["tab10"](k % 10) if count <= 10 else colormaps["turbo"](k / (count - 1)) for k in range(count)]
