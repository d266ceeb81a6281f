"""What an evaluation leaves in its folder: metrics.json and metrics.md, and a page with pictures and videos."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.dataset.schema import FPS, write_json
from aed_nerfstudio.driving.track import DatasetTrack
from aed_nerfstudio.evaluation.measure import FOLLOWING, HEARD, IMAGE, LIPS, SYNC, Progress, unseen_progress
from aed_nerfstudio.evaluation.metrics import EMOTION, ROW, SECTION_CONVENTIONS, SECTIONS, check, section
from aed_nerfstudio.evaluation.pictures import SHEET_COLUMNS, contact_sheet, emotion_grid, mouth_curves
from aed_nerfstudio.evaluation.self_driven import SelfDriven
from aed_nerfstudio.evaluation.sync import SAMPLES_PER_FRAME
from aed_nerfstudio.files import write
from aed_nerfstudio.media.captions import BAND, labelled
from aed_nerfstudio.media.provenance import write_synthetic
from aed_nerfstudio.media.video_writer import VideoWriter

FILES = ("metrics.json", "metrics.md", "index.html", "sheet.png", "emotions.png", "mouth.png", "side-by-side.mp4")
SPOKEN = "spoken.mp4"
SHEET_FRAMES = 3 * SHEET_COLUMNS
EMOTION_HEADINGS = {
    "category_accuracy": "category ↑",
    "category_accuracy_recorded": "category, recorded",
    "intensity_ordering": "ordering ↑",
    "sweep_monotonic": "sweep ↑",
    "identity_similarity": "identity ↑",
    "background_change": "background /255 ↓",
}
Table = tuple[str, list[str], list[list[str]]]
"""Title, headings, rows of cells."""

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; margin-bottom: 0; }}
h2 {{ font-size: 1.1rem; margin: 2.2rem 0 .5rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }}
th, td {{ padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #8884; }}
th:first-child, td:first-child {{ text-align: left; position: sticky; left: 0; background: Canvas; }}
img, video {{ max-width: 100%; height: auto; border-radius: 4px; }}
video {{ width: 40rem; background: #000; }}
img.mouth {{ background: #fff; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }}
dt {{ font-family: ui-monospace, monospace; font-size: .85rem; }}
dd {{ margin: 0; }}
.note {{ opacity: .75; }}
</style>
<h1>{title}</h1>
<p class="note">{subtitle}</p>
{body}
</html>
"""


def cell(value: float | None, digits: int = 2) -> str:
    """A figure as it stands in a table; a dash where it was not measured."""
    return "–" if value is None else f"{value:.{digits}f}"


def _rows_table(title: str, metrics: Mapping, paths: list[str], names: list[str]) -> Table:
    """The figures of some rows; a column that none of the rows has is left out."""
    rows = {path: section(metrics, path) for path in paths}
    names = [name for name in names if any(row[name] is not None for row in rows.values())]
    body = [
        [SECTIONS[path], *(cell(row[name], ROW[name].digits) for name in names), str(row["frames"])]
        for path, row in rows.items()
    ]
    return title, ["", *(ROW[name].heading for name in names), "frames"], body


def tables(metrics: Mapping) -> list[Table]:
    """The tables of a report: self-driven, cross-driven where another audio was given, emotion."""
    paths = [path for path in SECTIONS if path != "cross_driven"]
    mouth = ["mouth_std_px", *HEARD, *SYNC]
    found = [
        _rows_table("Self-driven: pictures and lips", metrics, paths[1:], [*IMAGE, *LIPS]),
        _rows_table("Self-driven: the mouth's movement", metrics, paths, [*FOLLOWING, *mouth]),
    ]
    if metrics["cross_driven"]["frames"]:
        found.append(_rows_table("Cross-driven: other audio", metrics, ["ground_truth", "cross_driven"], mouth))
    emotion = metrics["emotion"]
    if any(emotion[name] is not None for name in EMOTION_HEADINGS):
        cells = [cell(emotion[name], 3) for name in EMOTION_HEADINGS]
        found.append(("Emotion", ["", *EMOTION_HEADINGS.values()], [["ours", *cells]]))
    if emotion["confusion"] is not None:
        labels = emotion["confusion"]["labels"]
        body = [[label, *map(str, line)] for label, line in zip(labels, emotion["confusion"]["matrix"], strict=True)]
        found.append(("Asked (rows) and measured (columns) emotion, renders", ["", *labels], body))
    return found


def reasons(metrics: Mapping) -> dict[str, str]:
    """What was not measured, by reason: the figures' names and the rows in which they are missing."""
    where: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for path in (*SECTIONS, "emotion"):
        by_reason: dict[str, list[str]] = {}
        for name, reason in section(metrics, path)["not_measured"].items():
            by_reason.setdefault(reason, []).append(name)
        for reason, names in by_reason.items():
            where.setdefault((reason, tuple(names)), []).append(path)
    found: dict[str, list[str]] = {}
    for (reason, names), paths in where.items():
        rows = "every row" if set(paths) >= set(SECTIONS) else ", ".join(paths)
        figures = "everything" if set(names) in (set(ROW), set(EMOTION)) else ", ".join(names)
        found.setdefault(reason, []).append(f"{figures} of {rows}")
    return {reason: "; ".join(places) for reason, places in found.items()}


def speed_line(metrics: Mapping) -> str:
    speed = metrics["speed"]
    height, width = speed["frame_size"]
    return f"Speed: {speed['frames_per_second']:.2f} frames/s at {width} x {height} on {speed['device']}."


def markdown(metrics: Mapping) -> str:
    """The figures as Markdown, with the conventions as notes."""
    lines = []
    for title, headings, rows in tables(metrics):
        lines += [f"**{title}**", "", "| " + " | ".join(headings) + " |", "|---" + "|--:" * (len(headings) - 1) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows] + [""]
    lines += [speed_line(metrics), "", "How the figures are taken:", ""]
    lines += [f"- {ROW[name].heading}: {text}." for name, text in metrics["conventions"]["metrics"].items()]
    lines += [f"- {SECTIONS.get(path, path)}: {text}." for path, text in SECTION_CONVENTIONS.items()]
    lines += [f"- emotion, {name}: {text}." for name, text in metrics["conventions"]["emotion"].items()]
    lines += ["", "Not measured (–):", ""]
    lines += [f"- {places}: {reason}." for reason, places in reasons(metrics).items()]
    return "\n".join(lines) + "\n"


def page(metrics: Mapping, files: set[str]) -> str:
    """The figures, pictures and videos as an HTML page; files: which of them lie beside it."""
    parts = []
    for title, headings, rows in tables(metrics):
        head = "".join(f"<th>{html.escape(text)}</th>" for text in headings)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>" for row in rows)
        parts.append(f"<h2>{html.escape(title)}</h2><div class='wide'><table><tr>{head}</tr>{body}</table></div>")
    parts.append(f"<p>{html.escape(speed_line(metrics))}</p>")
    for name, title in (
        ("side-by-side.mp4", "Held-out frames: recorded, ours"),
        (SPOKEN, "Other audio"),
        ("mouth.png", "Opening of the mouth"),
        ("sheet.png", "Recorded, ours, training frame of the nearest pose"),
        ("emotions.png", "One moment with every emotion at every strength"),
    ):
        if name not in files:
            continue
        if name.endswith(".mp4"):
            shown = f"<video controls preload='metadata' src='{name}'></video>"
        else:
            shown = f"<img class='{name[:-4]}' src='{name}' alt='{html.escape(title)}'>"
        parts.append(f"<h2>{html.escape(title)}</h2>{shown}")

    def listed(pairs: Mapping[str, str]) -> str:
        terms = (f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in pairs.items())
        return f"<dl>{''.join(terms)}</dl>"

    conventions = metrics["conventions"]
    parts.append("<h2>How the figures are taken</h2>" + listed(conventions["metrics"]))
    parts.append("<h2>Rows</h2>" + listed(conventions["sections"]))
    parts.append("<h2>Emotion</h2>" + listed(conventions["emotion"]))
    missing = {places: reason for reason, places in reasons(metrics).items()}
    items = "".join(f"<li><code>{html.escape(at)}</code>: {html.escape(why)}</li>" for at, why in missing.items())
    parts.append(f"<h2>Not measured</h2><ul>{items}</ul>")
    run, count = metrics["run"], metrics["frames"]["held_out"]
    subtitle = f"{run['config']}, step {run['step']}; " + (
        "no recording" if run["dataset"] is None else f"{count} held-out frames of {run['dataset']}"
    )
    return PAGE.format(title="Evaluation of an avatar", subtitle=html.escape(subtitle), body="\n".join(parts))


def _sheet(found: SelfDriven) -> np.ndarray:
    """Recorded, ours and nearest above each other: a frame of every label, or ten frames of the only one."""
    held = found.held
    names = list(dict.fromkeys(held.labels))
    if len(names) > 1:
        members = [[k for k, label in enumerate(held.labels) if label == name] for name in names]
        picks = [part[len(part) // 2] for part in members][:SHEET_FRAMES]
    else:
        picks = np.unique(np.linspace(0, len(held) - 1, 2 * SHEET_COLUMNS).astype(int)).tolist()
    return contact_sheet(
        [
            [
                (f"recorded, {held.labels[k]}", held.image(k)),
                ("ours", found.ours[k]),
                ("nearest pose", found.nearest_image(k)),
            ]
            for k in picks
        ]
    )


def _side_by_side(found: SelfDriven, path: Path, progress: Progress) -> None:
    """Recorded and ours beside each other, clip after clip, with the sound."""
    held = found.held
    silence = np.zeros(SAMPLES_PER_FRAME, np.float32)
    sound = [
        np.tile(silence, part.stop - part.start) if part.samples is None else part.samples for part in held.stretches()
    ]
    height, width = found.ours.shape[1:3]
    with VideoWriter(path, FPS, (2 * width, height + BAND), np.concatenate(sound)) as video:
        for k in progress(range(len(held)), len(held), "writing the side-by-side video"):
            pair = labelled(held.image(k), f"recorded, {held.labels[k]}"), labelled(found.ours[k], "ours")
            video.write(np.hstack(pair))


def _widest(found: SelfDriven) -> int:
    """The dataset's index of the held-out frame with the widest open mouth."""
    opening = np.nan_to_num(found.openings["recorded"])
    return found.held.indices[int(opening.argmax())]


def write_report(
    folder: Path, avatar: Avatar, found: SelfDriven | None, metrics: Mapping, progress: Progress = unseen_progress
) -> None:
    """Writes metrics.json, metrics.md, index.html and what the page shows; spoken.mp4 lies there already, if at all.

    found: None where there was no recording to compare with.

    Raises:
        ValueError: the metrics do not hold to their schema.
    """
    check(metrics)
    write_json(folder / "metrics.json", metrics)
    write(folder / "metrics.md", markdown(metrics))
    tags = {"model": avatar.name}
    if found is not None:
        write_synthetic(folder / "sheet.png", _sheet(found), tags)
        widest = DatasetTrack.of(found.held.dataset, avatar.vocabulary)[_widest(found)]
        write_synthetic(folder / "emotions.png", emotion_grid(avatar, widest), tags)
        mouth_curves(found.openings, [frame.clip for frame in found.held.frames], folder / "mouth.png")
        _side_by_side(found, folder / "side-by-side.mp4", progress)
    files = {path.name for path in folder.iterdir()}
    write(folder / "index.html", page(metrics, files))
