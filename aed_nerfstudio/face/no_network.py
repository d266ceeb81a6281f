"""Threads without a network, for a library that would send figures of its use to its makers.

MediaPipe 1.x does (see docs/security.md) and has no switch for it. On Linux a thread can give up system calls for good,
for itself and for all threads that it starts; ours gives up `socket`.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

Result = TypeVar("Result")

# By machine: the kernel's AUDIT_ARCH value, and the numbers of the system calls `socket` and `seccomp`.
CALLS = {"x86_64": (0xC000003E, 41, 317), "aarch64": (0xC00000B7, 198, 277)}
NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS, without which only root may set a filter
SET_FILTER = 1  # SECCOMP_SET_MODE_FILTER
SPECULATE = 4  # SECCOMP_FILTER_FLAG_SPEC_ALLOW: older kernels slow filtered threads down otherwise
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EACCES
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
NUMBER, MACHINE = 0, 4  # offsets in the kernel's struct seccomp_data


class _Instruction(ctypes.Structure):
    """Of classic BPF."""

    _fields_ = [("code", ctypes.c_uint16), ("true", ctypes.c_uint8), ("false", ctypes.c_uint8), ("k", ctypes.c_uint32)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction))]


def without_network(make: Callable[[], Result]) -> Result:
    """Returns what `make` returns; it runs in a thread that has no network, and neither have the threads that it
    starts.

    Other threads of the process keep theirs. Where the system cannot do this, `make` runs all the same, and a line on
    stderr says so once.
    """

    def sealed() -> Result:
        if not _give_up_sockets():
            _say_it_is_open()
        return make()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(sealed).result()


def _give_up_sockets() -> bool:
    """Takes the network from the calling thread, and says whether that succeeded."""
    calls = CALLS.get(platform.machine())
    if sys.platform != "linux" or calls is None or sys.maxsize < 2**32:
        return False
    machine, socket, seccomp = calls
    steps = [
        (LOAD, 0, 0, MACHINE),
        (JUMP_IF_EQUAL, 0, 3, machine),
        (LOAD, 0, 0, NUMBER),
        (JUMP_IF_EQUAL, 0, 1, socket),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    ]
    program = _Program(len(steps), (_Instruction * len(steps))(*(_Instruction(*step) for step in steps)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return False
    return any(libc.syscall(seccomp, SET_FILTER, flags, ctypes.byref(program)) == 0 for flags in (SPECULATE, 0))


_saying = threading.Lock()


def _say_it_is_open() -> None:
    with _saying:
        _say_once()


@lru_cache(maxsize=1)
def _say_once() -> None:
    print("note: MediaPipe 1.x sends figures of its use to Google (no pictures), and this system gives no way to stop "
          "it; Python 3.11 brings a MediaPipe that sends nothing (docs/security.md)", file=sys.stderr)  # fmt: skip
