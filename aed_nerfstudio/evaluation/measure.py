"""One row of figures: a sequence of frames against the recorded ones and against sound."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from aed_nerfstudio.evaluation.closures import closures, closures_hit, hit_by_chance, widest_closure
from aed_nerfstudio.evaluation.detail import SHARPNESS, STEADINESS, Detail
from aed_nerfstudio.evaluation.held_out import HeldOut
from aed_nerfstudio.evaluation.instruments import Instruments
from aed_nerfstudio.evaluation.landmark_distance import detect
from aed_nerfstudio.evaluation.metrics import row
from aed_nerfstudio.evaluation.pauses import PAUSE_SECONDS, closed_share, relative_opening, widest_closed
from aed_nerfstudio.evaluation.seam import Seam
from aed_nerfstudio.evaluation.sequence_figures import Marks, lip_figures, measure_frames, spread, sync_figures
from aed_nerfstudio.evaluation.sync import correlation
from aed_nerfstudio.face.face_mesh import mouth_opening

Progress = Callable[[Iterable, int, str], Iterable]
"""Passes items on and shows how far they are: (items, their number, what is done)."""


def unseen_progress(items: Iterable, total: int, what: str) -> Iterable:
    """Passes the items on and shows nothing."""
    return items


IMAGE = ("psnr", "psnr_face", "psnr_mouth", "ssim", "ssim_face", "lpips", "st_lpips")
LIPS = ("lmd_px", "lmd_percent", "lmd_fan_px")
FOLLOWING = ("mouth_correlation", "mouth_correlation_shuffled", "closures_hit", "closures_hit_by_chance")
HEARD = ("audio_mouth_correlation", "audio_mouth_shift")
SYNC = ("sync_c", "sync_d", "sync_shift")
NO_FACE = "no face was found in any frame"
NO_PAUSE = f"no held-out frame lies in a pause of its clip's sound (of more than {PAUSE_SECONDS} s)"
NO_CLOSURE = "the recorded mouth never closes between two frames in which it is open"
NO_MOVEMENT = "the mouth does not move within a label, or fewer than three frames show a face"
PAUSING_FRAMES = 100
"""Recorded frames that tell how far the person's mouth opens in pauses, at most."""
USUAL_REASONS = {
    "ssim_face": "the face's box lies within 5 pixels of the border",
    **dict.fromkeys((*LIPS, "mouth_std_px", "silent_mouth_closed"), NO_FACE),
    **dict.fromkeys((*FOLLOWING, *HEARD), NO_MOVEMENT),
    "closures_hit": NO_CLOSURE,
    "closures_hit_by_chance": NO_CLOSURE + ", or there are less than two seconds",
    "seam": "no recorded frame shows a neck under the chin",
    **dict.fromkeys(SHARPNESS, "the recorded frames do not show it, or without any edge"),
    **dict.fromkeys(STEADINESS, "no three recorded frames follow each other and show it, or nothing changes there"),
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
        self.detail, self.seam = Detail(held.regions, held.follows), Seam(held.seam, len(held))
        recorded = (held.image(k) for k in self._order("looking at the recorded frames"))
        _, self.truth = measure_frames(self.seam.watching(self.detail.watching(recorded)), instruments)
        opening = relative_opening(self.truth.mesh)
        self.closure = widest_closure(opening)
        self.closures = closures(opening, self.closure, held.follows)
        self.pausing = held.pausing(held.frames)
        self.closed = self._widest_closed() if self.pausing.any() else float("nan")

    def _order(self, what: str) -> Iterable[int]:
        return self.progress(range(len(self.held)), len(self.held), what)

    def _widest_closed(self) -> float:
        """Returns how far the mouth opens in the pauses of the whole recording, see `widest_closed`."""
        dataset = self.held.dataset
        frames = [frame for frame in dataset.frames if frame.usable]
        picks = np.flatnonzero(self.held.pausing(frames))
        picks = picks[np.unique(np.linspace(0, len(picks) - 1, PAUSING_FRAMES).astype(int))]
        order = self.progress(picks.tolist(), len(picks), "looking at the pauses")
        return widest_closed(detect(dataset.image(frames[k]) for k in order))

    def ground_truth(self) -> dict:
        """Returns the row of the recorded frames themselves."""
        why = "a recorded frame is not compared with itself"
        own = mouth_opening(self.held.landmarks)
        tracked = relative_opening(self.held.landmarks)
        seen = {
            "mouth_correlation": correlation(self.truth.opening, own, self.held.groups),
            **self._hits(tracked, widest_closure(tracked)),
            **self.detail.means(),
            "seam": self.seam.mean(),
        }
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
        detail, seam = Detail(self.held.regions, self.held.follows), Seam(self.held.seam, len(self.held))
        images = seam.watching(detail.watching(frame(k) for k in self._order(what)))
        figures, marks = measure_frames(images, self.instruments, self.held)
        figures |= lip_figures(marks, self.truth, self.held.groups) | detail.over(self.detail)
        figures |= {"seam": seam.over(self.seam), **self._hits(relative_opening(marks.mesh), self.closure)}
        reasons = {}
        if isinstance(shuffled, str):
            reasons["mouth_correlation_shuffled"] = shuffled
        else:
            opening = shuffled.opening
            figures["mouth_correlation_shuffled"] = correlation(opening, self.truth.opening, self.held.groups)
        return self._row(figures, marks, frame, reasons), marks

    def _hits(self, opening: np.ndarray, widest: float) -> dict[str, float]:
        """Returns which share of the recorded closures a mouth of these openings hits, and by chance."""
        found = self.closures
        hit, chance = closures_hit(opening, found, widest), hit_by_chance(opening, found, widest)
        return {"closures_hit": hit, "closures_hit_by_chance": chance}

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
        figures["silent_mouth_closed"] = closed_share(marks.mesh[self.pausing], self.closed)
        reasons = {**USUAL_REASONS, **unheard, **self.instruments.reasons, **reasons}
        if not self.pausing.any():
            reasons["silent_mouth_closed"] = NO_PAUSE
        if held.silence:
            reasons |= dict.fromkeys((*HEARD, *SYNC, "silent_mouth_closed"), held.silence)
        if held.featureless:  # a figure would be one of chance
            figures |= dict.fromkeys(FOLLOWING)
            reasons |= dict.fromkeys(FOLLOWING, held.featureless)
        return row(figures, reasons, len(held), marks.lost)
