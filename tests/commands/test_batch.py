"""`aed batch`: what a table asks for, runs that go on, and a Ray run of which a worker is killed."""

from __future__ import annotations

import json
import os
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.commands.batch import Batch, read_jobs
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import read_audio, write_wav
from aed_nerfstudio.media.video_reader import probe, read_frames

TONE = 0.4 * np.sin(np.arange(5 * 640) / 9)


def renders(table: Path) -> list:
    return [job.arguments[0] for job in read_jobs(table)]


def test_columns_are_the_options_of_aed_render(tmp_path):
    (tmp_path / "a.wav").touch()
    table = tmp_path / "jobs.csv"
    table.write_text(
        "load-config;audio;output;emotion;intensity;size;pose\n"
        "one/config.yml;a.wav;out/1.mp4;happy;0.7;48;still\n"
        "two/config.yml;/elsewhere/b.wav;out/2.mp4;;;;\n"
        "\n"
        "one/config.yml;a.wav;out/3.mp4;sad;weak;;\n"
    )
    first, third, second = renders(table)  # those of one avatar together
    assert first.load_config == third.load_config == tmp_path / "one/config.yml"
    assert (first.audio, first.output) == (tmp_path / "a.wav", tmp_path / "out/1.mp4")
    assert (first.emotion, first.intensity, first.size, first.pose) == ("happy", "0.7", 48, "still")
    assert (second.audio, second.emotion, second.size, second.pose) == (Path("/elsewhere/b.wav"), None, None, "dataset")
    assert (third.emotion, third.intensity) == ("sad", "weak")

    lines = tmp_path / "jobs.jsonl"
    row = {"load_config": "one/config.yml", "audio": "a.wav", "output": "out/1.mp4", "emotion": "happy"}
    lines.write_text(json.dumps({**row, "intensity": 0.7, "size": 48, "pose": "still"}) + "\n\n")
    assert renders(lines) == [first]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty; begin with the line audio,output"),
        ("load_config,audio,output\n", "holds no jobs"),
        ("load_config,output\nc.yml,a.mp4\n", "line 1: no column audio"),
        ("load_config,audio,output\nc.yml,,a.mp4\n", "line 2: no audio"),
        ("audio,output\na.wav,a.mp4\n", "line 2: give either --avatar .*or --load-config"),
        ("avatar,load_config,audio,output\nme.avatar,c.yml,a.wav,a.mp4\n", "line 2: give either --avatar .*or"),
        ("load_config,audio,output,emotoin\nc.yml,a.wav,a.mp4,sad\n", "line 2: no option 'emotoin' .*emotion"),
        ("load_config,audio,output,size\nc.yml,a.wav,a.mp4,big\n", "line 2: 'big' is no size"),
        ("load_config,audio,output\nc.yml,a.wav,x/../a.mp4\nc.yml,a.wav,a.mp4\n", "line 3: .*is written by line 2"),
    ],
)
def test_refusals_name_the_line(tmp_path, capfd, text, words):
    (tmp_path / "jobs.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        read_jobs(tmp_path / "jobs.csv")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "words"), [('{"audio": 1\n', "line 1: no JSON "), ("\n[1]\n", "line 2: no JSON object")]
)
def test_refusals_of_json_lines(tmp_path, text, words):
    (tmp_path / "jobs.jsonl").write_text(text)
    with pytest.raises(InputError, match=words):
        read_jobs(tmp_path / "jobs.jsonl")


@pytest.fixture
def table(tmp_path, run):
    """Two jobs of one avatar, and between them one without sound."""
    write_wav(tmp_path / "a.wav", TONE)
    rows = [("a.wav", "happy.mp4", "happy"), ("gone.wav", "gone.mp4", "happy"), ("a.wav", "neutral.mp4", "neutral")]
    lines = [f"{run / 'config.yml'},{audio},{output},{emotion},48" for audio, output, emotion in rows]
    path = tmp_path / "jobs.csv"
    path.write_text("\n".join(["load_config,audio,output,emotion,size", *lines]))
    return path


def states(table: Path) -> dict[str, tuple[str, int]]:
    stored = json.loads(table.with_name(f"{table.name}.state.json").read_text())
    return {entry["name"]: (entry["state"], entry["attempts"]) for entry in stored["renders"]}


def test_a_failed_job_stops_no_other_and_what_is_done_is_skipped(table, capsys):
    with pytest.raises(SystemExit) as stop:
        Batch(table=table, sequential=True).main()
    printed = capsys.readouterr().out
    assert stop.value.code == 1
    assert printed.count("backend: grids") == 1  # for both jobs
    assert [line.split()[:3] for line in printed.splitlines()[-3:]] == [
        ["happy.mp4", "done", "5"], ["gone.mp4", "failed", "0"], ["neutral.mp4", "done", "5"]]  # fmt: skip
    assert "gone.wav: no such file" in printed and "Traceback" not in printed
    for name in ("happy.mp4", "neutral.mp4"):
        assert len(list(read_frames(table.parent / name))) == 5 and np.abs(read_audio(table.parent / name)).max() > 0.2
        assert probe(table.parent / name).width == 48

    # What is done stays, what failed is tried again, and what has another sound now is made anew.
    happy = (table.parent / "happy.mp4").stat().st_mtime_ns
    write_wav(table.parent / "gone.wav", TONE)
    table.write_text(table.read_text().replace("a.wav,neutral", "b.wav,neutral"))
    write_wav(table.parent / "b.wav", TONE[: 3 * 640])
    Batch(table=table, sequential=True).main()
    assert (table.parent / "happy.mp4").stat().st_mtime_ns == happy
    assert len(list(read_frames(table.parent / "neutral.mp4"))) == 3
    assert {state for state, _ in states(table).values()} == {"done"}


def kill_the_first_render(folder: Path, killed: list[int]) -> None:
    """Kills the worker that renders once its video is begun."""
    import psutil

    while not killed:
        time.sleep(0.02)
        if not list(folder.glob(".happy*")):
            continue
        for process in psutil.Process().children(recursive=True):
            if process.name().startswith("ray::render_job"):
                process.kill()
                killed.append(process.pid)


@pytest.mark.slow
def test_ray_run_survives_a_killed_worker(table, run, capsys):
    """With the avatar's file, for which each worker begins in a third of the time of a run."""
    if find_spec("ray") is None:
        pytest.skip('needs Ray: pip install "aed-nerfstudio[ray]"')
    Avatar.load(run / "config.yml").save(table.parent / "me.avatar")
    text = table.read_text().replace("load_config", "avatar")
    table.write_text(text.replace(str(run / "config.yml"), str(table.parent / "me.avatar")))
    write_wav(table.parent / "a.wav", np.tile(TONE, 8))  # 1.6 s: long enough to be killed in its middle
    killed: list[int] = []
    threading.Thread(target=kill_the_first_render, args=(table.parent, killed), daemon=True).start()
    with pytest.raises(SystemExit):
        Batch(table=table, workers=1).main()
    assert killed and os.getpid() not in killed
    assert states(table) == {"happy.mp4": ("done", 2), "gone.mp4": ("failed", 1), "neutral.mp4": ("done", 1)}
    assert "happy.mp4: its worker died; trying again" in capsys.readouterr().err
    assert len(list(read_frames(table.parent / "happy.mp4"))) == 40


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("deep.jsonl", '{"audio": ' + "[" * 100_000, "line 1: no JSON "),
        ("inch.csv", 'load_config,audio,output,label\nc.yml,a.wav,a.mp4,"5"" it"\n', "line 2: '5\" it' is no label"),
        ("zero.jsonl", '{"audio": "a\\u0000b"}', "line 1: 'a.x00b' is no audio: it holds a NUL"),
        ("half.jsonl", '{"label": ["\\ud800"]}', "line 1: .* is no label: it holds"),
        ("many.jsonl", '{"%s": 1}' % ("a" * 9000), "line 1: no option 'aaa"),
        ("long.csv", f"load_config,audio,output\nc.yml,{'a' * 200_000},a.mp4\n", "line 1: no CSV|line 2: no CSV"),
    ],
)
def test_hostile_tables(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        read_jobs(tmp_path / name)


@pytest.mark.hostile
def test_apostrophes_and_backslashes_are_letters(tmp_path):
    table = tmp_path / "jobs.csv"
    table.write_text(
        "load_config,audio,output,label\nc.yml,a.wav,1.mp4,it's\nc.yml,a.wav,2.mp4,Anna's and Bob's\n"
        'c.yml,a.wav,3.mp4,"""two words"" of \\me #1"\n' + f"c.yml,a.wav,4.mp4,{'long' * 500}\n"
    )
    labels = [render.label for render in renders(table)]
    assert labels == [("it's",), ("Anna's", "and", "Bob's"), ("two words", "of", "\\me", "#1"), ("long" * 500,)]


@pytest.mark.hostile
def test_a_state_that_is_nested_without_end(table):
    table.with_name(f"{table.name}.state.json").write_text('{"renders": ' + "[" * 100_000)
    table.write_text("\n".join(table.read_text().splitlines()[:1] + [f"c.yml,{table.parent / 'a.wav'},x.mp4,happy,48"]))
    with pytest.raises(SystemExit):
        Batch(table=table, sequential=True).main()
    assert states(table) == {"x.mp4": ("failed", 1)}
