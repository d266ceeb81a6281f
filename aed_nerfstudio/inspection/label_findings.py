"""Whether a dataset's labels differ in nothing but the expression."""

from __future__ import annotations

import numpy as np

from aed_nerfstudio.inspection.findings import Finding
from aed_nerfstudio.inspection.measures import Measures

LABEL_SHARE = 0.5
"""Of the median label: a label with less is learnt worse than the others and drowns in blends."""


def judge_labels(measures: Measures) -> list[Finding]:
    """Judges whether every label has enough; nothing of a single label."""
    return _balance(measures)


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
