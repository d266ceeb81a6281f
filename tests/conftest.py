"""The installed commands, a tiny actor's dataset and a run trained on it, for all tests that need them.

Every function of the package whose types say shapes is checked by them, from the first import on.
"""

import gc
import importlib.metadata
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

# Imports make a million objects that stay: they are counted once, after the collection, and never again.
gc.disable()
# A worker and what it starts have a core each; read when torch and numba are imported.
os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"
# Nobody here uses torch.compile; for a decorator of nerfstudio's, each process imports its compiler for 2 s.
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
# Bytecode that must not lie beside the sources lies here: else each process compiles torch and nerfstudio, for 10 s.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "bytecode")
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix

import av
import jaxtyping
import pytest
import torch
from filelock import FileLock
from PIL import Image

from tests.shape_checks import install as install_shape_checks

ROOT = Path(__file__).resolve().parent.parent

# Before anything of the package is imported.
install_shape_checks()

from aed_nerfstudio.avatar.portrait import Portrait
from aed_nerfstudio.dataset.schema import read_dataset
from aed_nerfstudio.driving.emotion import CATEGORIES, INTENSITIES
from aed_nerfstudio.driving.track import DatasetTrack
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.engine import fetch, has_solutions
from aed_nerfstudio.face.models import FACE_LANDMARKER, SELFIE_SEGMENTATION, SETTING
from aed_nerfstudio.synthetic.record import record_dataset
from tests.forks import SHARED, address, forked, interpreter, load_methods
from tests.viewer.chromium import PROGRAM

MODELS = ROOT.parent / "shared" / "data" / "models"
"""Where a machine without a network may keep the model of faces."""
STEPS = 30
SIZE = 64
NEEDS = {
    "gpu": (torch.cuda.is_available(), "needs a CUDA device"),
    "browser": (PROGRAM is not None, "needs Chromium (Debian: apt-get install chromium)"),
}
"""What tests with these markers need: whether this machine has it, and what is said where they are skipped."""
# A machine's proxy is not for what the tests serve to themselves.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "localhost,127.0.0.1"


def pytest_cmdline_main(config):
    """Makes workers forks of one process that has imported what all of them need."""
    workers = getattr(config.option, "tx", None) or []
    if sys.platform == "linux" and "popen" in workers:
        fork = f"popen//python={shlex.join(interpreter())}"
        config.option.tx = [fork if worker == "popen" else worker for worker in workers]


def pytest_configure(config):
    """Python 3.12's MediaPipe needs model files, and nearly every test needs MediaPipe: without them none is run."""
    if getattr(config.option, "numprocesses", None) and sys.platform == "linux":
        os.environ[SHARED] = address()  # one for all workers
    if has_solutions():
        return
    if SETTING not in os.environ:
        folder = config.cache.mkdir("models")
        if not (folder / FACE_LANDMARKER.name).exists() and (MODELS / FACE_LANDMARKER.name).exists():
            shutil.copy(MODELS / FACE_LANDMARKER.name, folder)
        if not (folder / SELFIE_SEGMENTATION.name).exists():
            take_from_wheel(folder)
        os.environ[SETTING] = str(folder)
    try:
        fetch(FACE_LANDMARKER, SELFIE_SEGMENTATION)  # from their makers, where they are still missing
    except InputError as error:
        pytest.exit(f"the tests need MediaPipe's models: {error}", returncode=4)


def pytest_collection(session):
    """Imports what takes longest; not in the process that only hands tests out, nor in those that tests start."""
    if not getattr(session.config.option, "numprocesses", None) and "AED_TEST_RUN" not in os.environ:
        load_methods()


def pytest_collection_finish():
    """From here on only what tests make is looked through for garbage, see `gc.disable` above."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items):
    """Skips what this machine cannot run, and has the files that take longest begun first, so that all workers end
    together; each worker sorts alike."""
    for item in items:
        for name, (there, reason) in NEEDS.items():
            if item.get_closest_marker(name) and not there:
                item.add_marker(pytest.mark.skip(reason=reason))
    seconds = Counter()
    for item in items:
        seconds[item.path] += 20 if item.get_closest_marker("slow") else 0.3
    files = sorted(seconds, key=seconds.get, reverse=True)
    users = {item.path for item in items if "run" in item.fixturenames}
    other = next((path for path in files if path not in users), files[0])
    files.remove(other)
    files.insert(1, other)  # the second worker begins with what needs no avatar, while the first trains it
    place = {path: number for number, path in enumerate(files)}
    items.sort(key=lambda item: place[item.path])


def take_from_wheel(folder):
    """The person's mask comes with MediaPipe 0.10.9, which a package index serves also where its makers' is blocked."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        return
    wheel = folder / "wheel"
    command = [uv, "pip", "install", "--quiet", "--target", wheel, "--no-deps", "--python-version", "3.11"]
    command += ["--only-binary", ":all:", "mediapipe==0.10.9"]
    if subprocess.run(command, check=False).returncode == 0:
        inside = wheel / "mediapipe" / "modules" / "selfie_segmentation" / SELFIE_SEGMENTATION.name
        os.replace(inside, folder / SELFIE_SEGMENTATION.name)
    shutil.rmtree(wheel, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def grids_share_their_coordinates():
    """Each occupancy grid has the coordinates of its two million cells made, 0.05 s for 50 MB that nobody changes."""
    from nerfacc.estimators import occ_grid

    made, make = {}, occ_grid._meshgrid3d

    def once(resolution: torch.Tensor, device="cpu") -> torch.Tensor:
        key = (*resolution.tolist(), str(device))
        if key not in made:
            made[key] = make(resolution, device)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(occ_grid, "_meshgrid3d", once)
        yield


def call(*arguments, fails: bool = False) -> str:
    """Runs an installed command in a process of its own and gives back all that it printed."""
    command = forked(*arguments)
    environment = {**os.environ, "COLUMNS": "200", "PYTHONWARNINGS": "ignore"}
    run = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, timeout=300, check=False
    )
    assert (run.returncode != 0) == fails, f"{' '.join(command)}\n{run.stdout[-4000:]}"
    return run.stdout


def call_here(*arguments, fails: bool = False) -> str:
    """Runs an installed command in this process, which has imported what it needs, and gives back all that it printed.

    For tests of what a command does; `call` is for those of the process that it is.
    """
    name, *rest = map(str, arguments)
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name=name)
    printed, code = io.StringIO(), None
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(printed):
        patch.setattr(sys, "argv", [name, *rest])
        patch.setattr(sys, "excepthook", sys.__excepthook__)
        patch.setenv("COLUMNS", "200")
        try:
            entry.load()()
        except SystemExit as end:
            code = end.code
        except Exception:
            sys.excepthook(*sys.exc_info())
            code = 1
    if "nerfstudio.utils.writer" in sys.modules:
        sys.modules["nerfstudio.utils.writer"].EVENT_WRITERS.clear()  # each training adds its own
    text = printed.getvalue()
    assert bool(code) == fails, f"{' '.join([name, *rest])}\n{text[-4000:]}"
    return text


def note(path) -> str | None:
    """What a picture or a video says of itself."""
    if path.suffix == ".mp4":
        with av.open(str(path)) as video:
            return video.metadata.get("comment")
    with Image.open(path) as picture:
        found = picture.info.get("Comment", picture.info.get("comment"))
    return found.decode() if isinstance(found, bytes) else found


def train(data, output, *more, fails: bool = False, call=call_here) -> str:
    """A short training; call: `call`, for one in a process of its own."""
    return call(
        *("ns-train", "aed-nerf-tiny", "--data", data, "--output-dir", output, "--experiment-name", "actor"),
        *("--timestamp", "t", "--vis", "tensorboard", "--max-num-iterations", STEPS, *more),
        fails=fails,
    )


STEPS_OF_FILES = ("open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate")
"""Of Python's audit events: what changes or opens files."""


def kill_at(number: int) -> None:
    """From here on, this process is killed (-9) just before it opens, moves or removes a file for the number-th time.

    Files of Python's own and of libraries do not count.
    """
    left = number

    def hook(event: str, found: tuple) -> None:
        nonlocal left
        if event in STEPS_OF_FILES and not (event == "open" and found[1] in ("r", "rb", None) and not found[2] & 3):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def ends_before(work, number: int) -> bool:
    """Does the work in a process that is killed at a step; tells whether it ended before."""
    process = os.fork()
    if not process:
        try:
            kill_at(number)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status == 0


@pytest.fixture(scope="session")
def killed():
    """See `ends_before`."""
    return ends_before


@pytest.fixture
def small_disk(tmp_path):
    """Makes a file system of so many KiB at a new folder; a test is skipped where that is not allowed."""
    places = []

    def make(kib: int) -> Path:
        place = tmp_path / f"disk{len(places)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(place)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no file system can be mounted here")
        places.append(place)
        return place

    yield make
    for place in places:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def unchecked_shapes():
    """Leaves what is wrong in types and shapes to the package itself, in tests of what it says of that."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def command():
    return call


@pytest.fixture(scope="session")
def in_process():
    """See `call_here`."""
    return call_here


@pytest.fixture(scope="session")
def trained():
    """See `train`."""
    return train


@pytest.fixture(scope="session")
def made_once(request, tmp_path_factory):
    """Has a folder made by the first worker that needs it, for all; each has a copy that its tests may write to."""

    def folder(name: str, make: Callable[[Path], None]) -> Path:
        own = tmp_path_factory.getbasetemp() / name
        if not hasattr(request.config, "workerinput"):
            make(own)
            return own
        common = own.parent.parent / name
        with FileLock(common.with_suffix(".lock")):
            if common.exists():
                shutil.copytree(common, own)
            else:
                make(own)
                shutil.copytree(own, common.with_suffix(".part"))
                common.with_suffix(".part").rename(common)
        return own

    return folder


@pytest.fixture(scope="session")
def data(made_once):
    """Two clips of the actor, neutral and strongly happy, with the whole vocabulary, as `aed process` writes it;
    AED_TEST_DATA: made already by the process which started this one."""
    if "AED_TEST_DATA" in os.environ:
        return Path(os.environ["AED_TEST_DATA"])

    def make(folder: Path) -> None:
        root = folder / "data"
        record_dataset(
            root, size=SIZE, clip_seconds=1.6, emotions=("neutral", "happy"), intensities=("strong",), progress=False
        )
        info = json.loads((root / "dataset.json").read_text())
        info["emotions"] = {"categories": CATEGORIES, "intensities": INTENSITIES}
        (root / "dataset.json").write_text(json.dumps(info))

    return made_once("actor", make) / "data"


@pytest.fixture(scope="session")
def track(data):
    """What drove the actor's frames, by their numbers."""
    dataset = read_dataset(data)
    return DatasetTrack.of(dataset, Portrait.of(dataset).vocabulary)


@pytest.fixture(scope="session")
def run(request, made_once):
    """A trained run's folder; AED_TEST_RUN: one that the process which started this one has trained already."""
    if "AED_TEST_RUN" in os.environ:
        return Path(os.environ["AED_TEST_RUN"])
    data = request.getfixturevalue("data")

    def make(folder: Path) -> None:
        printed = train(data, folder, call=call)
        (folder / "actor" / "aed-nerf-tiny" / "t" / "printed.txt").write_text(printed)

    folder = made_once("runs", make) / "actor" / "aed-nerf-tiny" / "t"
    config = folder / "config.yml"  # a copy's dataset is this worker's
    config.write_text(re.sub(r"- popen-gw\d+$", f"- {data.parents[1].name}", config.read_text(), flags=re.MULTILINE))
    return folder
