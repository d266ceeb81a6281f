"""How the shoulders of a person move against those of one frame: what a head's pose alone cannot tell.

A frame's shoulders are an affine picture of the reference's. It is found by aligning small pictures of brightness and
outline, coarse to fine (Baker and Matthews 2004, inverse compositional), with the weights of Cauchy's distribution, so
that hands, folds and a collar that turns with the head do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8
from scipy.ndimage import gaussian_filter1d

from aed_nerfstudio.dataset.alignment_kernel import FURTHEST, fit
from aed_nerfstudio.dataset.schema import HEAD, NECK, TORSO, Dataset, Frame

MOTION_DIM = 6
"""Numbers a frame: shift to the right and down, in half widths of the picture; then what an affine map has over the
identity, by rows, about the middle of the reference's torso."""
SIDES = (32, 64, 128)
"""Longer side of the pictures that are aligned, pixels."""
ROUNDS = (15, 8, 6)
"""Of Gauss and Newton at each of these, at most."""
NEAR_HEAD = 0.02
"""Of the picture's longer side: how near to head and neck nothing is compared, for there the torso is made up."""
STRONGEST = 0.2
"""Share of a picture's pixels that are compared: those with the steepest edges."""
LEAST_TORSO = 0.02
"""Share of the picture that a torso must cover to be told from."""
EYE = np.eye(2, 3)
SMOOTHING = (2.0, 1.5, 1.0, 0.75, 0.5)
"""Frames: deviations of the Gaussians that may smooth a motion, the widest first."""


@dataclass(frozen=True)
class _Level:
    """What is compared of the reference at one size: N pixels."""

    points: Float32[np.ndarray, "n 2"]
    """Half widths from the picture's middle."""
    values: Float32[np.ndarray, "n 2"]
    jacobian: Float32[np.ndarray, "n 2 6"]
    """Of the values by the motion."""
    middle: Float[np.ndarray, " 2"]
    """Of the reference's torso, half widths."""

    def fit(self, picture: np.ndarray, start: np.ndarray, rounds: int) -> tuple[np.ndarray, float]:
        """Returns the map [2, 3] that a picture is aligned by, and how far the two differ then, see
        `aed_nerfstudio.dataset.alignment_kernel.fit`."""
        return fit(self.points, self.values, self.jacobian, self.middle, picture, start, rounds)


def torso_motion(dataset: Dataset, frames: Sequence[int], reference: int) -> Float32[np.ndarray, "f 6"]:
    """Returns how the shoulders of F frames stand against those of the frame `reference`, see `MOTION_DIM`.

    Each frame is compared with the reference itself, so that errors do not add up; what its neighbours of the same take
    say only smooths it, as far as the noise of both explains the difference. A frame that tells nothing lies between
    its neighbours. Nothing moves where the reference shows no torso.

    Args:
        dataset: whose torso layers and parsing maps are read.
        frames: numbers of frames, in their order; those of one take may follow each other with gaps.
        reference: number of a frame.

    Raises:
        InputError: a picture is missing or damaged.
    """
    seen = _pyramid(dataset, dataset.frames[reference])
    motion = np.zeros((len(frames), MOTION_DIM), np.float32)
    if seen is None:
        return motion
    middle = _middle(seen[-1])
    levels = [_level(picture, middle) for picture in seen]
    before = EYE
    for k, number in enumerate(frames):
        pictures = _pyramid(dataset, dataset.frames[number])
        found = None if pictures is None else _aligned(levels, pictures, (EYE, before))
        before = EYE if found is None else found
        motion[k] = np.nan if found is None else _numbers(found, middle)
    taken = [dataset.frames[number] for number in frames]
    for run in _runs([(frame.clip, 0) for frame in taken]):
        motion[run] = _filled(motion[run])
    for run in _runs([(frame.clip, frame.index - k) for k, frame in enumerate(taken)]):
        motion[run] = smoothed(motion[run])
    return motion


def _pyramid(dataset: Dataset, frame: Frame) -> list[np.ndarray] | None:
    """Returns a frame's brightness and alpha of the torso, and whether it may be compared, float32 [h, w, 3] at each
    of `SIDES`; None where there is too little of it."""
    layer, labels = dataset.torso(frame), dataset.parsing(frame)
    if (labels == TORSO).mean() < LEAST_TORSO:
        return None
    picture = _planes(layer, labels)
    pictures = [picture]
    for side in SIDES[::-1]:
        scale = side / max(pictures[-1].shape)
        size = tuple(max(8, round(scale * length)) for length in pictures[-1].shape[1::-1])
        pictures.append(np.asarray(cv2.resize(pictures[-1], size, interpolation=cv2.INTER_AREA), np.float32))
    return [np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.7), np.float32) for picture in pictures[:0:-1]]


def _planes(layer: UInt8[np.ndarray, "h w 4"], labels: UInt8[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w 3"]:
    """Returns brightness before black, alpha and whether a pixel may be compared, 0..1."""
    alpha = layer[..., 3].astype(np.float32) / 255
    reach = 2 * round(NEAR_HEAD * max(labels.shape)) + 1
    head = cv2.dilate(((labels == HEAD) | (labels == NECK)).astype(np.uint8), np.ones((reach, reach), np.uint8))
    grey = np.asarray(cv2.cvtColor(layer[..., :3], cv2.COLOR_RGB2GRAY), np.float32) / 255
    return np.dstack([grey * alpha, alpha, 1 - head.astype(np.float32)])


def _middle(picture: Float32[np.ndarray, "h w 3"]) -> Float[np.ndarray, " 2"]:
    """Returns the middle of what may be compared of a torso, half widths from the picture's."""
    weight = picture[..., 1] * picture[..., 2]
    places = _places(picture.shape[1::-1])
    return (weight[..., None] * places).sum(axis=(0, 1)) / max(float(weight.sum()), 1e-6)


def _places(size: tuple[int, ...]) -> Float32[np.ndarray, "h w 2"]:
    """Returns where the pixels of a picture of a width and height are, half widths from its middle."""
    width, height = size
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.dstack([2 * x / width - 1, (2 * y - height) / width]).astype(np.float32)


def _level(picture: Float32[np.ndarray, "h w 3"], middle: np.ndarray) -> _Level:
    """Returns what is compared of one of the reference's pictures."""
    size = picture.shape[1], picture.shape[0]
    values = np.ascontiguousarray(picture[..., :2])
    slopes = np.stack([cv2.Sobel(values, cv2.CV_32F, x, 1 - x, ksize=3, scale=1 / 8) for x in (1, 0)])
    slopes *= size[0] / 2  # a half width
    steep = np.square(slopes).sum(axis=(0, 3)) * (picture[..., 2] > 0.99)
    count = max(16, int(STRONGEST * steep.size))
    picks = np.argpartition(steep.ravel(), -count)[-count:]
    picks = picks[steep.ravel()[picks] > 0]
    points = _places(size).reshape(-1, 2)[picks]
    slope = slopes.reshape(2, -1, 2)[:, picks]  # by x and y, pixel, value
    away = (points - middle).T[:, :, None]
    parts = [slope[0], slope[1], *(slope[i] * away[j] for i in (0, 1) for j in (0, 1))]
    values = np.ascontiguousarray(picture.reshape(-1, 3)[picks, :2])
    return _Level(points, values, np.stack(parts, axis=-1).astype(np.float32), middle)


def _aligned(levels: list[_Level], pictures: list[np.ndarray], starts: tuple[np.ndarray, ...]) -> np.ndarray | None:
    """Returns the affine map [2, 3] of the reference's places to a frame's, from the better of the places to start at;
    None where there is none that can be."""
    fits = [levels[0].fit(pictures[0], start, ROUNDS[0]) for start in starts]
    found, lack = min(fits, key=lambda fit: fit[1])
    for level, picture, rounds in zip(levels[1:], pictures[1:], ROUNDS[1:], strict=True):
        found, lack = level.fit(picture, found, rounds)
    return found if np.isfinite(lack) and np.abs(_numbers(found, levels[0].middle)).max() < FURTHEST else None


def _numbers(found: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Returns the motion [6] about a middle [2] of an affine map [2, 3]."""
    change = found[:, :2] - np.eye(2)
    return np.concatenate([found[:, 2] + change @ middle, change.ravel()])


def _runs(words: list[tuple[str, int]]) -> list[np.ndarray]:
    """Returns the positions of equal words that follow each other."""
    return [np.array([k for k, _ in run]) for _, run in groupby(enumerate(words), key=lambda pair: pair[1])]


def _filled(motion: np.ndarray) -> np.ndarray:
    """Returns a motion [F, 6] with what is unknown (NaN) between its neighbours; none where nothing is known."""
    known = np.flatnonzero(np.isfinite(motion).all(axis=1))
    if not len(known):
        return np.zeros_like(motion)
    return np.stack([np.interp(np.arange(len(motion)), known, column[known]) for column in motion.T], axis=1)


def smoothed(motion: Float[np.ndarray, "f m"]) -> Float[np.ndarray, "f m"]:
    """Returns a motion [F, M] of frames that follow each other, each of its numbers smoothed by the widest of the
    Gaussians of `SMOOTHING` that changes it by no more than its noise; of that third differences tell, which have
    little else."""
    result = motion.copy()
    if len(motion) < 8:
        return result
    for column, out in zip(motion.T, result.T, strict=True):
        noise = np.sqrt(np.mean(np.square(np.diff(column, 3))) / 20)
        for sigma in SMOOTHING:
            smooth = gaussian_filter1d(column, sigma, mode="nearest")
            if np.sqrt(np.mean(np.square(smooth - column))) <= noise:
                out[:] = smooth
                break
    return result
