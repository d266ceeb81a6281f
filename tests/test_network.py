"""What our commands do without a network, and that they try to reach nobody: counted by the kernel, in a network
namespace without a single route, where every datagram and every connection that would leave is an `OutNoRoutes`.

The kernel does not count IPv6 so, but whoever connects to a name looks it up first, and that is counted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

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
print(json.dumps({"code": run.returncode, "printed": run.stdout[-20000:], "tried": unreachable() - before}))
"""
REACH = {
    "a name": "import socket; socket.getaddrinfo('example.com', 80)",
    "a connection": "import socket; socket.create_connection(('192.0.2.1', 80), 2)",
    "a datagram": "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
}
COMMANDS = """
import importlib.metadata, json, sys
for name, *words in json.loads(sys.argv[1]):
    sys.argv[:] = [name, *words]
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name=name)
    try:
        code = entry.load()()
    except SystemExit as end:
        code = end.code
    print(f"{' '.join(sys.argv[:2])}: exit code {code or 0}", flush=True)
"""
FINDER = """
import time
import numpy as np
from aed_nerfstudio.face.face_finder import FaceFinder
from aed_nerfstudio.face.person_mask import PersonMask
with FaceFinder() as finder, PersonMask() as mask:
    for _ in range(5):
        finder.find(np.zeros((64, 64, 3), np.uint8))
        mask.probability(np.zeros((64, 64, 3), np.uint8))
time.sleep(1)  # MediaPipe 1.x reports after a task was closed
"""


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


def test_mediapipe_itself(alone):
    in_peace(alone(sys.executable, "-c", FINDER))


@pytest.mark.slow
def test_process_inspect_train_and_render(alone, data, run, tmp_path):
    """One after the other in one interpreter, for the seconds of imports."""
    record_video(tmp_path / "a.mp4", seconds=2.4, size=96)
    write_wav(tmp_path / "a.wav", 0.3 * np.sin(np.arange(4000) / 9))
    commands = [
        ("aed", "process", tmp_path / "a.mp4", "--output", tmp_path / "data", "--size", 96),
        ("aed", "inspect", tmp_path / "data"),
        ("ns-train", "aed-nerf-tiny", "--data", data, "--output-dir", tmp_path / "runs", "--vis", "tensorboard",
         "--max-num-iterations", 3),
        ("aed", "render", "--load-config", run / "config.yml", "--audio", tmp_path / "a.wav", "--output",
         tmp_path / "talk.mp4"),
    ]  # fmt: skip
    result = alone(sys.executable, "-c", COMMANDS, json.dumps([list(map(str, command)) for command in commands]))
    in_peace(result)
    printed = result["printed"]
    for command, code in (("aed process", 0), ("aed inspect", 1), ("ns-train aed-nerf-tiny", 0), ("aed render", 0)):
        assert f"{command}: exit code {code}\n" in printed, printed
    assert len(read_dataset(tmp_path / "data").frames) == 60
    assert "not usable: length" in printed
    assert list((tmp_path / "runs").rglob("*.ckpt"))
    assert probe(tmp_path / "talk.mp4").has_audio
