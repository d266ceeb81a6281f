"""Says what this machine lacks before gigabytes are fetched: `python check_machine.py CACHE`, CACHE being uv's folder.

Run by the Python that is to be used, with nothing installed. A line a fault and exit code 1; nothing where all is well.
"""

import os
import platform
import shutil
import sys
from pathlib import Path

PYTHONS = (3, 10), (3, 12)  # as in pyproject.toml's requires-python
GLIBC = (2, 34)  # moonshine-voice's wheel
GIGABYTES = 9.0  # what the environment takes, 8.3, and a little


def platform_fault() -> str | None:
    """Why no set of wheels fits this system and processor; None where one does."""
    system, machine = platform.system(), platform.machine().lower()
    if sys.maxsize < 2**32:
        return "this Python has 32 bits; install one of 64"
    if system == "Linux":
        if machine in ("aarch64", "arm64"):
            return (
                "Linux on ARM: xatlas, which nerfstudio needs, has no wheel there. With a C++ compiler and CMake, "
                "`pip install -e .` builds it"
            )
        if machine != "x86_64":
            return f"Linux on {machine}: PyTorch has no wheel there; use x86-64"
        library, version = platform.libc_ver()
        if library != "glibc":
            return "this Linux has no glibc (Alpine and its like have musl): most wheels need one; use another image"
        if tuple(int(part) for part in version.split(".")[:2]) < GLIBC:
            return (
                f"glibc {version}: moonshine-voice's wheel needs {GLIBC[0]}.{GLIBC[1]} (Debian 12, Ubuntu 22.04, "
                "RHEL 9 or newer)"
            )
    elif system == "Darwin":
        if machine != "arm64":
            return "macOS on Intel: PyTorch ended its wheels there with 2.2; use a Mac with an Apple chip"
        if int(platform.mac_ver()[0].split(".")[0]) < 15:
            return f"macOS {platform.mac_ver()[0]}: moonshine-voice's wheel needs 15"
    elif system == "Windows":
        if machine not in ("amd64", "x86_64"):
            return f"Windows on {machine}: PyTorch and MediaPipe have no wheels there; use x86-64"
    return None


def python_fault(version: tuple[int, int]) -> str | None:
    """Why a Python, (major, minor), does not fit; None where it does."""
    low, high = PYTHONS
    if low <= version <= high:
        return None
    span = f"{low[0]}.{low[1]} to {high[0]}.{high[1]}"
    return f"Python {version[0]}.{version[1]}: the packages have wheels for {span}; name one: make PYTHON=/its/path"


def disk_fault(environment: Path, cache: Path) -> str | None:
    """What is missing on the disks of the virtual environment and of uv's cache; None where there is enough.

    On one file system they share their files, on two each has its own.
    """
    if (environment / ".installed").exists():  # only what changed is fetched
        return None
    places: dict[int, Path] = {}
    for place in (environment, cache):
        while not place.exists():
            place = place.parent
        places.setdefault(os.stat(place).st_dev, place)
    for place in places.values():
        free = shutil.disk_usage(place).free / 1e9
        if free < GIGABYTES:
            return f"{place}: {free:.1f} GB free, {GIGABYTES:.0f} needed (PyTorch with CUDA's libraries is most of it)"
    return None


def main() -> None:
    faults = [python_fault(sys.version_info[:2]), platform_fault(), disk_fault(Path(sys.prefix), Path(sys.argv[1]))]
    faults = [fault for fault in faults if fault is not None]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
