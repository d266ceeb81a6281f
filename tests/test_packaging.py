"""The wheel holds the whole package and nothing else."""

import os
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "aed_nerfstudio"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy so that no build/ folder is left in the checkout."""
    tree = tmp_path_factory.mktemp("source")
    for folder in (PACKAGE, "dataparsers", "method_configs", "tests"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    out = tree / "dist"
    # Out of process and without isolation: no network is needed.
    run = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(tree)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ""},
        check=False,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_no_module_is_missing(wheel):
    suffixes = ("py", "js", "jinja", "typed", "avatar")
    files = [path for suffix in suffixes for path in (ROOT / PACKAGE).rglob(f"*.{suffix}")]
    expected = {str(path.relative_to(ROOT)) for path in files}
    for folder in ("dataparsers", "method_configs"):
        expected |= {f"{PACKAGE}/{path.relative_to(ROOT)}" for path in (ROOT / folder).rglob("*.py")}
    missing = expected - set(wheel.namelist())
    assert not missing, f"add their packages to [tool.setuptools] in pyproject.toml: {sorted(missing)}"


def test_nothing_else_lands_in_site_packages(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {PACKAGE}


def metadata(wheel, name):
    (path,) = (n for n in wheel.namelist() if n.endswith(f".dist-info/{name}"))
    return wheel.read(path).decode()


def test_entry_points_name_modules_that_exist(wheel):
    parser = ConfigParser(delimiters=("=",))
    parser.optionxform = str
    parser.read_string(metadata(wheel, "entry_points.txt"))
    assert set(parser["nerfstudio.method_configs"]) == {"aed-nerf", "aed-nerf-paper", "aed-nerf-tiny"}
    assert "aed-data" in parser["nerfstudio.dataparser_configs"]
    assert "aed" in parser["console_scripts"]
    for section in parser.sections():
        for name, target in parser[section].items():
            module, attribute = target.split(":")
            path = module.replace(".", "/") + ".py"
            assert path in wheel.namelist(), f"{name}: {path} is not in the wheel"
            assert attribute in wheel.read(path).decode()


def test_licence_and_readme_are_in_the_metadata(wheel):
    text = metadata(wheel, "METADATA")
    assert "License-Expression: Apache-2.0" in text
    assert "make demo" in text
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())
