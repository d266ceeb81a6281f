"""Training in two processes, on the CPU."""

import copy
import signal
import subprocess
import time
from pathlib import Path

import numba
import pytest
import torch
from aed_nerfstudio.method_configs.aed_nerf import aed_nerf_tiny
from nerfstudio.configs.base_config import MachineConfig

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.loading import load_pipeline
from tests.forks import forked
from tests.nerfstudio_plugin.two_processes import train_ranks


@pytest.fixture
def one_thread():
    """As the two processes have it: sums in another order differ in their last digits, which Adam makes large."""
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    yield
    torch.set_num_threads(before[0])
    numba.set_num_threads(before[1])


@pytest.mark.slow
def test_two_processes_train_as_one_with_both_their_rays(data, tmp_path, one_thread):
    program = subprocess.Popen(forked(Path(__file__).with_name("two_processes.py"), data, tmp_path))
    together = train_ranks(data, [0, 1], world_size=1)
    assert program.wait(120) == 0
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for ours, other in zip(first["values"], second["values"], strict=True):
        assert ours == pytest.approx(other, rel=1e-6)  # weights are equal to the bit: below
    for ours, expected in zip(first["values"], together["values"], strict=True):
        assert ours == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert {"lpips", "torso"} <= {key for row in first["values"] for key in row}
    assert first["state"].keys() == together["state"].keys()
    for key, value in first["state"].items():
        if torch.is_tensor(value):
            assert torch.equal(value, second["state"][key]), key
            if value.dtype == torch.bool:
                assert (value != together["state"][key]).float().mean() < 1e-3, key
            else:
                torch.testing.assert_close(value, together["state"][key], atol=1e-5, rtol=1e-4, msg=key)
    cells = first["state"]["_model.occupancy.binaries"]
    assert 0 < cells.sum() < first["state"]["_model.occupancy.allowed"].sum()  # it was updated


@pytest.mark.slow
def test_ns_train_in_two_processes_on_the_cpu(data, tmp_path, trained, command):
    printed = trained(
        *(data, tmp_path, "--machine.device-type", "cpu", "--machine.num-devices", 2),
        *("--max-num-iterations", 3, "--pipeline.datamanager.train-num-rays-per-batch", 256),
        call=command,
    )
    assert printed.count("spread over audio frames") == 1 == printed.count("Training Finished")
    folder = tmp_path / "actor" / "aed-nerf-tiny" / "t"
    pipeline, step = load_pipeline(folder / "config.yml")
    assert step == 2 and pipeline.world_size == 1
    camera = pipeline.datamanager.eval_dataset.cameras[0:1]
    assert pipeline.model.get_outputs_for_camera(camera)["rgb"].isfinite().all()


def test_an_error_of_a_process_is_one_line(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("""
import torch.multiprocessing as mp
from aed_nerfstudio.errors import InputError, report_plainly

def work(rank):
    raise InputError("data/me/dataset.json: is damaged;\\nmake it again") from OSError("no matter")

if __name__ == "__main__":
    report_plainly()
    mp.spawn(work, nprocs=2)
""")
    run = subprocess.run(forked(program), capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 1 and "Traceback" not in run.stderr
    assert run.stderr.splitlines()[-1] == "error: data/me/dataset.json: is damaged; make it again"


def test_processes_end_with_the_one_that_wanted_them(tmp_path):
    """Also where it was killed, and they are forks of another that lives."""
    program = tmp_path / "program.py"
    program.write_text("""
import os, signal, sys, time
import torch.multiprocessing as mp
from aed_nerfstudio.nerfstudio_plugin.cpu_processes import START, end_with_parent

def work(rank, folder):
    signal.signal(signal.SIGTERM, lambda *_: open(f"{folder}/told", "w").close())
    end_with_parent()
    open(f"{folder}/begun", "w").close()
    signal.pause()

if __name__ == "__main__":
    mp.start_processes(work, (sys.argv[1],), 1, join=False, start_method=START)
    while not os.path.exists(f"{sys.argv[1]}/begun"):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)
""")
    run = subprocess.run(forked(program, tmp_path), capture_output=True, timeout=60, check=False)
    assert run.returncode == -signal.SIGKILL
    until = time.monotonic() + 20
    while not (tmp_path / "told").exists():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("machine", "named"),
    [
        (MachineConfig(device_type="cuda", num_devices=1000), "num-devices 1000"),
        (MachineConfig(device_type="cpu", num_machines=2), "dist-url"),
    ],
)
def test_machines_that_cannot_be_are_named(tmp_path, machine, named):
    config = copy.deepcopy(aed_nerf_tiny.config)
    config.machine, config.output_dir = machine, tmp_path
    with pytest.raises(InputError, match=named):
        config.save_config()
    assert not list(tmp_path.iterdir())
