"""The panel's emotion: a category, its strength, and a second category to blend with; only what was recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import viser

from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.viewer.private import set_ends

NONE = "(none)"


class EmotionControls:
    """Sliders and menus for an emotion vector.

    Args:
        gui: where to put them.
        vocabulary: what the avatar knows.
        on_change: is called when the emotion has changed.
    """

    def __init__(self, gui: viser.GuiApi, vocabulary: EmotionVocabulary, on_change: Callable[[], None]) -> None:
        self.vocabulary = vocabulary
        self.on_change = on_change
        self._choosing = threading.Lock()
        known = [c for c in vocabulary.categories if vocabulary.span(c) is not None]
        start = "neutral" if "neutral" in known else known[0]
        self.category = gui.add_dropdown("Emotion", known, initial_value=start)
        self.intensity = gui.add_slider(
            "Intensity", 0.0, 1.0, 0.01, 0.5, hint="From weak (0) to strong (1), within what was recorded."
        )
        self.second = gui.add_dropdown("Blend with", [NONE], hint="A second emotion to mix in.")
        self.share = gui.add_slider("Share", 0.0, 1.0, 0.01, 0.5, hint="Of the second emotion in the mixture.")
        for handle in (self.category, self.second):
            handle.on_update(lambda event: self._choose())
        for handle in (self.intensity, self.share):
            handle.on_update(lambda event: on_change())
        self._choose()

    @property
    def vector(self) -> np.ndarray:
        """Returns the emotion vector that the controls say, as `EmotionVocabulary.encode` gives it."""
        weights = {self.category.value: 1.0}
        if self.second.value != NONE:
            weights = {self.category.value: 1.0 - self.share.value, self.second.value: self.share.value}
        low, high = self._span([c for c, weight in weights.items() if weight > 0]) or (0.0, 1.0)
        return self.vocabulary.encode(weights, min(max(self.intensity.value, low), high))

    def _span(self, categories: list[str]) -> tuple[float, float] | None:
        """Returns the intensities that all of these were recorded with; None: there is none. Neutral has no
        strength."""
        spans = [self.vocabulary.span(c) for c in categories if c != "neutral"]
        known = [span for span in spans if span is not None]
        low, high = max((a for a, _ in known), default=0.0), min((b for _, b in known), default=1.0)
        return (low, high) if low <= high and len(known) == len(spans) else None

    def _choose(self) -> None:
        """Offers what goes with another category."""
        with self._choosing:  # viser runs each change's callback in a thread of its own: the last one must win
            first = self.category.value
            others = [c for c in self.category.options if c != first and self._span([first, c]) is not None]
            self.second.options = (NONE, *others)
            second = self.second.value
            shown = [first] if second == NONE else [first, second]
            low, high = self._span(shown) or (0.0, 1.0)
            # A slider needs two ends.
            fixed = low == high or shown == ["neutral"]
            set_ends(self.intensity, low, high if high > low else low + 0.01)
            self.intensity.disabled = fixed
            self.share.disabled = second == NONE
        self.on_change()
