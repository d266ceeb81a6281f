"""Emotion over time: keyframes, read from CSV or JSON, and what lies between them."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aed_nerfstudio import outside
from aed_nerfstudio.driving.emotion import EmotionVocabulary, parse_mixture
from aed_nerfstudio.errors import InputError

EXAMPLE = '{"time": 0, "emotion": {"happy": 0.7, "sad": 0.3}, "intensity": 0.5}'
COLUMNS = ("time", "emotion", "intensity")
MOST_BYTES = 1 << 24
"""Of a file: 200 000 keyframes."""


@dataclass(frozen=True)
class Keyframe:
    """What is shown at one moment."""

    time: float
    """Seconds from the sound's start."""
    emotion: Mapping[str, float]
    """Weights by category."""
    intensity: float | None
    """0..1; None for neutral alone, which has none."""


class EmotionTrack:
    """A function from the time in seconds to the emotion vector, float32 [dim], as `Avatar.track` takes one.

    Before the first keyframe and after the last, these are held; two at one time make a jump. Between two, the
    categories are cross-faded, each at the intensity between those of the two keyframes, as far as it was recorded: so
    every moment is a mixture of what the avatar has seen.
    """

    def __init__(self, vocabulary: EmotionVocabulary, keyframes: Iterable[Keyframe]) -> None:
        """Takes at least one keyframe, in the order of time; `keyframe` makes them."""
        self.vocabulary = vocabulary
        self.keyframes = tuple(keyframes)
        self._times = [k.time for k in self.keyframes]

    @classmethod
    def constant(
        cls,
        vocabulary: EmotionVocabulary,
        emotion: str | Mapping[str, float] | None = None,
        intensity: str | float | None = None,
    ) -> EmotionTrack:
        """Returns a track of one emotion throughout; the arguments and errors are those of
        `EmotionVocabulary.encode`."""
        return cls(vocabulary, [keyframe(vocabulary, 0.0, emotion, intensity)])

    @classmethod
    def read(cls, path: Path, vocabulary: EmotionVocabulary) -> EmotionTrack:
        """Reads keyframes from a file.

        Args:
            path: `.csv` with the columns time, emotion (`happy` or `happy:0.7+sad:0.3`) and intensity; or `.json`, a
                list of objects with the same keys, in which emotion may be weights by category. Time is in seconds,
                intensity a label or 0 to 1, and may be left out.
            vocabulary: of the avatar.

        Raises:
            InputError: names the file and the line: keyframes out of order, or an emotion or intensity that is unknown
                or was not recorded; or the file is missing, damaged or empty.
        """
        path = Path(path)
        keyframes: list[Keyframe] = []
        for line, row in read_rows(path):
            try:
                found = keyframe(vocabulary, row["time"], row["emotion"], row.get("intensity"))
                if keyframes and found.time < keyframes[-1].time:
                    raise InputError(f"time {found.time:g} comes after {keyframes[-1].time:g}; sort the keyframes")
            except InputError as error:
                raise InputError(f"{path}, line {line}: {error}") from error
            keyframes.append(found)
        if not keyframes:
            raise InputError(f"{path}: holds no keyframe; give at least one, such as {EXAMPLE}")
        return cls(vocabulary, keyframes)

    def __call__(self, seconds: float) -> np.ndarray:
        after = bisect.bisect_right(self._times, seconds)
        left, right = self.keyframes[max(after - 1, 0)], self.keyframes[min(after, len(self.keyframes) - 1)]
        if left is right or seconds <= left.time:
            return self._shown(left, left.intensity)
        share = (seconds - left.time) / (right.time - left.time)
        ends = [k.intensity for k in (left, right) if k.intensity is not None]
        intensity = (1 - share) * ends[0] + share * ends[-1] if ends else None
        return (1 - share) * self._shown(left, intensity) + np.float32(share) * self._shown(right, intensity)

    def _shown(self, frame: Keyframe, intensity: float | None) -> np.ndarray:
        """Returns the vector of a keyframe's categories at an intensity as near to the one asked for as was
        recorded."""
        span = self.vocabulary.common_span(c for c, weight in frame.emotion.items() if weight > 0)
        if span is not None and intensity is not None:
            intensity = min(max(intensity, span[0]), span[1])
        return self.vocabulary.encode(dict(frame.emotion), intensity)

    def to_json(self) -> list[dict]:
        """Returns the keyframes as JSON values, as `read` takes them."""
        return [
            {"time": k.time, "emotion": dict(k.emotion)}
            | ({} if k.intensity is None else {"intensity": round(k.intensity, 4)})
            for k in self.keyframes
        ]


def read_rows(path: Path) -> list[tuple[int, dict]]:
    """Reads a file of keyframes: all of it that can be known without an avatar.

    Returns:
        The line's number and its values by column, time and emotion among them.

    Raises:
        InputError: the file is missing or damaged, or a line is no keyframe.
    """
    readers = {".csv": _csv_rows, ".json": _json_rows}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path}: must be .csv or .json")
    text = outside.read_text(path, MOST_BYTES, "give a .csv or .json of keyframes")
    return list(readers[path.suffix.lower()](path, text))


def keyframe(
    vocabulary: EmotionVocabulary,
    time: float | str,
    emotion: str | Mapping[str, float] | None,
    intensity: str | float | None,
) -> Keyframe:
    """Makes a keyframe whose emotion and intensity this avatar can show.

    Raises:
        InputError: it cannot, or the time is no number of 0 or more.
    """
    try:
        seconds = float(time)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if isinstance(time, bool) or not 0 <= seconds < math.inf:
        raise InputError(f"time must be seconds, 0 or more, not {_short(time)}")
    if emotion is None:
        emotion = vocabulary.default_category
    weights = parse_mixture(emotion) if isinstance(emotion, str) else emotion
    if not isinstance(weights, Mapping) or not all(
        type(number) in (int, float) and abs(number) <= 1e9 for number in weights.values()
    ):
        raise InputError(f"emotion must be a category or weights by category, not {_short(weights)}")
    if intensity is not None and (isinstance(intensity, bool) or not isinstance(intensity, (str, int, float))):
        raise InputError(f"intensity must be a label or 0 to 1, not {_short(intensity)}")
    vocabulary.encode(dict(weights), intensity)  # refuses what cannot be shown
    shown = [category for category, weight in weights.items() if weight > 0]
    neutral = vocabulary.common_span(shown) is None
    return Keyframe(seconds, dict(weights), None if neutral else vocabulary.strength(shown, intensity))


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}..."


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict]]:
    """Yields the line number and values of each row that is not empty."""
    names = None
    for line, cells in outside.csv_rows(path, text):
        if names is None:
            names = [cell.lower() for cell in cells]
            if not {"time", "emotion"} <= set(names) <= set(COLUMNS) or len(set(names)) < len(names):
                raise InputError(f"{path}, line {line}: the first line must be {','.join(COLUMNS)}")
            continue
        if len(cells) > len(names):
            raise InputError(f"{path}, line {line}: has {len(cells)} values for {len(names)} columns")
        row = {name: cell for name, cell in zip(names, cells, strict=False) if cell}
        yield line, _complete(path, line, row)


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, dict]]:
    """Yields the line number and values of each object of the list; decoded one by one, because `json` keeps no line
    numbers."""
    known, counted = 1, 0

    def line(at: int) -> int:
        nonlocal known, counted  # on from the last place, so that the whole is read once
        known, counted = known + text.count("\n", counted, at), at
        return known

    at = outside.after_space(text, 0)
    if text[at : at + 1] != "[":
        raise InputError(f"{path}, line {line(at)}: must be a list of keyframes, [{EXAMPLE}, ...]")
    at = outside.after_space(text, at + 1)
    while text[at : at + 1] != "]":
        try:
            row, end = outside.decode_json(text, at)
        except ValueError as error:
            number = line(getattr(error, "pos", at))
            raise InputError(f"{path}, line {number}: is no JSON; a keyframe is {EXAMPLE}") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {line(at)}: must be a keyframe such as {EXAMPLE}, not {_short(row)}")
        number = line(at)
        yield number, _complete(path, number, row)
        at = outside.after_space(text, end)
        if text[at : at + 1] == ",":
            at = outside.after_space(text, at + 1)
        elif text[at : at + 1] != "]":
            raise InputError(f"{path}, line {line(at)}: is no JSON: a comma or ] is missing before this")
    at = outside.after_space(text, at + 1)
    if at < len(text):
        raise InputError(f"{path}, line {line(at)}: is no JSON: something follows the list")


def _complete(path: Path, line: int, row: dict) -> dict:
    """Returns the row, in which nothing that is needed is missing and nothing is misspelt."""
    unknown = [name for name in row if name not in COLUMNS]
    lost = [name for name in ("time", "emotion") if name not in row]
    if unknown or lost:
        fault = f"unknown {', '.join(map(_short, unknown[:5]))}" if unknown else f"{' and '.join(lost)} missing"
        raise InputError(f"{path}, line {line}: {fault}; a keyframe has {', '.join(COLUMNS)}")
    return row
