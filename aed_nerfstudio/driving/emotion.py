"""Emotion as a point: category weights and an intensity, one vector `e = (e_c, e_i)` (paper section 3.3)."""

from __future__ import annotations

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

    @property
    def dim(self) -> int:
        return len(self.categories) + len(self.intensities)

    def encode(self, category: str | dict[str, float], intensity: str | float = "medium") -> np.ndarray:
        """Returns the emotion vector, float32 [dim].

        Args:
            category: a label, or weights of several (normalised to sum 1).
            intensity: a label, or 0 (weakest label) to 1 (strongest); between labels the one-hots are mixed linearly.

        Neutral has no strength of its own (MEAD records it at one level), so pure neutral always carries the first
        intensity; in a mixture the intensity is that of the other categories.

        Raises:
            InputError: an unknown label, or a number out of range.
        """
        weights = {category: 1.0} if isinstance(category, str) else dict(category)
        unknown = [c for c in weights if c not in self.categories]
        if unknown or not weights:
            raise InputError(f"unknown emotion {', '.join(unknown)}; this avatar has {', '.join(self.categories)}")
        total = sum(weights.values())
        if total <= 0 or min(weights.values()) < 0:
            raise InputError(f"emotion weights must be positive, got {weights}")
        vector = np.zeros(self.dim, np.float32)
        for name, weight in weights.items():
            vector[self.categories.index(name)] = weight / total
        strengths = vector[len(self.categories) :]
        position = 0.0 if set(weights) == {"neutral"} else self.position(intensity) * (len(self.intensities) - 1)
        low = min(int(position), len(self.intensities) - 1)
        strengths[low] = 1 - (position - low)
        if low + 1 < len(self.intensities):
            strengths[low + 1] = position - low
        return vector

    def position(self, intensity: str | float) -> float:
        """An intensity label or number as 0..1."""
        if isinstance(intensity, str) and intensity in self.intensities:
            return self.intensities.index(intensity) / max(1, len(self.intensities) - 1)
        try:
            value = float(intensity)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise InputError(f"unknown intensity {intensity}; give 0 to 1 or one of {', '.join(self.intensities)}")
        return value
