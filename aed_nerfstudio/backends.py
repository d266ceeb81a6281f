"""Which code runs the three operations that have kernels of their own: grids, marching and compositing.

- `torch`: plain tensor operations; runs anywhere and is the reference of all others.
- `numba`: kernels that Numba compiles for the CPU.
- `triton`: kernels that Triton compiles for the GPU.
- `tcnn`: tiny-cuda-nn's grids, where its PyTorch bindings are installed.
- `auto`: the fastest that is there: `numba` on a CPU, on a GPU `tcnn` for the grids, else `triton`, else `torch`.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch

from aed_nerfstudio.errors import InputError

Backend = Literal["auto", "torch", "numba", "triton", "tcnn"]


class Backends(NamedTuple):
    """Names what runs each operation: torch, numba, triton or tcnn, never auto."""

    grids: str
    marching: str
    compositing: str

    def __str__(self) -> str:
        return ", ".join(f"{operation} {name}" for operation, name in self._asdict().items())


def resolve(choice: Backend, device: torch.device | str) -> Backends:
    """Returns what a choice means on a device: the same answer for the whole of a process, and cheap to ask for again.

    tcnn, which has grids only, leaves the others to what auto takes without it.

    Raises:
        InputError: no such backend, or it cannot be had here; says what would mend that.
    """
    return _resolve(choice, torch.device(device).type)


def had_here(choice: Backend, device: torch.device | str) -> Backend:
    """Returns a choice that may have been made for another machine: auto, and a line, where a device cannot have it."""
    if unavailable(choice, torch.device(device).type) is None:
        return choice
    print(f"backend {choice}, with which this avatar was trained, cannot be had here: taking auto")
    return "auto"


@functools.cache
def _resolve(choice: str, kind: str) -> Backends:
    if choice not in get_args(Backend):
        raise InputError(f"backend {choice}: must be one of {', '.join(get_args(Backend))}")
    if choice == "auto":
        own = "numba" if kind == "cpu" else "triton" if unavailable("triton", kind) is None else "torch"
        return _resolve("tcnn" if unavailable("tcnn", kind) is None else own, kind)
    reason = unavailable(choice, kind)
    if reason is not None:
        raise InputError(f"backend {choice}: {reason}")
    if choice == "numba":
        _announce_compilation()
        _keep_freed_memory()
    if kind == "cuda":  # products in bfloat16 are summed in float32, whatever cuBLAS would gain by less
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    others = "triton" if unavailable("triton", kind) is None else "torch"
    return Backends("tcnn", others, others) if choice == "tcnn" else Backends(choice, choice, choice)


@functools.cache
def has_bfloat16(kind: str) -> bool:
    """Returns whether a kind of device multiplies in bfloat16 itself.

    Without that it is five times slower than float32.
    """
    if kind != "cpu":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    return any(features.get(name) for name in ("avx512bf16", "amx-bf16", "bf16"))


def _announce_compilation() -> None:
    """Has the wait for the first of Numba's kernels explained. Later processes find them compiled."""
    from numba.core import event

    class Once(event.Listener):
        def on_start(self, event) -> None:
            if not self.said:
                print("compiling kernels for this processor, once: up to a minute", flush=True)
            self.said = True

        def on_end(self, event) -> None:
            pass

        said = False

    event.register("numba:compile", Once())


def _keep_freed_memory() -> None:
    """Has glibc keep what was freed for the next use, up to 128 MiB, instead of giving it back to the system.

    Else a picture of 512x512 pixels takes its memory anew, page by page: a tenth of its time.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is not None and hasattr(libc, "mallopt"):
        threshold_of_mmap, threshold_of_trim = -3, -1  # as malloc.h names them
        libc.mallopt(threshold_of_mmap, 32 << 20)  # the most there is, which glibc comes to by itself
        libc.mallopt(threshold_of_trim, 128 << 20)


def interpreted() -> bool:
    """Returns whether Triton runs its kernels in its interpreter, on the CPU: slowly, for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def unavailable(name: str, kind: str) -> str | None:
    """Returns why a backend cannot run on a kind of device ("cpu", "cuda") and the mend; None where it can."""
    if name == "numba" and kind != "cpu":
        return f"runs on the CPU only, not on {kind}; use auto, triton or torch there"
    if name == "triton":
        return _triton_unavailable(kind)
    if name == "tcnn":
        return _tcnn_unavailable(kind)
    return None


def _triton_unavailable(kind: str) -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed (PyTorch's CUDA builds bring it along); use auto or torch"
    if interpreted():
        return None
    if kind != "cuda":
        return f"needs a CUDA device, not {kind}; use auto, or set TRITON_INTERPRET=1 to try its kernels very slowly"
    # Triton compiles a small host program around every kernel, at the first call: better to know before the training.
    if sys.platform == "win32":  # where Triton brings a compiler along
        return None
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    header = Path(sysconfig.get_path("include", "posix_prefix"), "Python.h")  # Debian's own default scheme has none
    if not (compiler and header.is_file()):
        missing = f"Python's header {header} (python3-dev)" if compiler else "a C compiler (gcc or clang)"
        return f"Triton needs {missing}; install it, or use torch"
    return None


@functools.cache
def _tcnn_unavailable(kind: str) -> str | None:
    if kind != "cuda":
        return f"tiny-cuda-nn needs a CUDA device, not {kind}; use auto"
    try:
        importlib.import_module("tinycudann")
    except (ImportError, OSError) as error:  # OSError: its own, of a GPU that it was not built for
        reason = " ".join(str(error).split())
        return f"tinycudann cannot be imported ({reason}); install tiny-cuda-nn's PyTorch bindings, or use auto"
    return None
