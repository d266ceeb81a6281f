"""Emotion as a point: category weights and an intensity, one vector `e = (e_c, e_i)` (paper section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from aed_nerfstudio.errors import InputError

CATEGORIES = ("neutral", "angry", "fearful", "happy", "sad")
INTENSITIES = ("weak", "medium", "strong")


@dataclass(frozen=True)
class EmotionVocabulary:
    """The labels of one dataset, in the order of the one-hot entries; intensities from weak to strong."""

    categories: tuple[str, ...] = CATEGORIES
    intensities: tuple[str, ...] = INTENSITIES
    recorded: tuple[tuple[str, str], ...] = ()
    """The (category, intensity) pairs of which there are frames; what lies beyond them is refused, because a network
    answers inputs that it never saw with anything at all. Empty: nothing is refused."""

    @property
    def dim(self) -> int:
        return len(self.categories) + len(self.intensities)

    @property
    def default_category(self) -> str:
        """Returns neutral, or the first recorded where neutral was not."""
        known = [c for c, _ in self.recorded]
        return known[0] if known and "neutral" not in known else "neutral"

    def encode(
        self, category: str | dict[str, float] | None = None, intensity: str | float | None = None
    ) -> np.ndarray:
        """Returns the emotion vector, float32 [dim].

        Args:
            category: a label, or weights of several (normalised to sum 1); None: neutral, or the first recorded.
            intensity: a label, or 0 (weakest label) to 1 (strongest); between labels the one-hots are mixed linearly.
                None: as near to the middle as was recorded.

        Neutral has no strength of its own (MEAD records it at one level), so pure neutral always carries the first
        intensity; in a mixture the intensity is that of the other categories.

        Raises:
            InputError: an unknown label, a number out of range, or something that was not recorded.
        """
        if category is None:
            category = self.default_category
        weights = {category: 1.0} if isinstance(category, str) else dict(category)
        unknown = [c for c in weights if c not in self.categories]
        if unknown or not weights:
            raise InputError(f"unknown emotion {_short(', '.join(unknown))}; this avatar has "
                             f"{', '.join(self.categories)}")  # fmt: skip
        total = sum(weights.values())
        if total <= 0 or min(weights.values()) < 0:
            raise InputError(f"emotion weights must be positive, got {_short(str(weights))}")
        vector = np.zeros(self.dim, np.float32)
        for name, weight in weights.items():
            vector[self.categories.index(name)] = weight / total
        strengths = vector[len(self.categories) :]
        position = self.strength([c for c, weight in weights.items() if weight > 0], intensity)
        position *= len(self.intensities) - 1
        low = min(int(position), len(self.intensities) - 1)
        strengths[low] = 1 - (position - low)
        if low + 1 < len(self.intensities):
            strengths[low + 1] = position - low
        return vector

    def span(self, category: str) -> tuple[float, float] | None:
        """Returns the weakest and strongest intensity recorded of a category, 0..1; None where it was not recorded."""
        if not self.recorded:
            return 0.0, 1.0
        known = [self.position(i) for c, i in self.recorded if c == category]
        return (min(known), max(known)) if known else None

    def common_span(self, categories: Iterable[str]) -> tuple[float, float] | None:
        """Returns the weakest and strongest intensity recorded of all of these, 0..1; None where neutral is the only
        one.

        Raises:
            InputError: one of them was not recorded.
        """
        spans = {category: self.span(category) for category in categories}
        lost = [category for category, span in spans.items() if span is None]
        if lost:
            raise InputError(f"no frame shows {', '.join(lost)}; this avatar has {self._recorded_labels()}")
        strong = [span for category, span in spans.items() if span is not None and category != "neutral"]
        return (max(a for a, _ in strong), min(b for _, b in strong)) if strong else None

    def strength(self, categories: list[str], intensity: str | float | None) -> float:
        """Returns the intensity to show these categories with, 0..1; see `encode`."""
        asked = None if intensity is None else self.position(intensity)
        span = self.common_span(categories)
        if span is None:
            return 0.0
        low, high = span
        if asked is None:
            known = [self.position(i) for c, i in self.recorded if c in categories and c != "neutral"]
            return min((p for p in known if low <= p <= high), key=lambda p: (abs(p - 0.5), -p), default=0.5)
        if self.recorded and not low - 1e-6 <= asked <= high + 1e-6:
            raise InputError(f"intensity {intensity} of {', '.join(categories)} lies outside what was recorded; this "
                             f"avatar has {self._recorded_labels()}")  # fmt: skip
        return asked

    def _recorded_labels(self) -> str:
        """Returns the recorded labels for people, in the vocabulary's order."""
        parts = []
        for category in self.categories:
            found = [i for i in self.intensities if (category, i) in self.recorded]
            if found:
                parts.append(category if category == "neutral" else f"{category} ({', '.join(found)})")
        return ", ".join(parts)

    def position(self, intensity: str | float) -> float:
        """Returns an intensity label or number as 0..1."""
        if isinstance(intensity, str) and intensity in self.intensities:
            return self.intensities.index(intensity) / max(1, len(self.intensities) - 1)
        try:
            value = float(intensity)
        except (ValueError, OverflowError):
            value = -1.0
        if not 0 <= value <= 1:
            raise InputError(f"unknown intensity {_short(str(intensity))}; give 0 to 1 or one of "
                             f"{', '.join(self.intensities)}")  # fmt: skip
        return value


def parse_mixture(text: str) -> dict[str, float]:
    """Reads `happy`, or `happy:0.7+sad:0.3`, as weights by label; labels are not looked up here.

    Raises:
        InputError: a weight that is no number of 0 or more, or a label twice.
    """
    weights: dict[str, float] = {}
    for part in text.split("+"):
        label, colon, number = (piece.strip() for piece in part.partition(":"))
        try:
            weight = float(number) if colon else 1.0
        except ValueError:
            weight = -1.0
        if not (label and 0 <= weight < math.inf) or label in weights:
            raise InputError(f"{_short(text)}: is no emotion; write happy, or happy:0.7+sad:0.3")
        weights[label] = weight
    return weights


def _short(text: str) -> str:
    """Returns a text as errors show it."""
    return text if len(text) <= 200 else f"{text[:200]}..."
