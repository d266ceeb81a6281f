"""Finding and loading a training run, whatever is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aed_nerfstudio.errors import InputError, reason

if TYPE_CHECKING:
    from nerfstudio.engine.trainer import TrainerConfig

    from aed_nerfstudio.avatar.network import Network
    from aed_nerfstudio.avatar.portrait import Portrait
    from aed_nerfstudio.dataset.schema import Dataset
    from aed_nerfstudio.nerfstudio_plugin.pipeline import AedPipeline

MEND = "train again with this version, or install the version that it was trained with"


@dataclass
class RunConfig:
    """The config of a training run."""

    file: Path
    """The `config.yml`."""
    config: TrainerConfig


@dataclass
class TrainedRun(RunConfig):
    """The newest whole checkpoint of a training run, with the run's config."""

    step: int
    weights: dict
    """Of the whole pipeline."""


def read_run_config(config: Path) -> RunConfig:
    """Returns the config of a training run, without reading its checkpoint.

    Args:
        config: the run's `config.yml`; the run's folder may have been moved, also from another machine.

    Raises:
        InputError: no such run, not a run of this method, one that another version wrote, or a damaged file.
    """
    from aed_nerfstudio.nerfstudio_plugin.places import own_pipeline
    from aed_nerfstudio.nerfstudio_plugin.run_config import read_config

    file = Path(config).resolve()
    if not file.is_file():
        raise InputError(f"{file}: no such file; give the config.yml of a training run")
    with _of_this_version(file):
        found = read_config(file)
        # What drives nerfstudio's cameras: nothing to an avatar, and maybe lost by now.
        for name in ("audio", "audio_features_file", "background"):
            setattr(own_pipeline(found).model.driving, name, None)
    return RunConfig(file, found)


def read_run(config: Path) -> TrainedRun:
    """Returns what a training run has left.

    Raises:
        InputError: as `read_run_config` says; or there is no whole checkpoint.
    """
    from aed_nerfstudio.nerfstudio_plugin.checkpoints import named_features, read_newest

    found = read_run_config(config)
    _, state = read_newest(found.file.parent / "nerfstudio_models")
    return TrainedRun(found.file, found.config, state["step"], named_features(state["pipeline"]))


def dataset_of(run: RunConfig, data: Path | None = None) -> Dataset:
    """Returns the dataset that a run was trained on.

    data: its folder; None: where it was, or beside the run, see `find_inputs`.

    Raises:
        InputError: it is not there, or damaged.
    """
    from aed_nerfstudio.nerfstudio_plugin.places import find_inputs, own_pipeline

    with _of_this_version(run.file):
        find_inputs(run.config, run.file.parent, data)
        parser = own_pipeline(run.config).datamanager.dataparser.setup()
        return parser.get_dataparser_outputs("train").metadata["dataset"]


def load_network(run: TrainedRun, dataset: Dataset | None = None) -> Network:
    """Returns the network of a run with the weights of its checkpoint.

    dataset: whose camera, background and motion it gets; None: its checkpoint's own.

    Raises:
        InputError: the checkpoint is of version 0.1 and has none; it does not fit the config or the dataset.
    """
    import torch

    from aed_nerfstudio.avatar.network import Network
    from aed_nerfstudio.avatar.portrait import Portrait
    from aed_nerfstudio.backends import had_here
    from aed_nerfstudio.nerfstudio_plugin.checkpoints import fitting
    from aed_nerfstudio.nerfstudio_plugin.places import own_pipeline

    weights = {name.removeprefix("_model."): value for name, value in run.weights.items() if name.startswith("_model.")}
    weights.pop("device_indicator_param", None)  # nerfstudio's own
    with _of_this_version(run.file):
        portrait = kept_portrait(run) if dataset is None else Portrait.of(dataset)
        settings = own_pipeline(run.config).model
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        settings.backend = had_here(settings.backend, device)
        network = Network(settings, portrait, settings.schedule.use_torso, str(dataset and dataset.root))
        with fitting(run.step):
            network.load_state_dict(weights)
    return network.to(device).eval()


def load_for_avatar(config: Path, data: Path | None = None) -> tuple[Network, str, int, list[Path]]:
    """Returns what `Avatar.load` makes an avatar of: a run's network, its name for people, the step of its checkpoint,
    and the files and folders that it came from.

    Args:
        config: the run's `config.yml`.
        data: its dataset's folder, whose camera, background and motion are taken; None: those that the checkpoint
            remembers or, where it is of version 0.1 and remembers none, the dataset's, which is looked for.

    Raises:
        InputError: as `read_run`, `dataset_of` and `load_network` say.
    """
    from aed_nerfstudio.dataset.schema import folder_parts
    from aed_nerfstudio.nerfstudio_plugin.places import dataset_places

    run = read_run(config)
    dataset = None if data is None and has_portrait(run) else dataset_of(run, data)
    network = load_network(run, dataset)
    name = "/".join(Path(config).resolve().parts[-4:-1])
    if dataset is None:
        with _of_this_version(run.file):
            places = dataset_places(run.config, run.file.parent)
        read = [part for place in places for part in folder_parts(place)]
    else:
        read = dataset.sources
    return network, f"{name}, step {run.step}", run.step, [config, config.parent / "nerfstudio_models", *read]


def has_portrait(run: TrainedRun) -> bool:
    """Returns whether a run's checkpoint knows its person without the dataset; those of version 0.1 do not."""
    state = run.weights.get("_model._extra_state")
    return isinstance(state, dict) and "portrait" in state


def kept_portrait(run: TrainedRun) -> Portrait:
    """Returns the portrait in a run's checkpoint.

    Raises:
        InputError: it is damaged, or of a newer version.
    """
    from aed_nerfstudio.avatar.portrait import Portrait

    state = run.weights["_model._extra_state"]["portrait"]
    try:
        arrays = {name: array.numpy() for name, array in state["arrays"].items()}
        return Portrait.restore(state["facts"], arrays)
    except ValueError as error:
        raise InputError(f"{run.file.parent}: its checkpoint is damaged ({error}); train again") from error


def load_pipeline(config: Path, data: Path | None = None) -> tuple[AedPipeline, int]:
    """Returns the pipeline of a training run with the weights of its newest whole checkpoint, and the step of that.

    Args:
        config: the run's `config.yml`.
        data: its dataset's folder; None: where it was, or beside the run, see `find_inputs`.

    Raises:
        InputError: as `read_run` and `dataset_of` say.
    """
    import torch

    from aed_nerfstudio.backends import had_here
    from aed_nerfstudio.nerfstudio_plugin.places import find_inputs, own_pipeline

    run = read_run(config)
    # What nerfstudio's `eval_setup` does, which first loads every method that is installed: for seconds.
    with _of_this_version(run.file):
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        find_inputs(run.config, run.file.parent, data)
        settings = own_pipeline(run.config)
        settings.model.backend = had_here(settings.model.backend, device)
        pipeline = settings.setup(device=device, test_mode="test")
        pipeline.eval()
        pipeline.load_pipeline(run.weights, run.step)
    return pipeline, run.step


@contextmanager
def _of_this_version(file: Path) -> Iterator[None]:
    """Says in one line where a run's config has not the fields of this version."""
    try:
        yield
    except (AttributeError, KeyError, TypeError) as error:  # fields that the version which wrote it had not
        raise InputError(f"{file}: does not fit this version of aed-nerfstudio ({reason(error)}); {MEND}") from error
