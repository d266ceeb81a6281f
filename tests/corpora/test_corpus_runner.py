"""Many people's videos: lists, failures, resumption, and a Ray run of which a worker is killed."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from aed_nerfstudio.capture.sources import ProcessOptions
from aed_nerfstudio.corpora.corpus_runner import read_corpus, run_corpus
from aed_nerfstudio.dataset.schema import read_dataset
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.jobs.record import summary
from aed_nerfstudio.jobs.runner import Workers
from aed_nerfstudio.synthetic.record import record_video

OPTIONS = ProcessOptions(size=96, front_end="log-mel")
SEQUENTIAL = Workers(sequential=True)


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Three takes, as of three people, and a file that breaks off."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(3):
        record_video(folder / f"actor{number}.mp4", seconds=2.2, size=96, seed=number)
        (folder / f"actor{number}.npz").unlink()
    whole = (folder / "actor0.mp4").read_bytes()
    (folder / "broken.mp4").write_bytes(whole[: len(whole) // 3])
    return folder


def _states(folder: Path) -> dict[str, str]:
    return {entry["name"]: entry["state"] for entry in json.loads((folder / "corpus.json").read_text())["videos"]}


def test_lists(tmp_path, videos):
    assert [person.name for person in read_corpus(videos)] == ["actor0", "actor1", "actor2", "broken"]
    source = tmp_path / "list.txt"
    (tmp_path / "odd, name.mp4").touch()
    source.write_text("# people\nx/1.mp4\ny/1.mp4, Ann\nodd, name.mp4\nz/1.mp4\nb.mp4,Ann,sad,weak\n")
    people = read_corpus(source)
    assert [person.name for person in people] == ["x_1", "Ann", "odd_name", "z_1"]
    assert [(t.path, *t.label) for t in people[1].takes] == [
        (tmp_path / "y/1.mp4", "neutral", "medium"), (tmp_path / "b.mp4", "sad", "weak")]  # fmt: skip
    source.write_text("name,path\nAnn,a.mp4\n")
    assert read_corpus(source)[0].takes[0].path == tmp_path / "a.mp4"


@pytest.mark.parametrize(
    "text, words",
    [
        ("\n", "holds no videos"),
        ("a.mp4,../b\n", "line 1: '../b' cannot be a folder's name"),
        ("a.mp4\nb.mp4,B,sad,huge\n", "line 2: unknown intensity 'huge'"),
        ("x/a.mp4\nx/a.mp4\n", "line 2: .*there is another x_a"),
        ("a.mp4,b,c,d,e,f\n", "line 1: 6 values"),
    ],
)
def test_list_refusals(tmp_path, text, words):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        read_corpus(tmp_path / "list.csv")
    with pytest.raises(InputError, match="no such file or folder"):
        read_corpus(tmp_path / "missing.csv")


def test_sequential_run_goes_on_after_failures_and_again_after_a_stop(tmp_path, videos, capsys):
    source = tmp_path / "list.txt"
    source.write_text(f"{videos / 'broken.mp4'}\n{videos / 'actor0.mp4'}\n{tmp_path / 'gone.mp4'}\n")
    output = tmp_path / "out"
    outcomes = run_corpus(read_corpus(source), output, OPTIONS, SEQUENTIAL, progress=False)
    assert [outcome.state for outcome in outcomes] == ["failed", "done", "failed"]
    assert "broken.mp4: truncated or damaged" in outcomes[0].error and "gone.mp4: no such file" in outcomes[2].error
    assert outcomes[0].attempts == 1 and outcomes[1].frames == 55
    assert not [path for path in output.iterdir() if path.name.startswith(".")]
    table = summary(outcomes).splitlines()
    assert table[2].split()[:3] == ["actor0", "done", "55"] and "no such file" in table[3]

    # What is done is not even looked at; what failed is tried again.
    written = (output / "actor0" / "dataset.json").stat().st_mtime_ns
    record_video(tmp_path / "gone.mp4", seconds=2.2, size=96)
    start = time.monotonic()
    only_done = run_corpus(read_corpus(source)[1:2], output, OPTIONS, SEQUENTIAL, progress=False)
    assert only_done == outcomes[1:2] and time.monotonic() - start < 1
    outcomes = run_corpus(read_corpus(source), output, OPTIONS, SEQUENTIAL)
    assert [outcome.state for outcome in outcomes] == ["failed", "done", "done"]
    assert (output / "actor0" / "dataset.json").stat().st_mtime_ns == written
    assert "[3/3] gone: done" in capsys.readouterr().err
    assert _states(output) == {"broken": "failed", "actor0": "done", "gone": "done"}


def test_command_ends_with_1_where_any_failed(tmp_path, videos, in_process):
    (tmp_path / "list.txt").write_text(f"{videos / 'broken.mp4'}\n")
    where = ("--output", tmp_path / "out", "--audio-features", "log-mel", "--sequential")
    printed = in_process("aed", "process-corpus", tmp_path / "list.txt", *where, fails=True)
    assert "broken  failed" in printed and "Traceback" not in printed


def _kill_worker_of(folder: Path, killed: list[int]) -> None:
    """Kills the process that is making a folder once its first stage is done."""
    while not killed:
        time.sleep(0.05)
        try:
            begun = json.loads((folder / ".stages.json").read_text())["done"]
            words = folder.with_name(f".{folder.name}.lock").read_text().split()
        except OSError:
            continue
        if begun and words:
            os.kill(int(words[1]), signal.SIGKILL)
            killed.append(int(words[1]))


@pytest.mark.slow
def test_ray_run_survives_a_broken_video_and_a_killed_worker(tmp_path, videos):
    if find_spec("ray") is None:
        pytest.skip("needs Ray")
    output, killed = tmp_path / "out", []
    threading.Thread(target=_kill_worker_of, args=(output / "actor1", killed), daemon=True).start()
    outcomes = {o.name: o for o in run_corpus(read_corpus(videos), output, OPTIONS, Workers(2), progress=False)}
    assert killed and os.getpid() not in killed
    assert _states(output) == {"actor0": "done", "actor1": "done", "actor2": "done", "broken": "failed"}
    assert {name: outcome.attempts for name, outcome in outcomes.items()} == {
        "actor0": 1, "actor1": 2, "actor2": 1, "broken": 1}  # fmt: skip
    assert "broken.mp4: truncated or damaged" in outcomes["broken"].error
    for name in ("actor0", "actor1", "actor2"):
        dataset = read_dataset(output / name)
        assert len(dataset.frames) == 55 and np.mean([frame.usable for frame in dataset.frames]) > 0.9
    assert not (output / "broken").exists()
