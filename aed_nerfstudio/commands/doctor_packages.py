"""What `aed doctor` checks of installed packages: ours, those it needs, OpenCV and nerfstudio.

Nothing here may count on more than the standard library being whole.
"""

from __future__ import annotations

import csv
import importlib
import importlib.metadata
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aed_nerfstudio.commands.doctor_check import IMPORT_CV2, Broken, Check, NotHere
from aed_nerfstudio.errors import opencv_mend

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DISTRIBUTION = "aed-nerfstudio"
OPENCVS = ("opencv-python", "opencv-contrib-python", "opencv-python-headless", "opencv-contrib-python-headless")
"""Distributions that all write into one folder, cv2."""
DATA = {"fer"}
"""Packages of which a file is read and no module is imported; what their modules want may be missing."""


def packages() -> Iterator[Check]:
    """Checks what our distribution's metadata asks for: its version, that it is whole, and that it can be imported."""
    yield Check(DISTRIBUTION, lambda: importlib.metadata.version(DISTRIBUTION))
    yield from (Check(r.name, partial(_package, r)) for r in _requirements() if not _extra(r))


def extras() -> Iterator[Check]:
    """Checks the packages of our distribution's optional parts, where they are installed."""
    yield from (Check(r.name, partial(_package, r), needed=False) for r in _requirements() if _extra(r))


def _requirements() -> list[Requirement]:
    """Returns the requirements that apply on this machine, those of extras included, but for the developers'."""
    from packaging.requirements import Requirement

    asked = [Requirement(line) for line in importlib.metadata.requires(DISTRIBUTION) or []]
    return [r for r in asked if _extra(r) != "dev" and (not r.marker or r.marker.evaluate({"extra": _extra(r)}))]


def _extra(requirement: Requirement) -> str:
    """Returns the extra that asks for a package; empty where every installation needs it."""
    match = re.search(r"extra == ['\"]([^'\"]+)", str(requirement.marker))
    return match[1] if match else ""


def _package(requirement: Requirement) -> str:
    """Returns the installed version of a package; raises NotHere or Broken, with the command that mends it."""
    extra = _extra(requirement)
    wanted = f"{DISTRIBUTION}[{extra}]" if extra else f"{requirement.name}{requirement.specifier}"
    mend = f"run `pip install '{wanted}'`"
    try:
        installed = importlib.metadata.distribution(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        if extra:
            raise NotHere(mend) from None
        raise Broken(f"not installed; {mend}") from None
    if not requirement.specifier.contains(installed.version, prereleases=True):
        raise Broken(f"{installed.version} is installed, but it has to be {requirement.specifier}; {mend}")
    again = f"run `pip install --force-reinstall --no-deps '{requirement.name}=={installed.version}'`"
    if gone := _gone(installed):
        raise Broken(f"{installed.version} is not whole, {gone}; {again}")
    if requirement.name in DATA:
        return installed.version
    module = importlib.import_module(_module(installed, requirement.name))
    if getattr(module, "__file__", None) is None:
        raise Broken(f"only empty folders are left of it; {again}")
    return installed.version


def _gone(distribution: importlib.metadata.Distribution) -> str:
    """Returns, in words, how many of the code's files that were installed are gone; empty where all are there."""
    rows = csv.reader((distribution.read_text("RECORD") or "").splitlines())
    # not distribution.files, which leaves out what is gone from Python 3.12 on
    code = [row[0] for row in rows if row and row[0].endswith((".py", ".so", ".pyd"))]
    count = sum(not Path(str(distribution.locate_file(file))).exists() for file in code)
    return f"{count} of its {len(code)} files of code are gone" if count else ""


def _module(distribution: importlib.metadata.Distribution, name: str) -> str:
    """Returns the name by which a distribution is imported."""
    name = re.sub(r"[-.]", "_", name)
    tops = [file.parts[0] for file in distribution.files or () if file.parts[1:] == ("__init__.py",)]
    return name if name in tops or not tops else tops[0]


def opencv() -> Iterator[Check]:
    """Checks which OpenCVs are installed, one over the other, and whether one of them works."""
    yield Check("installed", _opencvs)
    yield Check(IMPORT_CV2, _cv2)


def _opencvs() -> str:
    texts = []
    for name in OPENCVS:
        try:
            installed = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        gone = _gone(installed)
        texts.append(f"{name} {installed.version}{f' ({gone})' if gone else ''}")
    if not texts:
        raise Broken(f"none; {opencv_mend()}")
    return ", ".join(texts) + ("; their files lie over each other" if len(texts) > 1 else "")


def _cv2() -> str:
    import cv2
    import numpy as np

    if cv2.resize(np.zeros((4, 4, 3), np.uint8), (2, 2)).shape != (2, 2, 3):
        raise Broken(f"it computes nonsense; {opencv_mend()}")
    headless = importlib.import_module("cv2.version").headless
    return f"ok, {cv2.__version__}{', headless' if headless else ', with windows'}"


def nerfstudio() -> Iterator[Check]:
    """Checks what nerfstudio has of ours."""
    yield Check("registered", _registered)
    yield Check("loaded by ns-train", _loaded)


def _registered() -> str:
    groups = {"method_configs": "methods", "dataparser_configs": "dataparsers"}
    parts = []
    for group, words in groups.items():
        names = _entry_points(group)
        if not names:
            raise Broken(f"no {words} of ours; run `pip install --force-reinstall --no-deps {DISTRIBUTION}`")
        parts.append(f"{len(names)} {words} ({', '.join(names)})")
    return ", ".join(parts)


def _entry_points(group: str) -> list[str]:
    """Returns the names of our entry points in one of nerfstudio's groups."""
    points = importlib.metadata.entry_points(group=f"nerfstudio.{group}")
    return sorted({point.name for point in points if point.value.startswith("aed_nerfstudio.")})


def _loaded() -> str:
    from nerfstudio.configs.dataparser_configs import all_dataparsers
    from nerfstudio.configs.method_configs import all_methods

    names = _entry_points("method_configs")
    if missing := [name for name in names if name not in all_methods]:
        raise Broken(f"{', '.join(missing)} not among nerfstudio's methods")
    return f"ok, {len(names)} of {len(all_methods)} methods and {len(all_dataparsers)} dataparsers"
