"""The import rules: floors, empty `__init__.py` files, and what entry points may load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "aed_nerfstudio"
SOURCES = {PACKAGE: ROOT / PACKAGE, **{f"{PACKAGE}.{n}": ROOT / n for n in ("dataparsers", "method_configs")}}

FLOORS = (
    ("errors",),
    ("outside", "bounds", "files", "visitors"),
    ("backends",),
    ("media", "face", "fields", "rendering"),
    ("dataset",),
    ("audio", "jobs"),
    ("driving",),
    ("avatar", "capture", "synthetic", "dataparsers"),
    ("inspection", "corpora", "viewer"),
    ("nerfstudio_plugin",),
    ("model", "training", "method_configs", "loading"),
    ("evaluation", "live"),
    ("commands",),
)
"""Lowest first. A package imports only itself and floors below its own."""
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for prefix, folder in SOURCES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((prefix, *(parts[:-1] if parts[-1] == "__init__" else parts)))] = path
    return found


def imports(path: Path, name: str) -> set[str]:
    """Dotted names of ours that a module imports, also inside functions and for types."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}, line {node.lineno}: import by the full name"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {target for target in found if target.split(".")[0] == PACKAGE}


def top(name: str) -> str:
    """The part of a dotted name that has a floor; empty for the package itself."""
    return (name.split(".") + [""])[1]


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_run_down_only(name):
    if name == PACKAGE:
        return
    assert top(name) in FLOOR, f"{name} has no floor; give it one here and in the design"
    for target in imports(modules()[name], name):
        down = FLOOR[top(target)] < FLOOR[top(name)]
        assert down or top(target) == top(name), f"{name} must not import {target}"


def ring_in(edges: dict[str, set[str]]) -> list[str]:
    """Some modules that import each other in a ring, each the one before it; empty where there is none."""
    done: set[str] = set()
    for start in sorted(edges):
        path = [start]
        waiting = [iter(sorted(edges[start]))]
        while waiting and start not in done:
            target = next(waiting[-1], None)
            if target is None:
                waiting.pop()
                done.add(path.pop())
            elif target in path:
                return path[path.index(target) :]
            elif target not in done:
                path.append(target)
                waiting.append(iter(sorted(edges[target])))
    return []


def module_of(target: str, names: dict[str, Path]) -> str | None:
    """The module that an import names, itself or one of its members."""
    return next((name for name in (target, target.rpartition(".")[0]) if name in names), None)


def test_no_modules_import_each_other_in_a_ring():
    """Also not inside functions or for types."""
    names = modules()
    edges = {name: {module_of(target, names) for target in imports(path, name)} for name, path in names.items()}
    for name, targets in edges.items():
        targets -= {None, name, PACKAGE}
    assert ring_in(edges) == []


def test_rings_are_found():
    assert ring_in({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert ring_in({"a": {"b", "d"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["b", "c"]


@pytest.mark.parametrize("path", sorted(p for f in SOURCES.values() for p in f.rglob("__init__.py")), ids=str)
def test_init_files_are_empty(path):
    assert path.read_text().strip() == ""  # nerfstudio loads entry points unguarded, and circularly


def loaded_by(*statements: str, before: str = "") -> list[set[str]]:
    """The modules that an interpreter has loaded after each statement, in a fork of its own for each."""
    code = f"""
import os, sys
{before}
for statement in {statements!r}:
    child = os.fork()
    if not child:
        exec(statement)
        print(*sys.modules)
        sys.exit()
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        sys.exit(statement)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent, check=False)
    assert run.returncode == 0, run.stderr
    return [set(line.split()) for line in run.stdout.splitlines() if line.startswith("sys ")]


def test_plugins_load_in_any_order():
    """A dataparser must not load the trainer: else every ns-* command dies of a circular import, also those of other
    methods."""
    # Neither nerfstudio nor ours:
    libraries = "import cv2, nerfacc, torch, torchvision, torch.utils.tensorboard, numba, tensorly, viser"
    dataparser = f"import {PACKAGE}.dataparsers.talking_face"
    method = f"import {PACKAGE}.method_configs.aed_nerf"
    # Not by its name, for one of the libraries brings a package `tests` of its own.
    methods = (f"import runpy\nrunpy.run_path({str(ROOT / 'tests' / 'forks.py')!r})['load_methods']()\n"
               "from nerfstudio.configs.method_configs import all_methods\nall_methods['aed-nerf']")  # fmt: skip
    statements = dataparser, f"{dataparser}\n{methods}", f"{method}\n{methods}"
    loaded, *others = loaded_by(*statements, before=libraries)
    assert len(others) == 2 and "nerfstudio.configs.method_configs" in others[0] & others[1]
    assert "torch" in loaded
    forbidden = {"nerfstudio.engine.trainer", "nerfstudio.configs.method_configs", f"{PACKAGE}.method_configs"}
    assert not loaded & forbidden
    later = tuple(f"{PACKAGE}.{name}" for name in ("nerfstudio_plugin", "training", "model"))
    assert not {name for name in loaded if name.startswith(later)}


def test_command_line_starts_without_torch():
    names = [f"{PACKAGE}.commands.{name}" for name in ("main", "render", "demo")]
    for name, loaded in zip(names, loaded_by(*[f"import {name}" for name in names]), strict=True):
        assert name in loaded and not loaded & {"torch", "nerfstudio", "mediapipe"}
