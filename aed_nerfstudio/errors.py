"""The one error the package raises for bad input, and what an import that fails means (importable from every layer)."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterator


class InputError(ValueError):
    """Something the user gave cannot be used: one clear line that names the file and the mend."""


_NAME = f"{InputError.__module__}.{InputError.__name__}: "
"""What a traceback says before its message."""


def one_line(error: InputError) -> str:
    """What a command prints of it."""
    return f"error: {' '.join(str(error).split())}"


def reason(error: Exception) -> str:
    """What went wrong, on one line that is not too long."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= 200 else f"{text[:197]}..."


def report_plainly() -> None:
    """From here on, an uncaught InputError ends the program with its one line and without a traceback.

    For nerfstudio's own commands, whose `main` we do not write.
    """
    usual = sys.excepthook

    def hook(kind, error, traceback) -> None:
        if isinstance(error, InputError):
            print(one_line(error), file=sys.stderr)
        elif kind.__name__ == "ProcessRaisedException" and _NAME in str(error):  # torch's, of a process it started
            print(one_line(InputError(str(error).rpartition(_NAME)[2])), file=sys.stderr)
        else:
            usual(kind, error, traceback)

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
    """One line with the mend, where an error comes from OpenCV that cannot be imported, or from a shared library that
    is missing; None for any other."""
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
    """What puts the one OpenCV back that works on a machine without a screen, in the version nerfstudio asks for.

    The four distributions of OpenCV write into one folder, so what is removed takes the others' files away with it.
    """
    pip = "pip" if importlib.util.find_spec("pip") else "uv pip"  # uv's environments have no pip
    return (
        f"put the headless OpenCV back: `{pip} uninstall{' -y' if pip == 'pip' else ''} opencv-python "
        f"opencv-contrib-python`, then `{pip} install --force-reinstall --no-deps {_headless_opencv()}`"
    )


def _headless_opencv() -> str:
    name = "opencv-python-headless"
    try:
        asked = importlib.metadata.requires("nerfstudio") or []
    except importlib.metadata.PackageNotFoundError:
        asked = []
    found = (re.fullmatch(rf"{name} ?\(?(==[\w.]+)\)?", line) for line in asked)
    return next((name + version[1] for version in found if version), name)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it was raised from, or in handling of."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _of_opencv(error: BaseException) -> bool:
    """Whether an error was raised by `import cv2`, or for what is missing in a cv2 of which only folders are left."""
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
