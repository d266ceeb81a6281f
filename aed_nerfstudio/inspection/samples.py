"""Sample frames of a dataset, with all that belongs to them, as one picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from aed_nerfstudio.dataset.schema import BACKGROUND, HEAD, NECK, TORSO, Dataset, read_image
from aed_nerfstudio.inspection.measures import Measures

CELL = 256  # pixels, side of a sample frame
BAND = 22  # pixels, height of the line of text below it
EVEN = 5  # samples that are evenly spread; the others are the extremes
PARTS = {BACKGROUND: (40, 40, 48), TORSO: (46, 111, 149), NECK: (237, 174, 73), HEAD: (209, 73, 91)}
"""Colours of the parsing map, RGB."""


def pick_samples(dataset: Dataset, measures: Measures) -> list[tuple[int, str]]:
    """Returns numbers of the usable frames that are shown, and why: evenly spread ones, then the extremes."""
    usable = np.flatnonzero(measures.usable)
    if not len(usable):
        return []
    labels = dataset.labels
    even = usable[np.unique(np.linspace(0, len(usable) - 1, EVEN + 2).round().astype(int)[1:-1])]
    picks = {int(i): f"{dataset.frames[i].stem} {labels[i]}" for i in even}
    extremes = [(measures.yaw, "most to the left"), (-measures.yaw, "most to the right")]
    if measures.sharpness is not None:
        extremes.insert(0, (measures.sharpness, "least sharp"))
    for values, why in extremes:
        i = int(usable[values[usable].argmin()])
        picks.setdefault(i, f"{dataset.frames[i].stem} {why}")
    return list(picks.items())


def sample_sheet(dataset: Dataset, samples: Sequence[tuple[int, str]]) -> np.ndarray:
    """Draws samples side by side; below each other the picture with its marks, the parsing, the torso layer by itself
    and over the background: uint8 [4 CELL + BAND, n CELL, 3].
    """
    background = read_image(dataset.background)[..., :3]
    columns = []
    for i, text in samples:
        frame = dataset.frames[i]
        image = read_image(dataset.path("images", frame))[..., :3]
        torso = read_image(dataset.path("torso", frame))
        marks = dataset.landmarks(frame.clip)[frame.index]
        rows = [
            _marked(image, marks, frame.face_box, frame.lips_box),
            _cell(_parsed(image, read_image(dataset.path("parsing", frame)))),
            _cell(_over(torso, _checkerboard(torso.shape[0], torso.shape[1]))),
            _cell(_over(torso, background)),
        ]
        columns.append(np.vstack([*rows, _band(text)]))
    return np.hstack(columns)


def _cell(image: np.ndarray) -> np.ndarray:
    smaller = image.shape[0] > CELL
    return cv2.resize(image, (CELL, CELL), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def _marked(image: np.ndarray, landmarks: np.ndarray, *boxes: list[int]) -> np.ndarray:
    """Returns a picture as a cell, with landmarks and boxes drawn at the cell's own resolution."""
    out = _cell(image)
    scale = CELL / image.shape[0]
    for (left, top, right, bottom), colour in zip(boxes, ((230, 230, 230), (237, 174, 73)), strict=True):
        first, last = ((round(x * scale), round(y * scale)) for x, y in ((left, top), (right - 1, bottom - 1)))
        cv2.rectangle(out, first, last, colour, 1)
    for x, y in np.nan_to_num(landmarks[:, :2]) * scale:
        cv2.circle(out, (round(8 * x), round(8 * y)), 4, (90, 220, 140), -1, cv2.LINE_AA, 3)
    return out


def _parsed(image: np.ndarray, parsing: np.ndarray) -> np.ndarray:
    """Returns the parsing's colours over the picture in grey."""
    colours = np.zeros((256, 3), np.float32)
    for value, colour in PARTS.items():
        colours[value] = colour
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    return np.round(0.5 * grey + 0.5 * colours[parsing]).astype(np.uint8)


def _over(layer: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Returns an RGBA layer over a picture of the same size."""
    alpha = layer[..., 3:].astype(np.float32) / 255
    return np.round(alpha * layer[..., :3] + (1 - alpha) * below).astype(np.uint8)


def _checkerboard(height: int, width: int) -> np.ndarray:
    square = max(1, height // 16)
    dark = (np.arange(height)[:, None] // square + np.arange(width) // square) % 2
    return np.repeat(np.where(dark, 150, 205).astype(np.uint8)[..., None], 3, axis=2)


def _band(text: str) -> np.ndarray:
    """Returns a line of text, shortened at its front to fit a cell; what OpenCV's font lacks becomes a "?"."""
    band = np.zeros((BAND, CELL, 3), np.uint8)
    text = text.encode("ascii", "replace").decode()
    text = text if len(text) <= 40 else "..." + text[-37:]
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)
    scale = 0.42 * min(1.0, (CELL - 8) / max(width, 1))
    cv2.putText(band, text, (4, BAND - 7), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return band
