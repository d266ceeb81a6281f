"""Graphics libraries where there are none."""

import ctypes
import platform
import struct
import subprocess
import sys

import pytest

from aed_nerfstudio.face.no_display import replace_missing, shared_library

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="stand-ins are made for Linux on x86-64"
)


@pytest.mark.parametrize("count", [0, 1, 300])
def test_a_library_made_in_memory_loads_and_answers_zero(tmp_path, count):
    path = tmp_path / "made.so"
    path.write_bytes(shared_library(b"libMade.so.1", [f"glNumber{k}".encode() for k in range(count)]))
    library = ctypes.CDLL(str(path))
    for k in range(count):
        assert getattr(library, f"glNumber{k}")(7) == 0
    with pytest.raises(AttributeError):
        library.glAnother  # noqa: B018


NEEDY = """
import ctypes, sys
from pathlib import Path
from aed_nerfstudio.face import no_display
no_display.LIBRARIES = ("libMissingOne.so.1", "libMissingTwo.so.2", "libc.so.6")
needy = Path(sys.argv[1])
try:
    ctypes.CDLL(str(needy))
except OSError as error:
    print(error)
no_display.replace_missing(needy)
print(ctypes.CDLL(str(needy)).glMine(1))
"""


def test_what_needs_missing_libraries_loads_after_them(tmp_path):
    """In a process of its own, since libraries stay loaded."""
    needy = bytearray(shared_library(b"libNeedy.so.1", [b"glMine", b"libMissingOne.so.1", b"libMissingTwo.so.2"]))
    _need(needy, b"libMissingOne.so.1", b"libMissingTwo.so.2")
    path = tmp_path / "libNeedy.so"
    path.write_bytes(needy)
    run = subprocess.run([sys.executable, "-c", NEEDY, path], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    failed, answered = run.stdout.splitlines()
    assert "libMissingOne.so.1: cannot open shared object file" in failed
    assert answered == "0"


def _need(library: bytearray, *names: bytes) -> None:
    """Puts DT_NEEDED entries before the end of the dynamic section, which is the file's end."""
    strings = library.index(b"\0libNeedy.so.1\0")
    end = bytes(16)
    assert library.endswith(end)
    del library[-16:]
    for name in names:
        place = library.index(b"\0" + name + b"\0", strings) + 1 - strings
        library += struct.pack("<QQ", 1, place)
    library += end
    size = struct.pack("<Q", 16 * (7 + len(names)))
    for header in (64 + 56, 64 + 2 * 56):  # the writable segment and PT_DYNAMIC
        library[header + 32 : header + 48] = size + size


def test_nothing_is_done_where_all_is_there(monkeypatch, tmp_path):
    monkeypatch.setattr("aed_nerfstudio.face.no_display.LIBRARIES", ("libc.so.6",))
    replace_missing(tmp_path / "not read")
