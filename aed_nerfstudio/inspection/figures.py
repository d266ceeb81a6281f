"""The figures of a dataset: what `aed inspect` lists before it judges."""

from __future__ import annotations

import numpy as np

from aed_nerfstudio.dataset.schema import FPS, Dataset
from aed_nerfstudio.inspection.measures import Measures, SoundGroup, by_fault, is_number, report_section
from aed_nerfstudio.inspection.sound_findings import LATE_SECONDS
from aed_nerfstudio.inspection.wording import NAMED, count_of, percent, reasons, signed

POSE_FIGURES = {
    "landmark_error_mean": ("tracking error", "{:.2f} px, mean over the stable landmarks"),
    "track_error_mean": ("flow track error", "{:.2f} px, mean"),
    "jitter": ("jitter", "{:.3f} degrees"),
    "jitter_before": ("jitter of landmarks alone", "{:.3f} degrees"),
}


def describe(dataset: Dataset, measures: Measures) -> list[tuple[str, str]]:
    """Returns figures of a dataset as pairs of name and text; those that were not measured are left out."""
    usable, count = measures.usable, len(dataset.frames)
    seconds = usable.sum() / FPS
    train, held = len(dataset.split("train")), len(dataset.split("val"))
    found = [
        ("length", f"{seconds:.1f} s usable of {count / FPS:.1f} s: {count_of(len(dataset.clips), 'clip')}, "
                   f"{count_of(len(measures.labels), 'label')}"),
        ("split", f"{count_of(train, 'frame')} for training, {held} held out"),
        ("lost", f"{percent((~usable).mean())} of the frames{reasons(measures)}"),
    ]  # fmt: skip
    if measures.flags:
        flagged = (f"{name.replace('_', ' ')} {number}" for name, number in sorted(measures.flags.items()))
        found.append(("flagged", f"{', '.join(flagged)} frames"))
    if usable.any():
        faces = np.array([f.face_box[3] - f.face_box[1] for f in dataset.frames])[usable]
        found += [
            ("yaw", _range(measures.yaw[usable], 1, "degrees")),
            ("pitch", _range(measures.pitch[usable], 1, "degrees")),
            ("distance", _range(measures.distance[usable], 2, "m")),
            ("face height", f"{np.median(faces):.0f} px of {dataset.camera.h}"),
        ]
    if measures.sharpness is not None:
        share = percent(measures.blurred_share())
        found.append(("blurred", f"{share} of the frames below half of the median sharpness"))
    found += _pose_figures(dataset.report.get("pose"))
    background = report_section(dataset, "background")
    for key, text in (("unseen", "never seen, made up"), ("moving", "not standing still")):
        if is_number(background.get(key)):
            found.append((f"background, {key}", f"{percent(background[key])} of the picture {text}"))
    return found + _sound_figures(measures.sound)


def _range(values: np.ndarray, digits: int, unit: str) -> str:
    low, middle, high = np.percentile(values, [5, 50, 95])
    return f"{low:.{digits}f} to {high:.{digits}f} {unit}, median {middle:.{digits}f}"


def _sound_figures(groups: list[SoundGroup]) -> list[tuple[str, str]]:
    """Returns a line for every clip, or for many one that sums them up and some for the worst."""
    lines = [(f"sound, {group.title}", _sound_figure(group)) for group in by_fault(groups)]
    shifts = [group.sync.shift for group in groups if group.sync.shift is not None]
    if len(lines) <= NAMED or not shifts:
        return lines[:NAMED]
    known = (group.sync for group in groups if group.sync.shift is not None)
    agreement = [sync.correlation for sync in known if sync.correlation is not None]
    text = (f"{len(shifts)} of {len(groups)} known: shifts {signed(min(shifts))} to {signed(max(shifts))} s, "
            f"correlation {min(agreement):.2f} to {max(agreement):.2f}")  # fmt: skip
    worst = sum(abs(shift) >= LATE_SECONDS[0] for shift in shifts)
    return [("sound", text), *lines[: min(worst, NAMED)]]


def _sound_figure(group: SoundGroup) -> str:
    sync = group.sync
    if sync.shift is None:
        seen = "" if sync.correlation is None else f", best correlation {sync.correlation:.2f}"
        return f"shift unknown: {sync.reason}{seen}"
    drift = "" if group.drift is None else f", {signed(group.drift)} s from start to end"
    return f"shift {signed(sync.shift)} s, correlation with the lips {sync.correlation:.2f}{drift}"


def _pose_figures(pose: object) -> list[tuple[str, str]]:
    """Returns what a pose report holds; it may lack anything."""
    pose = pose if isinstance(pose, dict) else {}
    found = [(name, text.format(pose[key])) for key, (name, text) in POSE_FIGURES.items() if is_number(pose.get(key))]
    if is_number(pose.get("focal")):
        spread = pose.get("focal_deviation")
        found.append(("focal length", f"{pose['focal']:.0f}{f' ± {spread:.0f}' if is_number(spread) else ''} px"))
    if isinstance(pose.get("outliers"), list):
        found.append(("poses not measured", count_of(len(pose["outliers"]), "frame")))
    return found
