"""How a command ends: one line and an exit code for whatever happens, the traceback only where it is asked for."""

import dataclasses
import errno
import os
import re
import subprocess
import sys
import typing
from pathlib import Path

import av
import pytest

from aed_nerfstudio.bounds import Between
from aed_nerfstudio.commands import main as program
from aed_nerfstudio.commands.flags import check_flags
from aed_nerfstudio.errors import InputError

pytestmark = pytest.mark.hostile


def deep() -> None:
    deep()


def broken_video() -> None:
    av.open(os.devnull)


KINDS = {
    "unforeseen": (lambda: {}["no key"], 70, r"unexpected KeyError: 'no key' at aed_\S+main\.py:\d+; .*report"),
    "input": (lambda: _raise(InputError("a.mp4: is\nnone")), 1, r"a\.mp4: is none$"),
    "full disk": (lambda: _raise(OSError(errno.ENOSPC, "No space left", "out.mp4")), 1, r"out\.mp4: .*make room"),
    "file": (lambda: open("/no/such/file"), 1, r"/no/such/file: cannot be used \(No such file"),
    "no name": (lambda: _raise(OSError(errno.EIO, "Input/output error")), 70, "unexpected OSError"),
    "FFmpeg": (broken_video, 1, "/dev/null: FFmpeg cannot read"),
    "memory": (lambda: bytearray(1 << 60), 1, "memory is too small .*main.py"),
    "deep": (deep, 1, "nested too deeply"),
    "text": (lambda: "\ud800".encode(), 1, "cannot be read or written .*UTF-8"),
    "pipe": (lambda: _raise(BrokenPipeError(errno.EPIPE, "Broken pipe")), 1, "nobody reads"),
    "escapes": (lambda: _raise(InputError("\x1b[31m\0.mp4: is none")), 1, r"\\x1b\[31m\\x00\.mp4: is none$"),
}


def _raise(error: Exception) -> None:
    raise error


@dataclasses.dataclass
class Fails:
    """A command that ends with an error."""

    kind: str

    def main(self) -> None:
        KINDS[self.kind][0]()


@pytest.mark.parametrize("kind", KINDS)
def test_one_line_and_an_exit_code(monkeypatch, capsys, kind):
    monkeypatch.setitem(program.COMMANDS, "fails", f"{__name__}:Fails")
    monkeypatch.delenv("AED_DEBUG", raising=False)
    _, code, words = KINDS[kind]
    for asked in ([], ["--debug"]):
        for line in (["fails", "--kind", kind, *asked], [*asked, "fails", "--kind", kind]):
            with pytest.raises(SystemExit) as end:
                program.main(line)
            said = capsys.readouterr().err
            assert end.value.code == code
            assert ("Traceback (most recent" in said) == bool(asked)
            last = said.splitlines()[-1]
            assert last.startswith("error: ") and len(said.splitlines()) == 1 or asked
            assert re.search(words, last), last


def test_a_pipe_that_nobody_reads():
    code = "from aed_nerfstudio.commands.main import main; main(['--help'])"
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run.stdout.close()
    said = run.stderr.read()
    assert run.wait(60) != 0 and "Traceback" not in said and "Exception ignored" not in said, said


HOOKS = {
    "ours": ("files.write(None, b'')", "error: unexpected AttributeError", False),
    "ours, asked for": ("os.environ['AED_DEBUG'] = '1'; files.write(None, b'')", "AttributeError", True),
    "nerfstudio's": (
        "exec(compile('def work(): return {}[1]', 'x', 'exec'), there := {'__name__': "
        "'nerfstudio.x'}); there['work']()",
        "KeyError: 1",
        True,
    ),
    "another's": ("{}[1]", "KeyError: 1", True),
    "full disk of another": ("raise OSError(errno.ENOSPC, 'No space left', 'a.ckpt')", "error: a.ckpt: ", False),
}


@pytest.mark.parametrize("kind", HOOKS)
def test_what_ends_nerfstudios_commands(kind):
    code, words, traceback = HOOKS[kind]
    code = f"import errno, os; from aed_nerfstudio import errors, files; errors.report_plainly(); {code}"
    environment = {name: value for name, value in os.environ.items() if name != "AED_DEBUG"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 1 and ("Traceback" in run.stderr) == traceback
    assert run.stderr.splitlines()[-1].startswith(words)


def test_help_names_debug(capsys):
    with pytest.raises(SystemExit) as end:
        program.main(["--help"])
    assert not end.value.code and "--debug" in capsys.readouterr().out


def numbers(kind: object, bounds: bool = False) -> list[bool]:
    """For every number in a type, whether it is declared with bounds."""
    bounds = bounds or any(isinstance(part, Between) for part in typing.get_args(kind))
    if kind in (int, float):
        return [bounds]
    return [found for part in typing.get_args(kind) for found in numbers(part, bounds)]


@pytest.mark.parametrize("name", program.COMMANDS)
def test_every_number_of_a_command_has_bounds(name):
    hints = typing.get_type_hints(program._load(name), include_extras=True)
    assert all(all(numbers(kind)) for kind in hints.values()), hints


def test_the_home_folder_is_meant_by_a_tilde(monkeypatch, tmp_path):
    from aed_nerfstudio.commands.inspect import Inspect

    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "me").mkdir()
    command = Inspect(Path("~/me"))
    check_flags(command)
    assert command.dataset == tmp_path / "me"
