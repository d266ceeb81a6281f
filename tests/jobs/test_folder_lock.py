"""Locks that end with the process that holds them."""

import subprocess
import sys

import pytest

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.jobs.folder_lock import folder_lock

HOLD = """
import sys, time
from pathlib import Path
from aed_nerfstudio.jobs.folder_lock import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_has_one_writer_and_a_dead_one_locks_nothing(tmp_path):
    folder = tmp_path / "out"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"out: process {holder.pid} on .* is writing it"), folder_lock(folder, 0):
            pass
    finally:
        holder.kill()
        holder.wait()
    assert (tmp_path / ".out.lock").exists()
    with folder_lock(folder, 0):
        pass
    assert not (tmp_path / ".out.lock").exists()
