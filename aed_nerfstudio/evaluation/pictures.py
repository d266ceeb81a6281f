"""The pictures of a report: frames with their labels, contact sheets, grids of emotions, curves of the mouth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aed_nerfstudio.dataset.schema import FPS, Dataset
from aed_nerfstudio.driving.track import DatasetTrack
from aed_nerfstudio.evaluation.expression import trained_labels
from aed_nerfstudio.files import replacing
from aed_nerfstudio.media.captions import labelled

if TYPE_CHECKING:  # for types alone: pictures need no torch
    from aed_nerfstudio.avatar.avatar import Avatar
    from aed_nerfstudio.driving.track import FrameCondition

SHEET_COLUMNS = 5
POSES = 8
"""Of takes, that emotions are shown in."""
CELL = 256
"""Pixels that such a picture is wide, at most."""
CURVE_FRAMES = 250
"""Frames of one line of curves: 10 s."""
CURVE_LINES = 6
COLOURS = {"recorded": "#222222", "ours": "#d1495b", "ours, shuffled audio": "#c9c9c9"}


def emotion_grid(avatar: Avatar, condition: FrameCondition) -> np.ndarray:
    """Renders one moment with every emotion (columns) at every intensity (rows).

    Returns uint8 [rows * (H + BAND), columns * W, 3].

    Labels that the training data lacks stay dark. Neutral has no strength of its own: it is the same in each row.
    """
    vocabulary, seen = avatar.vocabulary, avatar.vocabulary.recorded
    height, width = avatar.frame_size()
    rows = []
    for intensity in vocabulary.intensities:
        cells = []
        for category in vocabulary.categories:
            recorded = (category, intensity) in seen or (category == "neutral" and "neutral" in {c for c, _ in seen})
            if recorded:
                moment = replace(condition, emotion=vocabulary.encode(category, intensity), eye_openness=1.0)
                (face,) = avatar.render([moment])
            else:
                face = np.full((height, width, 3), 40, np.uint8)
            text = f"{category} {intensity}"
            cells.append(labelled(face, text if recorded else f"{text}: not recorded"))
        rows.append(np.hstack(cells))
    return np.vstack(rows)


def poses_of_takes(dataset: Dataset) -> list[tuple[int, float]]:
    """Returns a held-out frame of every take and its pitch in degrees (upwards positive), those looking down first.

    It is the middle one. Of more takes than eight, those whose pitches are spread most evenly.
    """
    members: dict[str, list[int]] = {}
    for index in dataset.split("val"):
        members.setdefault(dataset.frames[index].clip, []).append(index)
    middles = [indices[len(indices) // 2] for indices in members.values()]
    # The head looks along its z, and the camera's third row, second column, is how far that points up in the picture.
    pitches = {
        i: float(np.degrees(np.arcsin(np.clip(dataset.frames[i].camera_to_world[2][1], -1, 1)))) for i in middles
    }
    ordered = sorted(pitches.items(), key=lambda item: item[1])
    return [ordered[k] for k in np.unique(np.linspace(0, len(ordered) - 1, POSES).round().astype(int))]


def emotions_by_pose(avatar: Avatar, dataset: Dataset) -> np.ndarray:
    """Renders every emotion at its strongest (rows) in a held-out pose of every take (columns, by pitch).

    Those recorded so are framed. Returns uint8 [rows * (H + BAND), columns * W, 3]; cells are at most 256 pixels wide.
    """
    vocabulary = avatar.vocabulary
    track = DatasetTrack.of(dataset, vocabulary)
    size = min(avatar.frame_size()[1], CELL)
    poses = poses_of_takes(dataset)
    rows = []
    for label in dict(trained_labels(vocabulary.recorded, vocabulary)).items():
        emotion = vocabulary.encode(*label)
        cells = []
        for index, pitch in poses:
            (face,) = avatar.render([replace(track[index], emotion=emotion)], size)
            take = dataset.clip(dataset.frames[index].clip)
            if (take.emotion, take.intensity) == label or take.emotion == label[0] == "neutral":
                face[[0, 1, -2, -1]] = face[:, [0, 1, -2, -1]] = 255
            cells.append(labelled(face, f"{label[0]} in {take.name}, {pitch:+.0f}"))
        rows.append(np.hstack(cells))
    return np.vstack(rows)


def contact_sheet(columns: Sequence[Sequence[tuple[str, np.ndarray]]]) -> np.ndarray:
    """Returns columns of labelled frames, five side by side and the others below: uint8 [h, w, 3]."""
    stacked = [np.vstack([labelled(frame, text) for text, frame in column]) for column in columns]
    across = min(len(stacked), SHEET_COLUMNS)
    while len(stacked) % across:
        stacked.append(np.zeros_like(stacked[0]))
    return np.vstack([np.hstack(stacked[k : k + across]) for k in range(0, len(stacked), across)])


def mouth_curves(openings: Mapping[str, np.ndarray], clips: Sequence[str], path: Path) -> None:
    """Draws the mouth's opening over time, recorded and rendered, the clips one after the other, as a PNG.

    openings: [F] pixels by the curve's name, NaN where no face was found; at most a minute of it is drawn.
    clips: [F] names.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    total = min(len(clips), CURVE_FRAMES * CURVE_LINES)
    lines = -(-total // CURVE_FRAMES)
    figure = Figure(figsize=(12, 0.6 + 2.2 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    shown = {name: openings[name] for name in reversed(COLOURS) if name in openings}  # the recorded one on top
    borders = [k for k in range(1, total) if clips[k] != clips[k - 1]]
    for line, axes in enumerate(figure.subplots(lines, 1, squeeze=False)[:, 0]):
        start, stop = line * CURVE_FRAMES, min((line + 1) * CURVE_FRAMES, total)
        for name, opening in shown.items():
            pieces = [start, *[k for k in borders if start < k < stop], stop]
            for a, b in zip(pieces[:-1], pieces[1:], strict=True):  # a curve does not run from clip to clip
                axes.plot(
                    np.arange(a, b) / FPS, opening[a:b], color=COLOURS[name], linewidth=1.4,
                    label=name if a == start else None, marker="." if b - a < 10 else None,
                )  # fmt: skip
        for border in borders:
            if start < border < stop:
                axes.axvline((border - 0.5) / FPS, color="#dddddd", linewidth=0.8, zorder=0)
        axes.set_xlim((start - 0.5) / FPS, (start + min(CURVE_FRAMES, total) - 0.5) / FPS)
        axes.set_ylabel("opening, px")
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("seconds of held-out frames" + (", clip after clip" if borders else ""))
    figure.axes[0].legend(loc="upper right", ncols=3, frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)
