"""What an evaluation leaves in its folder: metrics.json and metrics.md, and a page with pictures and videos."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.dataset.schema import FPS, write_json
from aed_nerfstudio.driving.track import DatasetTrack
from aed_nerfstudio.evaluation.measure import Progress, unseen_progress
from aed_nerfstudio.evaluation.metrics import check
from aed_nerfstudio.evaluation.page import MEDIA, SPOKEN, page
from aed_nerfstudio.evaluation.pictures import (
    SHEET_COLUMNS,
    contact_sheet,
    emotion_grid,
    emotions_by_pose,
    mouth_curves,
)
from aed_nerfstudio.evaluation.self_driven import SelfDriven
from aed_nerfstudio.evaluation.surface import Surface
from aed_nerfstudio.evaluation.sync import SAMPLES_PER_FRAME
from aed_nerfstudio.evaluation.tables import markdown
from aed_nerfstudio.files import write
from aed_nerfstudio.media.captions import BAND, labelled
from aed_nerfstudio.media.provenance import write_synthetic
from aed_nerfstudio.media.video_writer import VideoWriter

FILES = ("metrics.json", "metrics.md", "index.html", *(name for name in MEDIA if name != SPOKEN))
"""What every report of a recording consists of."""
SHEET_FRAMES = 3 * SHEET_COLUMNS
DEPTH_ROWS = 4
"""Frames whose depths are shown."""


def _sheet(found: SelfDriven) -> np.ndarray:
    """Returns recorded, ours and nearest above each other: a frame of every label, or ten of the only one."""
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
    """Writes recorded and ours beside each other, clip after clip, with the sound."""
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
    """Returns the dataset's index of the held-out frame with the widest open mouth."""
    opening = np.nan_to_num(found.openings["recorded"])
    return found.held.indices[int(opening.argmax())]


def write_report(
    folder: Path,
    avatar: Avatar,
    found: SelfDriven | None,
    surface: Surface,
    metrics: Mapping,
    progress: Progress = unseen_progress,
) -> None:
    """Writes metrics.json, metrics.md, index.html and what the page shows; spoken.mp4 lies there already, if at all.

    found: None where there was no recording to compare with. surface: its rows are drawn.

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
        write_synthetic(folder / "poses.png", emotions_by_pose(avatar, found.held.dataset), tags)
        mouth_curves(found.openings, [frame.clip for frame in found.held.frames], folder / "mouth.png")
        if surface.rows:
            shown = np.linspace(0, len(surface.rows) - 1, min(DEPTH_ROWS, len(surface.rows))).astype(int)
            write_synthetic(folder / "depth.png", np.vstack([surface.rows[k] for k in shown]), tags)
        _side_by_side(found, folder / "side-by-side.mp4", progress)
    files = {path.name for path in folder.iterdir()}
    write(folder / "index.html", page(metrics, files))
