"""An avatar that speaks a recording it has nothing to do with: whether its mouth follows that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.evaluation.detail import SHARPNESS, STEADINESS
from aed_nerfstudio.evaluation.held_out import Stretch, cut_sound
from aed_nerfstudio.evaluation.instruments import Instruments
from aed_nerfstudio.evaluation.measure import (
    FOLLOWING,
    HEARD,
    IMAGE,
    LIPS,
    SYNC,
    USUAL_REASONS,
    Progress,
    unseen_progress,
)
from aed_nerfstudio.evaluation.metrics import row
from aed_nerfstudio.evaluation.sequence_figures import Marks, spread, sync_figures
from aed_nerfstudio.evaluation.spooled import spooled
from aed_nerfstudio.evaluation.sync import loudness, shifted_levels
from aed_nerfstudio.face.face_finder import FaceFinder
from aed_nerfstudio.media.audio_io import is_silent


def evaluate(
    avatar: Avatar,
    samples: np.ndarray,
    emotion: np.ndarray,
    path: Path,
    instruments: Instruments,
    progress: Progress = unseen_progress,
    features: np.ndarray | None = None,
) -> dict:
    """Lets the avatar speak into a video with sound, and returns the row of figures.

    Args:
        avatar: the trained avatar.
        samples: float [n] mono at 16 kHz.
        emotion: a vector from `avatar.vocabulary.encode`.
        path: the video to write.
        instruments: what measures.
        progress: shows how far the rendering is.
        features: of the sound, from `avatar.features`; made there when None.
    """
    track = avatar.track(samples, emotion, features=features)
    count = len(track)
    frames = spooled(count, *avatar.frame_size())
    mesh = np.empty((count, 478, 3), np.float32)
    with FaceFinder() as finder:

        def watched(rendered: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
            for k, frame in enumerate(progress(rendered, count, "speaking the other audio")):
                frames[k], mesh[k] = frame, finder.landmarks(frame)
                yield frame

        avatar.write_video(path, track, samples, through=watched)
    marks, groups = Marks(mesh, None), np.zeros(count, int)
    silent = is_silent(samples)
    levels = shifted_levels(np.full(count, np.nan) if silent else loudness(samples, count), np.arange(count))
    stretch = Stretch(0, count, None if silent else cut_sound(samples, 0, count))
    figures, reasons = sync_figures(levels, [stretch], frames.__getitem__, marks, groups, instruments.syncnet)
    figures["mouth_std_px"] = spread(marks.opening, groups)
    reasons = {**USUAL_REASONS, **reasons, **instruments.reasons}
    if silent:
        reasons |= dict.fromkeys((*HEARD, *SYNC), "the other audio is silent")
    without = (*IMAGE, *SHARPNESS, *STEADINESS, *LIPS, *FOLLOWING, "silent_mouth_closed")
    reasons |= dict.fromkeys(without, "other audio has no recorded frames to compare with")
    return row(figures, reasons, count, marks.lost)
