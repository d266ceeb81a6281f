"""Where the files of a training run are: said for good when it is made, and found again when it, or its dataset, was
moved since, or comes from another machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, cast

from aed_nerfstudio.errors import InputError

if TYPE_CHECKING:
    from nerfstudio.engine.trainer import TrainerConfig

    from aed_nerfstudio.nerfstudio_plugin.pipeline import AedPipelineConfig

LEVELS = 4
"""Folders above a run's: nerfstudio nests it as OUTPUT/EXPERIMENT/METHOD/TIMESTAMP, and OUTPUT lies in a project's."""
DATASET = ("dataset.json", "transforms.json", "transforms_train.json")
"""What folders for our dataparsers hold one of."""


def own_pipeline(config: TrainerConfig) -> AedPipelineConfig:
    """Returns the config of a trainer's pipeline, which nerfstudio declares as any method's."""
    return cast("AedPipelineConfig", config.pipeline)


def make_absolute(config: TrainerConfig) -> None:
    """Makes the paths of a config what they are from anywhere; those that lie in the run's folder stay relative to it.

    config: of a training that begins, whose relative paths are seen from the current folder.
    """
    manager = own_pipeline(config).datamanager
    if manager.data is not None:
        manager.dataparser.data = manager.data  # as nerfstudio's datamanager does
    for part, names in (
        (config, ("output_dir", "data", "load_dir", "load_config", "load_checkpoint")),
        (manager, ("data", "frame_cache")),
        (manager.dataparser, ("data",)),
        *_inputs(config),
    ):
        for name in names:
            path = getattr(part, name, None)
            if isinstance(path, Path) or (isinstance(path, str) and os.path.isfile(path)):
                setattr(part, name, type(path)(_absolute(path)))


def find_inputs(config: TrainerConfig, run: Path, data: Path | None = None) -> None:
    """Lets a config name what is there now: its dataset, and other files that it reads. A line says what was found
    elsewhere than it was.

    Args:
        config: of a run, as it was read.
        run: where the folder of the run is now.
        data: where the dataset is now; looked for when None: where it was, where it would be had it moved along with
            the run, and by its name beside the run.

    Raises:
        InputError: the dataset is at none of these places, which are named.
    """
    manager = own_pipeline(config).datamanager
    stored, moves = _stored(config, run)
    if data is None:
        places = _places(stored, moves)
        data = _first(places, _is_dataset)
        if data is None:
            raise InputError(
                f"{run}: the dataset of this run is no longer at {places[0]}, nor at {', '.join(map(str, places[1:]))};"
                " say where it is now: --data FOLDER (for ns-render, ns-eval and ns-viewer: in a copy that "
                "`aed set-driving --data FOLDER` makes)"
            )
    there = _absolute(data)
    for part in (config, manager, manager.dataparser):
        part.data = there
    moves.insert(0, (stored, there))
    for part, names in _inputs(config):
        for name in names:
            value = getattr(part, name, None)
            if value is not None and _path(value).suffix:  # a colour has none
                found = _first(_places(_path(value), moves), os.path.isfile)
                setattr(part, name, value if found is None else type(value)(found))


def dataset_places(config: TrainerConfig, run: Path) -> list[Path]:
    """Returns the folders that may be the dataset of a run: where it was, whatever is there now, and every other place
    at which `find_inputs` would find it.

    Args:
        config: of the run, as it was read.
        run: where the folder of the run is now.
    """
    was, *others = _places(*_stored(config, run))
    return [was, *filter(_is_dataset, others)]


def read_by_nerfstudio() -> Path | None:
    """Returns the config.yml from which nerfstudio's `eval_setup` makes what calls this function's caller; None
    elsewhere.

    It tells it to no one, and asks a config only for the places that it was trained with.
    """
    frame = sys._getframe(2)
    if frame.f_code.co_name == "eval_setup" and frame.f_globals.get("__name__") == "nerfstudio.utils.eval_utils":
        return Path(frame.f_locals["config_path"]).resolve()
    return None


def _inputs(config: TrainerConfig) -> Iterator[tuple[object, tuple[str, ...]]]:
    """Yields parts of a config, and their fields that may name a file which is read for a picture."""
    pipeline = own_pipeline(config)
    yield pipeline.datamanager.dataparser, ("audio_features_file",)
    yield pipeline.model.driving, ("audio", "audio_features_file", "background")


def _stored(config: TrainerConfig, run: Path) -> tuple[Path, list[tuple[Path, Path]]]:
    """Returns where a run's dataset was, and where the run's folder was with the place where it is now."""
    manager = own_pipeline(config).datamanager
    stored = Path(manager.dataparser.data if manager.data is None else manager.data)
    own = Path(f"{config.output_dir}/{config.experiment_name}/{config.method_name}/{config.timestamp}")
    return stored, [(own, run)]


def _absolute(path: str | Path) -> Path:
    """Returns a path from the root; a link keeps its name."""
    path = Path(path)
    return path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name


def _path(value: str | Path) -> Path:
    """Returns the path by which a config names a file."""
    if isinstance(value, str) and PureWindowsPath(value).is_absolute():
        return Path(PureWindowsPath(value).as_posix())
    return Path(value)


def _is_dataset(folder: Path) -> bool:
    return any(os.path.isfile(folder / name) for name in DATASET)


def _first(places: list[Path], fits: Callable[[Path], bool]) -> Path | None:
    """Returns the first place that fits; a line says so where it is not the first of all."""
    found = next((place for place in places if fits(place)), None)
    if found not in (None, places[0]):
        print(f"{places[0]} is not there: taking {found}")
    return found


def _places(stored: Path, moves: list[tuple[Path, Path]]) -> list[Path]:
    """Returns where something may be that lay at a path once: the path itself is the first.

    moves: folders that lay elsewhere then, with their places now; the run's is the last.
    """
    run = moves[-1][1]
    levels = [run, *run.parents[:LEVELS]]
    found = [stored if _is_absolute(stored) else Path.cwd() / stored]
    found += filter(None, (_moved(stored, old, new) for old, new in moves))
    if not _is_absolute(stored):
        found += [level / stored for level in levels]
    found += [level / stored.name for level in levels]
    return list(dict.fromkeys(Path(os.path.normpath(place)) for place in found))


def _moved(stored: Path, old: Path, new: Path) -> Path | None:
    """Returns where a path is, if it moved together with a folder that lay in the same one; None where it did not."""
    try:
        shared = os.path.commonpath([old, stored])
    except ValueError:  # one is absolute, the other not
        return None
    if shared == PurePath(shared).anchor and shared:
        return None
    return new / os.path.relpath(stored, old)


def _is_absolute(path: Path) -> bool:
    """Returns whether a path is one on the system that it comes from."""
    return any(kind(path.as_posix()).is_absolute() for kind in (PurePosixPath, PureWindowsPath))
