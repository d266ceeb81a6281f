"""The checkpoints of a training run, `step-NNNNNNNNN.ckpt`: each is there whole, or not at all."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from aed_nerfstudio.errors import InputError, reason
from aed_nerfstudio.files import remove_parts, replacing


def checkpoint_path(folder: Path, step: int) -> Path:
    """Returns where nerfstudio looks for the checkpoint of a step."""
    return folder / f"step-{step:09d}.ckpt"


def checkpoints(folder: Path) -> list[Path]:
    """Returns the checkpoints in a folder, the newest first."""
    found = (path for path in folder.glob("step-*.ckpt") if path.stem[5:].isdigit())
    return sorted(found, key=lambda path: int(path.stem[5:]), reverse=True)


def read_checkpoint(path: Path) -> dict:
    """Reads what `write_checkpoint` wrote, its tensors on the CPU: never larger than its file, and nothing in it is
    run.

    Raises:
        InputError: there is no such file, or it is damaged anywhere.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a checkpoint of a training run")
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            # PyTorch packs nothing, and unpacks whatever is packed: a small file could fill the memory.
            packed = any(record.compress_type != zipfile.ZIP_STORED for record in records)
            if packed or sum(record.file_size for record in records) > path.stat().st_size:
                raise ValueError("its records are larger than the file")
            damaged = archive.testzip()  # PyTorch itself does not look at the check sums
        if damaged is not None:
            raise ValueError(f"{damaged} is not what was written")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not (isinstance(state, dict) and isinstance(state.get("pipeline"), dict) and type(state.get("step")) is int):
            raise ValueError("holds no step or no weights")
    except Exception as error:  # a damaged file may raise anything
        raise InputError(f"{path}: is damaged, or no checkpoint ({reason(error)})") from error
    return state


def read_newest(folder: Path) -> tuple[Path, dict]:
    """Reads the newest whole checkpoint of a folder; a line says so where a newer one is damaged.

    Raises:
        InputError: there is none, or all are damaged.
    """
    first: InputError | None = None
    for path in checkpoints(folder):
        try:
            state = read_checkpoint(path)
        except InputError as error:
            first = first or error
            continue
        if first is not None:
            print(f"{first}; taking {path.name}, the newest that is whole")
        return path, state
    if first is None:
        raise InputError(f"{folder}: holds no checkpoint; train for longer, or again")
    raise InputError(f"{folder}: its newest checkpoint is damaged, and no other is whole ({first}); train again")


def write_checkpoint(folder: Path, state: dict) -> Path:
    """Writes a checkpoint; a kill, a full disk or a power failure leaves the one before it, or this one.

    Args:
        folder: the run's; made when missing.
        state: `step`, and what nerfstudio keeps in its checkpoints.

    Raises:
        InputError, RuntimeError: the disk is full; RuntimeError is PyTorch's.
    """
    path = checkpoint_path(folder, state["step"])
    with replacing(path, lasting=True, aside=_aside(folder)) as part, open(part, "wb") as file:
        torch.save(state, file)
    return path


def named_features(weights: dict) -> dict:
    """Returns a checkpoint's weights with what says which audio features they are for: those of 0.1.0 do not name them,
    but how many numbers a step these have can be seen."""
    states = {
        key.replace("feature_mean", "_extra_state"): {"front_end": None, "feature_dim": len(mean)}
        for key, mean in weights.items()
        if key.endswith("feature_mean")
    }
    return {**states, **weights}


@contextmanager
def fitting(step: int) -> Iterator[None]:
    """Guards the block in which the weights of a step's checkpoint are loaded.

    Raises:
        InputError: they are not those of the networks that they are loaded into.
    """
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"the checkpoint of step {step} does not fit this version of aed-nerfstudio or the run's config.yml: "
            f"{reason[:200]}{'...' * (len(reason) > 200)}; train again, or install the version that wrote it"
        ) from error


def remove_half_written(folder: Path) -> None:
    """Removes what killed trainings have left; only for who has locked the run's folder."""
    remove_parts(_aside(folder))


def keep_two(folder: Path, step: int) -> None:
    """Removes all checkpoints of a folder but a step's and the last before it."""
    older = [path for path in checkpoints(folder) if int(path.stem[5:]) < step][:1]
    for path in checkpoints(folder):
        if path not in (checkpoint_path(folder, step), *older):
            path.unlink(missing_ok=True)


def _aside(folder: Path) -> Path:
    """Returns a name for what is not whole yet: beside the folder, in which nerfstudio takes every file for a
    checkpoint."""
    return folder.resolve().parent / "checkpoint.ckpt"
