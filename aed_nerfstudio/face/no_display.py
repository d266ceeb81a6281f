"""Stand-ins for the graphics libraries that MediaPipe 1.x is linked to and that machines without a screen lack.

`libmediapipe.so` asks for libEGL and libGLESv2, also where everything runs on the CPU and no function of theirs is ever
called. Where the system has none, a library is made in memory that has their names and answers 0, "no display", to all:
as the real ones do where there is no graphics card. So nothing has to be installed.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import re
import struct
import sys
from contextlib import ExitStack
from pathlib import Path

LIBRARIES = ("libEGL.so.1", "libGLESv2.so.2")
FUNCTION = re.compile(rb"\0(e?gl[A-Z]\w+)(?=\0)")
"""A name among a library's strings."""
RETURN_ZERO = b"\x31\xc0\xc3"  # xor eax, eax; ret
PAGE = 0x1000


def replace_missing(wanted_by: Path) -> None:
    """Loads stand-ins for those of the graphics libraries that this machine lacks; nothing elsewhere than on Linux.

    wanted_by: the library that will be loaded next and needs them; its strings tell which functions.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return
    missing = [name for name in LIBRARIES if not _loads(name)]
    if not missing:
        return
    with open(wanted_by, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        functions = sorted(set(FUNCTION.findall(content)))
    with ExitStack() as open_files:  # together: the loader takes files of one path for one library
        for name in missing:
            memory = open_files.enter_context(open(os.memfd_create(name), "wb"))
            memory.write(shared_library(name.encode(), functions))
            memory.flush()
            ctypes.CDLL(f"/proc/self/fd/{memory.fileno()}")  # what is loaded later finds it by its soname


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def shared_library(soname: bytes, functions: list[bytes]) -> bytes:
    """Returns an ELF shared library for x86-64 of functions that all return 0."""
    names = b"\0" + b"\0".join([soname, *functions]) + b"\0"
    place = 1 + len(soname) + 1
    symbols = [bytes(24)]
    # Two pages' kinds: what is read and run, then the dynamic section, which the loader writes to.
    header = 64 + 4 * 56
    hashes = struct.pack(f"<{4 + len(functions)}I", 1, len(functions) + 1, 1 if functions else 0, 0,
                         *range(2, len(functions) + 1), *([0] if functions else []))  # fmt: skip
    at_hash = header
    at_symbols = _up(at_hash + len(hashes), 8)
    at_names = at_symbols + 24 * (len(functions) + 1)
    at_code = _up(at_names + len(names), 16)
    at_dynamic = _up(at_code + len(RETURN_ZERO), PAGE)
    for name in functions:
        symbols.append(struct.pack("<IBBHQQ", place, 0x12, 0, 1, at_code, len(RETURN_ZERO)))  # global function
        place += len(name) + 1
    tags = {14: 1, 4: at_hash, 5: at_names, 6: at_symbols, 10: len(names), 11: 24, 0: 0}  # DT_SONAME, DT_HASH, ...
    dynamic = b"".join(struct.pack("<QQ", *pair) for pair in tags.items())
    end = at_code + len(RETURN_ZERO)
    # PT_LOAD to read and run, PT_LOAD to read and write, PT_DYNAMIC, PT_GNU_STACK (not to be run)
    segments = [(1, 5, 0, end, PAGE), (1, 6, at_dynamic, len(dynamic), PAGE), (2, 6, at_dynamic, len(dynamic), 8),
                (0x6474E551, 6, 0, 0, 16)]  # fmt: skip
    out = bytearray(at_dynamic + len(dynamic))
    out[:64] = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, 62, 1, 0, 64, 0, 0, 64, 56, 4, 64, 0, 0)
    out[64:header] = b"".join(struct.pack("<IIQQQQQQ", kind, flags, start, start, start, size, size, align)
                              for kind, flags, start, size, align in segments)  # fmt: skip
    for start, part in ((at_hash, hashes), (at_symbols, b"".join(symbols)), (at_names, names), (at_code, RETURN_ZERO),
                        (at_dynamic, dynamic)):  # fmt: skip
        out[start : start + len(part)] = part
    return bytes(out)


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
