"""Reading a checkpoint: tensors and plain values, no larger in memory than its file, and nothing in it is run."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What nerfstudio's trainer has saved, on the CPU: `pipeline`, tensors and other states by name, `step`, and more.

    Raises:
        pickle.UnpicklingError: damaged, no checkpoint, or it holds what would have to be run.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
        # PyTorch packs nothing, and unpacks whatever is packed: a small file could fill the memory.
        packed = any(record.compress_type != zipfile.ZIP_STORED for record in records)
        if packed or sum(record.file_size for record in records) > path.stat().st_size:
            raise pickle.UnpicklingError("its records are larger than the file")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # neither library promises what it raises for damaged files
        raise pickle.UnpicklingError(" ".join(str(error).split()) or type(error).__name__) from error
    if not (isinstance(state, dict) and isinstance(state.get("pipeline"), dict) and type(state.get("step")) is int):
        raise pickle.UnpicklingError("it is no checkpoint of nerfstudio's trainer")
    return state
