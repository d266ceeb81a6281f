"""Which MediaPipe is installed, and how it is loaded.

Below Python 3.12 it is 0.10.9, with its `solutions` and with its models inside; from 3.12 on it is 1.2 or newer, which
has only the `tasks` and needs model files. What is installed decides, nothing else.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from aed_nerfstudio.face.models import FACE_LANDMARKER, SELFIE_SEGMENTATION, Model, find_model, stored_model
from aed_nerfstudio.face.no_display import replace_missing
from aed_nerfstudio.face.no_network import without_network

NOTE = re.compile(rb"\s*(?:[IW]\d{4} |INFO: |WARNING: )")
"""Begins a line of MediaPipe's log that is no error."""
_stderr = threading.Lock()


@lru_cache(maxsize=1)
def version() -> str:
    """Returns MediaPipe's version, told without loading it."""
    return importlib.metadata.version("mediapipe")


def has_solutions() -> bool:
    """Returns whether MediaPipe is of the kind that has its models inside."""
    return int(version().partition(".")[0]) < 1


def engine_name() -> str:
    """Returns the name of what finds faces here; it is written into datasets."""
    return f"mediapipe {version()} {'face mesh' if has_solutions() else 'face landmarker, image mode'}"


def fetch(*models: Model) -> None:
    """Makes sure, before long work, that the models will be there when they are asked for.

    Raises InputError: see `find_model`.
    """
    if not has_solutions():
        for model in models:
            find_model(model)


def missing_models() -> list[str]:
    """Returns names of the model files that are needed here and are neither in a folder of the user's nor in the cache.

    Raises InputError: see `stored_model`.
    """
    models = () if has_solutions() else (FACE_LANDMARKER, SELFIE_SEGMENTATION)
    return [model.name for model in models if stored_model(model) is None]


@lru_cache(maxsize=1)
def load_mediapipe() -> Any:
    """Returns MediaPipe, imported late because it takes seconds, and told to keep its start-up notes to itself."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    spec = importlib.util.find_spec("mediapipe")
    if not has_solutions() and spec and spec.origin:
        replace_missing(Path(spec.origin).parent / "tasks" / "c" / "libmediapipe.so")
    import mediapipe

    return mediapipe


def open_task(name: str, model: Model, **options: Any) -> Any:
    """Returns a task of MediaPipe 1.x by its name, for single pictures, on the CPU; options: of its own.

    Its threads are kept from the network and start quietly. Raises InputError: see `find_model`.
    """
    path = find_model(model)
    tasks = load_mediapipe().tasks
    base = tasks.BaseOptions(str(path), delegate=tasks.BaseOptions.Delegate.CPU)
    kind = getattr(tasks.vision, f"{name}Options")
    given = kind(base_options=base, running_mode=tasks.vision.RunningMode.IMAGE, **options)
    with _notes_dropped():
        return without_network(lambda: getattr(tasks.vision, name).create_from_options(given))


def task_image(image: np.ndarray) -> Any:
    """Returns a picture as tasks take it; uint8 [H, W, 3] RGB."""
    mediapipe = load_mediapipe()
    return mediapipe.Image(mediapipe.ImageFormat.SRGB, image)


@contextmanager
def _notes_dropped() -> Iterator[None]:
    """Drops the notes that MediaPipe 1.x writes to stderr while it starts; all else is written when it has started.

    No setting of its own, nor of absl's, silences them (tried with 1.2.3).
    """
    with _stderr, tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held:
                if not NOTE.match(line):
                    os.write(2, line)
