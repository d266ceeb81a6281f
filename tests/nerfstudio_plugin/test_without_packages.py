"""What training needs: neither face tracking nor front ends nor PyAV, and of ST-LPIPS its weights alone."""

import subprocess
from pathlib import Path

import pytest
import torch

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.nerfstudio_plugin import shift_tolerant
from aed_nerfstudio.nerfstudio_plugin.shift_tolerant import ShiftTolerantLPIPS
from tests.forks import forked

PROGRAM = Path(__file__).with_name("without_packages.py")
QUICK = ("torso-motion=False", "lambda-depth=0", "visual-hull=False", "carving-steps=0")


def test_a_training_needs_none_of_what_captures(data, tmp_path):
    """All stages, and a picture from the checkpoint."""
    words = ["aed-nerf-tiny", "--data", data, "--output-dir", tmp_path, "--experiment-name", "a", "--timestamp", "t"]
    words += ["--vis", "tensorboard", "--max-num-iterations", 4, *(f"--pipeline.model.{option}" for option in QUICK)]
    words += [f"--pipeline.model.schedule.{stage}" for stage in ("head=2", "lips=1", "torso=1")]
    job = subprocess.run(forked(PROGRAM, *words), capture_output=True, text=True, timeout=200, check=False)
    assert job.returncode == 0, job.stdout[-2000:] + job.stderr[-3000:]
    assert "rendered a picture without" in job.stdout and "perceptual loss: st-lpips" in job.stdout


def test_st_lpips_is_the_package_s():
    theirs = pytest.importorskip("stlpips_pytorch.stlpips").LPIPS(net="alex", variant="shift_tolerant", verbose=False)
    torch.manual_seed(0)
    one, other = torch.rand(2, 1, 3, 40, 33) * 2 - 1
    mine = ShiftTolerantLPIPS().eval()
    torch.testing.assert_close(mine(one, other), theirs.eval()(one, other))
    assert mine(one, one) == 0 < mine(one, other)


def test_weights_that_are_missing_or_damaged(tmp_path, monkeypatch):
    damaged = tmp_path / "alex.pth"
    torch.save({"scaling_layer.shift": torch.zeros(1)}, damaged)
    monkeypatch.setattr(shift_tolerant, "_weights", lambda: damaged)
    with pytest.raises(InputError, match="alex.pth: cannot be read.*install stlpips_pytorch==0.0.2 again"):
        ShiftTolerantLPIPS()
    monkeypatch.undo()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="stlpips_pytorch is not installed"):
        ShiftTolerantLPIPS()
