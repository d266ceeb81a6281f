"""Finding and loading a training run, whatever is wrong with it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING

from aed_nerfstudio.errors import InputError

if TYPE_CHECKING:
    from aed_nerfstudio.training.pipeline import AedPipeline

MEND = "train again with this version, or install the version that it was trained with"


def load_run(config: Path) -> tuple[AedPipeline, int]:
    """The pipeline of a training run with the weights of its newest checkpoint, and the checkpoint's step.

    Args:
        config: the run's `config.yml`; the run's folder may have been moved.

    Raises:
        InputError: no such run, no checkpoint in it, not a run of this method, one that another version wrote, a
            damaged file, or its dataset is missing.
    """
    config = Path(config).resolve()
    if not config.is_file():
        raise InputError(f"{config}: no such file; give the config.yml of a training run")
    folder = config.parent / "nerfstudio_models"
    if not list(folder.glob("step-*.ckpt")):
        raise InputError(f"{folder}: holds no checkpoint; train for longer, or again")

    try:
        pipeline, step = _load(config, folder)
    except (AttributeError, KeyError, TypeError) as error:  # fields that the version which wrote it had not
        raise InputError(f"{config}: does not fit this version of aed-nerfstudio ({_reason(error)}); {MEND}") from error
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:  # RuntimeError: PyTorch's, of a damaged archive
        raise InputError(f"{folder}: its newest checkpoint is damaged ({_reason(error)}); train again") from error
    return pipeline, step


def _load(file: Path, folder: Path) -> tuple[AedPipeline, int]:
    """What nerfstudio's `eval_setup` does, which first loads every method that is installed: for seconds."""
    import torch

    from aed_nerfstudio.backends import unavailable
    from aed_nerfstudio.training.checkpoint_file import read_checkpoint
    from aed_nerfstudio.training.run_config import read_config

    config = read_config(file)
    # What drives nerfstudio's cameras: nothing to an avatar, and maybe lost by now.
    for name in ("audio", "audio_features_file", "background"):
        setattr(config.pipeline.model, name, None)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Forced for the machine of the training; this one may be another.
    forced = getattr(config.pipeline.model, "backend", "auto")
    if unavailable(forced, device.type) is not None:
        print(f"backend {forced}, with which this avatar was trained, cannot be had here: taking auto")
        config.pipeline.model.backend = "auto"
    pipeline = config.pipeline.setup(device=device, test_mode="test")
    pipeline.eval()
    newest = max(folder.glob("step-*.ckpt"), key=lambda path: int(path.stem.removeprefix("step-")))
    state = read_checkpoint(newest)
    pipeline.load_pipeline(state["pipeline"], state["step"])
    return pipeline, int(newest.stem.removeprefix("step-"))


def _reason(error: Exception) -> str:
    """What went wrong, on one line that is not too long."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= 200 else f"{text[:197]}..."
