"""Whether there is sound and whether it is in step with the lips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aed_nerfstudio.audio.feature_files import is_file_front_end
from aed_nerfstudio.audio.late_sound import MINIMUM_SECONDS
from aed_nerfstudio.dataset.schema import Dataset
from aed_nerfstudio.inspection.findings import Finding, Level
from aed_nerfstudio.inspection.measures import Measures, SoundGroup, report_section
from aed_nerfstudio.inspection.wording import first_names, signed

LATE_SECONDS = (0.08, 0.2)
"""A shift of two frames is seen (broadcast norms allow 0.045 s early, 0.125 s late; the measure errs by up to 0.05 s on
10 s); beyond 0.2 s a frame's own sound lies outside the 0.16 s that its audio window reaches."""
DRIFT_SECONDS = 0.12
"""Between a clip's ends: three frames, more than the measure errs."""
JUDGED_SECONDS = 20.0
"""With that much speech the lips' agreement with their sound has always been seen."""
LAG = 0.05
"""Seconds within which shifts of several clips count as one fault."""


def judge_sound(dataset: Dataset, measures: Measures) -> list[Finding]:
    """Judges whether there is sound, whether it is late or early, drifts, or belongs to other lips."""
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
