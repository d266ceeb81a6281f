"""Reading a run's `config.yml`: values and the configs of this method, and nothing in the file is ever run.

nerfstudio writes it with `yaml.dump`, whose tags name Python objects, and reads it with a loader that calls whatever
such a tag names.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import yaml

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.nerfstudio_plugin.other_systems import PATHS, PYTHON, native_path

if TYPE_CHECKING:
    from nerfstudio.engine.trainer import TrainerConfig

LARGEST = 1 << 18
"""Bytes of a file; those of our presets have 8 000."""
DEEPEST = 32
"""Levels of nesting; ours have 6."""
MOST = 20_000
"""Values, those that are named again counted again; ours have 200."""
MOVED = {
    "aed_nerfstudio.model.aed_nerf": "aed_nerfstudio.nerfstudio_plugin.model",
    "aed_nerfstudio.model.stages": "aed_nerfstudio.nerfstudio_plugin.stages",
    **{
        f"aed_nerfstudio.training.{name}": f"aed_nerfstudio.nerfstudio_plugin.{name}"
        for name in ("datamanager", "fused_adam", "pipeline", "trainer")
    },
}
"""Where modules are now that version 0.1 had elsewhere. The old ones are kept, for nerfstudio's own commands."""
MEND = "give the config.yml of a run that `ns-train aed-nerf` trained with this version, or train again"


def read_config(file: Path) -> TrainerConfig:
    """Reads the config of a training run, equal to what nerfstudio itself would load.

    Args:
        file: written by `ns-train`, or a copy of `aed set-driving`.

    Raises:
        InputError: names the line: the file is too large or no YAML, or it holds something else than plain values,
            paths and configs of this method; nothing of it has been run or imported then.
    """
    try:
        with open(file, "rb") as source:
            text = source.read(LARGEST + 1)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); check the path") from error
    if len(text) > LARGEST:
        raise InputError(f"{file}: has more than {LARGEST} bytes, and no config of a run has; {MEND}")
    try:
        root = _Composer(file, text.decode("utf-8")).get_single_node()
        config = None if root is None else _Builder(file).build(root)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{file}: does not fit this version of aed-nerfstudio ({reason}); {MEND}") from error
    if config is None or getattr(config, "pipeline", None) is None:
        raise InputError(f"{file}: does not fit this version of aed-nerfstudio: is no config of a training run; {MEND}")
    return cast("TrainerConfig", config)


class _Composer(yaml.SafeLoader):
    """The file as nodes, nested so far and no deeper."""

    def __init__(self, file: Path, text: str) -> None:
        super().__init__(text)
        self.file, self.depth = file, 0

    def compose_node(self, parent, index):
        self.depth += 1
        if self.depth > DEEPEST:
            raise _fault(self.file, self.peek_event(), f"is nested more than {DEEPEST} levels deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Builder:
    """Makes values of nodes. A node that several places name is made once, as yaml's own loaders do."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.values = yaml.constructor.SafeConstructor()
        self.made: dict[yaml.Node, tuple[object, int]] = {}
        """Values, and how many they consist of."""
        self.open: set[yaml.Node] = set()

    def build(self, node: yaml.Node) -> object:
        return self._sized(node)[0]

    def _sized(self, node: yaml.Node) -> tuple[object, int]:
        if node not in self.made:
            if node in self.open:
                raise self._wrong(node, "lies within itself")
            self.open.add(node)
            value, parts = self._value(node)
            size = 1 + sum(self.made[part][1] for part in parts)
            if size > MOST:
                raise self._wrong(node, f"holds more than {MOST} values")
            self.made[node] = value, size
        return self.made[node]

    def _wrong(self, node: yaml.Node, what: str) -> InputError:
        return _fault(self.file, node, what)

    def _value(self, node: yaml.Node) -> tuple[object, list[yaml.Node]]:
        """Returns the value, and the nodes it was made of."""
        python = node.tag.removeprefix(PYTHON) if node.tag.startswith(PYTHON) else None
        kind, _, name = (python or "").partition(":")
        if python is None:
            return self._plain(node)
        if python == "tuple" and isinstance(node, yaml.SequenceNode):
            return tuple(map(self.build, node.value)), node.value
        if kind == "object" and isinstance(node, yaml.MappingNode) and _now(name) in _configs():
            return self._config(node, _configs()[_now(name)])
        if kind == "object/apply" and isinstance(node, yaml.SequenceNode):
            parts = [self.build(part) for part in node.value]
            module, _, last = name.rpartition(".")
            names = [part for part in parts if isinstance(part, str)]
            if module in ("pathlib", "pathlib._local") and last in PATHS and len(names) == len(parts):
                return native_path(names, last), node.value
            if name in _enums() and len(parts) == 1 and isinstance(parts[0], (str, int)):
                try:
                    return _enums()[name](parts[0]), node.value
                except ValueError as error:
                    raise self._wrong(node, f"has no {parts[0]!r} in {name}") from error
        raise self._wrong(node, f"holds {_shown(node)}, which is no part of this method's configs")

    def _plain(self, node: yaml.Node) -> tuple[object, list[yaml.Node]]:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind == "seq" and isinstance(node, yaml.SequenceNode):
            return [self.build(part) for part in node.value], node.value
        if kind == "map" and isinstance(node, yaml.MappingNode):
            found = {}
            for key, value in node.value:
                name = self.build(key)
                if not isinstance(name, (str, int)):
                    raise self._wrong(key, "has a name that is no text")
                found[name] = self.build(value)
            return found, [part for pair in node.value for part in pair]
        if not isinstance(node, yaml.ScalarNode) or kind not in ("null", "bool", "int", "float", "str"):
            raise self._wrong(node, f"holds {_shown(node)}, which is no part of this method's configs")
        if kind in ("int", "float") and len(node.value) > 40:
            raise self._wrong(node, f"holds a number of {len(node.value)} digits")
        value = getattr(self.values, f"construct_yaml_{kind}")(node)
        if kind == "str" and "\0" in value:
            raise self._wrong(node, "holds text with a zero byte")
        if kind in ("int", "float") and not (math.isfinite(value) and abs(value) < 1e18):
            raise self._wrong(node, f"holds {node.value}, which no setting can be")
        return value, []

    def _config(self, node: yaml.MappingNode, kind: type) -> tuple[object, list[yaml.Node]]:
        """Makes a config as `pickle` would: without calling anything of its class."""
        usual, state = _known(kind), {}
        parts = []
        for key, part in node.value:
            name = self.build(key)
            if not isinstance(name, str) or name not in usual:
                raise self._wrong(key, f"holds {str(name)[:60]!r}, which {kind.__name__} does not know")
            parts.append(key)
            if part.tag.startswith(f"{PYTHON}name:"):
                state[name] = self._named(part, kind, name)
                continue
            state[name] = self.build(part)
            parts.append(part)
            if not _fits(state[name], usual[name]):
                raise self._wrong(part, f"holds {_shown(part)} as {name} of {kind.__name__}")
        found = object.__new__(kind)
        if hasattr(found, "__setstate__"):
            found.__setstate__(state)
        else:
            found.__dict__.update(state)
        return found, parts

    def _named(self, node: yaml.Node, kind: type, field: str) -> object:
        """Returns a class or function: only the one that this field holds by itself, or held in a config that it
        extends."""
        name = _now(node.tag.removeprefix(f"{PYTHON}name:"))
        for base in kind.__mro__:
            usual = _usual(base).get(field) if is_dataclass(base) else None
            if callable(usual) and name == f"{usual.__module__}.{usual.__qualname__}" and not node.value:
                return usual
        raise self._wrong(node, f"holds {_shown(node)} as {field} of {kind.__name__}, which no run has")


def _now(name: str) -> str:
    """Returns the place of a class whose place in a file may be that of an older version."""
    module, _, last = name.rpartition(".")
    return f"{MOVED.get(module, module)}.{last}"


def _fault(file: Path, place: yaml.Node | yaml.Event, what: str) -> InputError:
    line = place.start_mark.line + 1
    return InputError(f"{file}: does not fit this version of aed-nerfstudio: line {line} {what}; nothing of it was "
                      f"run. {MEND[0].upper()}{MEND[1:]}")  # fmt: skip


def _shown(node: yaml.Node) -> str:
    return node.tag.replace("tag:yaml.org,2002:", "!!")[:200]


@cache
def _configs() -> dict[str, type]:
    """Returns the classes of the configs by their names in a file: those that our presets hold, and what these
    extend."""
    from nerfstudio.configs.base_config import LocalWriterConfig, LoggingConfig, MachineConfig, ViewerConfig
    from nerfstudio.data.pixel_samplers import PixelSamplerConfig
    from nerfstudio.engine.optimizers import AdamOptimizerConfig
    from nerfstudio.engine.trainer import TrainerConfig

    from aed_nerfstudio.dataparsers.rad_nerf import RadNerfDataParserConfig
    from aed_nerfstudio.dataparsers.talking_face import TalkingFaceDataParserConfig
    from aed_nerfstudio.nerfstudio_plugin.camera_driver import DrivingConfig
    from aed_nerfstudio.nerfstudio_plugin.datamanager import AedDataManagerConfig
    from aed_nerfstudio.nerfstudio_plugin.fused_adam import FusedAdamConfig
    from aed_nerfstudio.nerfstudio_plugin.model import AedNerfModelConfig
    from aed_nerfstudio.nerfstudio_plugin.pipeline import AedPipelineConfig
    from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule
    from aed_nerfstudio.nerfstudio_plugin.trainer import AedTrainerConfig

    known = (
        *(TrainerConfig, AedTrainerConfig, LoggingConfig, LocalWriterConfig, MachineConfig, ViewerConfig),
        *(AedPipelineConfig, AedDataManagerConfig, PixelSamplerConfig, AedNerfModelConfig, StageSchedule),
        DrivingConfig,
        *(TalkingFaceDataParserConfig, RadNerfDataParserConfig, AdamOptimizerConfig, FusedAdamConfig),
    )
    return {f"{kind.__module__}.{kind.__qualname__}": kind for kind in known}


@cache
def _enums() -> dict[str, type[Enum]]:
    from nerfstudio.utils.writer import EventName

    return {f"{EventName.__module__}.{EventName.__qualname__}": EventName}


def _known(kind: type) -> dict[str, object]:
    """Returns the fields of a config, also those that version 0.1 had there, and what they hold by themselves."""
    from aed_nerfstudio.nerfstudio_plugin.camera_driver import DrivingConfig
    from aed_nerfstudio.nerfstudio_plugin.model import AedNerfModelConfig

    return {**_usual(DrivingConfig), **_usual(kind)} if kind is AedNerfModelConfig else _usual(kind)


@cache
def _usual(kind: type) -> dict[str, object]:
    """Returns the fields of a config and what they hold by themselves; None where they must be given."""
    found = {}
    for field in fields(kind):
        made = None if field.default_factory is MISSING else field.default_factory()
        found[field.name] = made if field.default is MISSING else field.default
    return found


def _fits(value: object, usual: object) -> bool:
    """Returns whether a value may stand where a field holds another by itself: a config only for one of its kind."""
    from nerfstudio.data.dataparsers.base_dataparser import DataParserConfig

    if not is_dataclass(usual):
        return not is_dataclass(value) and (value is None or not callable(usual))
    kind = DataParserConfig if isinstance(usual, DataParserConfig) else type(usual)
    return isinstance(value, kind)
