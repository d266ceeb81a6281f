"""Judges a dataset: what is wrong with it, how bad that is, and what mends it."""

from __future__ import annotations

from aed_nerfstudio.dataset.schema import Dataset
from aed_nerfstudio.inspection.findings import Finding
from aed_nerfstudio.inspection.frame_findings import judge_amount, judge_pictures
from aed_nerfstudio.inspection.head_findings import judge_head
from aed_nerfstudio.inspection.label_findings import judge_labels
from aed_nerfstudio.inspection.measures import Measures
from aed_nerfstudio.inspection.sound_findings import judge_sound
from aed_nerfstudio.inspection.torso_findings import judge_torso


def judge(dataset: Dataset, measures: Measures) -> list[Finding]:
    """Returns all findings, those that are in order included."""
    found = judge_amount(dataset, measures)
    if not measures.usable.any():
        return found
    return [*found, *judge_pictures(dataset, measures), *judge_head(dataset, measures), *judge_labels(measures),
            *judge_torso(measures, dataset.camera.w), *judge_sound(dataset, measures)]  # fmt: skip
