"""Head poses from files: camera-to-world matrices of a recording other than the avatar's own."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from aed_nerfstudio import outside
from aed_nerfstudio.dataset.checked_json import LARGEST, Field, check_poses, read_json
from aed_nerfstudio.dataset.schema import FARTHEST
from aed_nerfstudio.errors import InputError

MOST = 250_000
"""Poses: nearly three hours."""
MEND = "give camera-to-world matrices (OpenGL, the head at the origin), 25 a second"


def read_poses(path: Path) -> Float32[np.ndarray, "n 3 4"]:
    """Reads a sequence of head poses, 25 a second.

    Args:
        path: `.npy` [N, 3, 4] or [N, 4, 4]; or `.json`: a list of such matrices (nested, or flat lists of 12 or 16
            numbers), or a dataset's `transforms.json`, of which the longest clip is taken.

    Returns:
        Camera-to-world, float32 [N, 3, 4].

    Raises:
        InputError: the file is missing, damaged, empty or holds something else, named by its place in the file.
    """
    path = Path(path)
    fields = _from_numpy(path) if path.suffix.lower() == ".npy" else _from_json(path)
    if not 0 < len(fields) <= MOST:
        held = f"more than {MOST} poses" if fields else "no pose"
        raise InputError(f"{path}: holds {held}; {MEND}")
    matrices = np.stack([_matrix(field) for field in fields])
    check_poses(fields, matrices, FARTHEST)
    return matrices[:, :3].astype(np.float32)


def _from_numpy(path: Path) -> list[Field]:
    array = outside.read_array(path, MEND)
    if not (array.ndim == 3 and array.shape[1:] in ((3, 4), (4, 4)) and len(array) <= MOST):
        raise InputError(f"{path}: has shape {list(array.shape)}, not [N, 3, 4] or [N, 4, 4], N at most {MOST}; {MEND}")
    return list(Field(array.tolist(), path, mend=MEND).list())


def _from_json(path: Path) -> list[Field]:
    whole = read_json(path, MEND, MEND)
    if not isinstance(whole.value, dict):
        return list(whole.list())
    frames = list(whole["frames"].list())
    # A jump from clip to clip would be smoothed into a swing of the head.
    clips = [list(part) for _, part in groupby(frames, lambda frame: frame.get("clip", None).value)]
    return [frame["transform_matrix"] for frame in max(clips, key=len, default=[])]


def _matrix(field: Field) -> np.ndarray:
    """Returns a pose as [4, 4]."""
    try:
        array = np.array(field.value, np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.empty(0)
    fits = array.size in (12, 16) and array.shape in ((12,), (16,), (3, 4), (4, 4))
    if not fits or not (np.abs(array) <= LARGEST).all():
        raise field.wrong("a 3x4 or 4x4 matrix of finite numbers")
    return np.concatenate([array.reshape(-1, 4)[:3], array.reshape(-1, 4)[3:] if array.size == 16 else [[0, 0, 0, 1]]])
