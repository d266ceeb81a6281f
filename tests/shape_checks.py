"""Checks of the types and shapes that the package's functions name, from the first import on."""

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import jaxtyping
from beartype import BeartypeConf, beartype

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "aed_nerfstudio"
NAME = "aed_shape_checks"


def shaped_modules() -> list[str]:
    """Returns the names of the modules that say shapes; kernels, which compilers must see as they are, say none."""
    paths = [path for path in PACKAGE.rglob("*.py") if "from jaxtyping import" in path.read_text("utf-8")]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]


types_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # whole numbers are floats too
inner_checks: dict[tuple, Callable] = {}


def checked(function: Callable) -> Callable:
    """Returns what checks types as a function names them, which does nothing itself: jaxtyping has made it.

    It makes one for a function inside of another whenever that is called; what checks it is made once.
    """
    if "<locals>" not in function.__qualname__:
        return types_checked(function)
    key = (function.__module__, function.__qualname__, inspect.signature(function))
    if key not in inner_checks:
        inner_checks[key] = types_checked(function)
    return inner_checks[key]


def install() -> None:
    """Has every function checked that is imported from here on; once a process, or in the one that it is a fork of."""
    if NAME not in sys.modules:
        # The hook wants the checker by a name that can be imported, wherever this file was imported from.
        sys.modules[NAME] = ModuleType(NAME)
        sys.modules[NAME].checked = checked
        jaxtyping.install_import_hook(shaped_modules(), f"{NAME}.checked")
