"""The picture behind the person: what a clip shows of it, how surely, and whether it stands still."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from aed_nerfstudio.capture.filling import extend
from aed_nerfstudio.dataset.schema import write_arrays
from aed_nerfstudio.errors import InputError

FRAMES = 80  # looked at, spread over the clip
MEMORY = 2.5e8  # bytes of pictures held at a time: large pictures are looked at in fewer frames
ROWS = 16  # worked on at a time, so that the copies stay small
MARGIN = 0.025  # of the picture's height around the person: hair, blur and what the mask missed
FAR_MARGIN = 0.08  # further away than this nothing of the person, nor its shadow, should move the picture
ENOUGH = 3  # times that a pixel must be seen
MOVED = 12.0  # levels beyond the noise that a still background does not reach
MOVING_SHARE = 0.1  # of the pixels judged: more, and the background is said to move
GUESS = 1000.0  # levels that a made up background may be off, a picture's height away from what was seen
USUAL = 0.04  # of the frames: where a person is seen less often, it is somebody else
STEADY = 4.0  # times the noise: what the mask is unsure about and does not change more is background
NEAR = 0.1  # of the picture's height from a person, within which other clips are trusted more
FADE = 0.05  # of the picture's height: how far what lies at the border reaches into what is made up
GRID = 64  # samples along a side that the plain continuation is fitted to
ROUNDS = 8  # of the fit, each of which trusts what lay far off the last one less
BENT = 0.05  # of the samples: the weight of a plane that is not bent


@dataclass
class Background:
    """What lies behind the person of one clip, in its cropped pictures of S x S pixels.

    picture: uint8 [S, S, 3] RGB, without holes. seen: bool [S, S], False where it was never seen and is made up.
    noise: float16 [S, S], levels: how much a pixel varies while it is seen, or may be off where it is made up. usual:
    uint8 [2, S, S], 255 where the person was in all frames; first as the camera sees it, then with every frame shifted
    so that the chin is at `anchor` (x, y pixels). moving: share of the pixels, far from the person, that do not stand
    still.
    """

    picture: np.ndarray
    seen: np.ndarray
    noise: np.ndarray
    usual: np.ndarray
    anchor: tuple[float, float]
    moving: float

    @property
    def unseen(self) -> float:
        """Returns the share of the picture that was never seen."""
        return float(1 - self.seen.mean())

    @property
    def noise_floor(self) -> float:
        """Returns how much a usual pixel varies, levels."""
        return float(np.median(self.noise[self.seen])) if self.seen.any() else 1.0

    @property
    def moves(self) -> bool:
        """Returns whether so much moves that a still picture will be seen to differ."""
        return self.moving > MOVING_SHARE

    def below(self, row: int) -> Background:
        """Returns the part of it from a row downwards; `usual` and `anchor` stay as they are."""
        return replace(self, picture=self.picture[row:], seen=self.seen[row:], noise=self.noise[row:])

    def report(self) -> dict:
        """Returns what the quality gate shows."""
        return {"unseen": round(self.unseen, 4), "moving": round(self.moving, 4), "moves": self.moves,
                "noise": round(self.noise_floor, 2)}  # fmt: skip

    def write(self, path: Path, root: Path | None = None) -> None:
        """Writes all of it to a `.npz` file, atomically; root: the folder that it must not lead out of."""
        write_arrays(path, root, picture=self.picture, seen=self.seen, noise=self.noise, usual=self.usual,
                     numbers=np.array([*self.anchor, self.moving]))  # fmt: skip

    @classmethod
    def read(cls, path: Path) -> Background:
        """Raises InputError when the file is missing or damaged."""
        try:
            with np.load(path) as stored:
                x, y, moving = (float(v) for v in stored["numbers"])
                return cls(stored["picture"], stored["seen"], stored["noise"], stored["usual"], (x, y), moving)
        except Exception as error:  # a damaged zip raises a dozen different ones
            raise InputError(f"{path} is missing or damaged; run `aed process` again to rebuild it") from error


def sample(count: int, size: int) -> np.ndarray:
    """Returns which of `count` frames of size x size pixels `clip_background` should be given: int [<= FRAMES],
    ascending.
    """
    most = max(8, min(FRAMES, int(MEMORY / (4 * size * size))))
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int))


def clip_background(frames: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Background:
    """Returns the background of one clip.

    frames: of the ones that `sample` chose (image uint8 [S, S, 3] RGB, person float32 [S, S] in 0..1 from
    `segmentation.coarse_person`, chin [2] pixels); they are held in memory together.

    Raises:
        ValueError: there is no frame.
    """
    images, persons, chins = [], [], []
    for image, person, chin in frames:
        images.append(image)
        persons.append(np.round(255 * person).astype(np.uint8))
        chins.append(np.asarray(chin, float)[:2])
    if not images:
        raise ValueError("no frame to take the background from")
    size = images[0].shape[0]
    kernel = _disc(MARGIN * size)
    # How much a person is there or near: 0 free, 255 surely not.
    near = np.stack([cv2.dilate(person, kernel) for person in persons])
    values, spread, seen = _statistics(images, near)
    noise_floor = float(np.median(spread[seen])) if seen.any() else 1.0
    # What is made up is about right near what was seen, and ever less so further in.
    away = cv2.distanceTransform((~seen).astype(np.uint8), cv2.DIST_L2, 3) if seen.any() else np.full(seen.shape, 1e3)
    guess = noise_floor + GUESS * away / size
    noise = np.where(seen, np.maximum(spread, 0.5), np.minimum(guess, 255)).astype(np.float16)
    picture = fill(values, seen, noise_floor)
    usual, anchor = _usual(persons, np.array(chins))
    return Background(picture, seen, noise, usual, anchor, _moving(images, persons, values, seen, noise_floor))


def merge_backgrounds(backgrounds: Sequence[Background]) -> tuple[np.ndarray, np.ndarray]:
    """Returns one picture for all clips of a dataset, uint8 [S, S, 3], and where any of them saw it, bool [S, S].

    It is the mean of the clips that agree with one of them on what both saw (same room, same crop, in whatever light):
    with that with which most agree, of several the one that saw most of its background. A clip counts the less, the
    nearer to its person: what a mask missed lies there. What none of them saw is made up.
    """
    agreeing = [sum(not _differ(one, other) for other in backgrounds) for one in backgrounds]
    best = backgrounds[max(range(len(backgrounds)), key=lambda k: (
        not backgrounds[k].moves, agreeing[k], float(backgrounds[k].seen.mean())))]  # fmt: skip
    sums, total = np.zeros(best.picture.shape, np.float32), np.zeros((*best.seen.shape, 1), np.float32)
    for clip in backgrounds:
        both = best.seen & clip.seen
        if clip is not best and both.sum() < 0.05 * both.size:
            continue
        difference = best.picture[both].astype(np.int16) - clip.picture[both]
        if clip is best or np.percentile(np.abs(difference).mean(axis=1), 75) < MOVED:
            away = cv2.distanceTransform(clip.seen.astype(np.uint8), cv2.DIST_L2, 3) / (NEAR * len(both))
            weight = np.minimum(away, 1)[..., None] ** 2
            light = 0 if clip is best else np.median(difference, axis=0)
            sums += weight * (clip.picture + light).astype(np.float32)
            total += weight
    seen = total[..., 0] > 0
    merged = np.clip(np.round(sums / np.maximum(total, 1e-9)), 0, 255).astype(np.uint8)
    return fill(merged, seen, best.noise_floor), seen


def own_picture(clip: Background, common: np.ndarray) -> np.ndarray:
    """Returns the picture behind the person of a clip, uint8 [S, S, 3].

    It is its own where the clip saw that, and elsewhere that of all clips, `common`, in its light: a camera, or a
    screen in the room, moves by little from one to the next. A clip counts the less, the nearer to its person, as in
    `merge_backgrounds`.
    """
    away = cv2.distanceTransform(clip.seen.astype(np.uint8), cv2.DIST_L2, 3) / (NEAR * len(common))
    change = extend(clip.picture.astype(np.float32) - common, np.minimum(away, 1) ** 2, relax=True)
    return np.clip(np.round(common + change), 0, 255).astype(np.uint8)


def _differ(one: Background, other: Background) -> bool:
    """Returns whether two clips saw different backgrounds; told by a sixteenth of the pixels."""
    a, b = (background.picture[::4, ::4].astype(np.int16) for background in (one, other))
    both = one.seen[::4, ::4] & other.seen[::4, ::4]
    if both.sum() < 0.05 * both.size:
        return False
    return float(np.percentile(np.abs(a - b)[both].mean(axis=1), 75)) >= MOVED


def fill(values: np.ndarray, known: np.ndarray, noise: float = 0.0) -> np.ndarray:
    """Makes up what is not known of a picture: plainly, and passing smoothly over into what lies around it.

    values: uint8 [H, W, 3]. known: bool [H, W]. noise: levels of grain in the known part, given to the made up one too,
    which would look like a smear else. A picture without any known pixel becomes grey. Deterministic.
    """
    if known.all():
        return values.copy()
    if not known.any():
        return np.full_like(values, 127)
    plain = _plain(values, known)
    # Folds, shadows and hair that end at the border would go on as streaks.
    away = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 3) / (FADE * len(known))
    rest = extend(values - plain, known.astype(np.float32), relax=True)
    grain = np.random.default_rng(0).normal(0, min(noise, 3.0), known.shape).astype(np.float32)
    made_up = plain + np.exp(-away)[..., None] * rest + grain[..., None]
    return np.where(known[..., None], values, np.clip(np.round(made_up), 0, 255).astype(np.uint8))


def _plain(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Returns the slightly bent plane of colours that most of the known pixels lie near, float32 [H, W, 3]."""
    height, width = known.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    stride = max(1, height // GRID)
    chosen = known[::stride, ::stride]
    if not chosen.any():
        stride, chosen = 1, known
    basis, colours = terms[::stride, ::stride][chosen], values[::stride, ::stride][chosen].astype(np.float64)
    straight = BENT * len(basis) * np.diag([1e-3, 1e-3, 1e-3, 1, 1, 1])
    weights = np.ones(len(basis))
    for _ in range(ROUNDS):
        weighted = basis * weights[:, None]
        found = np.linalg.solve(basis.T @ weighted + straight, weighted.T @ colours)
        off = np.linalg.norm(colours - basis @ found, axis=1)
        weights = 1 / (1 + (off / max(2.0, float(np.median(off)))) ** 2)
    low, high = np.percentile(colours, [2, 98], axis=0)
    return np.clip(terms @ found, low, high).astype(np.float32)


def _disc(radius: float) -> np.ndarray:
    side = 2 * max(1, round(radius)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def _statistics(images: list[np.ndarray], near: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns each pixel's median uint8 [S, S, 3], spread float32 [S, S] (levels, as a standard deviation) and whether
    it was seen.

    near: uint8 [N, S, S], see above. A pixel counts as seen where it was surely free a few times; or where the mask was
    unsure most of the time while the picture stood still there, for what is part of a person moves with it.
    """
    count, size = len(images), images[0].shape[0]
    median = np.empty((size, size, 3), np.uint8)
    spread = np.empty((size, size), np.float32)
    seen = np.empty((size, size), bool)
    unsure = np.empty((size, size), bool)
    for row in range(0, size, ROWS):
        rows = slice(row, row + ROWS)
        free = near[:, rows] < 26
        surely = free.sum(axis=0) >= min(ENOUGH, count)
        chosen = np.where(surely, free, near[:, rows] < 217)
        often = chosen.sum(axis=0)
        # Last axis contiguous: numpy sorts small integers there many times faster.
        values = np.stack([image[rows] for image in images], axis=-1).astype(np.uint16)
        hidden = ~np.moveaxis(chosen, 0, -1)[:, :, None]
        np.copyto(values, 999, where=hidden)
        middle = np.broadcast_to(np.maximum(often - 1, 0)[..., None, None] // 2, (*values.shape[:3], 1))
        centre = np.take_along_axis(np.sort(values, axis=-1), middle, axis=-1)
        away = np.abs(values.astype(np.int16) - centre.astype(np.int16)).astype(np.uint16)
        np.copyto(away, 999, where=hidden)
        median[rows] = np.minimum(centre[..., 0], 255)
        # Half a level is what rounding leaves of a smaller deviation.
        deviation = np.take_along_axis(np.sort(away, axis=-1), middle, axis=-1)[..., 0]
        spread[rows] = 1.48 * np.minimum(deviation, 255).mean(axis=-1)
        seen[rows] = surely
        unsure[rows] = ~surely & (often > 0.8 * count)
    floor = max(1.0, float(np.median(spread[seen]))) if seen.any() else 1.0
    return median, spread, seen | (unsure & (spread < STEADY * floor))


def _usual(persons: list[np.ndarray], chins: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Returns what `Background` calls `usual` and `anchor`."""
    anchor = np.median(chins, axis=0)
    size = persons[0].shape[0]
    sums = np.zeros((2, size, size), np.float32)
    for person, chin in zip(persons, chins, strict=True):
        shift = np.array([[1, 0, anchor[0] - chin[0]], [0, 1, anchor[1] - chin[1]]], np.float32)
        sums[0] += person > 127
        sums[1] += cv2.warpAffine(person, shift, (size, size), borderMode=cv2.BORDER_REPLICATE) > 127
    return np.round(sums * (255 / len(persons))).astype(np.uint8), (float(anchor[0]), float(anchor[1]))


def _moving(images: list[np.ndarray], persons: list[np.ndarray], values: np.ndarray, seen: np.ndarray,
            noise: float) -> float:  # fmt: skip
    """Returns the share of pixels far from the person that differ from the background by more than noise in a tenth of
    the frames; worked on at a quarter of the size, where compression's blocks even out.
    """
    size = values.shape[0]
    small = (max(8, size // 4),) * 2
    kernel = _disc(FAR_MARGIN * small[0])
    still = cv2.resize(values, small, interpolation=cv2.INTER_AREA).astype(np.int16)
    judged = np.zeros(small, np.int32)
    changed = np.zeros(small, np.int32)
    for image, person in zip(images, persons, strict=True):
        far = cv2.dilate(cv2.resize(person, small, interpolation=cv2.INTER_AREA), kernel) < 26
        now = cv2.resize(image, small, interpolation=cv2.INTER_AREA).astype(np.int16)
        judged += far
        changed += far & (np.abs(now - still).max(axis=-1) > MOVED + 2 * noise)
    counted = (judged >= max(1, len(images) // 4)) & (cv2.resize(seen.astype(np.uint8), small) > 0)
    if counted.sum() < 0.01 * counted.size:
        return 0.0
    return float((changed[counted] > 0.1 * judged[counted]).mean())
