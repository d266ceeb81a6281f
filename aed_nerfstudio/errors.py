"""The one error the package raises for bad input, and what is said of any other (importable from every layer)."""

from __future__ import annotations

import errno
import importlib.metadata
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterator
from types import FrameType, TracebackType


class InputError(ValueError):
    """Something the user gave cannot be used: one clear line that names the file and the mend."""


_NAME = f"{InputError.__module__}.{InputError.__name__}: "
"""What a traceback says before its message."""


FULL = (errno.ENOSPC, errno.EDQUOT)
"""How the system says that a disk has no room."""
DEBUG = "AED_DEBUG"
"""The environment variable that asks for tracebacks, as `aed --debug` does; for nerfstudio's own commands too."""
_LONGEST_WORD = 300
"""Letters: paths have fewer, but for hostile ones."""


def one_line(error: InputError) -> str:
    """Returns what a command prints of an error: what cannot be shown is escaped, and what is far too long is cut."""
    words = (w if len(w) <= _LONGEST_WORD else f"{w[:80]}...{w[-40:]}" for w in str(error).split())
    text = " ".join(words)
    return "error: " + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def reason(error: BaseException) -> str:
    """Returns what went wrong on one line that is not too long, also of an error that another process has raised."""
    error = getattr(error, "cause", None) or error  # Ray's
    if fault := import_fault(error):
        return fault
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= 200 else f"{text[:197]}..."


def debugging() -> bool:
    """Returns whether the user wants tracebacks."""
    return os.environ.get(DEBUG, "0") not in ("", "0")


def explained(error: BaseException) -> InputError | None:
    """Returns what an error of the system or of a library means to the user; None where it is none that is known.

    Known are a missing library, a file that cannot be used, a full disk, too little memory and their like.
    """
    kinds = {f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__}
    if isinstance(error, InputError):
        return error
    if isinstance(error, BrokenPipeError) and error.filename is None:
        return InputError("nobody reads what this prints any more; have all of it read, or write it to a file")
    if isinstance(error, OSError) and error.errno in FULL:
        place = error.filename or "the disk"
        return InputError(f"{place}: cannot be written ({error.strerror}); make room and run the same again")
    if "av.error.FFmpegError" in kinds:
        place = getattr(error, "filename", None) or "a media file"
        return InputError(f"{place}: FFmpeg cannot read or write it ({reason(error)}); export it again")
    if isinstance(error, MemoryError) or "torch.OutOfMemoryError" in kinds:
        where = "the GPU's memory" if "torch.OutOfMemoryError" in kinds else "memory"
        return InputError(f"{where} is too small for this ({_place(error)}); give smaller files, sizes or numbers")
    if isinstance(error, RecursionError):
        return InputError(f"something that was given is nested too deeply ({_place(error)}); give a flatter file")
    if isinstance(error, UnicodeError):
        return InputError(f"a text or a name cannot be read or written ({_place(error)}, {reason(error)}); use UTF-8")
    if fault := import_fault(error):
        return InputError(fault)
    if isinstance(error, OSError) and error.filename is not None:
        return InputError(f"{os.fsdecode(error.filename)}: cannot be used ({error.strerror}); check the path")
    return None


def unexpected(error: BaseException, ask: str) -> str:
    """Returns one line for an error that nobody has foreseen; ask: what shows its traceback."""
    text = (f"unexpected {reason(error)} at {_place(error)}; this is a fault of aed-nerfstudio: please report it with "
            f"what `aed doctor` prints and the traceback, which {ask} shows")  # fmt: skip
    return one_line(InputError(text))


def _place(error: BaseException) -> str:
    """Returns the innermost line of ours through which an error came; the innermost of all where none is ours."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return "an unknown place"
    ours = [(frame, line) for frame, line in frames if _module(frame).startswith("aed_nerfstudio")]
    frame, line = (ours or frames)[-1]
    return f"{_module(frame).replace('.', '/')}.py:{line}"


def _module(frame: FrameType) -> str:
    return frame.f_globals.get("__name__", "?")


def _is_ours(error: BaseException) -> bool:
    """Returns whether, of our code and nerfstudio's, ours had an error in hand last."""
    tops = [_module(frame).split(".")[0] for frame, _ in traceback.walk_tb(error.__traceback__)]
    return next((top == "aed_nerfstudio" for top in reversed(tops) if top in ("aed_nerfstudio", "nerfstudio")), False)


def _said(error: Exception) -> str | None:
    """Returns what a command of nerfstudio's prints of an error; None: its traceback, because it is none of ours."""
    if type(error).__name__ == "ProcessRaisedException" and _NAME in str(error):  # torch's, of a process it started
        return one_line(InputError(str(error).rpartition(_NAME)[2]))
    ours = _is_ours(error)
    if ours or isinstance(error, (InputError, MemoryError)) or getattr(error, "errno", None) in FULL:
        explanation = explained(error)
        return unexpected(error, f"{DEBUG}=1 before the command") if explanation is None else one_line(explanation)
    return None


def report_plainly() -> None:
    """Has what ends the program said in one line from here on, for nerfstudio's own commands, whose `main` is not ours.

    That is for an InputError, what can be explained and what our own code raised; the tracebacks of others stay, and
    all do with the environment variable AED_DEBUG=1.
    """
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        line = None if debugging() or not isinstance(error, Exception) else _said(error)
        if line is None:
            usual(kind, error, trace)
        else:
            print(line, file=sys.stderr)

    sys.excepthook = hook


# ---- imports that fail

_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")
"""How glibc's and Python's loaders say that a shared library is not on the machine."""
_DEBIAN = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libGLESv2.so.2": "libgles2",
    "libSM.so.6": "libsm6",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgomp.so.1": "libgomp1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libportaudio.so.2": "libportaudio2",
    "libxcb.so.1": "libxcb1",
}
"""Debian's and Ubuntu's packages of the libraries that our dependencies load and bare machines lack."""

OPENCV_FAULT = "OpenCV cannot be imported"
"""How `import_fault` begins where it is OpenCV's."""


def import_fault(error: BaseException) -> str | None:
    """Returns one line with the mend where OpenCV or a shared library is missing; None for all other errors."""
    for cause in _causes(error):
        found = _LIBRARY.search(str(cause)) if isinstance(cause, (ImportError, OSError)) else None
        if _of_opencv(cause):
            if found:
                return f"{OPENCV_FAULT}: {found[1]} is missing; {_system_mend(found[1])}, or {opencv_mend()}"
            message = " ".join(str(cause).split())
            return f"{OPENCV_FAULT} ({message}); {opencv_mend()}"
        if found:
            return f"the shared library {found[1]} is missing; {_system_mend(found[1])}"
    return None


def opencv_mend() -> str:
    """Returns how to put the one OpenCV back that works without a screen, in the version that nerfstudio asks for.

    The four distributions of OpenCV write into one folder, so what is removed takes the others' files away with it.
    """
    pip = "pip" if importlib.util.find_spec("pip") else "uv pip"  # uv's environments have no pip
    return (
        f"put the headless OpenCV back: `{pip} uninstall{' -y' if pip == 'pip' else ''} opencv-python "
        f"opencv-contrib-python`, then `{pip} install --force-reinstall --no-deps {_headless_opencv()}`"
    )


def _headless_opencv() -> str:
    """Returns the one OpenCV that works without a screen, with the version that nerfstudio asks for."""
    from packaging.requirements import Requirement

    name = "opencv-python-headless"
    try:
        asked = map(Requirement, importlib.metadata.requires("nerfstudio") or [])
    except importlib.metadata.PackageNotFoundError:
        return name
    return next((f"{name}{each.specifier}" for each in asked if each.name == name), name)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error and those that it was raised from, or in handling of."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _of_opencv(error: BaseException) -> bool:
    """Returns whether an error was raised by `import cv2`, or for what a cv2 lacks of which only folders are left."""
    if isinstance(error, AttributeError):
        return getattr(error.obj, "__name__", "") == "cv2" and getattr(error.obj, "__file__", None) is None
    if not isinstance(error, ImportError):
        return False
    trace, modules = error.__traceback__, set()
    while trace is not None:
        modules.add(trace.tb_frame.f_globals.get("__name__", "").split(".")[0])
        trace = trace.tb_next
    return "cv2" in modules or (error.name or "").split(".")[0] == "cv2"


def _system_mend(library: str) -> str:
    if library in _DEBIAN:
        return f"install it (Debian, Ubuntu: `apt install {_DEBIAN[library]}`)"
    return f"install the system's package that has it (Debian, Ubuntu: `apt-file search {library}` names it)"
