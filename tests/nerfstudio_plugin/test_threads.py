"""A training leaves cores to other programs, unless a number of threads was chosen."""

import subprocess
import sys

import pytest
import torch

from aed_nerfstudio.nerfstudio_plugin import threads
from aed_nerfstudio.nerfstudio_plugin.threads import Threads, fitting


def test_numbers():
    assert [fitting(2, others) for others in (0.0, 0.5, 0.7, 1.0, 1.7, 5.0)] == [2, 2, 1, 1, 1, 1]
    assert [fitting(16, others) for others in (0.0, 1.0, 3.9, 40.0)] == [16, 15, 12, 1]


@pytest.mark.skipif(not threads.STATISTICS.is_file(), reason="needs Linux's /proc")
def test_beside_busy_programs(monkeypatch, capsys):
    monkeypatch.delenv("OMP_NUM_THREADS")
    fitted, before = Threads(), torch.get_num_threads()
    fitted.cores = fitted.count = 2
    loop = "import time; end = time.time() + 1.5\nwhile time.time() < end: pass"
    busy = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(2)]
    for job in busy:
        job.wait()
    try:
        fitted.fit()
        assert fitted.count == torch.get_num_threads() == 1
        assert "1 of 2 threads from here on: other programs keep" in capsys.readouterr().out
        fitted.fit()  # a moment says nothing
        assert fitted.count == 1
    finally:
        torch.set_num_threads(before)


def test_a_number_that_was_chosen_stays(monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    fitted = Threads()
    fitted._then = (fitted._then[0] - 100, -1e6)  # others were never as busy
    fitted.fit()
    assert fitted.count == fitted.cores and not capsys.readouterr().out
