"""The README's two commands on a machine that has nothing: a minimal Debian, made here with debootstrap.

Not in `make test` (root, a network, 20 GB and the better part of an hour): `.venv/bin/pytest -m fresh -s tests/fresh`.
FRESH_PYTHON=/its/prefix: also with that Python, for instance pyenv's 3.12, which is laid into the machine.
FRESH_CACHE=/a/folder: uv's cache, to keep what was fetched for the next time.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
PACKAGES = "ca-certificates,python3,python3-venv,make,git"
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
PROXIES = ("http_proxy", "https_proxy", "no_proxy")
NETWORK = ("SSL_CERT_FILE", "PIP_CERT", *PROXIES, *(name.upper() for name in PROXIES))

pytestmark = [
    pytest.mark.fresh,
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="chroot needs root on Linux"),
    pytest.mark.skipif(shutil.which("debootstrap") is None, reason="debootstrap is not installed"),
]


class Machine:
    """A minimal Debian with a clone of this repository; commands run in it and see no file and no variable of ours."""

    def __init__(self, root: Path, suite: str) -> None:
        self.root = root
        make = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, root]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
        # What this machine reaches the network through, a proxy's certificates too, that one does as well.
        shutil.copy(f"/{CERTIFICATES}", root / CERTIFICATES)
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        subprocess.run(["git", "clone", "--quiet", ROOT, root / "root/aed"], check=True)
        self.binds = [("/dev", "dev"), ("/sys", "sys")]
        if "FRESH_CACHE" in os.environ:
            self.binds.append((os.environ["FRESH_CACHE"], "root/cache"))
        if SHARED.is_dir():
            self.binds.append((SHARED, "root/shared"))
        if "FRESH_PYTHON" in os.environ:
            self.binds.append((os.environ["FRESH_PYTHON"], os.environ["FRESH_PYTHON"].lstrip("/")))

    def run(self, command: str) -> tuple[int, str, float]:
        """A shell command in the clone: exit code, what it printed, seconds. Nothing of it is left running."""
        script = f"set -e; mount -t proc proc {self.root}/proc\n"
        for source, place in self.binds:
            Path(source).mkdir(parents=True, exist_ok=True)
            (self.root / place).mkdir(parents=True, exist_ok=True)
            script += f"mount --rbind {source} {self.root}/{place}\n"
        script += f"exec chroot {self.root} /bin/sh -c 'cd /root/aed && {command}'"
        environment = {name: os.environ[name] for name in NETWORK if name in os.environ}
        environment |= {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "UV_CACHE_DIR": "/root/cache"}
        start = time.monotonic()
        # Mounts and processes end with the namespace.
        namespace = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script]
        log = self.root.parent / "last.log"  # for whoever wants to watch
        with open(log, "w") as file:
            run = subprocess.run(namespace, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False)
        return run.returncode, log.read_text(errors="replace"), time.monotonic() - start


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def machine(request, tmp_path_factory):
    return Machine(tmp_path_factory.mktemp(request.param) / "root", request.param)


PYTHONS = ["", *([f"PYTHON={os.environ['FRESH_PYTHON']}/bin/python3 "] if "FRESH_PYTHON" in os.environ else [])]


@pytest.mark.parametrize("target", ["install", "demo", "test"])
@pytest.mark.parametrize("python", PYTHONS, ids=["default", "given"][: len(PYTHONS)])
def test_command(machine, python, target, capsys):
    # MediaPipe's models for Python 3.12, where their makers are out of reach; the tests look there by themselves.
    models = "AED_MODELS=/root/shared/data/models " if python and target == "demo" and SHARED.is_dir() else ""
    code, printed, seconds = machine.run(f"{models}{python}make {target}")
    with capsys.disabled():
        print(f"\n{machine.root.parent.name}: {python}make {target}: {seconds:.0f} s, exit code {code}")
    last = printed.strip().splitlines()[-1] if printed.strip() else ""
    if "error: no Python" in printed:  # Debian 13 has 3.13 only, and nothing to fetch another from here
        assert code != 0 and "make PYTHON=/its/path" in printed
        pytest.skip(printed[printed.index("error: no Python") :].splitlines()[0])
    assert code == 0, printed[-6000:]
    if target == "demo":
        assert (machine.root / "root/aed/demo/demo.mp4").stat().st_size > 100_000
        for name in ("aed", "ns-train", "ns-render", "ns-viewer"):
            assert machine.run(f".venv/bin/{name} --help")[0] == 0
    if target == "test":
        assert " passed" in last and " failed" not in last, last
