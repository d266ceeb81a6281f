"""Face parsers by name: each gives soft evidence of what a picture's pixels are, which `segmentation.parse` goes by.

A parser registers itself with one line in `PARSERS`. Its class takes the path of its weights (None: its own choice), is
a context manager that loads the model on entering, raises InputError in one line when it cannot, and has `evidence`. An
opened parser belongs to one thread.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.person_mask import SIZE, PersonMask

PARSERS = {
    "mediapipe": "aed_nerfstudio.capture.parsers:MediapipeParser",
    "segformer": "aed_nerfstudio.capture.segformer:SegformerParser",
    "bisenet": "aed_nerfstudio.capture.bisenet:BisenetParser",
}
"""Name -> `module:class`, imported when it is asked for: torch takes seconds to load."""
EVIDENCE_SIZE = SIZE  # pixels: what selfie segmentation works at, and fine enough for what is refined afterwards


class Parser(Protocol):
    """What every entry of `PARSERS` is."""

    def __init__(self, weights: Path | None = None) -> None: ...

    def __enter__(self) -> Parser: ...

    def __exit__(self, *_: object) -> None: ...

    def evidence(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Returns the evidence of one frame, which a PNG can store.

        image: uint8 [S, S, 3] RGB. points: landmarks [478, 3] pixels. Returns uint8 [h, w], the probability of person
        in 1/255, or [h, w, 4], those of the schema's labels in their order.
        """
        ...


def open_parser(name: str, weights: Path | None = None) -> Parser:
    """Returns a parser by name, to be used in a `with` statement.

    Raises InputError for an unknown name; on entering, when the model cannot be loaded.
    """
    if name not in PARSERS:
        raise InputError(f"unknown parser {name!r}; choose one of {', '.join(PARSERS)}")
    module, _, kind = PARSERS[name].partition(":")
    return getattr(importlib.import_module(module), kind)(weights)


class MediapipeParser:
    """MediaPipe's selfie segmentation: person or not. See `face.person_mask`."""

    def __init__(self, weights: Path | None = None) -> None:
        if weights is not None:
            raise InputError(f"{weights}: the parser mediapipe brings its own weights; leave --parser-weights out, or "
                             "choose --parser segformer or bisenet")  # fmt: skip
        self._mask = PersonMask()

    def __enter__(self) -> MediapipeParser:
        self._mask.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._mask.__exit__()

    def evidence(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Returns the evidence of one frame, uint8 [256, 256]; see `Parser.evidence`."""
        small = cv2.resize(image, (EVIDENCE_SIZE, EVIDENCE_SIZE), interpolation=cv2.INTER_AREA)
        return np.round(255 * self._mask.probability(small)).astype(np.uint8)
