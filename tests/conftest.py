"""The installed commands, a tiny actor's dataset and a run trained on it, for all tests that need them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aed_nerfstudio.driving.emotion import CATEGORIES, INTENSITIES
from aed_nerfstudio.synthetic.record import record_dataset

BIN = Path(sys.executable).parent
STEPS = 30
SIZE = 64
# A machine's proxy is not for what the tests serve to themselves.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "localhost,127.0.0.1"


def call(*arguments, fails: bool = False) -> str:
    """Runs an installed command in a process of its own and gives back all that it printed."""
    command = [str(BIN / arguments[0]), *map(str, arguments[1:])]
    environment = {**os.environ, "COLUMNS": "200", "PYTHONWARNINGS": "ignore"}
    run = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, timeout=300, check=False
    )
    assert (run.returncode != 0) == fails, f"{' '.join(command)}\n{run.stdout[-4000:]}"
    return run.stdout


def train(data, output, *more, fails: bool = False) -> str:
    return call(
        *("ns-train", "aed-nerf-tiny", "--data", data, "--output-dir", output, "--experiment-name", "actor"),
        *("--timestamp", "t", "--vis", "tensorboard", "--max-num-iterations", STEPS, *more),
        fails=fails,
    )


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
def run(request, tmp_path_factory):
    """A trained run's folder; AED_TEST_RUN: one that the process which started this one has trained already."""
    if "AED_TEST_RUN" in os.environ:
        return Path(os.environ["AED_TEST_RUN"])
    output = tmp_path_factory.mktemp("runs")
    printed = train(request.getfixturevalue("data"), output)
    folder = output / "actor" / "aed-nerf-tiny" / "t"
    (folder / "printed.txt").write_text(printed)
    return folder
