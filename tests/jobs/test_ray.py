"""Ray on this machine: who reaches it, and what is left of it."""

import ipaddress
import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec

import psutil
import pytest

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason='needs Ray: pip install "aed-nerfstudio[ray]"')

DRIVER = """
import sys, time
from pathlib import Path
from aed_nerfstudio.jobs.record import Job, Record
from aed_nerfstudio.jobs.runner import Workers, run_jobs

def work(path, progress):
    import ray
    path.write_text(ray.get_runtime_context().gcs_address)
    time.sleep(300)

folder = Path(sys.argv[1])
jobs = [Job("a", "key", folder / "result", (folder / "begun",))]
run_jobs(jobs, work, Record(folder / "record.json", "aed-test", "files", jobs, progress=False), Workers(1))
"""
STRANGER = """
import json, os, sys
from ray._raylet import GcsClient

for known in map(json.loads, sys.argv[2:]):
    if not os.fork():
        os.environ.update(known)
        print(GcsClient(sys.argv[1]).internal_kv_keys(b"", b""))
        sys.exit()
    sys.stderr.write(f"\\n{os.waitstatus_to_exitcode(os.wait()[1])}\\n---")
    sys.stderr.flush()
"""


def of_session(driver: psutil.Process) -> list[psutil.Process]:
    return [p for p in driver.children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
@pytest.mark.hostile
def test_a_ray_of_our_own_is_reached_by_nobody_else_and_ends_with_its_driver(tmp_path):
    (tmp_path / "driver.py").write_text(DRIVER)
    command = [sys.executable, str(tmp_path / "driver.py"), str(tmp_path)]
    run = subprocess.Popen(command, start_new_session=True)
    try:
        driver, begun = psutil.Process(run.pid), tmp_path / "begun"
        until = time.monotonic() + 120
        while not (begun.exists() and begun.read_text()):
            assert run.poll() is None and time.monotonic() < until
            time.sleep(0.1)
        ours = of_session(driver)
        assert len(ours) > 4
        sockets = [socket for process in [driver, *ours] for socket in process.net_connections("inet")]
        heard = {socket.laddr.ip.removeprefix("::ffff:") for socket in sockets if socket.status == psutil.CONN_LISTEN}
        assert heard and all(ipaddress.ip_address(ip).is_loopback for ip in heard), heard

        usual = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        known = ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": 64 * "0"})
        strangers = [sys.executable, "-c", STRANGER, begun.read_text(), *map(json.dumps, known)]
        run_of_them = subprocess.run(strangers, env=usual, capture_output=True, text=True, timeout=60, check=False)
        told = run_of_them.stderr.split("---")[:-1]
        assert run_of_them.stdout == "" and len(told) == len(known), run_of_them
        for words in told:
            assert words.splitlines()[-1] == "1" and "AuthenticationError" in words, words
    finally:
        run.kill()
    run.wait()
    assert psutil.wait_procs(ours, 15)[1] == []
