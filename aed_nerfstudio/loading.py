"""Finding and loading a training run, whatever is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aed_nerfstudio.errors import InputError, reason

if TYPE_CHECKING:
    from aed_nerfstudio.training.pipeline import AedPipeline

MEND = "train again with this version, or install the version that it was trained with"


def load_run(config: Path) -> tuple[AedPipeline, int]:
    """The pipeline of a training run with the weights of its newest whole checkpoint, and the checkpoint's step.

    Args:
        config: the run's `config.yml`; the run's folder may have been moved.

    Raises:
        InputError: no such run, no whole checkpoint in it, not a run of this method, one that another version wrote,
            a damaged file, or its dataset is missing.
    """
    config = Path(config).resolve()
    if not config.is_file():
        raise InputError(f"{config}: no such file; give the config.yml of a training run")
    try:
        return _load(config, config.parent / "nerfstudio_models")
    except (AttributeError, KeyError, TypeError) as error:  # fields that the version which wrote it had not
        raise InputError(f"{config}: does not fit this version of aed-nerfstudio ({reason(error)}); {MEND}") from error


def _load(file: Path, folder: Path) -> tuple[AedPipeline, int]:
    """What nerfstudio's `eval_setup` does, which first loads every method that is installed: for seconds."""
    import torch

    from aed_nerfstudio.backends import unavailable
    from aed_nerfstudio.training.checkpoints import read_newest
    from aed_nerfstudio.training.run_config import read_config

    config = read_config(file)
    _, state = read_newest(folder)
    weights, step = state["pipeline"], state["step"]
    del state  # the optimizers are three times as large
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
    pipeline.load_pipeline(weights, step)
    return pipeline, step
