"""`aed doctor` on a machine that is whole and on broken ones, and what other commands say of a broken OpenCV."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from aed_nerfstudio.commands.doctor_privacy import scrubbed
from aed_nerfstudio.errors import import_fault

ROOT = Path(__file__).resolve().parents[2]
AED = Path(sys.executable).parent / "aed"
LIB_GL = "libGL.so.1: cannot open shared object file: No such file or directory"


def run(*command, **environment) -> subprocess.CompletedProcess:
    """A command's exit code, stdout and stderr; `cwd` and variables by name."""
    folder = environment.pop("cwd", None)
    given = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    command = [str(part) for part in command]
    return subprocess.run(command, capture_output=True, text=True, env=given, cwd=folder, timeout=300, check=False)


def shadow(folder: Path, **modules: str) -> Path:
    """A folder for PYTHONPATH with packages that are found before the real ones, by their source."""
    for name, source in modules.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(source)
    return folder


def fails(message: str) -> str:
    return f"raise ImportError({message!r})"


# ---- the page


@pytest.mark.slow
def test_the_page_of_a_whole_machine():
    done = run(AED, "doctor")
    page = done.stdout
    assert done.returncode == 0 and "FAILED" not in page, page + done.stderr
    assert page.rstrip().endswith("All that is needed works.")
    for heading in ("System", "Packages", "OpenCV", "GPU", "Parts", "Backends", "Kernels", "nerfstudio"):
        assert f"\n\n{heading}\n  " in page
    for kernel in ("grid encode and gradients, 2-D", "marching", "compositing and gradients"):
        assert f"  numba {kernel}, cpu: ok, " in page
    assert "auto on cpu: grids numba, marching numba, compositing numba" in page
    assert "3 methods (aed-nerf, aed-nerf-paper, aed-nerf-tiny)" in page
    for part in ("ffmpeg", "Whisper weights", "LPIPS trunk", "SyncNet", "c2pa-python", "ray", "fonts"):
        assert f"\n  {part}: " in page
    assert "does not work" not in page and re.search(r"\n  (independent judge: ok|fer: not here)", page)
    assert str(ROOT) not in page and sys.prefix not in page and "/" + "home" not in page


@pytest.fixture(scope="module")
def broken_page(tmp_path_factory):
    """The page where most of it is broken, in folders and of a user that would be recognised."""
    root = tmp_path_factory.mktemp("machine")
    home, here = root / "quentin tarrasque", root / "secret film"
    for folder in (home, here):
        folder.mkdir()
    modules = shadow(
        here / "modules",
        cv2=f"import os\nos.write(2, b'{home}')\n{fails(LIB_GL)}",
        torch=f"raise OSError('{home}/lib/libtorch.so: undefined symbol; {here}/x, {root}/other of quentin.tarrasque')",
        mediapipe="raise SystemExit('who calls exit here?')",
        numba="import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
        nerfstudio=fails(f"cannot import name 'a' from 'b' ({home}/my work/b.py)"),
    )
    for name, version, record in (("nerfacc", "0.4.0", ""), ("torchsummary", "1.5.1", "torchsummary/gone.py,,\n")):
        facts = modules / f"{name}-{version}.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (facts / "RECORD").write_text(record)
    environment = {"HOME": home, "USER": "quentin.tarrasque", "LOGNAME": "quentin.tarrasque", "PYTHONPATH": modules}
    return root, run(AED, "doctor", cwd=here, **environment)


def test_a_broken_machine_still_has_its_page(broken_page):
    _, done = broken_page
    page = done.stdout
    assert done.returncode == 1, page + done.stderr
    assert "OpenCV cannot be imported: libGL.so.1 is missing; install it (Debian, Ubuntu: `apt install libgl1`)" in page
    assert "  nerfacc: FAILED: 0.4.0 is installed, but it has to be ==0.5.2; run `pip install 'nerfacc==0.5.2'`" in page
    assert "  torchsummary: FAILED: 1.5.1 is not whole, 1 of its 1 files of code are gone; run `pip install --" in page
    assert "  mediapipe: FAILED: SystemExit: who calls exit here?" in page
    assert "  numba: FAILED: it ended the process (SIGSEGV)" in page
    assert "  anny: " in page and "  Python: 3." in page  # it goes on after the crash
    for heading in ("Backends", "Kernels"):
        assert f"\n{heading}\n  all of them: FAILED: OSError: " in page
    assert "loaded by ns-train: FAILED: ImportError: cannot import name 'a' from 'b' (<path>/b.py)" in page
    assert "  registered: 3 methods" in page
    last = page.strip().splitlines()[-1]
    assert last.startswith("Broken: ") and "torch (Packages)" in last and "import cv2 (OpenCV)" in last


def test_nothing_private_is_on_the_page(broken_page):
    root, done = broken_page
    printed = done.stdout + done.stderr
    for word in (root, "quentin", "tarrasque", "secret", "my work", ROOT, sys.prefix, Path.home(), "pytest"):
        assert str(word).lower() not in printed.lower(), word
    host = socket.gethostname()
    assert host in ("localhost", "linux") or f" {host}" not in printed


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("24.5 GiB free, and/or 3 GB/s: ok", "24.5 GiB free, and/or 3 GB/s: ok"),
        ("/mnt/data/jane/film.mp4: missing", "<path>: missing"),
        ("libav.so.60 (/opt/jane/lib/libav.so.60)", "libav.so.60 (<path>/libav.so.60)"),
        ("cannot open '/mnt/Jane Doe/a b.mp4'", "cannot open '<path>'"),
        ("/mnt/Jane Doe/a.mp4: missing", "<path>: missing"),
        ("/mnt/x is not in /srv/share", "<path> is not in <path>"),
        (r"C:\Users\jane\x.dll not found", "<path>/x.dll not found"),
        (r"\\server\jane\x not found", "<path> not found"),
        ("see file:///home/jane/x", "see <path>"),
        (f"{sys.prefix}/lib/x/cv2/__init__.py: bad", "<environment>/lib/x/cv2/__init__.py: bad"),
        (f"{ROOT}/aed_nerfstudio/errors.py", "<package>/errors.py"),
    ],
)
def test_paths_are_taken_out(line, shown):
    assert scrubbed(line) == shown


def test_kernels_that_are_wrong_or_crash_are_told(tmp_path):
    """In a copy of the package, compiled kernels included, of which two are spoilt."""
    package = tmp_path / "aed_nerfstudio"
    shutil.copytree(ROOT / "aed_nerfstudio", package)
    for name in ("dataparsers", "method_configs"):
        shutil.copytree(ROOT / name, package / name)

    def spoil(name: str, before: str, after: str) -> None:
        source = (package / name).read_text()
        assert source.count(before) == 1
        (package / name).write_text(source.replace(before, after))

    call = "kernels.composite_forward(sigmas, rgbs, extras, t, ray_starts, np.float32(step), *_arrays(out))"
    spoil("rendering/compositing.py", call, f"{call}\n        out[0].mul_(1.01)")
    call = "return encode_numba(x, table, layout, rows)"
    spoil("fields/hash_grid.py", call, f"__import__('os').abort()\n        {call}")
    code = (
        "from aed_nerfstudio.commands.doctor import Examination\n"
        "for heading, finding in Examination(('Kernels',)): print(heading, *finding, sep='|')\n"
    )
    done = run(sys.executable, "-c", code, PYTHONPATH=tmp_path, cwd=tmp_path)
    lines = {line.split("|")[1]: line.split("|")[2:] for line in done.stdout.splitlines()}
    for dims in (2, 3):
        text, broken = lines[f"numba grid encode and gradients, {dims}-D, cpu"]
        assert text == "FAILED: it ended the process (SIGABRT)" and broken == "True"
    assert lines["numba marching, cpu"][0].startswith("ok, ")
    assert "FAILED: differs from plain torch by 1e-02" in lines["numba compositing and gradients, cpu"][0]


# ---- a broken OpenCV elsewhere

MISSING = "raise ModuleNotFoundError(\"No module named 'cv2'\", name='cv2')"


@pytest.mark.parametrize(
    ("arguments", "cv2", "said"),
    [
        (["process", "film.mp4", "--output", "out"], fails(LIB_GL), "libGL.so.1 is missing; install it (Debian, "),
        (["process", "film.mp4", "--output", "out"], MISSING, "(No module named 'cv2'); put the headless OpenCV"),
        (["inspect", "data"], fails("libxcb.so.1" + LIB_GL[10:]), "`apt install libxcb1`), or put the headless"),
    ],
)
def test_a_broken_opencv_is_one_line_with_the_mend(tmp_path, arguments, cv2, said):
    (tmp_path / "film.mp4").touch()
    done = run(AED, *arguments, PYTHONPATH=shadow(tmp_path, cv2=cv2), cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: OpenCV cannot be imported") and said in line, line
    assert "opencv-python opencv-contrib-python`, then `" in line
    assert "install --force-reinstall --no-deps opencv-python-headless==4.10.0.84`" in line


def test_help_needs_no_opencv(tmp_path):
    for arguments in (["--help"], ["render", "--help"]):
        done = run(AED, *arguments, PYTHONPATH=shadow(tmp_path / arguments[0], cv2=fails(LIB_GL)))
        assert done.returncode == 0, done.stderr
        assert arguments[0] == "render" or "doctor" in done.stdout


def test_what_an_import_error_means():
    def caught(statement: str) -> BaseException:
        try:
            exec(statement)
        except Exception as error:
            return error
        raise AssertionError("nothing was raised")

    found = import_fault(OSError("libportaudio.so.2: cannot open shared object file: No such file or directory"))
    assert (
        found.startswith("the shared library libportaudio.so.2 is missing; ") and "`apt install libportaudio2`" in found
    )
    assert "apt-file search libodd.so.7" in import_fault(ImportError("libodd.so.7" + LIB_GL[10:]))
    assert import_fault(caught("import no_such_module_here")) is None
    assert import_fault(caught("open('/no/such/libGL.so.1')")) is None
    empty = "import types; types.ModuleType('cv2').resize"
    assert import_fault(caught(empty)).startswith("OpenCV cannot be imported (module 'cv2' has no attribute 'resize')")
