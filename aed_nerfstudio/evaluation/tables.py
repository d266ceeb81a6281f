"""The figures of `metrics.json` as tables, and what was not measured in words: for Markdown and for the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aed_nerfstudio.evaluation.detail import SHARPNESS, STEADINESS
from aed_nerfstudio.evaluation.measure import FOLLOWING, HEARD, IMAGE, LIPS, SYNC
from aed_nerfstudio.evaluation.metrics import CROSSED, DEPTH, EMOTION, ROW, SECTION_CONVENTIONS, SECTIONS, section

EMOTION_HEADINGS = {
    "category_accuracy": "category ↑",
    "category_accuracy_recorded": "category, recorded",
    "intensity_ordering": "ordering ↑",
    "sweep_monotonic": "sweep ↑",
    "judge_accuracy": "judge ↑",
    "judge_accuracy_recorded": "judge, recorded",
    "judge_agreement": "judge's agreement ↑",
    "identity_similarity": "identity ↑",
    "background_change": "background /255 ↓",
}
DEPTH_HEADINGS = {"correlation": "depth r ↑", "scale": "depth scale", "error_mm": "depth mm ↓"}
NOTES = (
    {metric.heading: metric.convention for metric in (*ROW.values(), *CROSSED.values())}
    | {heading: EMOTION[name] for name, heading in EMOTION_HEADINGS.items()}
    | {heading: DEPTH[name] for name, heading in DEPTH_HEADINGS.items()}
)
"""How a column's figures are taken, by its heading."""


class Table(NamedTuple):
    """A table of figures: its headings and its rows of cells begin with the rows' names."""

    title: str
    headings: list[str]
    rows: list[list[str]]


def cell(value: float | None, digits: int = 2) -> str:
    """Returns a figure as it stands in a table: a dash where it was not measured."""
    return "–" if value is None else f"{value:.{digits}f}"


def _rows_table(title: str, metrics: Mapping, paths: list[str], names: list[str]) -> Table:
    """Returns the figures of the rows at some paths; a column that none of the rows has is left out."""
    rows = {path: section(metrics, path) for path in paths}
    names = [name for name in names if any(row[name] is not None for row in rows.values())]
    body = [
        [SECTIONS[path], *(cell(row[name], ROW[name].digits) for name in names), str(row["frames"])]
        for path, row in rows.items()
    ]
    return Table(title, ["", *(ROW[name].heading for name in names), "frames"], body)


def tables(metrics: Mapping) -> list[Table]:
    """Returns the tables of a report: self-driven, cross-driven where another audio was given, depth, emotion."""
    paths = [path for path in SECTIONS if path != "cross_driven"]
    mouth = ["mouth_std_px", *HEARD, *SYNC]
    detail = [name for pair in zip(SHARPNESS, STEADINESS, strict=True) for name in pair]
    found = [
        _rows_table("Self-driven: pictures and lips", metrics, paths[1:], [*IMAGE, *LIPS]),
        _rows_table("Self-driven: detail over the recorded frames' (theirs: in 1/255)", metrics, paths, detail),
        _rows_table("Self-driven: the mouth's movement", metrics, paths, [*FOLLOWING, "silent_mouth_closed", *mouth]),
    ]
    if metrics["cross_driven"]["frames"]:
        found.append(_rows_table("Cross-driven: other audio", metrics, ["ground_truth", "cross_driven"], mouth))
    if metrics["depth"]["frames"]:
        cells = [cell(metrics["depth"][name]) for name in DEPTH_HEADINGS]
        found.append(Table("The face in space", ["", *DEPTH_HEADINGS.values()], [["ours", *cells]]))
    emotion = metrics["emotion"]
    if any(emotion[name] is not None for name in EMOTION_HEADINGS):
        cells = [cell(emotion[name], 3) for name in EMOTION_HEADINGS]
        found.append(Table("Emotion", ["", *EMOTION_HEADINGS.values()], [["ours", *cells]]))
    if emotion["confusion"] is not None:
        labels = emotion["confusion"]["labels"]
        body = [[label, *map(str, line)] for label, line in zip(labels, emotion["confusion"]["matrix"], strict=True)]
        found.append(Table("Asked (rows) and measured (columns) emotion, renders", ["", *labels], body))
    if emotion["displacement"] is not None:
        found.append(_displacement_table(emotion["displacement"]))
    if emotion["judge_confusion"] is not None:
        found.append(_judge_table(emotion["judge_confusion"]))
    if emotion["crossed_poses"] is not None:
        found.append(_crossed_table(emotion["crossed_poses"]))
    return found


def _displacement_table(found: Mapping[str, Mapping[str, float | None]]) -> Table:
    rows = [[name, *(cell(values[name]) for values in found.values())] for name in ("recorded", "rendered", "relative")]
    return Table("Displacement of the strongest intensity", ["", *found], rows)


def _judge_table(found: Mapping) -> Table:
    """Returns the independent judge's words in percent of a label's faces: of recorded frames / of renders."""
    body = []
    for label, *counts in zip(found["labels"], found["recorded"], found["rendered"], strict=True):
        before, after = ([100 * n / max(1, sum(row)) for n in row] for row in counts)
        body.append([label, *(f"{a:.0f} / {b:.0f}" for a, b in zip(before, after, strict=True))])
    return Table("What fer says, % of faces: recorded / rendered", ["", *found["names"]], body)


def _crossed_table(crossed: Mapping) -> Table:
    """Returns the figures over the angle, the recorded frames last; a column that no row has is left out."""
    rows = {f"{row['from']:g} to {row['to']:g}°": row for row in crossed["bins"]} | {"recorded": crossed["recorded"]}
    names = [name for name in CROSSED if any(row.get(name) is not None for row in rows.values())]
    body = [
        [title, *(cell(row.get(name), CROSSED[name].digits) for name in names), str(row["pictures"])]
        for title, row in rows.items()
    ]
    headings = ["", *(CROSSED[name].heading for name in names), "pictures"]
    return Table("Emotions in other poses than their own, by the angle between", headings, body)


def reasons(metrics: Mapping) -> dict[str, str]:
    """Returns what was not measured, by reason: the figures' names and the rows in which they are missing."""
    where: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for path in (*SECTIONS, "depth", "emotion"):
        by_reason: dict[str, list[str]] = {}
        for name, reason in section(metrics, path)["not_measured"].items():
            by_reason.setdefault(reason, []).append(name)
        for reason, names in by_reason.items():
            where.setdefault((reason, tuple(names)), []).append(path)
    found: dict[str, list[str]] = {}
    for (reason, names), paths in where.items():
        rows = "every row" if set(paths) >= set(SECTIONS) else ", ".join(paths)
        figures = "everything" if set(names) in (set(ROW), set(DEPTH), set(EMOTION)) else ", ".join(names)
        found.setdefault(reason, []).append(f"{figures} of {rows}")
    return {reason: "; ".join(places) for reason, places in found.items()}


def speed_line(metrics: Mapping) -> str:
    """Returns the sentence that says how fast the frames were rendered."""
    speed = metrics["speed"]
    height, width = speed["frame_size"]
    return f"Speed: {speed['frames_per_second']:.2f} frames/s at {width} x {height} on {speed['device']}."


def markdown(metrics: Mapping) -> str:
    """Returns the figures as Markdown, with the conventions as notes."""
    lines, crossed = [], metrics["conventions"]["crossed_poses"]
    for title, headings, rows in tables(metrics):
        lines += [f"**{title}**", "", "| " + " | ".join(headings) + " |", "|---" + "|--:" * (len(headings) - 1) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows] + [""]
    lines += [speed_line(metrics), "", "How the figures are taken:", ""]
    lines += [f"- {ROW[name].heading}: {text}." for name, text in metrics["conventions"]["metrics"].items()]
    lines += [f"- {SECTIONS.get(path, path)}: {text}." for path, text in SECTION_CONVENTIONS.items()]
    lines += [f"- depth, {name}: {text}." for name, text in metrics["conventions"]["depth"].items()]
    lines += [f"- emotion, {name}: {text}." for name, text in metrics["conventions"]["emotion"].items()]
    lines += [f"- in other poses, {CROSSED[name].heading}: {text}." for name, text in crossed.items()]
    lines += ["", "Not measured (–):", ""]
    lines += [f"- {places}: {reason}." for reason, places in reasons(metrics).items()]
    return "\n".join(lines) + "\n"
