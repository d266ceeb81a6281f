"""What `aed inspect` draws: a PNG sheet of charts and sample frames, and a self-contained HTML page with all of it."""

from __future__ import annotations

import base64
import html
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from aed_nerfstudio.dataset.schema import BACKGROUND, FPS, HEAD, NECK, TORSO, Dataset, read_image, write_image
from aed_nerfstudio.files import keep_apart, replacing
from aed_nerfstudio.inspection.inspect import BLURRED, LATE_SECONDS, Finding, Inspection, Measures, by_fault

CELL = 256  # pixels, side of a sample frame
BAND = 22  # pixels, height of the line of text below it
EVEN = 5  # samples that are evenly spread; the others are the extremes
CURVES = 6
DOTS = 3000  # poses that are drawn
BINS = 400  # columns of the timeline
INK, BLUE, RED, GREY, PALE = "#222222", "#2e6f95", "#d1495b", "#9a9a9a", "#e6e6e6"
PARTS = {BACKGROUND: (40, 40, 48), TORSO: (46, 111, 149), NECK: (237, 174, 73), HEAD: (209, 73, 91)}
"""Colours of the parsing map, RGB."""
LEVELS = {"ok": "in order", "warn": "look at this", "fail": "must be mended"}

_CODE = re.compile("`([^`]+)`")

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}: {verdict}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 84rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; margin-bottom: .4rem; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.1rem; margin: 2.2rem 0 .5rem; }}
.verdict {{ display: inline-block; padding: .15rem .8rem; border-radius: 1rem; font-weight: 600; color: #fff; }}
.ok {{ --level: #2f7d4f; }} .warn {{ --level: #a86500; }} .fail {{ --level: #c0334a; }}
.verdict {{ background: var(--level); }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .35rem .8rem .35rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #8884; }}
td.level {{ color: var(--level); font-weight: 600; white-space: nowrap; }}
td.name {{ white-space: nowrap; }}
@media (prefers-color-scheme: dark) {{ .ok {{ --level: #58b780; }} .warn {{ --level: #e0a040; }}
  .fail {{ --level: #f07085; }} .verdict {{ color: #111; }} }}
img {{ max-width: 100%; height: auto; border-radius: 4px; }}
img.charts {{ background: #fff; }}
.legend span {{ display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .3em 0 1em; }}
.note {{ opacity: .75; }}
</style>
<h1>{name}</h1>
<p><span class="verdict {level}">{verdict}</span></p>
{body}
</html>
"""


def draw(dataset: Dataset, measures: Measures, inspection: Inspection, output: Path, progress: bool) -> list[Path]:
    """Writes `inspect.png` and `inspect.html` into a folder and returns their paths.

    Raises:
        InputError: a picture of the dataset is missing or damaged, or the folder cannot be written.
    """
    if progress:
        print("drawing", file=sys.stderr)
    samples = pick_samples(dataset, measures)
    frames = sample_sheet(dataset, samples) if samples else None
    charts = draw_charts(dataset, measures, f"{dataset.root.resolve().name}: {inspection.headline()}")
    files = [output / "inspect.png", output / "inspect.html"]
    root = dataset.root if output.is_relative_to(dataset.root) else output
    keep_apart(files, dataset.sources)
    with replacing(files[0], root) as picture, replacing(files[1], root) as text:  # both, or neither
        write_image(picture, _stacked(charts, frames))
        text.write_text(page(dataset, inspection, charts, frames), "utf-8")
    return files


def _stacked(charts: np.ndarray, frames: np.ndarray | None) -> np.ndarray:
    """The charts above the frames, both as wide as the frames."""
    if frames is None:
        return charts
    width = frames.shape[1]
    height = round(charts.shape[0] * width / charts.shape[1])
    return np.vstack([cv2.resize(charts, (width, height), interpolation=cv2.INTER_AREA), frames])


# ---- sample frames


def pick_samples(dataset: Dataset, measures: Measures) -> list[tuple[int, str]]:
    """Numbers of the usable frames that are shown, and why: evenly spread ones, then the extremes."""
    usable = np.flatnonzero(measures.usable)
    if not len(usable):
        return []
    labels = dataset.labels
    even = usable[np.unique(np.linspace(0, len(usable) - 1, EVEN + 2).round().astype(int)[1:-1])]
    picks = {int(i): f"{dataset.frames[i].stem} {labels[i]}" for i in even}
    extremes = [(measures.yaw, "most to the left"), (-measures.yaw, "most to the right")]
    if measures.sharpness is not None:
        extremes.insert(0, (measures.sharpness, "least sharp"))
    for values, why in extremes:
        i = int(usable[values[usable].argmin()])
        picks.setdefault(i, f"{dataset.frames[i].stem} {why}")
    return list(picks.items())


def sample_sheet(dataset: Dataset, samples: Sequence[tuple[int, str]]) -> np.ndarray:
    """Samples side by side; below each other the picture with its marks, the parsing, the torso layer by itself and
    over the background: uint8 [4 CELL + BAND, n CELL, 3]."""
    background = read_image(dataset.background)[..., :3]
    columns = []
    for i, text in samples:
        frame = dataset.frames[i]
        image = read_image(dataset.path("images", frame))[..., :3]
        torso = read_image(dataset.path("torso", frame))
        marks = dataset.landmarks(frame.clip)[frame.index]
        rows = [
            _marked(image, marks, frame.face_box, frame.lips_box),
            _cell(_parsed(image, read_image(dataset.path("parsing", frame)))),
            _cell(_over(torso, _checkerboard(torso.shape[0], torso.shape[1]))),
            _cell(_over(torso, background)),
        ]
        columns.append(np.vstack([*rows, _band(text)]))
    return np.hstack(columns)


def _cell(image: np.ndarray) -> np.ndarray:
    smaller = image.shape[0] > CELL
    return cv2.resize(image, (CELL, CELL), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def _marked(image: np.ndarray, landmarks: np.ndarray, *boxes: list[int]) -> np.ndarray:
    """A picture as a cell, with landmarks and boxes drawn at the cell's own resolution."""
    out = _cell(image)
    scale = CELL / image.shape[0]
    for (left, top, right, bottom), colour in zip(boxes, ((230, 230, 230), (237, 174, 73)), strict=True):
        corners = [(round(x * scale), round(y * scale)) for x, y in ((left, top), (right - 1, bottom - 1))]
        cv2.rectangle(out, *corners, colour, 1)
    for x, y in np.nan_to_num(landmarks[:, :2]) * scale:
        cv2.circle(out, (round(8 * x), round(8 * y)), 4, (90, 220, 140), -1, cv2.LINE_AA, 3)
    return out


def _parsed(image: np.ndarray, parsing: np.ndarray) -> np.ndarray:
    """The parsing's colours over the picture in grey."""
    colours = np.zeros((256, 3), np.float32)
    for value, colour in PARTS.items():
        colours[value] = colour
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    return np.round(0.5 * grey + 0.5 * colours[parsing]).astype(np.uint8)


def _over(layer: np.ndarray, below: np.ndarray) -> np.ndarray:
    """An RGBA layer over a picture of the same size."""
    alpha = layer[..., 3:].astype(np.float32) / 255
    return np.round(alpha * layer[..., :3] + (1 - alpha) * below).astype(np.uint8)


def _checkerboard(height: int, width: int) -> np.ndarray:
    square = max(1, height // 16)
    dark = (np.arange(height)[:, None] // square + np.arange(width) // square) % 2
    return np.repeat(np.where(dark, 150, 205).astype(np.uint8)[..., None], 3, axis=2)


def _band(text: str) -> np.ndarray:
    """A line of text, shortened at its front to fit a cell; what OpenCV's font lacks becomes a question mark."""
    band = np.zeros((BAND, CELL, 3), np.uint8)
    text = text.encode("ascii", "replace").decode()
    text = text if len(text) <= 40 else "..." + text[-37:]
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)
    scale = 0.42 * min(1.0, (CELL - 8) / max(width, 1))
    cv2.putText(band, text, (4, BAND - 7), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return band


# ---- charts


def draw_charts(dataset: Dataset, measures: Measures, title: str) -> np.ndarray:
    """A title above charts of poses, labels, sound and time: uint8 [H, W, 3]."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # A user's own matplotlibrc must not change the picture.
    with rc_context({"font.family": "DejaVu Sans", "font.size": 11, "axes.titlesize": 13, "axes.titlelocation": "left",
                     "axes.spines.top": False, "axes.spines.right": False}):  # fmt: skip
        height = 4.4 + max(0, len(measures.labels) - 12) * 0.22
        figure = Figure(figsize=(17, height + 2.9), dpi=110, layout="constrained", facecolor="white")
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
        title = title if len(title) <= 130 else title[:129] + "…"
        # A dollar sign in a folder's name is no formula.
        figure.suptitle(title.replace("$", r"\$"), x=0.012, ha="left", fontsize=17, fontweight="bold")
        canvas = FigureCanvasAgg(figure)
        grid = figure.add_gridspec(2, 3, height_ratios=[height, 1.8])
        _poses_chart(figure.add_subplot(grid[0, 0]), measures)
        _labels_chart(figure.add_subplot(grid[0, 1]), measures)
        _sound_chart(figure.add_subplot(grid[0, 2]), measures)
        _timeline(figure.add_subplot(grid[1, :]), dataset, measures)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _note(axes: object, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)


def _poses_chart(axes: object, measures: Measures) -> None:
    axes.set_title("Where the face points")
    usable = np.flatnonzero(measures.usable)
    if len(usable):
        usable = usable[np.unique(np.linspace(0, len(usable) - 1, DOTS).astype(int))]
        axes.scatter(measures.yaw[usable], measures.pitch[usable], s=9, color=BLUE, alpha=0.35, linewidths=0)
        spans = [(values[usable].min(), values[usable].max()) for values in (measures.yaw, measures.pitch)]
        half = max(8.0, *(0.55 * (high - low) for low, high in spans))
        for setter, (low, high) in zip((axes.set_xlim, axes.set_ylim), spans, strict=True):
            setter((low + high) / 2 - half, (low + high) / 2 + half)
    axes.set_aspect("equal", adjustable="box")
    axes.axhline(0, color=PALE, linewidth=1, zorder=0)
    axes.axvline(0, color=PALE, linewidth=1, zorder=0)
    axes.set_xlabel("yaw, degrees (right: to the picture's right)")
    axes.set_ylabel("pitch, degrees (up: upwards)")


def _labels_chart(axes: object, measures: Measures) -> None:
    axes.set_title("Seconds of every label")
    names = list(measures.labels)
    train, held = np.array([measures.labels[name] for name in names]).T
    at = np.arange(len(names))
    axes.barh(at, train, color=BLUE, height=0.7, label="training")
    axes.barh(at, held, left=train, color="#9cc4da", height=0.7, label="held out")
    axes.axvline(float(np.median(train + held)), color=GREY, linewidth=1, linestyle=":")
    axes.set_yticks(at, [(name if len(name) <= 24 else name[:23] + "…").replace("$", r"\$") for name in names])
    axes.set_ylim(max(len(names), 4) - 0.4, -0.6)
    axes.set_xlabel("seconds (dotted: median)")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, frameon=False, fontsize=10)


def _sound_chart(axes: object, measures: Measures) -> None:
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
        title = (group.title if len(group.title) <= 22 else group.title[:21] + "…").replace("$", r"\$")
        axes.plot(group.sync.shifts, group.sync.curve, color=RED if late else BLUE, alpha=1 - 0.12 * k, linewidth=1.8,
                  label=f"{title}: {known}")  # fmt: skip
        if group.sync.shift is not None:
            axes.plot(group.sync.shift, group.sync.correlation, "o", color=RED if late else BLUE)
    axes.set_ylim(min(-0.1, *(g.sync.curve.min() - 0.05 for g in drawn)), 1.3)
    axes.set_yticks(np.arange(0, 1.01, 0.25))
    axes.set_xlabel("seconds by which the sound is taken to be late")
    axes.set_ylabel("correlation")
    axes.legend(loc="upper left", frameon=False, fontsize=10)


def _timeline(axes: object, dataset: Dataset, measures: Measures) -> None:
    """Sharpness over all clips, where frames are lost, and the clips' borders."""
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


# ---- the page


def page(dataset: Dataset, inspection: Inspection, charts: np.ndarray, frames: np.ndarray | None) -> str:
    """All of it as an HTML page that needs no other file."""
    esc = html.escape
    parts = [_findings_table(inspection.findings)]
    shown = f"<img class='charts' alt='poses, labels, sound, timeline' src='{_data(charts, '.png')}'>"
    parts.append(f"<h2>Charts</h2>{shown}")
    if frames is not None:
        legend = "".join(f"<span style='background:rgb{colour}'></span>{name}" for name, colour in
                         zip(("background", "torso", "neck", "head"), PARTS.values(), strict=True))  # fmt: skip
        parts.append("<h2>Samples</h2><p class='legend note'>From above: picture with landmarks, face and lips box; "
                     f"parsing:{legend}; torso layer; torso layer over the background.</p>"
                     f"<img alt='sample frames' src='{_data(frames, '.jpg')}'>")  # fmt: skip
    parts.append("<h2>Figures</h2>" + _pairs_table(inspection.figures))
    parts.append(_clips_table(dataset))
    if dataset.warnings:
        items = "".join(f"<li>{esc(text)}</li>" for text in dataset.warnings)
        parts.append(f"<h2>Said while it was made</h2><ul>{items}</ul>")
    parts.append("<h2>Made with</h2>" + _pairs_table([("audio front end", dataset.front_end), *dataset.tools.items()]))
    level = {"ready": "ok", "usable, but": "warn", "not usable": "fail"}[inspection.verdict]
    name = esc(dataset.root.resolve().name)
    return PAGE.format(name=name, verdict=esc(inspection.headline()), level=level, body="\n".join(parts))


def _findings_table(findings: Sequence[Finding]) -> str:
    """The worst first."""
    rows = []
    for finding in sorted(findings, key=lambda f: -list(LEVELS).index(f.level)):
        text = html.escape(finding.text)
        if finding.mend:
            text += "<br><strong>Mend:</strong> " + _CODE.sub(r"<code>\1</code>", html.escape(finding.mend))
        rows.append(f"<tr class='{finding.level}'><td class='level'>{LEVELS[finding.level]}</td>"
                    f"<td class='name'>{html.escape(finding.topic)}</td><td>{text}</td></tr>")  # fmt: skip
    return f"<h2>Findings</h2><div class='wide'><table>{''.join(rows)}</table></div>"


def _pairs_table(pairs: Sequence[tuple[str, str]]) -> str:
    rows = (f"<tr><td class='name'>{html.escape(name)}</td><td>{html.escape(text)}</td></tr>" for name, text in pairs)
    return f"<div class='wide'><table>{''.join(rows)}</table></div>"


def _clips_table(dataset: Dataset) -> str:
    usable = {clip.name: 0 for clip in dataset.clips}
    for frame in dataset.frames:
        usable[frame.clip] += frame.usable
    rows = "".join(
        f"<tr><td>{html.escape(clip.name)}</td><td>{html.escape(f'{clip.emotion} {clip.intensity}')}</td>"
        f"<td>{clip.count / FPS:.1f}</td><td>{usable[clip.name] / FPS:.1f}</td>"
        f"<td>{html.escape(clip.source)}, from {clip.source_start:.1f} s</td></tr>"
        for clip in dataset.clips
    )
    head = "<tr><th>clip</th><th>label</th><th>seconds</th><th>usable</th><th>source</th></tr>"
    return f"<h2>Clips</h2><div class='wide'><table>{head}{rows}</table></div>"


def _data(image: np.ndarray, suffix: str) -> str:
    """An RGB picture as a data URL."""
    ok, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not ok:
        raise ValueError(f"{suffix}: a picture of {image.shape} could not be encoded")
    kind = {".png": "png", ".jpg": "jpeg"}[suffix]
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode()}"
