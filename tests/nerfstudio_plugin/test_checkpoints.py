"""Checkpoints are whole or not there, whatever happens to the training, and the newest whole one is loaded."""

import errno
import subprocess
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.jobs.folder_lock import folder_lock
from aed_nerfstudio.nerfstudio_plugin.checkpoints import (
    checkpoints,
    keep_two,
    read_checkpoint,
    read_newest,
    write_checkpoint,
)
from tests.forks import forked
from tests.nerfstudio_plugin.small_trainer import small_config, small_trainer

pytestmark = pytest.mark.hostile


def state(step: int) -> dict:
    return {"step": step, "pipeline": {"weights": torch.arange(100_000.0)}}


def test_the_last_two_are_kept_and_the_users_own_files(tmp_path):
    (tmp_path / "best.ckpt").touch()
    for step in (3, 10, 200):
        write_checkpoint(tmp_path, state(step))
        keep_two(tmp_path, step)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000000200.ckpt", "step-000000010.ckpt"]
    assert (tmp_path / "best.ckpt").exists()
    write_checkpoint(tmp_path, state(50))  # of a training that went back
    keep_two(tmp_path, 50)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000000050.ckpt", "step-000000010.ckpt"]


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped"])
def test_the_newest_whole_one_is_taken_and_said(tmp_path, capsys, damage):
    for step in (1, 2):
        path = write_checkpoint(tmp_path, state(step))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "flipped": content}[damage])
    with pytest.raises(InputError, match="step-000000002.ckpt: is damaged"):
        read_checkpoint(path)
    found, saved = read_newest(tmp_path)
    assert saved["step"] == 1 and found.name == "step-000000001.ckpt"
    assert "taking step-000000001.ckpt" in capsys.readouterr().out


@pytest.fixture(scope="module")
def killed_in_a_save(data, tmp_path_factory) -> Path:
    """Of two trainings that were killed in a save: folders by the moment."""
    folder = tmp_path_factory.mktemp("killed")
    command = forked(Path(__file__).with_name("small_trainer.py"), data, folder, "write", "rename")
    subprocess.run(command, timeout=200, check=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["write", "rename"])
def test_a_kill_in_a_save_leaves_the_one_before(data, killed_in_a_save, moment):
    output = killed_in_a_save / moment
    run = output / "actor" / "aed-nerf-tiny" / "t"
    assert [path.name for path in (run / "nerfstudio_models").iterdir()] == ["step-000000002.ckpt"]
    assert len(list(run.glob(".checkpoint.*"))) == 1
    config = small_config(data, output, 5, load_dir=run / "nerfstudio_models")
    config.save_config()  # nothing holds the lock any more
    assert not list(run.glob(".checkpoint.*"))
    trainer = small_trainer(data, output, 4, load_dir=run / "nerfstudio_models")
    trainer.train()
    assert read_newest(trainer.checkpoint_dir)[1]["step"] == 3


def test_a_full_disk_ends_with_a_line_and_the_one_before(data, tmp_path, monkeypatch):
    trainer = small_trainer(data, tmp_path, 6, steps_per_save=2)
    save = torch.save

    def full(saved, file) -> None:
        if saved["step"] < 4:
            save(saved, file)
        else:
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match=r"step 4 cannot be written .*No space.* step-000000002\.ckpt is whole"):
        trainer.train()
    assert [path.name for path in trainer.checkpoint_dir.iterdir()] == ["step-000000002.ckpt"]
    assert not list(trainer.base_dir.glob(".checkpoint.*"))


def test_a_second_training_of_a_run_is_refused(data, tmp_path, monkeypatch):
    config = small_config(data, tmp_path, 2)
    clock = SimpleNamespace(monotonic=count(step=20).__next__, sleep=lambda seconds: None)  # it waits for 10 s
    monkeypatch.setattr("aed_nerfstudio.jobs.folder_lock.time", clock)
    with folder_lock(config.get_base_dir()), pytest.raises(InputError, match=r"actor/aed-nerf-tiny/t: process \d+ on"):
        config.save_config()
    assert not (config.get_base_dir() / "config.yml").exists()
