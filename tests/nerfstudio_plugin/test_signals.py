"""Ctrl-C and SIGTERM: a training saves and ends with the shell's exit code."""

import os
import signal
import subprocess
import time

import pytest
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackLocation

from aed_nerfstudio.commands.main import main
from aed_nerfstudio.nerfstudio_plugin.checkpoints import read_newest
from tests.forks import forked
from tests.nerfstudio_plugin.small_trainer import small_trainer

pytestmark = pytest.mark.hostile
STOP = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("number", STOP)
def test_a_signal_ends_a_training_with_a_checkpoint(data, tmp_path, number, capsys):
    trainer = small_trainer(data, tmp_path, 100)

    def send(step: int) -> None:
        if step == 2:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)  # as `timeout` does

    trainer.callbacks.insert(0, TrainingCallback([TrainingCallbackLocation.BEFORE_TRAIN_ITERATION], send))
    before = [signal.getsignal(n) for n in STOP]
    with pytest.raises(SystemExit) as ended:
        trainer.train()
    assert ended.value.code == 128 + number
    assert read_newest(trainer.checkpoint_dir)[1]["step"] == 2
    assert capsys.readouterr().out.splitlines()[-1].startswith("stopped at step 2, which is saved")
    assert [signal.getsignal(n) for n in STOP] == before


def test_a_paused_training_ends_as_well(data, tmp_path, capsys):
    trainer = small_trainer(data, tmp_path, 100, start_paused=True)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    with pytest.raises(SystemExit) as ended:
        trainer.train()
    assert ended.value.code == 130 and not trainer.checkpoint_dir.exists()
    assert "nothing to save" in capsys.readouterr().out


@pytest.mark.slow
def test_ns_train_ends_with_the_exit_code(data, tmp_path):
    words = ["ns-train", "aed-nerf-tiny", "--data", data, "--output-dir", tmp_path, "--experiment-name", "a"]
    words += ["--timestamp", "t", "--vis", "tensorboard", "--max-num-iterations", "2000"]
    with subprocess.Popen(forked(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        for line in run.stdout:
            if "spread over audio frames" in line:  # the first step has been made
                break
        sent = time.monotonic()
        run.send_signal(signal.SIGINT)
        printed = run.stdout.read()
    assert run.returncode == 130 and "Traceback" not in printed
    assert time.monotonic() - sent < 30  # 10 s, on a machine that has nothing else to do
    path, saved = read_newest(tmp_path / "a" / "aed-nerf-tiny" / "t" / "nerfstudio_models")
    assert path.name == f"step-{saved['step']:09d}.ckpt" and saved["step"] < 1999


def test_sigterm_does_to_aed_what_ctrl_c_does(monkeypatch, capsys):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("aed_nerfstudio.commands.doctor.Doctor.main", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 143 and capsys.readouterr().err == "stopped\n"
    assert signal.getsignal(signal.SIGTERM) == before
