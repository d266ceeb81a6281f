"""What `make` installs by: the tested set, the overrides, and what is said of machines that they do not fit."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "installation"
tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no reader of pyproject.toml")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def check():
    spec = importlib.util.spec_from_file_location("check_machine", FOLDER / "check_machine.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def requirements(name: str) -> list[Requirement]:
    lines = (line.strip() for line in (FOLDER / name).read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_the_tested_set_has_every_dependency_once_for_a_python_and_no_address():
    pinned = requirements("constraints.txt")
    assert all(str(pin.specifier).startswith("==") and pin.url is None for pin in pinned)
    everything = [*PROJECT["dependencies"], *(r for group in PROJECT["optional-dependencies"].values() for r in group)]
    for python in ("3.10", "3.11", "3.12"):
        environment = {"python_version": python, "python_full_version": f"{python}.0"}
        here = [pin for pin in pinned if not pin.marker or pin.marker.evaluate(environment)]
        versions = [(pin.name, str(pin.specifier)[2:]) for pin in here]
        assert len(versions) == len(dict(versions))
        for asked in map(Requirement, everything):
            if asked.name != PROJECT["name"] and (not asked.marker or asked.marker.evaluate(environment)):
                version = dict(versions)[asked.name.replace("_", "-")]
                assert asked.specifier.contains(version), f"{asked} on Python {python} is {version}: `make constraints`"


def test_nothing_but_seven_things_is_overridden():
    assert {requirement.name for requirement in requirements("overrides.txt")} == {
        "pyliblzfse", "opencv-contrib-python", "opencv-python", "fpsample", "keras", "mtcnn", "rfc3987-syntax"
    }  # fmt: skip


def test_what_is_installed_is_the_tested_set():
    """In an environment that `make` made; others have what their users chose."""
    if not (Path(sys.prefix) / ".installed").exists():
        pytest.skip("this environment was not made by make")
    import importlib.metadata

    wrong = {}
    for pin in requirements("constraints.txt"):
        try:
            version = importlib.metadata.version(pin.name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if (not pin.marker or pin.marker.evaluate()) and not pin.specifier.contains(version):
            wrong[pin.name] = version
    assert not wrong


def test_this_machine_is_fit(check, tmp_path):
    command = [sys.executable, FOLDER / "check_machine.py", tmp_path]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_the_check_knows_the_pythons_that_the_package_asks_for(check):
    asked = SpecifierSet(PROJECT["requires-python"])
    for minor in range(8, 16):
        assert (check.python_fault((3, minor)) is None) == asked.contains(f"3.{minor}")
    assert "Python 3.13: the packages have wheels for 3.10 to 3.12" in check.python_fault((3, 13))


@pytest.mark.parametrize(
    ("system", "machine", "libc", "words"),
    [
        ("Linux", "x86_64", ("glibc", "2.36"), None),
        ("Linux", "x86_64", ("glibc", "2.31"), "glibc 2.31: moonshine-voice's wheel needs 2.34"),
        ("Linux", "x86_64", ("", ""), "no glibc"),
        ("Linux", "aarch64", ("glibc", "2.36"), "xatlas"),
        ("Linux", "ppc64le", ("glibc", "2.36"), "ppc64le"),
        ("Darwin", "arm64", ("", ""), None),
        ("Darwin", "x86_64", ("", ""), "Intel"),
        ("Windows", "AMD64", ("", ""), None),
        ("Windows", "ARM64", ("", ""), "arm64"),
    ],
)
def test_systems(check, monkeypatch, system, machine, libc, words):
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("platform.libc_ver", lambda: libc)
    monkeypatch.setattr("platform.mac_ver", lambda: ("15.1", ("", "", ""), machine))
    fault = check.platform_fault()
    assert fault is None if words is None else words in fault


def test_an_old_mac(check, monkeypatch):
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr("platform.mac_ver", lambda: ("14.6", ("", "", ""), "arm64"))
    assert "macOS 14.6: moonshine-voice's wheel needs 15" in check.platform_fault()


def test_a_full_disk_is_said_before_anything_is_fetched(check, monkeypatch, tmp_path):
    monkeypatch.setattr(check, "GIGABYTES", 1e9)
    fault = check.disk_fault(tmp_path / "environment", tmp_path / "not" / "yet" / "cache")
    assert "GB free, 1000000000 needed" in fault and str(tmp_path) in fault
    (tmp_path / ".installed").touch()
    assert check.disk_fault(tmp_path, tmp_path) is None


@pytest.mark.skipif("UV" not in os.environ, reason="make test says where uv is")
def test_make_says_in_one_line_what_to_install_where_no_python_fits(tmp_path):
    command = ["make", "install", "PYTHON=no-such-python", f"VENV={tmp_path / 'venv'}"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "error: no Python no-such-python was found or could be fetched; install python3.11 or" in run.stderr
    assert not (tmp_path / "venv").exists()
