"""Head poses from files: camera-to-world matrices of a recording other than the avatar's own."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np

from aed_nerfstudio.dataset.checked_json import Field, check_poses, read_json
from aed_nerfstudio.dataset.schema import FARTHEST
from aed_nerfstudio.errors import InputError

MOST = 250_000
"""Poses: nearly three hours."""
MEND = "give camera-to-world matrices (OpenGL, the head at the origin), 25 a second"


def read_poses(path: Path) -> np.ndarray:
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
    if not fields:
        raise InputError(f"{path}: holds no pose; {MEND}")
    matrices = np.stack([_matrix(field) for field in fields])
    check_poses(fields, matrices, FARTHEST)
    return matrices[:, :3].astype(np.float32)


def _from_numpy(path: Path) -> list[Field]:
    try:
        # Mapped, so that a header cannot ask for more memory than the file has bytes.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; {MEND}") from error
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise InputError(f"{path}: is no .npy file of plain numbers, or damaged; {MEND}") from error
    fits = isinstance(array, np.ndarray) and array.ndim == 3 and array.shape[1:] in ((3, 4), (4, 4))
    if not (fits and len(array) <= MOST and array.dtype.kind in "fiu"):
        raise InputError(f"{path}: has shape {list(np.shape(array))}, not numbers [N, 3, 4] or "
                         f"[N, 4, 4], N at most {MOST}; {MEND}")  # fmt: skip
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
    """A pose as [4, 4]."""
    try:
        array = np.array(field.value, np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.empty(0)
    if array.size not in (12, 16) or array.shape not in ((12,), (16,), (3, 4), (4, 4)) or not np.isfinite(array).all():
        raise field.wrong("a 3x4 or 4x4 matrix of finite numbers")
    return np.concatenate([array.reshape(-1, 4)[:3], array.reshape(-1, 4)[3:] if array.size == 16 else [[0, 0, 0, 1]]])
