"""Whatever is handed to a command: it works, or one line says what is wrong. No traceback, no hang, nothing left."""

import os
import re
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.commands.main import main
from tests.hostile.inputs import CASES, GOOD, RIGHT, Case, make_good

pytestmark = pytest.mark.hostile
PATIENCE = 10
"""Seconds."""
UNEXPECTED = "a fault of aed-nerfstudio"
"""In the line of the last line of defence, which no input may reach."""
MANY = ("batch", "process-corpus")
"""Of jobs, one of which does not stop the others: what became of each is noted, and said in a line."""
NIGHT = os.environ.get("HYPOTHESIS_PROFILE") == "night"
TRIED = [case for number, case in enumerate(CASES) if NIGHT or number % 3 == 0 or case.works]
"""Of the list: all of it at night, every third one in the usual run, which has few minutes."""


class Hang(BaseException):
    """A command has not ended in time."""


@contextmanager
def patience(seconds: float):
    def ring(*_) -> None:
        raise Hang(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def world(tmp_path_factory, run, data):
    """The folder of what is right, and what the run and the dataset are like."""
    root = tmp_path_factory.mktemp("hostile")
    (root / GOOD).mkdir()
    make_good(root / GOOD, run, data)
    Avatar.load(run / "config.yml")  # so that no case waits for imports
    return root


def listing(*roots: Path) -> dict[str, tuple[int, int]]:
    """All files below some folders: size and time."""
    found = {}
    for root in roots:
        for place, folders, names in os.walk(root):
            for name in (*names, *folders):
                status = os.lstat(os.path.join(place, name))
                found[os.path.join(place, name)] = (status.st_size, status.st_mtime_ns) if name in names else (0, 0)
    return found


def words(case: Case, given: Path) -> list[str]:
    """The command line of a case, whose files are made."""
    options = {**RIGHT.get(case.command, {}), **case.change}
    line = [case.command] if case.command else []
    for option, value in options.items():
        value = value(given) if callable(value) else value
        if value is False:
            continue
        line += [option] if option else []
        flag = value is True or (value is None and option in RIGHT.get(case.command, {}) and option not in case.change)
        line += [] if flag or value is None else [str(value)]
    return line


def outcome(case: Case, root: Path, watched: tuple[Path, ...], read) -> str | None:
    """Runs a case in a folder; what is wrong with how it ended, or None. read: gives stdout and stderr."""
    given = root / "given"
    line = words(case, given)
    before = listing(*watched, given)
    code: object = 0
    try:
        with patience(PATIENCE):
            main(line)
    except SystemExit as end:
        code = end.code or 0
    except Hang as error:
        return f"hang: {error}"
    except BaseException as error:
        return f"traceback: {type(error).__name__}: {error}"[:300]
    out, err = (text.replace("\r", "\n") for text in read())  # after bars of progress
    if "Traceback" in out + err or UNEXPECTED in err:
        return f"traceback: {err[-400:]}"
    if case.works:
        return None if code == 0 else f"refused: {err[-400:]}"
    if code == 0:
        return f"silent: {out[-300:]}"
    lines = re.findall(r"^(?:error: .*|\[\d+/\d+\] .*: failed after .*)$", err, re.MULTILINE)
    of_job = len(lines) > 0 and all(line.startswith("[") for line in lines) and case.command in MANY
    if not lines or (len(lines) > 1 and not of_job) or not err.rstrip().endswith(lines[-1]):
        return f"not one line: {err[-400:]}"
    if not any(name in lines[0] for name in case.names or tuple(case.change)):
        return f"names nothing: {lines[0][-300:]}"
    after = listing(*watched, given)
    if after != before and not of_job:
        return f"left: {sorted(set(after.items()) ^ set(before.items()))[:4]}"
    return None


@pytest.mark.parametrize("case", [pytest.param(case, id=ascii(case.id)[1:-1]) for case in TRIED])
def test_one_line_or_it_works(world, run, data, tmp_path, monkeypatch, capsys, case):
    for name in ("given", "place"):
        (tmp_path / name).mkdir()
    (tmp_path / GOOD).symlink_to(world / GOOD)
    monkeypatch.chdir(tmp_path)
    watched = (world, run, data, tmp_path / "place")
    wrong = outcome(case, tmp_path, watched, capsys.readouterr)
    assert wrong is None, wrong


def test_the_list_is_long():
    assert len(TRIED) >= 300 and len({case.id for case in CASES}) == len(CASES)
