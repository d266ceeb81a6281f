"""What an avatar hears in a stretch of sound: the features of the front end that it was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from aed_nerfstudio.audio.feature_files import is_file_front_end, read_feature_file
from aed_nerfstudio.audio.features import STEP, STEPS_PER_FRAME, extract_features
from aed_nerfstudio.errors import InputError


def count_frames(audio: Float[np.ndarray, " n"]) -> int:
    """Returns how many frames a sound lasts, float [n] mono at 16 kHz; InputError where it is shorter than one."""
    frames = round(len(audio) / (STEPS_PER_FRAME * STEP))
    if frames < 1:
        raise InputError("the sound is shorter than one frame (0.04 s); give a longer one")
    return frames


def hear_silence(frames: int, front_end: str, dim: int) -> Float32[np.ndarray, "steps dim"]:
    """Returns the features of so many frames of silence, float32 [2 * frames, dim]; of files' front ends, zeros."""
    if is_file_front_end(front_end):
        return np.zeros((STEPS_PER_FRAME * frames, dim), np.float32)
    return hear(np.zeros(STEPS_PER_FRAME * STEP * frames, np.float32), front_end, dim)


def hear(
    audio: Float[np.ndarray, " n"], front_end: str, dim: int, file: Path | None = None
) -> Float32[np.ndarray, "steps dim"]:
    """Returns the features of a sound, two 50-Hz steps for each of its frames, float32 [2 * frames, dim].

    Args:
        audio: float [n] mono at 16 kHz.
        front_end: the one that the avatar was trained on.
        dim: numbers a step that the avatar was trained on.
        file: ready features of this sound, for an avatar that was trained on such; see `read_feature_file`.

    Raises:
        InputError: sound shorter than one frame, or a file that is missing, not wanted or does not fit.
    """
    frames = count_frames(audio)
    if not is_file_front_end(front_end):
        if file is not None:
            raise InputError(
                f"{file}: this avatar hears by {front_end}, which needs the sound only; leave out --audio-features-file"
            )
        return extract_features(audio, frames, front_end)
    if file is None:
        raise InputError(
            f"this avatar was trained on ready features ({front_end}, {dim} numbers a step), which sound alone "
            "does not give; extract them as for the training video and give --audio-features-file X.npy"
        )
    return read_feature_file(file, frames, dim)
