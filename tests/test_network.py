"""What our commands do without a network, and that they try to reach nobody: counted by the kernel, in a network
namespace without a single route, where every datagram and every connection that would leave is an `OutNoRoutes`.

The kernel does not count IPv6 so, but whoever connects to a name looks it up first, and that is counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aed_nerfstudio.dataset.schema import read_dataset
from aed_nerfstudio.media.audio_io import write_wav
from aed_nerfstudio.media.video_reader import probe
from aed_nerfstudio.synthetic.record import record_video

COUNTED = r"""
import json, subprocess, sys

def unreachable():
    names, values = (line.split() for line in open("/proc/net/snmp") if line.startswith("Ip:"))
    return int(values[names.index("OutNoRoutes")])

before = unreachable()
run = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
print(json.dumps({"code": run.returncode, "printed": run.stdout[-40000:], "tried": unreachable() - before}))
"""
REACH = {
    "a name": "import socket; socket.getaddrinfo('example.com', 80)",
    "a connection": "import socket; socket.create_connection(('192.0.2.1', 80), 2)",
    "a datagram": "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
}
WORK = r"""
import io, json, sys, time
from contextlib import redirect_stdout

tests, parts = json.loads(sys.argv[1])
sys.path.insert(0, tests)
from forks import load_methods
sys.path.remove(tests)

def unreachable():
    names, values = (line.split() for line in open("/proc/net/snmp") if line.startswith("Ip:"))
    return int(values[names.index("OutNoRoutes")])

def mediapipe():
    import numpy as np
    from aed_nerfstudio.face.face_finder import FaceFinder
    from aed_nerfstudio.face.person_mask import PersonMask
    with FaceFinder() as finder, PersonMask() as mask:
        for _ in range(5):
            finder.find(np.zeros((64, 64, 3), np.uint8))
            mask.probability(np.zeros((64, 64, 3), np.uint8))
    time.sleep(1)  # MediaPipe 1.x reports after a task was closed

def aed(*words):
    from aed_nerfstudio.commands.main import main
    main(list(words))

def train(*words):
    load_methods()
    from nerfstudio.scripts.train import entrypoint
    sys.argv[1:] = words
    entrypoint()

results = {}
for name, (function, *words) in parts.items():
    before, printed, code = unreachable(), io.StringIO(), 0
    try:
        with redirect_stdout(printed):
            globals()[function](*words)
    except SystemExit as end:
        code = end.code or 0
    results[name] = {"code": code, "printed": printed.getvalue()[-4000:], "tried": unreachable() - before}
print(json.dumps(results))
"""
"""What it is told to do, one after the other in one interpreter, which imports nothing before it is counted."""


@pytest.fixture(scope="module")
def alone():
    """Runs a command in a namespace without a network: its exit code, what it printed, what it tried to reach."""
    for unshare in (["unshare", "--net"], ["unshare", "--net", "--map-root-user"]):
        try:
            subprocess.run([*unshare, "true"], check=True, capture_output=True)
            break
        except (OSError, subprocess.CalledProcessError):
            pass
    else:
        pytest.skip("network namespaces are Linux's, and not permitted here")

    def run(*command) -> dict:
        environment = {**os.environ, "COLUMNS": "200", "PYTHONWARNINGS": "ignore"}
        done = subprocess.run([*unshare, sys.executable, "-c", COUNTED, *map(str, command)], stdout=subprocess.PIPE,
                              text=True, env=environment, timeout=300, check=True)  # fmt: skip
        return json.loads(done.stdout)

    return run


def in_peace(result: dict) -> None:
    """The command did its work and tried to reach nobody."""
    assert result["code"] == 0, result["printed"]
    assert result["tried"] == 0, result["printed"]


@pytest.mark.parametrize("what", REACH)
def test_attempts_are_counted(alone, what):
    result = alone(sys.executable, "-c", REACH[what])
    assert result["code"] != 0 and result["tried"] > 0, result


@pytest.fixture(scope="module")
def results(alone, data, run, tmp_path_factory) -> dict[str, dict]:
    """What MediaPipe by itself and our commands did without a network, by their names, and `folder`, what they made."""
    folder = tmp_path_factory.mktemp("alone")
    record_video(folder / "a.mp4", seconds=2.4, size=96)
    write_wav(folder / "a.wav", 0.3 * np.sin(np.arange(4000) / 9))
    train = ("aed-nerf-tiny", "--data", data, "--output-dir", folder / "runs", "--vis", "tensorboard")
    render = ("render", "--load-config", run / "config.yml", "--audio", folder / "a.wav")
    parts = {
        "mediapipe": ("mediapipe",),
        "process": ("aed", "process", folder / "a.mp4", "--output", folder / "data", "--size", 96),
        "inspect": ("aed", "inspect", folder / "data"),
        "train": ("train", *train, "--max-num-iterations", 3),
        "render": ("aed", *render, "--output", folder / "out.mp4"),
    }
    words = json.dumps([str(Path(__file__).parent), {name: list(map(str, part)) for name, part in parts.items()}])
    done = alone(sys.executable, "-c", WORK, words)
    in_peace(done)  # also what was tried between the parts, and after the last
    return {"folder": folder, **json.loads(done["printed"].splitlines()[-1])}


def test_mediapipe_itself(results):
    in_peace(results["mediapipe"])


@pytest.mark.slow
def test_process_and_inspect(results):
    in_peace(results["process"])
    assert len(read_dataset(results["folder"] / "data").frames) == 60
    result = results["inspect"]
    assert (result["code"], result["tried"]) == (1, 0) and "not usable: length" in result["printed"], result["printed"]


@pytest.mark.slow
def test_train_and_render(results):
    in_peace(results["train"])
    in_peace(results["render"])
    assert list((results["folder"] / "runs").rglob("*.ckpt"))
    assert probe(results["folder"] / "out.mp4").has_audio
