"""Finding and loading a training run, whatever is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aed_nerfstudio.errors import InputError, reason

if TYPE_CHECKING:
    from aed_nerfstudio.nerfstudio_plugin.pipeline import AedPipeline

MEND = "train again with this version, or install the version that it was trained with"


def load_run(config: Path, data: Path | None = None) -> tuple[AedPipeline, int]:
    """The pipeline of a training run with the weights of its newest whole checkpoint, and the checkpoint's step.

    Args:
        config: the run's `config.yml`; the run's folder may have been moved, also from another machine.
        data: its dataset's folder; None: where it was, or beside the run, see `find_inputs`.

    Raises:
        InputError: no such run, no whole checkpoint in it, not a run of this method, one that another version wrote,
            a damaged file, or its dataset is missing.
    """
    config = Path(config).resolve()
    if not config.is_file():
        raise InputError(f"{config}: no such file; give the config.yml of a training run")
    try:
        return _load(config, data)
    except (AttributeError, KeyError, TypeError) as error:  # fields that the version which wrote it had not
        raise InputError(f"{config}: does not fit this version of aed-nerfstudio ({reason(error)}); {MEND}") from error


def _load(file: Path, data: Path | None) -> tuple[AedPipeline, int]:
    """What nerfstudio's `eval_setup` does, which first loads every method that is installed: for seconds."""
    import torch

    from aed_nerfstudio.backends import had_here
    from aed_nerfstudio.nerfstudio_plugin.checkpoints import read_newest
    from aed_nerfstudio.nerfstudio_plugin.places import find_inputs
    from aed_nerfstudio.nerfstudio_plugin.run_config import read_config

    config = read_config(file)
    _, state = read_newest(file.parent / "nerfstudio_models")
    weights, step = state["pipeline"], state["step"]
    del state  # the optimizers are three times as large
    # What drives nerfstudio's cameras: nothing to an avatar, and maybe lost by now.
    for name in ("audio", "audio_features_file", "background"):
        setattr(config.pipeline.model, name, None)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    find_inputs(config, file.parent, data)
    config.pipeline.model.backend = had_here(config.pipeline.model.backend, device)
    pipeline = config.pipeline.setup(device=device, test_mode="test")
    pipeline.eval()
    pipeline.load_pipeline(weights, step)
    return pipeline, step
