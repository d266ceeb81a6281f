"""Reads JSON files whose values are taken one by one, each checked: a wrong one is refused under its own name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from aed_nerfstudio import outside
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.outside import can_be_name

LARGEST = 1e9
"""The largest number of ours."""
MOST_BYTES = 1 << 28
"""The largest file: three hours of frames have 200 MiB."""


class Field:
    """A value of a JSON file; `str` gives its file and name, such as `transforms.json: frames[12].lips_box`.

    Args:
        value: as `json` gives it.
        key: its name or number in what it lies in, or the file's path.
        parent: what it lies in.
        mend: for the file itself: what a user should do where something is wrong.
    """

    __slots__ = ("value", "key", "parent", "mend")

    def __init__(self, value: Any, key: str | int | Path, parent: Field | None = None, mend: str = "") -> None:
        self.value, self.key, self.parent, self.mend = value, key, parent, mend

    def __str__(self) -> str:
        steps, field = [], self
        while field.parent is not None:
            steps.append(f"[{field.key}]" if isinstance(field.key, int) else f".{field.key}")
            field = field.parent
        inside = "".join(reversed(steps)).lstrip(".")
        return f"{field.key}: {inside}" if inside else f"{field.key}"

    def _advice(self) -> str:
        field = self
        while field.parent is not None:
            field = field.parent
        return field.mend

    def wrong(self, what: str) -> InputError:
        """Returns the error that says what the value must be."""
        value = self.value
        if isinstance(value, (dict, list)):
            shown = f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
        else:
            shown = repr(value)
        return InputError(f"{self} must be {what}, not {shown[:60]}{'...' * (len(shown) > 60)}; {self._advice()}")

    def __contains__(self, key: str) -> bool:
        return key in self.object()

    def __getitem__(self, key: str) -> Field:
        if key not in self.object():
            raise InputError(f"{Field(None, key, self)} is missing; {self._advice()}")
        return Field(self.object()[key], key, self)

    def get(self, key: str, default: object) -> Field:
        """Returns a value that may be missing."""
        return Field(self.object().get(key, default), key, self)

    def object(self) -> dict[str, Any]:
        """Returns the value, which must be an object."""
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        return self.value

    def list(self) -> Iterator[Field]:
        """Returns the values of what must be a list."""
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        return (Field(value, number, self) for number, value in enumerate(self.value))

    def text(self) -> str:
        """Returns the value, which must be a text."""
        if not isinstance(self.value, str) or not can_be_name(self.value):
            raise self.wrong("text")
        return self.value

    def texts(self) -> list[str]:
        """Returns the value, which must be a list of texts."""
        return [field.text() for field in self.list()]

    def boolean(self) -> bool:
        """Returns the value, which must be true or false."""
        if not isinstance(self.value, bool):
            raise self.wrong("true or false")
        return self.value

    def integer(self, low: int = 0, high: int = int(LARGEST)) -> int:
        """Returns the value, which must be a whole number from `low` to `high`."""
        if type(self.value) is not int or not low <= self.value <= high:
            raise self.wrong(f"a whole number from {low} to {high}")
        return self.value

    def number(self, low: float = -LARGEST, high: float = LARGEST) -> float:
        """Returns the value, which must be a number from `low` to `high`, not NaN."""
        if type(self.value) not in (int, float) or not low <= self.value <= high:
            raise self.wrong(f"a number from {low:g} to {high:g}")
        return float(self.value)

    def matrix(self) -> list[list[float]]:
        """Returns the value, which must be 4x4 finite numbers; whether they are a pose is for `check_poses`."""
        rows = self.value
        if not (
            isinstance(rows, list)
            and len(rows) == 4
            and all(isinstance(row, list) and len(row) == 4 for row in rows)
            and all(type(v) in (int, float) and -LARGEST <= v <= LARGEST for row in rows for v in row)
        ):
            raise self.wrong("4 rows of 4 finite numbers")
        return rows

    def name(self) -> str:
        """Returns the value, which must be a name fit for a folder: no separators, nothing that leads elsewhere."""
        text = self.text()
        plain = text.isprintable() and text.strip(" .") != "" and not set(text) & set('/\\:*?"<>|')
        if not plain or len(text.encode("utf-8", "replace")) > 200:
            raise self.wrong("a plain name without / \\ : or control characters")
        return text

    def names(self) -> list[str]:
        """Returns the value, which must be a list of at least one name as `name` says, no two alike."""
        names = [field.name() for field in self.list()]
        if not names or len(set(names)) < len(names):
            raise self.wrong("a list of different names")
        return names


def read_json(path: Path, missing: str, mend: str) -> Field:
    """Reads a file as a `Field`.

    Args:
        path: the file.
        missing: what to say where there is none.
        mend: what a user should do where it is damaged or something in it is wrong.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        return Field(outside.read_json(path, MOST_BYTES, mend), path, mend=mend)
    except outside.Missing as error:
        raise InputError(f"{path} is missing: {missing}") from error


def check_poses(
    fields: list[Field], matrices: Float64[np.ndarray, "f 4 4"], farthest: float, tolerance: float = 1e-3
) -> None:
    """Checks camera-to-world matrices [F, 4, 4] that were read from `fields`.

    Args:
        fields: where they are from.
        matrices: what they hold.
        farthest: largest distance of a camera from the origin.
        tolerance: how far the rotation's rows may be from orthonormal.

    Raises:
        InputError: one is no rotation and translation, or too far away.
    """
    rotation = matrices[:, :3, :3]
    skew = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    whole = np.abs(matrices[:, 3] - [0, 0, 0, 1]).max(axis=1) < 1e-6
    rigid = (skew < tolerance) & (np.linalg.det(rotation) > 0) & whole
    near = np.linalg.norm(matrices[:, :3, 3], axis=1) <= farthest
    if not rigid.all():
        raise fields[int(rigid.argmin())].wrong("a rotation and a translation, last row 0 0 0 1")
    if not near.all():
        raise fields[int(near.argmin())].wrong(f"a pose within {farthest:g} units of the head")
