"""What `aed doctor` checks of the machine: the system, its GPU, the backends and their kernels.

Nothing here may count on more than the standard library being whole.
"""

from __future__ import annotations

import importlib.metadata
import locale
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from aed_nerfstudio.commands.doctor_check import Broken, Check, NotHere, in_a_line
from aed_nerfstudio.commands.doctor_packages import DISTRIBUTION

GIB = 1 << 30


def system() -> Iterator[Check]:
    """Checks Python, the machine and what room there is."""
    yield Check("Python", _python)
    yield Check("platform", platform.platform)
    if sys.platform == "linux":
        yield Check("C library", _c_library)
    yield Check("processor", _processor, needed=False)
    yield Check("memory", _memory, needed=False)
    yield Check("disk, current folder", lambda: _free("."), needed=False)
    yield Check("disk, temporary files", lambda: _free(tempfile.gettempdir()), needed=False)
    odd = {
        "text": locale.getpreferredencoding(False),
        "file names": sys.getfilesystemencoding(),
    }
    odd = {what: name for what, name in odd.items() if name.lower().replace("-", "") != "utf8"}
    if odd:
        yield Check("encodings other than UTF-8", lambda: ", ".join(f"{name} of {what}" for what, name in odd.items()))


def _python() -> str:
    running = f"{platform.python_version()} ({platform.python_implementation()}, {platform.architecture()[0]})"
    asked = importlib.metadata.metadata(DISTRIBUTION)["Requires-Python"]
    from packaging.specifiers import SpecifierSet

    if asked and not SpecifierSet(asked).contains(platform.python_version(), prereleases=True):
        raise Broken(f"{running}, but {DISTRIBUTION} needs {asked}")
    return running


def _c_library() -> str:
    name, version = platform.libc_ver()
    if name:
        return f"{name} {version}"
    return "not glibc, probably musl: most of the packages that are needed have no wheels for it"


def _processor() -> str:
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {os.cpu_count()} cores" + ("" if usable == os.cpu_count() else f", {usable} for this process")


def _memory() -> str:
    import psutil

    memory = psutil.virtual_memory()
    return f"{memory.total / GIB:.1f} GiB, {memory.available / GIB:.1f} GiB available"


def _free(folder: str) -> str:
    return f"{shutil.disk_usage(folder).free / GIB:.1f} GiB free"


def gpu() -> Iterator[Check]:
    """Checks what torch and the driver see."""
    yield Check("torch", _torch)
    yield Check("driver", _driver, needed=False)


def _torch() -> str:
    import torch

    build = f"{torch.__version__}, {f'built for CUDA {torch.version.cuda}' if torch.version.cuda else 'without CUDA'}"
    if not torch.cuda.is_available():
        return f"{build}, sees no GPU; {torch.get_num_threads()} threads"
    cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    names = (f"{c.name} ({c.total_memory / GIB:.1f} GiB, compute {c.major}.{c.minor})" for c in cards)
    return f"{build}, sees {', '.join(names)}; {torch.get_num_threads()} threads"


def _driver() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        raise NotHere("no nvidia-smi, so no NVIDIA driver")
    command = [program, "--query-gpu=driver_version,name,memory.total", "--format=csv,noheader"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if run.returncode:
        raise Broken(in_a_line(Exception(run.stdout + run.stderr)))
    return "; ".join(run.stdout.splitlines())


def backends() -> Iterator[Check]:
    """Says which backends `auto` takes on each device, and why not the others."""
    import torch

    from aed_nerfstudio.backends import has_bfloat16, resolve, unavailable

    kinds = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    for kind in kinds:
        yield Check(f"auto on {kind}", lambda kind=kind: str(resolve("auto", kind)))
        for name in ("numba", "triton", "tcnn"):
            reason = unavailable(name, kind)
            if reason is not None:
                yield Check(f"{name} on {kind}", lambda reason=reason: f"no: {reason}", needed=False)
        yield Check(f"bfloat16 on {kind}", lambda kind=kind: "yes" if has_bfloat16(kind) else "no, float32 is faster")
    if len(kinds) == 1:
        yield Check("cuda", lambda: "no: torch sees no GPU", needed=False)


def kernels() -> Iterator[Check]:
    """Tests each kernel on itself, against plain torch on the CPU."""
    import torch

    from aed_nerfstudio.backends import unavailable
    from aed_nerfstudio.evaluation.kernel_check import CHECKS, checks_of

    for kind in ("cpu", "cuda"):
        for backend in ("torch", "numba", "triton", "tcnn"):
            if (backend, kind) in (("torch", "cpu"), ("numba", "cuda"), ("triton", "cpu"), ("tcnn", "cpu")):
                continue  # the reference, and what is for the other device
            reason = unavailable(backend, kind) if torch.cuda.is_available() or kind == "cpu" else "needs a CUDA device"
            if reason is not None:
                yield Check(f"{backend} on {kind}", partial(_not_here, reason), needed=False)
                continue
            for name in checks_of(backend):
                yield Check(f"{backend} {name}, {kind}", partial(CHECKS[name], backend, kind))


def _not_here(reason: str) -> str:
    raise NotHere(reason)
