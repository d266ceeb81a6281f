"""One row of figures: a sequence of frames against the recorded ones and against sound."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from aed_nerfstudio.evaluation.held_out import HeldOut
from aed_nerfstudio.evaluation.instruments import Instruments
from aed_nerfstudio.evaluation.metrics import row
from aed_nerfstudio.evaluation.sequence_figures import Marks, lip_figures, measure_frames, spread, sync_figures
from aed_nerfstudio.evaluation.sync import correlation
from aed_nerfstudio.face.face_mesh import mouth_opening

Progress = Callable[[Iterable, int, str], Iterable]
"""Passes items on and shows how far they are: (items, their number, what is done)."""


def unseen_progress(items: Iterable, total: int, what: str) -> Iterable:
    """Passes the items on and shows nothing."""
    return items


IMAGE = ("psnr", "psnr_face", "ssim", "ssim_face", "lpips", "st_lpips")
LIPS = ("lmd_px", "lmd_percent", "lmd_fan_px")
FOLLOWING = ("mouth_correlation", "mouth_correlation_shuffled")
HEARD = ("audio_mouth_correlation", "audio_mouth_shift")
SYNC = ("sync_c", "sync_d", "sync_shift")
NO_FACE = "no face was found in any frame"
NO_MOVEMENT = "the mouth does not move within a label, or fewer than three frames show a face"
USUAL_REASONS = {
    "ssim_face": "the face's box lies within 5 pixels of the border",
    **dict.fromkeys((*LIPS, "mouth_std_px"), NO_FACE),
    **dict.fromkeys((*FOLLOWING, *HEARD), NO_MOVEMENT),
}
"""Why a figure is missing that could be measured as far as machine and dataset go."""


class Scale:
    """Measures sequences that stand beside the held-out frames.

    Args:
        held: the recorded frames; they are looked at first.
        instruments: what measures.
        progress: shows how far that is.
    """

    def __init__(self, held: HeldOut, instruments: Instruments, progress: Progress = unseen_progress) -> None:
        self.held = held
        self.instruments = instruments
        self.progress = progress
        self.levels = held.levels()
        _, self.truth = measure_frames(
            (held.image(k) for k in self._order("looking at the recorded frames")), instruments
        )

    def _order(self, what: str) -> Iterable[int]:
        return self.progress(range(len(self.held)), len(self.held), what)

    def ground_truth(self) -> dict:
        """Returns the row of the recorded frames themselves."""
        why = "a recorded frame is not compared with itself"
        own = np.stack([self.held.dataset.landmarks(frame.clip)[frame.index] for frame in self.held.frames])
        seen = {"mouth_correlation": correlation(self.truth.opening, mouth_opening(own), self.held.groups)}
        reasons: dict[str, str] = dict.fromkeys((*IMAGE, *LIPS, "mouth_correlation_shuffled"), why)
        return self._row(seen, self.truth, self.held.image, reasons)

    def row(
        self, frame: Callable[[int], np.ndarray], what: str, shuffled: Marks | str
    ) -> tuple[dict[str, object], Marks]:
        """Returns the row of a sequence, and its landmarks.

        Args:
            frame: gives the frame at a position, 0 to F - 1, as uint8 [H, W, 3].
            what: shown while it is measured.
            shuffled: landmarks of the same frames rendered with shuffled audio, or why there are none.
        """
        figures, marks = measure_frames((frame(k) for k in self._order(what)), self.instruments, self.held)
        figures |= lip_figures(marks, self.truth, self.held.groups)
        reasons = {}
        if isinstance(shuffled, str):
            reasons["mouth_correlation_shuffled"] = shuffled
        else:
            opening = shuffled.opening
            figures["mouth_correlation_shuffled"] = correlation(opening, self.truth.opening, self.held.groups)
        return self._row(figures, marks, frame, reasons), marks

    def _row(
        self,
        figures: dict[str, float | None],
        marks: Marks,
        frame: Callable[[int], np.ndarray],
        reasons: dict[str, str],
    ) -> dict:
        held, syncnet = self.held, self.instruments.syncnet
        heard, unheard = sync_figures(self.levels, held.stretches(), frame, marks, held.groups, syncnet)
        figures = {**figures, **heard, "mouth_std_px": spread(marks.opening, held.groups)}
        reasons = {**USUAL_REASONS, **unheard, **self.instruments.reasons, **reasons}
        if held.silence:
            reasons |= dict.fromkeys((*HEARD, *SYNC), held.silence)
        if held.featureless:  # a figure would be one of chance
            figures |= dict.fromkeys(FOLLOWING)
            reasons |= dict.fromkeys(FOLLOWING, held.featureless)
        return row(figures, reasons, len(held), marks.lost)
