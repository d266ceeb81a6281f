"""Model files that MediaPipe 1.x does not bring: looked for in a folder of the user's, in the cache, else fetched once.

Whatever lies where it is looked for must be the very file: its SHA-256 is compared before it is used.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import make_folder, move, temporary_beside

SETTING = "AED_MODELS"
"""Environment variable: a folder that holds model files by their names."""
TIMEOUT = 30.0  # seconds without a byte
CHUNK = 1 << 16  # bytes


@dataclass(frozen=True)
class Model:
    """A model file: its name in every folder, its makers' address, its SHA-256 in hex and its size in bytes."""

    name: str
    address: str
    sha256: str
    size: int


FACE_LANDMARKER = Model(
    "face_landmarker.task",
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task",
    "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    3758596,
)
SELFIE_SEGMENTATION = Model(  # the file that MediaPipe 0.10.9's wheel carries
    "selfie_segmentation.tflite",
    "https://storage.googleapis.com/mediapipe-assets/selfie_segmentation.tflite?generation=1683332563830600",
    "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
    249505,
)


def cache_folder() -> Path:
    """Returns where fetched model files are kept."""
    return platformdirs.user_cache_path("aed-nerfstudio") / "models"


def stored_model(model: Model) -> Path | None:
    """Returns the model's file in the folder that AED_MODELS names, else in the cache; None where it is in neither.

    Raises InputError when the file is another one than the model's.
    """
    folders = [Path(os.environ[SETTING]).expanduser()] if os.environ.get(SETTING) else []
    for folder in (*folders, cache_folder()):
        place = folder / model.name
        if place.is_file():
            _check(place, model)
            return place
    return None


def find_model(model: Model) -> Path:
    """Returns what `stored_model` does, or fetches the file into the cache where there is none.

    Raises InputError as that one does, and when the file cannot be fetched.
    """
    return stored_model(model) or _fetch(model, cache_folder() / model.name)


def _check(path: Path, model: Model) -> None:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from error
    if found != model.sha256:
        raise InputError(f"{path}: is another file than the one that is needed (SHA-256 {found}, expected "
                         f"{model.sha256}); remove it, or put the file of {model.address} there")  # fmt: skip


def _fetch(model: Model, place: Path) -> Path:
    """Downloads to `place`. Several processes may do so at once: each writes a file of its own and renames it."""
    try:
        make_folder(place.parent)
        temporary = temporary_beside(place)
    except InputError as error:
        raise InputError(f"{place.parent}: cannot be written ({error}); put {model.name} from {model.address} into a "
                         f"folder that the environment variable {SETTING} names") from error  # fmt: skip
    print(f"fetching {model.name} ({model.size / 1e6:.1f} MB) from {model.address} to {place}", file=sys.stderr)
    try:
        digest, size = hashlib.sha256(), 0
        opener = urllib.request.build_opener()  # which takes the proxies of this moment
        with opener.open(model.address, timeout=TIMEOUT) as answer, open(temporary, "wb") as file:
            while size <= model.size and (chunk := answer.read(CHUNK)):
                digest.update(chunk)
                size += file.write(chunk)
        if digest.hexdigest() != model.sha256:
            raise InputError(f"{model.address}: gave another file than {model.name} ({size} bytes, SHA-256 "
                             f"{digest.hexdigest()}, expected {model.sha256}); fetch it elsewhere and put it at "
                             f"{place}, or into a folder that the environment variable {SETTING} names")  # fmt: skip
        move(temporary, place)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise InputError(f"{model.name} is needed and cannot be fetched ({reason}); fetch {model.address} where there "
                         f"is a network and put it at {place}, or into a folder that the environment variable "
                         f"{SETTING} names") from error  # fmt: skip
    finally:
        temporary.unlink(missing_ok=True)
    return place
