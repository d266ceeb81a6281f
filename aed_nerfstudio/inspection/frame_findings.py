"""Whether a dataset has enough frames, and what they show: length, held-out part, lost, blurred and covered frames."""

from __future__ import annotations

from collections import Counter

import numpy as np

from aed_nerfstudio.capture.quality import DETAILED
from aed_nerfstudio.dataset.schema import FPS, Dataset
from aed_nerfstudio.inspection.findings import Finding, Level, level_of
from aed_nerfstudio.inspection.measures import Measures, is_number, report_section
from aed_nerfstudio.inspection.wording import count_of, first_names, percent, reasons

SHORT_SECONDS = 60.0
"""The family trains on 3 to 5 minutes; a minute still gives an avatar, less of it repeats few mouth shapes."""
LEAST_SECONDS = 5.0
"""Below it the held-out part has fewer than 12 frames, and most sounds of a language do not occur."""
LEAST_HELD_OUT = 3
"""Frames without which `ns-eval` refuses."""
LOST = (0.05, 0.5)
"""Shares of lost frames: more than one in twenty comes from something that filming anew mends; with half of them gone
what is left is pieces."""
BLURRED_SHARE = 0.1
UNSEEN_SHARE = 0.5
"""Of the usable frames, in clips that never show the mouth, the eyes or anything sharp: with fewer the others teach."""


def judge_amount(dataset: Dataset, measures: Measures) -> list[Finding]:
    """Judges how much there is, what is held out and how many frames are lost."""
    return [_length(measures), *_split(dataset), _lost(measures)]


def judge_pictures(dataset: Dataset, measures: Measures) -> list[Finding]:
    """Judges how sharp the usable frames are, and what whole clips never show."""
    return [*([] if measures.sharpness is None else [_blur(measures)]), *_views(dataset, measures)]


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
    level = level_of(share, LOST)
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
