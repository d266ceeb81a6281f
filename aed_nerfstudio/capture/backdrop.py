"""Takes that were filmed before another background than the others are laid over the dataset's one.

An avatar has one background: what a take shows of another one would be learnt as a part of its person. What was filmed
is kept among the files of the stages, because a stopped run may have to look at it again.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from aed_nerfstudio.capture.background import MOVED, Background
from aed_nerfstudio.capture.context import Capture, TakeState
from aed_nerfstudio.capture.matting import refine_mask
from aed_nerfstudio.capture.parallel import in_threads
from aed_nerfstudio.dataset.schema import BACKGROUND, read_image, write_image
from aed_nerfstudio.files import digest, write


def unite_backgrounds(run: Capture, takes: list[TakeState]) -> list[str]:
    """Makes the stages `backdrop:`: returns the names of the takes whose background was replaced.

    Raises:
        InputError: a picture cannot be read or written.
    """
    common = read_image(run.root / "background.png")
    replaced = []
    for take in takes:
        if not take.usable.any():
            continue
        background = Background.read(run.work_file("background", take.name))
        if differs(background, common):
            key = digest(take.key, take.usable_frames(), run.stages.key("background"))
            run.stage(f"backdrop:{take.name}", key, partial(_replace, run, take, background, common))
            replaced.append(take.name)
    return replaced


def differs(background: Background, common: np.ndarray) -> bool:
    """Returns whether a take's background is another one than a picture, uint8 [S, S, 3], where the take saw it."""
    away = np.abs(background.picture[background.seen].astype(np.int16) - common[background.seen]).mean(axis=1)
    return bool(away.size) and float(np.percentile(away, 75)) >= MOVED


def over_another(image: np.ndarray, alpha: np.ndarray, background: Background, common: np.ndarray) -> np.ndarray:
    """Returns a picture with another background, uint8 [S, S, 3].

    Where its own is known, the difference is added, so shadows, grain and what shines through hair stay.

    image, common: uint8 [S, S, 3]. alpha: float32 [S, S], of the person. background: what is behind in `image`.
    """
    behind = np.where(background.seen[..., None], background.picture, image).astype(np.float32)
    moved = image + (1 - alpha[..., None]) * (common - behind)
    return np.clip(np.round(moved), 0, 255).astype(np.uint8)


def _replace(run: Capture, take: TakeState, background: Background, common: np.ndarray, going_on: bool) -> dict:
    def work(k: int) -> None:
        kept, shown = run.filmed_file(take, k), run.picture_file(take, k)
        if not kept.exists():
            write(kept, shown.read_bytes(), run.root)
        image = read_image(kept)
        person = read_image(run.root / "parsing" / take.name / f"{k:05d}.png") != BACKGROUND
        alpha = refine_mask(image, person.astype(np.float32), background)
        write_image(shown, over_another(image, alpha, background, common), root=run.root)

    frames = take.usable_frames()
    for _ in run.bar(in_threads(work, frames), len(frames), f"backdrop {take.name}"):
        pass
    return {"warnings": [f"{take.name}: filmed before another background than the others; it is laid over theirs"]}
