"""What is wrong with a dataset, how bad that is, and what mends it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from aed_nerfstudio.audio.feature_files import is_file_front_end
from aed_nerfstudio.audio.late_sound import MINIMUM_SECONDS
from aed_nerfstudio.capture.quality import DETAILED
from aed_nerfstudio.capture.upright import turn_command
from aed_nerfstudio.dataset.schema import FPS, Dataset
from aed_nerfstudio.inspection.measures import Measures, SoundGroup, is_number, report_section
from aed_nerfstudio.inspection.wording import count_of, first_names, percent, reasons, signed

SHORT_SECONDS = 60.0
"""The family trains on 3 to 5 minutes; a minute still gives an avatar, less of it repeats few mouth shapes."""
LEAST_SECONDS = 5.0
"""Below it the held-out part has fewer than 12 frames, and most sounds of a language do not occur."""
LOST = (0.05, 0.5)
"""Shares of lost frames: more than one in twenty comes from something that filming anew mends; with half of them gone
what is left is pieces."""
BLURRED_SHARE = 0.1
UNSEEN_SHARE = 0.5
"""Of the usable frames, in clips that never show the mouth, the eyes or anything sharp: with fewer the others teach."""
LYING_DEGREES = 60.0
"""Median turn of the face in its picture: heads are tilted by 30, those of a wrong rotation flag lie by 90."""
AWAY_DEGREES = (40.0, 48.0)
"""Median turn to the side, from the landmarks' depth, which says 49 to 57 for an actor at 55 and for one at 70: the far
corner of the mouth is hidden."""
LABEL_SHARE = 0.5
"""Of the median label: a label with less is learnt worse than the others and drowns in blends."""
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
LATE_SECONDS = (0.08, 0.2)
"""A shift of two frames is seen (broadcast norms allow 0.045 s early, 0.125 s late; the measure errs by up to 0.05 s on
10 s); beyond 0.2 s a frame's own sound lies outside the 0.16 s that its audio window reaches."""
DRIFT_SECONDS = 0.12
"""Between a clip's ends: three frames, more than the measure errs."""
JUDGED_SECONDS = 20.0
"""With that much speech the lips' agreement with their sound has always been seen."""
LEAST_HELD_OUT = 3
"""Frames without which `ns-eval` refuses."""
LAG = 0.05
"""Seconds within which shifts of several clips count as one fault."""
Level = Literal["ok", "warn", "fail"]
VERDICTS: dict[Level, str] = {"ok": "ready", "warn": "usable, but", "fail": "not usable"}


@dataclass(frozen=True)
class Finding:
    """One thing that was judged: how bad it is, what it is, and what mends it (empty where nothing must be)."""

    level: Level
    topic: str
    text: str
    mend: str = ""


@dataclass(frozen=True)
class Inspection:
    """The outcome. figures: pairs of name and text. files: what was drawn."""

    root: Path
    figures: list[tuple[str, str]]
    findings: list[Finding]
    files: list[Path]

    @property
    def verdict(self) -> str:
        """Returns `ready`, `usable, but` or `not usable`."""
        levels = {finding.level for finding in self.findings}
        return VERDICTS["fail" if "fail" in levels else "warn" if "warn" in levels else "ok"]

    @property
    def usable(self) -> bool:
        """Returns whether training on it is worth while."""
        return self.verdict != VERDICTS["fail"]

    def summary_text(self) -> str:
        """Returns figures, what is wrong with its mend, where the pictures are, and the verdict, for a terminal."""
        width = max(len(name) for name, _ in self.figures)
        lines = [f"  {name:{width}}  {text}" for name, text in self.figures]
        for finding in self.findings:
            if finding.level != "ok":
                lines.append(f"{finding.level}: {finding.topic}: {finding.text}")
                lines.append(f"      mend: {finding.mend}")
        lines += [f"see {path}" for path in self.files]
        return "\n".join([*lines, f"{self.root}: {self.headline()}"])

    def headline(self) -> str:
        """Returns the verdict with the topics that led to it."""
        bad = {"not usable": ("fail",), "usable, but": ("warn",), "ready": ()}[self.verdict]
        topics = dict.fromkeys(finding.topic for finding in self.findings if finding.level in bad)
        return f"{self.verdict}: {', '.join(topics)}" if topics else self.verdict


def judge(dataset: Dataset, measures: Measures) -> list[Finding]:
    """Returns all findings, those that are in order included."""
    found = [_length(measures), *_split(dataset), _lost(measures)]
    if not measures.usable.any():
        return found
    if measures.sharpness is not None:
        found.append(_blur(measures))
    return [*found, *_views(dataset, measures), *_facing(measures), *_poses(measures), *_tracking(dataset),
            *_background(dataset), *_balance(measures), *_hearing(dataset, measures)]  # fmt: skip


def _level(value: float, limits: tuple[float, float]) -> Level:
    return "fail" if value > limits[1] else "warn" if value > limits[0] else "ok"


def _length(measures: Measures) -> Finding:
    seconds = measures.usable.sum() / FPS
    text = f"{seconds:.1f} s are usable"
    if seconds < LEAST_SECONDS:
        return Finding("fail", "length", text, f"give at least {SHORT_SECONDS:.0f} s of speech, better 3 minutes")
    if seconds < SHORT_SECONDS:
        return Finding("warn", "length", f"only {text}", "give more video of the same person and place, better 3 "
                       "minutes; lips follow unheard speech less well")  # fmt: skip
    return Finding("ok", "length", text)


def _split(dataset: Dataset) -> list[Finding]:
    held = len(dataset.split("val"))
    if held >= LEAST_HELD_OUT:
        return []
    return [Finding("warn", "held-out part", f"only {count_of(held, 'frame')}, so nothing can be evaluated",
                    "give clips whose last eleventh shows the face")]  # fmt: skip


def _lost(measures: Measures) -> Finding:
    share = float((~measures.usable).mean())
    mend = "film with the face in full view all the time, hands and microphone off the mouth, or cut these parts out"
    level = _level(share, LOST)
    text = f"{percent(share)} are left out{reasons(measures)}"
    return Finding(level, "lost frames", text, mend if level != "ok" else "")


def _blur(measures: Measures) -> Finding:
    share = measures.blurred_share()
    text = f"{percent(share)} of the frames have less than half of the median sharpness"
    if share > BLURRED_SHARE:
        return Finding("warn", "blur", text, "use more light or a shorter exposure, lock the focus, or cut them out")
    return Finding("ok", "blur", text)


def _views(dataset: Dataset, measures: Measures) -> list[Finding]:
    """Judges what whole clips never show; see `ClipView`. Folders of earlier versions do not say."""
    clips = {name: part for name, part in report_section(dataset, "clips").items() if isinstance(part, dict)}
    views = {name: part["view"] for name, part in clips.items() if isinstance(part.get("view"), dict)}
    detail = {name: view["detail"] for name, view in views.items() if is_number(view.get("detail"))}
    unseen = [name for name, view in views.items() if view.get("mouth") == "unseen"]
    followed = {name for group in measures.sound if group.sync.shift is not None for name in group.clips}
    soft = [name for name, share in detail.items() if share < DETAILED[0]]
    worst = percent(min(detail.values(), default=1.0))
    never: list[tuple[list[str], Level, str, str, str]] = [
        ([name for name in unseen if name not in followed], "fail", "mouth",
         "it is never seen, so nothing can learn how it moves",
         "film the face from the front with nothing before the mouth: no mask, microphone or hand"),
        ([name for name in unseen if name in followed], "warn", "mouth",
         "it follows the sound, but its lips can hardly be told from the skin", "use more light and less compression"),
        ([name for name, view in views.items() if view.get("mouth") == "closed"], "warn", "mouth",
         "it is never seen to open: nobody speaks, or something covers it",
         "give a recording of speech with nothing before the mouth"),
        ([name for name, view in views.items() if view.get("eyes") is False], "warn", "eyes",
         "they are never seen (dark glasses?), so they can neither look nor blink", "film without what covers them"),
        (soft, "fail" if soft and np.median([detail[name] for name in soft]) < DETAILED[1] else "warn", "blur",
         f"all is blurred: a face of {worst} of the height would show as much",
         "lock the focus on the face, use more light, go closer, and export with less compression"),
    ]  # fmt: skip
    frames = Counter(frame.clip for frame in dataset.frames if frame.usable)
    found = []
    for names, level, topic, text, mend in never:
        few = sum(frames[name] for name in names) <= UNSEEN_SHARE * measures.usable.sum()
        where = "" if len(names) == len(dataset.clips) else f" (in {first_names(names)})"
        found += [Finding("warn" if few else level, topic, text + where, mend)] if names else []
    return found


def _facing(measures: Measures) -> list[Finding]:
    """Judges whether the face stands upright and is seen from the front."""
    tilt, away = np.nanmedian(measures.tilt), np.nanmedian(measures.away)
    found = []
    if abs(tilt) > LYING_DEGREES:
        found.append(Finding("fail", "upright", f"the face is turned by {abs(tilt):.0f} degrees in its picture",
                             turn_command(round(tilt / 90))))  # fmt: skip
    level = _level(float(away), AWAY_DEGREES)
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
        level = _level(error / dataset.camera.w, ERROR_SHARE)
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


def _balance(measures: Measures) -> list[Finding]:
    seconds = {label: sum(parts) for label, parts in measures.labels.items()}
    if len(seconds) < 2:
        return []
    usual = float(np.median(list(seconds.values())))
    poor = [f"{label} ({value:.1f} s)" for label, value in seconds.items() if value < LABEL_SHARE * usual]
    text = f"{len(seconds)} labels, {min(seconds.values()):.1f} to {max(seconds.values()):.1f} s each"
    if poor:
        return [Finding("warn", "labels", f"far below the others' median of {usual:.1f} s: {', '.join(poor)}",
                        "give more takes of these labels, or leave the labels out")]  # fmt: skip
    return [Finding("ok", "labels", text)]


def _hearing(dataset: Dataset, measures: Measures) -> list[Finding]:
    """Judges the sound."""
    groups = measures.sound
    if not groups:
        return [Finding("ok", "sound", "none, by choice (--audio-features none): the avatar will not speak")]
    silent = [group for group in groups if group.silent]
    mend = "give a video with its sound, or separate sound files with `aed process --audio`"
    if len(silent) == len(groups) and is_file_front_end(dataset.front_end):
        return [Finding("ok", "sound", "none beside the ready features, so whether they are in step is unknown")]
    if len(silent) == len(groups):
        return [Finding("fail", "sound", "there is none, so the lips cannot learn from it", mend)]
    found = [Finding("warn", "sound", f"there is none in {first_names(silent)}", mend)] if silent else []
    found += _shifts(dataset, groups)
    for group in groups:
        sync = group.sync
        if group.drift is not None and abs(group.drift) >= DRIFT_SECONDS:
            found.append(Finding(
                "warn", "sound", f"it runs away from the picture in {group.title}: by {signed(group.drift)} s from "
                "start to end", "export the video anew with a constant frame rate and the sound's true rate",
            ))  # fmt: skip
        if sync.shift is None and sync.correlation is not None and sync.seconds >= JUDGED_SECONDS:
            found.append(Finding(
                "warn", "sound", f"the lips of {group.title} do not follow it (correlation {sync.correlation:.2f} at "
                "best): another speaker, another sound track, music, or one that is more than 0.6 s off",
                "compare sound and picture in a player; give the right track with `aed process --audio`",
            ))  # fmt: skip
    return found


def _shifts(dataset: Dataset, groups: list[SoundGroup]) -> list[Finding]:
    """Judges the known shifts: each fault, of all clips with the same one; or else that all is in order."""
    known = [(group.sync.shift, group) for group in groups if group.sync.shift is not None]
    faulty = sorted((pair for pair in known if abs(pair[0]) >= LATE_SECONDS[0]), key=lambda pair: pair[0])
    found = []
    while faulty:
        shifts, alike = zip(*(pair for pair in faulty if pair[0] <= faulty[0][0] + LAG), strict=True)
        faulty = faulty[len(alike) :]
        shift = float(np.median(shifts))
        text = (f"it comes {abs(shift):.2f} s {'later' if shift > 0 else 'earlier'} than the picture in "
                f"{first_names(alike)} (shift {signed(shift)} s)")  # fmt: skip
        level: Level = "fail" if abs(shift) >= LATE_SECONDS[1] else "warn"
        found.append(Finding(level, "sound", text, _shift_mend(dataset, groups, alike, shift)))
    if known and not found:
        shift, worst = max(known, key=lambda pair: abs(pair[0]))
        found.append(Finding("ok", "sound", f"in step with the lips (shift {signed(shift)} s, correlation "
                             f"{worst.sync.correlation:.2f})"))  # fmt: skip
    unsure = [g for g in groups if g.sync.shift is None and not g.silent and g.sync.seconds < JUDGED_SECONDS]
    if unsure:
        found.append(Finding("ok", "sound", f"whether it is in step is unknown in {first_names(unsure)}: "
                             f"{unsure[0].sync.reason}; {MINIMUM_SECONDS:.0f} s of speech are needed"))  # fmt: skip
    return found


def _shift_mend(dataset: Dataset, groups: list[SoundGroup], alike: Sequence[SoundGroup], shift: float) -> str:
    """Returns the option that moves the sound back, on top of what was moved already."""
    clips = [name for group in alike for name in group.clips]
    moved = [report_section(dataset, "clips").get(name) for name in clips]
    applied = {part.get("audio_shift_seconds", 0.0) for part in moved if isinstance(part, dict)}
    total = shift + (applied.pop() if len(applied) == 1 else 0.0)
    known = sum(group.sync.shift is not None for group in groups)
    where = "" if len(alike) == known else " on the videos of these clips alone"
    return f"`aed process --audio-shift {total:.2f}`{where}, into a new folder"
