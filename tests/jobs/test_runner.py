"""Jobs: what a record remembers, and what runs again."""

import json
import os
import sys
from pathlib import Path

import pytest

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.jobs.record import Job, Record, summary
from aed_nerfstudio.jobs.runner import Workers, run_jobs, started_ray

HERE = Workers(sequential=True)


def write(path: Path, text: str, progress: bool) -> dict:
    """A job: writes a file, unless it is told to fail."""
    with open(path.with_name("calls.txt"), "a") as calls:
        calls.write(path.name)
    if text == "crash":
        raise RuntimeError("out of luck\nsecond line")
    if text == "bad":
        return {"state": "failed", "error": "bad input"}
    path.write_text(text)
    return {"state": "done", "frames": len(text)}


def jobs(folder: Path, **texts: str) -> list[Job]:
    return [Job(name, text, folder / name, (folder / name, text)) for name, text in texts.items()]


def run(folder: Path, **texts: str) -> dict[str, tuple]:
    """State, attempts and error by name, after a run of these jobs."""
    todo = jobs(folder, **texts)
    record = Record(folder / "record.json", "aed-test", "files", todo, progress=False)
    return {o.name: (o.state, o.attempts, o.error) for o in run_jobs(todo, write, record, HERE)}


def called(folder: Path) -> str:
    """The jobs that ran since this was asked last."""
    text = (folder / "calls.txt").read_text()
    (folder / "calls.txt").write_text("")
    return text


def test_failures_stop_nothing_and_crashes_are_tried_again(tmp_path):
    assert run(tmp_path, a="one", b="bad", c="crash", d="two") == {
        "a": ("done", 1, ""), "b": ("failed", 1, "bad input"), "d": ("done", 1, ""),
        "c": ("failed", 2, "RuntimeError: out of luck second line")}  # fmt: skip
    assert called(tmp_path) == "abccd"


def test_what_is_done_is_done_as_long_as_it_is_the_same_and_there(tmp_path):
    run(tmp_path, a="one", b="two", c="three", d="bad")
    called(tmp_path)
    (tmp_path / "c").unlink()
    assert set(run(tmp_path, a="one", b="other", c="three", d="four").values()) == {("done", 1, "")}
    assert called(tmp_path) == "bcd" and (tmp_path / "b").read_text() == "other"
    # Others' entries stay, and a damaged record costs the work only.
    run(tmp_path, e="five")
    assert [entry["name"] for entry in json.loads((tmp_path / "record.json").read_text())["files"]] == list("abcde")
    (tmp_path / "record.json").write_text("{")
    called(tmp_path)
    assert run(tmp_path, a="one")["a"][0] == "done" and called(tmp_path) == "a"


def test_a_stopped_run_says_what_it_did_not_do(tmp_path):
    def stopped(path, text, progress):
        if text == "stop":
            raise KeyboardInterrupt
        return write(path, text, progress)

    todo = jobs(tmp_path, a="one", b="stop", c="three")
    record = Record(tmp_path / "record.json", "aed-test", "files", todo, progress=False)
    with pytest.raises(KeyboardInterrupt):
        run_jobs(todo, stopped, record, HERE)
    stored = json.loads((tmp_path / "record.json").read_text())["files"]
    assert [entry["state"] for entry in stored] == ["done", "stopped", "stopped"]
    assert [line.split()[:3] for line in summary(list(record.outcomes.values())).splitlines()] == [
        ["name", "state", "frames"], ["a", "done", "3"], ["b", "stopped", "0"], ["c", "stopped", "0"]]  # fmt: skip


def test_without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r'pip install "aed-nerfstudio\[ray\]", or give --sequential'):
        started_ray(1, None).__enter__()


@pytest.mark.parametrize(
    ("workers", "words"),
    [(Workers(0), "workers must be at least 1"), (Workers(retries=-1), "retries must be at least 0")],
)
def test_numbers_that_make_no_sense(tmp_path, workers, words):
    with pytest.raises(InputError, match=words):
        run_jobs([], write, Record(tmp_path / "record.json", "aed-test", "files", [], progress=False), workers)


@pytest.mark.hostile
@pytest.mark.parametrize(
    "change", [{"seconds": "soon"}, {"seconds": float("nan")}, {"frames": [1]}, {"name": ["a"]}, {"error": None}]
)
def test_a_record_of_other_values_costs_the_work_only(tmp_path, change):
    run(tmp_path, a="x", b="yy")
    stored = json.loads((tmp_path / "record.json").read_text())
    for entry in stored["files"]:
        entry.update(change)
    (tmp_path / "record.json").write_text(json.dumps(stored))
    assert {state for state, *_ in run(tmp_path, a="x").values()} == {"done"}


@pytest.mark.hostile
def test_a_record_that_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "record.json")
    with pytest.raises(InputError, match="record.json: is a pipe and not a file; name another"):
        run(tmp_path, a="x")
