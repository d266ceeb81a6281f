"""Charts of a dataset: where the face points, its labels, its sound, and what happens over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aed_nerfstudio.dataset.schema import FPS, Dataset
from aed_nerfstudio.inspection.label_charts import PALE, poses_chart, shared_chart, short
from aed_nerfstudio.inspection.measures import BLURRED, Measures, by_fault
from aed_nerfstudio.inspection.sound_findings import LATE_SECONDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = 6
BINS = 400  # columns of the timeline
INK, BLUE, RED, GREY = "#222222", "#2e6f95", "#d1495b", "#9a9a9a"


def draw_charts(dataset: Dataset, measures: Measures, title: str) -> np.ndarray:
    """Draws a title above charts of poses, labels, sound and time: uint8 [H, W, 3]."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    # A user's own matplotlibrc must not change the picture.
    with rc_context({"font.family": "DejaVu Sans", "font.size": 11, "axes.titlesize": 13, "axes.titlelocation": "left",
                     "axes.spines.top": False, "axes.spines.right": False}):  # fmt: skip
        several = len(measures.poses.names) > 1
        height = (5.8 if several else 4.4) + max(0, len(measures.labels) - 12) * 0.22
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
        figure = Figure(figsize=(23 if several else 17, height + 2.9), dpi=110, layout=layout, facecolor="white")
        figure.suptitle(short(title, 130), x=0.012, ha="left", fontsize=17, fontweight="bold")
        canvas = FigureCanvasAgg(figure)
        grid = figure.add_gridspec(2, 4 if several else 3, height_ratios=[height, 1.8])
        poses_chart(figure.add_subplot(grid[0, 0]), dataset, measures)
        _labels_chart(figure.add_subplot(grid[0, 1]), measures)
        _sound_chart(figure.add_subplot(grid[0, 2]), measures)
        if several:
            shared_chart(figure.add_subplot(grid[0, 3]), measures.poses)
        _timeline(figure.add_subplot(grid[1, :]), dataset, measures)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _note(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)


def _labels_chart(axes: Axes, measures: Measures) -> None:
    axes.set_title("Seconds of every label")
    names = list(measures.labels)
    train, held = np.array([measures.labels[name] for name in names]).T
    at = np.arange(len(names))
    axes.barh(at, train, color=BLUE, height=0.7, label="training")
    axes.barh(at, held, left=train, color="#9cc4da", height=0.7, label="held out")
    axes.axvline(float(np.median(train + held)), color=GREY, linewidth=1, linestyle=":")
    axes.set_yticks(at, [short(name, 24) for name in names])
    axes.set_ylim(max(len(names), 4) - 0.4, -0.6)
    axes.set_xlabel("seconds (dotted: median)")
    axes.legend(loc="upper right", bbox_to_anchor=(1, -0.14), ncols=2, frameon=False, fontsize=10)


def _sound_chart(axes: Axes, measures: Measures) -> None:
    axes.set_title("How well the lips follow the shifted sound")
    drawn = [group for group in by_fault(measures.sound) if len(group.sync.curve)][:CURVES]
    if not drawn:
        _note(axes, measures.sound[0].sync.reason if measures.sound else "no sound, by choice")
        axes.set_axis_off()
        return
    axes.axvspan(-LATE_SECONDS[0], LATE_SECONDS[0], color=PALE, zorder=0, label="in step")
    for k, group in enumerate(drawn):
        late = group.sync.shift is not None and abs(group.sync.shift) >= LATE_SECONDS[0]
        known = "unknown" if group.sync.shift is None else f"{round(group.sync.shift, 2) + 0.0:+.2f} s"
        title = short(group.title, 22)
        axes.plot(group.sync.shifts, group.sync.curve, color=RED if late else BLUE, alpha=1 - 0.12 * k, linewidth=1.8,
                  label=f"{title}: {known}")  # fmt: skip
        if group.sync.shift is not None and group.sync.correlation is not None:
            axes.plot(group.sync.shift, group.sync.correlation, "o", color=RED if late else BLUE)
    axes.set_ylim(min(-0.1, *(g.sync.curve.min() - 0.05 for g in drawn)), 1.3)
    axes.set_yticks(np.arange(0, 1.01, 0.25))
    axes.set_xlabel("seconds by which the sound is taken to be late")
    axes.set_ylabel("correlation")
    axes.legend(loc="upper left", frameon=False, fontsize=10)


def _timeline(axes: Axes, dataset: Dataset, measures: Measures) -> None:
    """Draws the sharpness over all clips, where frames are lost, and the clips' borders."""
    count = len(dataset.frames)
    edges = np.unique(np.linspace(0, count, min(BINS, count) + 1).astype(int))
    seconds = edges / FPS
    lost = np.add.reduceat(~measures.usable, edges[:-1]) / np.diff(edges)
    axes.bar(seconds[:-1], lost, width=np.diff(seconds), align="edge", color=RED, alpha=0.6, linewidth=0,
             label="share of lost frames")  # fmt: skip
    if measures.sharpness is not None:
        least = np.minimum.reduceat(np.where(measures.usable, measures.sharpness, np.inf), edges[:-1])
        axes.plot((seconds[:-1] + seconds[1:]) / 2, np.where(np.isfinite(least), least, np.nan), color=BLUE,
                  linewidth=1.2, label="sharpness (median 1)")  # fmt: skip
        axes.axhline(BLURRED, color=GREY, linewidth=1, linestyle=":", label="blurred below")
    names = [frame.clip for frame in dataset.frames]
    borders = [k for k in range(1, count) if names[k] != names[k - 1]]
    for border in borders:
        axes.axvline(border / FPS, color=INK, linewidth=0.6, alpha=0.35, zorder=0)
    axes.set_title("Over time" + (" (lines: borders of clips)" if borders else ""))
    axes.set_xlim(0, count / FPS)
    if measures.sharpness is None and measures.usable.all():
        _note(axes, "no frame is lost")
    top = 1.0 if measures.sharpness is None else max(1.6, float(np.percentile(measures.sharpness, 98)))
    axes.set_ylim(0, min(top, 3.0))
    axes.set_xlabel("seconds")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=3, frameon=False, fontsize=10)
