"""What commands write: never on top of what they read, one writer at a time, and on a full disk nothing half."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.commands import batch
from aed_nerfstudio.commands.batch import Batch
from aed_nerfstudio.commands.bench import Bench
from aed_nerfstudio.commands.demo import Demo
from aed_nerfstudio.commands.eval import Eval
from aed_nerfstudio.commands.process_csv import ProcessCsv
from aed_nerfstudio.commands.render import Render
from aed_nerfstudio.commands.set_driving import SetDriving
from aed_nerfstudio.dataset.schema import read_dataset
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import make_own, write
from aed_nerfstudio.jobs import folder_lock
from aed_nerfstudio.media.audio_io import write_wav
from aed_nerfstudio.synthetic.record import UNFINISHED, record_dataset

pytestmark = pytest.mark.hostile
READS = "which the same command reads"
FULL = r"cannot be written \(No space left on device\); make room on its disk and run the same again$"


@pytest.fixture(scope="module")
def avatar(run):
    return Avatar.load(run / "config.yml")


@pytest.fixture
def speech(tmp_path):
    path = tmp_path / "speech.wav"
    write_wav(path, 0.4 * np.sin(np.arange(24 * 640) / 9))
    return path


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(folder_lock, "WAIT", 0.0)


def copied(run: Path, place: Path) -> Path:
    """The run's config.yml in a folder that a test may write to."""
    shutil.copytree(run, place / "run")
    return place / "run" / "config.yml"


# ---- on top of what is read


OPTIONS = ("audio", "emotion_track", "camera_path", "audio_features_file", "c2pa", "c2pa_key", "pose", "background")


@pytest.mark.parametrize("option", OPTIONS)
def test_a_render_keeps_off_every_file_that_it_is_given(run, speech, tmp_path, option):
    path = tmp_path / "mine.mp4"
    path.write_text("precious")
    options = {"audio": speech, option: str(path) if option in ("pose", "background") else path}
    (tmp_path / "link.mp4").symlink_to(path)
    for output in (path, tmp_path / "link.mp4", tmp_path):  # the last is a folder for PNG files
        with pytest.raises(InputError, match=READS):
            Render(load_config=run / "config.yml", output=output, **options).main()
    assert path.read_text() == "precious" and sorted(os.listdir(tmp_path)) == ["link.mp4", "mine.mp4", "speech.wav"]


def test_a_render_keeps_off_its_run_and_its_dataset(run, data, avatar, speech):
    dataset = read_dataset(data)
    frame = dataset.path("images", dataset.frames[0])
    checkpoint = next((run / "nerfstudio_models").iterdir())
    link = speech.with_name("link.mp4")
    link.symlink_to(frame)
    for output in (run / "config.yml", checkpoint, run, link, frame.parent / "new.mp4", frame.parent):
        before = output.stat().st_mtime_ns if output.exists() else None
        with pytest.raises(InputError, match=READS):
            Render(load_config=run / "config.yml", audio=speech, output=output).main(lambda: avatar)
        assert (output.stat().st_mtime_ns if output.exists() else None) == before
    assert link.is_symlink()


@pytest.mark.parametrize("output", ["b.wav", "jobs.csv", "jobs.csv.state.json", "config.yml", "linked/b.wav", "."])
def test_a_batch_keeps_off_what_any_of_its_rows_reads(tmp_path, output):
    (tmp_path / "linked").symlink_to(tmp_path)
    for name in ("a.wav", "b.wav", "config.yml"):
        (tmp_path / name).write_text("precious")
    rows = ["load_config,audio,output,format", "config.yml,a.wav,a.mp4,", f"config.yml,a.wav,{output},mp4"]
    table = tmp_path / "jobs.csv"
    table.write_text("\n".join([*rows, "config.yml,b.wav,c.mp4,"]))
    with pytest.raises(InputError, match=READS):
        Batch(table=table, sequential=True).main()
    assert (tmp_path / "b.wav").read_text() == (tmp_path / "config.yml").read_text() == "precious"
    assert not (tmp_path / "jobs.csv.state.json").exists()


@pytest.mark.parametrize("state", ["jobs.csv", "a.wav", "config.yml", "./a.mp4"])
def test_a_batch_keeps_its_state_off_them_too(tmp_path, state):
    (tmp_path / "a.wav").write_text("precious")
    (tmp_path / "config.yml").write_text("precious")
    table = tmp_path / "jobs.csv"
    table.write_text("load_config,audio,output\nconfig.yml,a.wav,a.mp4\n")
    with pytest.raises(InputError, match=READS):
        Batch(table=table, state=tmp_path / state, sequential=True).main()
    assert "a.mp4" in table.read_text() and (tmp_path / "a.wav").read_text() == "precious"


def test_other_commands_keep_off_their_inputs(run, speech, tmp_path):
    config = copied(run, tmp_path)
    (config.parent / "evaluation").mkdir()
    spoken = config.parent / "evaluation" / "spoken.mp4"
    shutil.copy(speech, spoken)
    table = tmp_path / "takes" / "takes.csv"
    table.parent.mkdir()
    table.write_text("path,emotion,intensity\n")
    driven = config.with_name("driven.yml")
    driven.hardlink_to(speech)
    for command in (
        Eval(load_config=config, audio=spoken),
        Eval(load_config=config, syncnet=spoken),
        Bench(load_config=config, output=config),
        Bench(load_config=config, output=config.parent / "nerfstudio_models" / "bench.json"),
        SetDriving(load_config=config, audio=speech),  # whose file lies where driven.yml goes
        ProcessCsv(table=table, output=table.parent),
    ):
        with pytest.raises(InputError, match=READS):
            command.main()
    assert spoken.read_bytes() == speech.read_bytes() and table.read_text().startswith("path")
    assert os.path.samefile(driven, speech)


# ---- one writer


def test_a_second_writer_is_refused(run, data, avatar, speech, tmp_path, impatient):
    from aed_nerfstudio.capture.rad_export import export_rad

    config = copied(run, tmp_path)
    render = {"load_config": config, "audio": speech, "size": 16}
    works = {
        tmp_path / "talk.mp4": lambda: Render(**render, output=tmp_path / "talk.mp4").main(lambda: avatar),
        tmp_path / "frames": lambda: Render(**render, output=tmp_path / "frames").main(lambda: avatar),
        tmp_path / "demo": lambda: Demo(tmp_path / "demo", size=32, steps=10).main(),
        config.parent / "evaluation": lambda: Eval(load_config=config).main(),
        config.parent / "driven.yml": lambda: SetDriving(load_config=config, emotion="happy").main(),
        tmp_path / "rad": lambda: export_rad(read_dataset(data), tmp_path / "rad", progress=False),
    }
    for place, work in works.items():
        with folder_lock.folder_lock(place), pytest.raises(InputError, match=f"process {os.getpid()} on .* is writing"):
            work()
        assert not place.exists()


# ---- only what is ours is removed


def test_a_demo_removes_nothing_of_the_users(tmp_path):
    mine = tmp_path / "demo" / "data" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("years")
    for options, words in (
        ({"steps": 3}, "steps must be"),
        ({"size": 8}, "size must be"),
        ({"seed": -1}, "seed must be"),
        ({}, "data: already exists"),
    ):
        with pytest.raises(InputError, match=words):
            Demo(tmp_path / "demo", **options).main()
    assert mine.read_text() == "years" and os.listdir(mine.parent) == ["thesis.txt"]
    mine.parent.rename(tmp_path / "mine")
    mine.parent.symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match="data: already exists"):
        Demo(tmp_path / "demo").main()
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"


def test_a_killed_recording_is_made_anew_by_the_next(tmp_path):
    options = {"size": 32, "clip_seconds": 0.2, "emotions": ("happy",), "intensities": ("weak",)}

    def record(name):
        record_dataset(tmp_path / name, front_end="log-mel", progress=False, **options)

    def content(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    record("whole")
    write(make_own(tmp_path / "data", UNFINISHED) / "images" / "old" / "00009.jpg", "half")
    record("data")
    assert content(tmp_path / "data") == content(tmp_path / "whole")


# ---- a full disk


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_render_on_a_full_disk(run, avatar, speech, small_disk):
    disk = small_disk(48)
    (disk / "talk.mp4").write_text("before")
    flags = {"load_config": run / "config.yml", "audio": speech, "emotion": "happy"}
    render = Render(**flags, output=disk / "talk.mp4", resume=True)
    noise = np.random.default_rng(0).integers(0, 256, (300, 64, 64, 3), dtype=np.uint8)

    class Noisy(Avatar):  # pictures that need room
        def render(self, track, size=None, *, frames=None, **look):
            return (noise[k] for k in frames)

    noisy = Noisy(avatar.network, avatar.name)
    with pytest.raises(InputError, match=FULL):
        render.main(lambda: noisy)
    assert left(disk) == ["talk.mp4"] and (disk / "talk.mp4").read_text() == "before"
    with pytest.raises(InputError, match=rf"\.png: {FULL}"):
        Render(**flags, output=disk / "frames").main(lambda: noisy)
    assert left(disk) == ["talk.mp4"]


def test_a_batch_on_a_full_disk(run, avatar, speech, small_disk, monkeypatch):
    monkeypatch.setattr(batch, "_avatar", lambda *_: avatar)
    disk = small_disk(16)
    table = disk.parent / "jobs.csv"
    table.write_text(f"load_config,audio,output,size\n{run / 'config.yml'},{speech},{speech.parent / 'a.mp4'},16\n")
    state = disk / "state.json"
    state.write_text("before")
    (disk / "ballast").write_bytes(bytes(8 << 10))
    with pytest.raises(InputError, match=rf"state\.json: {FULL}"):
        Batch(table=table, state=state, sequential=True).main()
    assert state.read_text() == "before" and left(disk) == ["ballast", "state.json"]


def test_set_driving_on_a_full_disk(run, small_disk):
    disk = small_disk(sum(path.stat().st_size for path in run.rglob("*")) // 1024 + 256)
    config = copied(run, disk)
    (config.parent / "driven.yml").write_text("before")
    with open(disk / "ballast", "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(1 << 10))
    with pytest.raises(InputError, match=rf"driven\.yml: {FULL}|\.lock: {FULL}"):
        SetDriving(load_config=config, emotion="happy").main()
    assert (config.parent / "driven.yml").read_text() == "before"


def test_an_evaluation_on_a_full_disk(run, small_disk, tmp_path):
    """Its figures, tables and pictures take their places together; all are written as these two are."""
    disk = small_disk(128)
    output = disk / "evaluation"
    write(output / "metrics.json", "before")
    command = Eval(load_config=run / "config.yml", output=output)
    with pytest.raises(InputError, match=FULL), command._to_fill(output) as part:
        write(part / "metrics.json", "new")
        write(part / "index.html", "x" * (200 << 10))
    assert left(output) == ["metrics.json"] and (output / "metrics.json").read_text() == "before"
    assert not (output / ".unfinished").exists()
    with command._to_fill(output) as part:
        write(part / "metrics.json", "new")
    assert os.listdir(output) == ["metrics.json"] and (output / "metrics.json").read_text() == "new"


def test_a_demo_on_a_full_disk(small_disk):
    disk = small_disk(200)
    with pytest.raises(InputError, match=rf"demo/data/\S+: {FULL}"):
        Demo(disk / "demo", size=64, steps=10).main()
    assert left(disk) == ["demo"] and left(disk / "demo") == []
