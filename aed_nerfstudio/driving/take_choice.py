"""Which recorded take's head motion goes with an emotion."""

from __future__ import annotations

import numpy as np

from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.driving.head_motion import HeadMotion

CATEGORY_MARGIN = 0.1
"""By how much another category must weigh more than the one whose take plays, before its take is taken."""
INTENSITY_MARGIN = 0.5
"""By how much another take of the category must be nearer in intensity than the one that plays, in steps from label to
label: so small that a label which is held has its own take, and so large that a strength which wavers moves no head."""


class TakeChoice:
    """Chooses the take whose label fits an emotion: one of the heaviest category, of these the nearest in intensity, of
    these the longest.

    Neutral's intensity does not count, for it has none. Where no take shows the category, one of neutral is chosen, and
    the longest of all where there is none.
    """

    def __init__(self, motion: HeadMotion, vocabulary: EmotionVocabulary) -> None:
        """Takes the motion of a recording and the vocabulary of the emotions that are asked for."""
        steps = len(vocabulary.intensities) - 1
        pairs = {f"{c} {i}": (c, i) for c in vocabulary.categories for i in vocabulary.intensities}
        self._categories = vocabulary.categories
        self._strengths = np.linspace(0, 1, steps + 1)
        self._margin = INTENSITY_MARGIN / max(steps, 1)
        self._shown: dict[int, tuple[str, float]] = {}  # category and intensity of a take
        self._takes: dict[str, list[int]] = {}  # of a category, the longest first
        for take in motion.longest_first:
            category, intensity = pairs.get(motion.labels[take], ("", ""))
            strength = 0.0 if category in ("", "neutral") else vocabulary.position(intensity)
            self._shown[take] = category, strength
            self._takes.setdefault(category, []).append(take)
        self._others = self._takes.get("neutral", motion.longest_first)

    def __call__(self, emotion: np.ndarray, playing: int | None = None) -> int:
        """Returns the number of a take.

        Args:
            emotion: a vector from `EmotionVocabulary.encode`, [dim].
            playing: the take of the frame before, which stays until another one fits clearly better.
        """
        weights, strengths = emotion[: len(self._categories)], emotion[len(self._categories) :]
        category = self._categories[int(weights.argmax())]
        if playing is not None:
            shown = self._shown[playing][0]
            if shown in self._categories and self._weigh_alike(weights, shown):
                category = shown
        strength = 0.0 if category == "neutral" else float(strengths @ self._strengths)
        takes = self._takes.get(category, self._others)
        distances = {take: abs(self._shown[take][1] - strength) for take in takes}
        nearest = min(takes, key=distances.__getitem__)
        if playing in distances and distances[playing] <= distances[nearest] + self._margin:
            return playing
        return nearest

    def over_time(self, emotions: np.ndarray) -> np.ndarray:
        """Returns the takes of successive emotions, [N, dim] -> int64 [N]."""
        chosen = np.empty(len(emotions), np.int64)
        playing = None
        for number, emotion in enumerate(emotions):
            chosen[number] = playing = self(emotion, playing)
        return chosen

    def _weigh_alike(self, weights: np.ndarray, category: str) -> bool:
        """Returns whether a category weighs nearly as much as the heaviest."""
        return bool(weights[self._categories.index(category)] >= weights.max() - CATEGORY_MARGIN - 1e-6)
