"""The installed commands, a tiny actor's dataset and a run trained on it, for all tests that need them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import av
import pytest
from PIL import Image

from aed_nerfstudio.avatar.portrait import Portrait
from aed_nerfstudio.dataset.schema import read_dataset
from aed_nerfstudio.driving.emotion import CATEGORIES, INTENSITIES
from aed_nerfstudio.driving.track import DatasetTrack
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.engine import fetch, has_solutions
from aed_nerfstudio.face.models import FACE_LANDMARKER, SELFIE_SEGMENTATION, SETTING
from aed_nerfstudio.synthetic.record import record_dataset

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data" / "models"
"""Where a machine without a network may keep the model of faces."""
STEPS = 30
SIZE = 64
# A machine's proxy is not for what the tests serve to themselves.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "localhost,127.0.0.1"


def pytest_configure(config):
    """Python 3.12's MediaPipe needs model files, and nearly every test needs MediaPipe: without them none is run."""
    if has_solutions():
        return
    if SETTING not in os.environ:
        folder = config.cache.mkdir("models")
        if not (folder / FACE_LANDMARKER.name).exists() and (SHARED / FACE_LANDMARKER.name).exists():
            shutil.copy(SHARED / FACE_LANDMARKER.name, folder)
        if not (folder / SELFIE_SEGMENTATION.name).exists():
            take_from_wheel(folder)
        os.environ[SETTING] = str(folder)
    try:
        fetch(FACE_LANDMARKER, SELFIE_SEGMENTATION)  # from their makers, where they are still missing
    except InputError as error:
        pytest.exit(f"the tests need MediaPipe's models: {error}", returncode=4)


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


def call(*arguments, fails: bool = False) -> str:
    """Runs an installed command in a process of its own and gives back all that it printed."""
    command = [str(BIN / arguments[0]), *map(str, arguments[1:])]
    environment = {**os.environ, "COLUMNS": "200", "PYTHONWARNINGS": "ignore"}
    run = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, timeout=300, check=False
    )
    assert (run.returncode != 0) == fails, f"{' '.join(command)}\n{run.stdout[-4000:]}"
    return run.stdout


def note(path) -> str | None:
    """What a picture or a video says of itself."""
    if path.suffix == ".mp4":
        with av.open(str(path)) as video:
            return video.metadata.get("comment")
    with Image.open(path) as picture:
        found = picture.info.get("Comment", picture.info.get("comment"))
    return found.decode() if isinstance(found, bytes) else found


def train(data, output, *more, fails: bool = False) -> str:
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


@pytest.fixture(scope="session")
def command():
    return call


@pytest.fixture(scope="session")
def trained():
    return train


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Two clips of the actor, neutral and strongly happy, with the whole vocabulary, as `aed process` writes it."""
    root = tmp_path_factory.mktemp("actor") / "data"
    record_dataset(
        root, size=SIZE, clip_seconds=1.6, emotions=("neutral", "happy"), intensities=("strong",), progress=False
    )
    info = json.loads((root / "dataset.json").read_text())
    info["emotions"] = {"categories": CATEGORIES, "intensities": INTENSITIES}
    (root / "dataset.json").write_text(json.dumps(info))
    return root


@pytest.fixture(scope="session")
def track(data):
    """What drove the actor's frames, by their numbers."""
    dataset = read_dataset(data)
    return DatasetTrack.of(dataset, Portrait.of(dataset).vocabulary)


@pytest.fixture(scope="session")
def run(request, tmp_path_factory):
    """A trained run's folder; AED_TEST_RUN: one that the process which started this one has trained already."""
    if "AED_TEST_RUN" in os.environ:
        return Path(os.environ["AED_TEST_RUN"])
    output = tmp_path_factory.mktemp("runs")
    printed = train(request.getfixturevalue("data"), output)
    folder = output / "actor" / "aed-nerf-tiny" / "t"
    (folder / "printed.txt").write_text(printed)
    return folder
