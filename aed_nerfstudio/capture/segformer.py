"""Face parsing by SegFormer through `transformers`: better on hats, long hair and collars, and much slower."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aed_nerfstudio.capture.face_classes import LABELS, evidence_of, network_input
from aed_nerfstudio.errors import InputError

MODEL = "jonathandinu/face-parsing"
"""Looked for in the hub's cache on this machine where no folder is given; nothing is downloaded."""


class SegformerParser:
    """A SegFormer with CelebAMask-HQ's classes, from a folder that `save_pretrained` wrote; see `parsers.Parser`."""

    def __init__(self, weights: Path | None = None) -> None:
        self.weights = weights
        self._model: Any = None
        self._names: list[str] = []

    def __enter__(self) -> SegformerParser:
        self._model = self._load()
        known = self._model.config.id2label
        self._names = [str(known[k]) for k in range(len(known))]
        strange = [name for name in self._names if name not in LABELS]
        if strange or not {"background", "cloth", "neck", "hair", "skin"} <= set(self._names):
            raise InputError(f"{self._place()}: no face parser (its classes are {', '.join(self._names[:4])}, ...); "
                             f"give a SegFormer with CelebAMask-HQ's 19 classes such as {MODEL}")  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self._model = None

    def evidence(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Returns the evidence of one frame, uint8 [256, 256, 4]; see `Parser.evidence`."""
        import torch

        with torch.inference_mode():
            return evidence_of(self._model(network_input(image).to(self._model.device)).logits, self._names)

    def _place(self) -> str:
        return MODEL if self.weights is None else str(self.weights)

    def _load(self) -> Any:
        try:
            import torch
            from transformers.models.segformer.modeling_segformer import SegformerForSemanticSegmentation
        except ImportError as error:
            raise InputError("the parser segformer needs transformers; run `pip install 'aed-nerfstudio[segformer]'`, "
                             "or choose --parser mediapipe") from error  # fmt: skip
        if self.weights is not None and not (self.weights / "config.json").is_file():
            raise InputError(f"{self.weights}: holds no config.json; give --parser-weights the folder of a SegFormer "
                             f"face parser (config.json and model.safetensors, such as of {MODEL})")  # fmt: skip
        try:
            loaded: Any = SegformerForSemanticSegmentation.from_pretrained(
                self._place(), local_files_only=True, output_loading_info=True
            )
            model, report = loaded
        except Exception as error:  # of a dozen kinds, from a missing file to a damaged one
            if self.weights is None:
                raise InputError(f"{MODEL} is not on this machine; run `hf download {MODEL}` where there is a network, "
                                 "or give its folder with --parser-weights") from error  # fmt: skip
            raise InputError(f"{self.weights}: cannot be loaded as a SegFormer ({_first_line(error)}); give the folder "
                             f"of {MODEL} as it was downloaded") from error  # fmt: skip
        if report["missing_keys"] or report.get("mismatched_keys"):
            raise InputError(f"{self._place()}: its weights are not those of its config.json; download {MODEL} again")
        return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0][:120] if text else type(error).__name__
