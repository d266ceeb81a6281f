"""What `aed doctor` looks at. Nothing here may count on anything but the standard library being whole."""

from __future__ import annotations

import csv
import importlib
import importlib.metadata
import importlib.util
import locale
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from aed_nerfstudio.errors import OPENCV_FAULT, InputError, import_fault, opencv_mend

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DISTRIBUTION = "aed-nerfstudio"
OPENCVS = ("opencv-python", "opencv-contrib-python", "opencv-python-headless", "opencv-contrib-python-headless")
"""Distributions that all write into one folder, cv2."""
IMPORT_CV2 = "import cv2"
"""The check that tells what is wrong with OpenCV, for all that need it."""
GIB = 1 << 30


class NotHere(Exception):
    """Something optional that this machine lacks; the message says what, and what it would be for."""


class Broken(Exception):
    """Something that is there and unfit; the message is all that has to be said."""


class Check(NamedTuple):
    """One line of the page: `run` gives what was found, or raises. needed: whether `aed` does its work without it."""

    name: str
    run: Callable[[], str]
    needed: bool = True


class Finding(NamedTuple):
    """A line of the page."""

    name: str
    text: str
    broken: bool = False
    """Whether it is something needed that does not work."""


def answer(check: Check) -> Finding:
    """What a check finds; whatever it raises is an answer too."""
    try:
        return Finding(check.name, check.run())
    except NotHere as error:
        return Finding(check.name, f"not here: {_line(error)}")
    except (Exception, SystemExit) as error:  # of a broken package it may be anything
        said = isinstance(error, (Broken, InputError)) or type(error) is ArithmeticError  # the last is a kernel's
        text = _line(error) if said else import_fault(error)
        if text and text.startswith(OPENCV_FAULT) and check.name != IMPORT_CV2:
            text = f"{OPENCV_FAULT}, see there"  # half of the page would be the one mend
        return failure(check, text or f"{type(error).__name__}: {_line(error)}")


def failure(check: Check, text: str) -> Finding:
    """That a check has failed, and why."""
    return Finding(check.name, f"{'FAILED' if check.needed else 'does not work'}: {text}", check.needed)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:400]


# ---- system


def system() -> Iterator[Check]:
    """Python, the machine and what room there is."""
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
    found = f"{platform.python_version()} ({platform.python_implementation()}, {platform.architecture()[0]})"
    asked = importlib.metadata.metadata(DISTRIBUTION)["Requires-Python"]
    from packaging.specifiers import SpecifierSet

    if asked and not SpecifierSet(asked).contains(platform.python_version(), prereleases=True):
        raise Broken(f"{found}, but {DISTRIBUTION} needs {asked}")
    return found


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


# ---- packages


def packages() -> Iterator[Check]:
    """What our own distribution's metadata asks for: versions, whole files, and that it can be imported."""
    yield Check(DISTRIBUTION, lambda: importlib.metadata.version(DISTRIBUTION))
    yield from (Check(r.name, partial(_package, r)) for r in _requirements() if not _extra(r))


def _requirements() -> list[Requirement]:
    """Those that apply here, extras included but for the developers'."""
    from packaging.requirements import Requirement

    asked = [Requirement(line) for line in importlib.metadata.requires(DISTRIBUTION) or []]
    return [r for r in asked if _extra(r) != "dev" and (not r.marker or r.marker.evaluate({"extra": _extra(r)}))]


def _extra(requirement: Requirement) -> str:
    found = re.search(r"extra == ['\"]([^'\"]+)", str(requirement.marker))
    return found[1] if found else ""


def _package(requirement: Requirement) -> str:
    extra = _extra(requirement)
    wanted = f"{DISTRIBUTION}[{extra}]" if extra else f"{requirement.name}{requirement.specifier}"
    mend = f"run `pip install '{wanted}'`"
    try:
        found = importlib.metadata.distribution(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        if extra:
            raise NotHere(mend) from None
        raise Broken(f"not installed; {mend}") from None
    if not requirement.specifier.contains(found.version, prereleases=True):
        raise Broken(f"{found.version} is installed, but it has to be {requirement.specifier}; {mend}")
    again = f"run `pip install --force-reinstall --no-deps '{requirement.name}=={found.version}'`"
    if gone := _gone(found):
        raise Broken(f"{found.version} is not whole, {gone}; {again}")
    module = importlib.import_module(_module(found, requirement.name))
    if getattr(module, "__file__", None) is None:
        raise Broken(f"only empty folders are left of it; {again}")
    return found.version


def _gone(distribution: importlib.metadata.Distribution) -> str:
    """Which of the code's files that were installed are not there any more, in words."""
    rows = csv.reader((distribution.read_text("RECORD") or "").splitlines())
    # not distribution.files, which leaves out what is gone from Python 3.12 on
    code = [row[0] for row in rows if row and row[0].endswith((".py", ".so", ".pyd"))]
    count = sum(not Path(distribution.locate_file(file)).exists() for file in code)
    return f"{count} of its {len(code)} files of code are gone" if count else ""


def _module(distribution: importlib.metadata.Distribution, name: str) -> str:
    """What a distribution is imported as."""
    name = re.sub(r"[-.]", "_", name)
    tops = [file.parts[0] for file in distribution.files or () if file.parts[1:] == ("__init__.py",)]
    return name if name in tops or not tops else tops[0]


def opencv() -> Iterator[Check]:
    """Which OpenCVs are installed, one over the other, and whether there is one that works."""
    yield Check("installed", _opencvs)
    yield Check(IMPORT_CV2, _cv2)


def _opencvs() -> str:
    texts = []
    for name in OPENCVS:
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        gone = _gone(found)
        texts.append(f"{name} {found.version}{f' ({gone})' if gone else ''}")
    if not texts:
        raise Broken(f"none; {opencv_mend()}")
    return ", ".join(texts) + ("; their files lie over each other" if len(texts) > 1 else "")


def _cv2() -> str:
    import cv2
    import numpy as np

    if cv2.resize(np.zeros((4, 4, 3), np.uint8), (2, 2)).shape != (2, 2, 3):
        raise Broken(f"it computes nonsense; {opencv_mend()}")
    return f"ok, {cv2.__version__}{', headless' if cv2.version.headless else ', with windows'}"


# ---- GPU, backends, kernels


def gpu() -> Iterator[Check]:
    """What torch and the driver see."""
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
        raise Broken(_line(Exception(run.stdout + run.stderr)))
    return "; ".join(run.stdout.splitlines())


def backends() -> Iterator[Check]:
    """What `auto` takes on each device, and why not the others."""
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
    """A self-test of each, against plain torch on the CPU."""
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


def nerfstudio() -> Iterator[Check]:
    """What nerfstudio has of ours."""
    yield Check("registered", _registered)
    yield Check("loaded by ns-train", _loaded)


def _registered() -> str:
    groups = {"method_configs": "methods", "dataparser_configs": "dataparsers"}
    parts = []
    for group, words in groups.items():
        names = _entry_points(group)
        if not names:
            raise Broken(f"no {words} of ours; run `pip install --force-reinstall --no-deps {DISTRIBUTION}`")
        parts.append(f"{len(names)} {words} ({', '.join(names)})")
    return ", ".join(parts)


def _entry_points(group: str) -> list[str]:
    """Names of ours in one of nerfstudio's groups."""
    points = importlib.metadata.entry_points(group=f"nerfstudio.{group}")
    return sorted({point.name for point in points if point.value.startswith("aed_nerfstudio.")})


def _loaded() -> str:
    from nerfstudio.configs.dataparser_configs import all_dataparsers
    from nerfstudio.configs.method_configs import all_methods

    names = _entry_points("method_configs")
    if missing := [name for name in names if name not in all_methods]:
        raise Broken(f"{', '.join(missing)} not among nerfstudio's methods")
    return f"ok, {len(names)} of {len(all_methods)} methods and {len(all_dataparsers)} dataparsers"


# ---- parts


def parts() -> Iterator[Check]:
    """What else is found: weights, programs, optional packages."""
    yield Check("face landmarks", _landmarks)
    yield Check("audio front end moonshine", _moonshine)
    yield Check("other front ends' weights", _front_ends, needed=False)
    yield Check("Whisper weights", _whisper, needed=False)
    yield Check("LPIPS trunk", _lpips)
    yield Check("FAN", _fan, needed=False)
    yield Check("SyncNet", lambda: "weights are named by `aed eval --syncnet`; none are looked for", needed=False)
    yield Check("SegFormer weights", _segformer, needed=False)
    yield Check("video encoders", _encoders)
    yield Check("fonts", _fonts)
    yield Check("ffmpeg", _ffmpeg, needed=False)
    yield from (Check(r.name, partial(_package, r), needed=False) for r in _requirements() if _extra(r))


def _landmarks() -> str:
    import numpy as np

    from aed_nerfstudio.evaluation.landmark_distance import detect
    from aed_nerfstudio.face.engine import engine_name, missing_models

    if missing := missing_models():  # nothing is fetched here
        return f"{engine_name()}; {' and '.join(missing)} will be fetched on first use"
    detect([np.zeros((64, 64, 3), np.uint8)])
    return f"ok, {engine_name()}"


def _moonshine() -> str:
    import numpy as np

    from aed_nerfstudio.audio.features import FRONT_ENDS

    features = FRONT_ENDS["moonshine"].extract(np.zeros(16000, np.float32))
    if not np.isfinite(features).all():
        raise Broken("its features are not finite")
    return f"ok, {features.shape[1]} numbers a step"


def _front_ends() -> str:
    from aed_nerfstudio.audio.torchaudio_pipelines import PIPELINES

    states = {name: "found" if pipeline.place().is_file() else "not here" for name, pipeline in PIPELINES.items()}
    return ", ".join(f"{name} {state}" for name, state in states.items())


def _hugging_face() -> Path:
    """The cache of Hugging Face's libraries, as they find it."""
    home = os.environ.get("HF_HOME") or Path(_cache(), "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub"))


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())


def _whisper() -> str:
    found = [
        path.name.removeprefix("models--").replace("--", "/") for path in _hugging_face().glob("models--*whisper*")
    ]
    found += [path.name for path in Path(_cache(), "whisper").glob("*.pt")]
    if not found:
        raise NotHere("none in the caches of Hugging Face and openai-whisper")
    return f"found {', '.join(sorted(found))}"


def _lpips() -> str:
    from aed_nerfstudio.nerfstudio_plugin.losses import PerceptualLoss

    if PerceptualLoss().name == "lpips":
        return "ok, AlexNet"
    return "not here (alexnet-*.pth in torch's checkpoints); ST-LPIPS takes its place: ok"


def _fan() -> str:
    from aed_nerfstudio.evaluation.landmark_distance import FanLips, NotMeasurable

    try:
        FanLips("cpu")
    except NotMeasurable as error:
        raise NotHere(str(error)) from None
    return "ok"


def _segformer() -> str:
    from aed_nerfstudio.capture.segformer import MODEL

    if not Path(_hugging_face(), f"models--{MODEL.replace('/', '--')}").is_dir():
        raise NotHere(f"{MODEL} is not in Hugging Face's cache")
    return f"found {MODEL}"


def _encoders() -> str:
    import av

    from aed_nerfstudio.media.formats import FORMATS

    wanted = {codec for form in FORMATS.values() for codec in (form.codec, form.sound) if form.codec}
    missing = sorted(wanted - av.codecs_available)
    if missing:
        raise Broken(f"PyAV {av.__version__} was built without {', '.join(missing)}; run "
                     f"`pip install --force-reinstall --only-binary av av`")  # fmt: skip
    return f"ok, {', '.join(sorted(wanted))} (FFmpeg {av.ffmpeg_version_info})"


def _fonts() -> str:
    import numpy as np

    from aed_nerfstudio.media.captions import MARK, Mark, labelled

    black = np.zeros((64, 256, 3), np.uint8)
    if not Mark(MARK, (256, 64))(black).any() or not labelled(black, MARK).any():
        raise Broken("letters leave a picture black")
    return "ok, Pillow's and OpenCV's own"


def _ffmpeg() -> str:
    program = shutil.which("ffmpeg")
    if program is None:
        raise NotHere("only nerfstudio's own commands call it; PyAV has FFmpeg's libraries")
    run = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=False)
    return " ".join(run.stdout.split()[:3]) if run.returncode == 0 else f"exit code {run.returncode}"


def paths() -> Iterator[Check]:
    """Where things are: for `--paths` only."""
    yield Check("Python", lambda: sys.executable)
    yield Check("environment", lambda: sys.prefix)
    yield Check("package", lambda: str(Path(__file__).parents[1]))
    yield Check("current folder", os.getcwd)
    yield Check("temporary files", tempfile.gettempdir)
    yield Check("torch's checkpoints", _checkpoints)
    yield Check("Hugging Face's cache", lambda: str(_hugging_face()))
    yield Check("Triton's cache", lambda: os.environ.get("TRITON_CACHE_DIR") or str(Path("~/.triton").expanduser()))
    yield Check("Numba's cache", lambda: os.environ.get("NUMBA_CACHE_DIR") or "beside the kernels, in the package")
    yield Check("cv2", lambda: str(importlib.import_module("cv2").__file__), needed=False)


def _checkpoints() -> str:
    import torch

    return str(Path(torch.hub.get_dir(), "checkpoints"))


SECTIONS: dict[str, Callable[[], Iterator[Check]]] = {
    "System": system,
    "Packages": packages,
    "OpenCV": opencv,
    "GPU": gpu,
    "Backends": backends,
    "Kernels": kernels,
    "nerfstudio": nerfstudio,
    "Parts": parts,
    "Paths": paths,
}
"""The page, by its headings."""


def serve(sections: tuple[str, ...], start: int, connection: Connection) -> None:
    """In a process of its own: sends each check of some sections, from number `start` on, before it runs, and its
    finding after: (heading, Check without `run`), then Finding. None at the end.

    What broken packages print goes nowhere, since it may hold paths.
    """
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    warnings.simplefilter("ignore")
    number = 0
    for heading in sections:
        checks = SECTIONS[heading]()
        while True:
            try:
                check = next(checks, None)
            except (Exception, SystemExit) as error:  # what is needed to know the checks is broken
                check = Check("all of them", partial(_raise, error))
            if check is None:
                break
            if number >= start:
                connection.send((heading, check.name, check.needed))
                connection.send(answer(check))
            number += 1
    connection.send(None)


def _raise(error: BaseException) -> str:
    raise error
