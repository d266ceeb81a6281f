"""Ready audio features, given as `.npy` files: DeepSpeech, wav2vec, HuBERT and others as peers' programs write them.

A dataset of such features calls its front end `file`, or `file/NAME` if whose features they are was said.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from aed_nerfstudio import outside
from aed_nerfstudio.errors import InputError

FILE = "file"
TOLERANCE = 5
"""Frames that a file may be longer or shorter than the video: extractors differ in how they count at the end."""
WINDOW = 16
"""Steps of the peers' windows, of which every frame has one: the frame's own steps are the eighth and ninth, from 0."""


def is_file_front_end(name: str) -> bool:
    """Returns whether a front end's name says that its features come from files: `file` or `file/NAME`."""
    return re.fullmatch(rf"{FILE}(/[\w.-]+)?", name) is not None


def read_feature_file(path: Path, frames: int, dim: int | None = None) -> Float32[np.ndarray, "steps dim"]:
    """Reads ready features for a 25-fps clip.

    Args:
        path: a `.npy` file of real numbers, told apart by its shape, with D numbers a step:
            `[frames, 16, D]` or `[frames, D, 16]`: windows of 16 steps at stride 2 (DeepSpeech's aud.npy, wav2vec's
            aud_eo.npy); `[frames, 2, D]`: pairs of steps (HuBERT's aud_hu.npy); `[2 * frames, D]`: 50 steps a second;
            `[frames, D]`: 25 a second, which are interpolated.
        frames: of the clip. A file may be up to `TOLERANCE` longer, and is cut, or shorter, and its last step repeated.
        dim: the D that is needed; any when None.

    Returns:
        float32 [2 * frames, D], two 50-Hz steps a frame.

    Raises:
        InputError: the file is missing, damaged, holds no real numbers or not finite ones, or has another shape.
    """
    path = Path(path)
    array = _load(path)
    with np.errstate(over="ignore"):  # to infinity, which is refused
        sequence = _sequence(path, array, frames, dim)
    if dim is not None and sequence.shape[1] != dim:
        raise InputError(f"{path}: has {sequence.shape[1]} numbers a step {_shape(array)}, not the {dim} that are "
                         f"needed; give {_expected(frames, dim)}")  # fmt: skip
    bad = np.flatnonzero(~np.isfinite(sequence).all(axis=1))
    if bad.size:
        raise InputError(f"{path}: not finite in {bad.size} of {len(sequence)} steps, first at {bad[0] / 50:.2f} s; "
                         "extract the features again")  # fmt: skip
    sequence = sequence[: 2 * frames]
    return np.pad(sequence, ((0, 2 * frames - len(sequence)), (0, 0)), mode="edge")


def cut_features(
    features: Float[np.ndarray, "all_steps dim"], first: int, frames: int, late: float = 0.0
) -> Float[np.ndarray, "steps dim"]:
    """Cuts the features of a part of a video, for clips that are cut out of it or whose sound does not keep time.

    Args:
        features: [2 * F, D] of the whole video.
        first: the part's first frame.
        frames: of the part.
        late: seconds by which the sound comes later than the picture; taken in steps of 0.02 s.

    Returns:
        [2 * frames, D]; beyond the ends of `features` their first or last step is repeated.
    """
    steps = 2 * first + round(50 * late) + np.arange(2 * frames)
    return features[np.clip(steps, 0, len(features) - 1)]


def _load(path: Path) -> np.ndarray:
    """Returns the file's array, not yet read into memory. Nothing in the file is run."""
    array = outside.read_array(path, "write the one array of features with numpy.save")
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"{path}: holds {array.dtype}, not the floating-point numbers that features are")
    return array


def _expected(frames: int, dim: int | None) -> str:
    d = "D" if dim is None else dim
    return (f"[{2 * frames}, {d}] (50 steps a second), [{frames}, {d}] (25 a second), [{frames}, 2, {d}] or windows "
            f"[{frames}, {WINDOW}, {d}]")  # fmt: skip


def _shape(array: np.ndarray) -> str:
    return f"[{', '.join(map(str, array.shape))}]"


def _sequence(path: Path, array: np.ndarray, frames: int, dim: int | None) -> np.ndarray:
    """Returns the array as float32 [about 2 * frames, D]."""
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(f"{path}: has shape {_shape(array)}; give {_expected(frames, dim)}")
    count, per_frame = len(array), 1
    if array.ndim == 2 and abs(count - 2 * frames) < 2 * abs(count - frames):
        per_frame = 2
    if abs(count - per_frame * frames) > per_frame * TOLERANCE:
        raise InputError(f"{path}: has shape {_shape(array)}, which does not fit {frames} frames, {frames / 25:.2f} s; "
                         f"give {_expected(frames, dim)}")  # fmt: skip
    if array.ndim == 3:
        return _from_three(path, array, frames, dim)
    array = array.astype(np.float32)
    return array if per_frame == 2 else _doubled(array)


def _from_three(path: Path, array: np.ndarray, frames: int, dim: int | None) -> np.ndarray:
    """Takes the frames' own steps, float32 [2 * frames, D], out of [frames, 16 or 2, D] or [frames, D, 16]."""
    if array.shape[1] == 2:
        return array.reshape(-1, array.shape[2]).astype(np.float32)
    for windows in (array, array.swapaxes(1, 2)):
        if windows.shape[1] == WINDOW and _overlap(windows):
            middle = windows[:, WINDOW // 2 : WINDOW // 2 + 2]
            return middle.reshape(-1, windows.shape[2]).astype(np.float32)
    if WINDOW in array.shape[1:]:
        raise InputError(f"{path}: {_shape(array)} are no windows of {WINDOW} steps at stride 2: neighbours do not "
                         f"overlap; give {_expected(frames, dim)}")  # fmt: skip
    raise InputError(f"{path}: has shape {_shape(array)}; give {_expected(frames, dim)}")


def _overlap(windows: np.ndarray) -> bool:
    """Returns whether windows [F, 16, D] hold the same 14 steps as their neighbours do, as those of stride 2 must."""
    return all(
        np.allclose(later[:-2], earlier[2:], rtol=1e-3, atol=1e-4, equal_nan=True)
        for earlier, later in zip(windows[:-1], windows[1:], strict=True)
    )


def _doubled(array: np.ndarray) -> np.ndarray:
    """Interpolates 25 steps a second to 50, [F, D] -> [2 F, D].

    A frame's two steps lie a quarter before and after its middle.
    """
    before = np.concatenate([array[:1], array[:-1]])
    after = np.concatenate([array[1:], array[-1:]])
    return np.stack([0.75 * array + 0.25 * before, 0.75 * array + 0.25 * after], axis=1).reshape(-1, array.shape[1])
