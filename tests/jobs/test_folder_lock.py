"""Locks that end with the process that holds them."""

import subprocess
import sys

import pytest

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import temporary_beside
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


@pytest.mark.hostile
@pytest.mark.parametrize("link", ["symbolic", "hard", None])
def test_a_file_of_the_users_is_not_taken_for_a_lock(tmp_path, link):
    thesis, lock = tmp_path / "thesis.txt", tmp_path / ".out.lock"
    thesis.write_text("years" if link != "hard" else "")
    if link is None:
        thesis.rename(lock)
    elif link == "hard":
        lock.hardlink_to(thesis)
    else:
        lock.symlink_to(thesis)
    with pytest.raises(InputError, match=r"\.out\.lock: is "), folder_lock(tmp_path / "out", 0):
        pass
    assert (lock if link is None else thesis).read_text() == ("years" if link != "hard" else "")
    assert lock.exists()


def test_the_next_one_removes_what_a_killed_one_left(tmp_path):
    half = temporary_beside(tmp_path / "out.mp4")
    other = temporary_beside(tmp_path / "out.2.mp4")
    with folder_lock(tmp_path / "out.mp4", 0):
        assert not half.exists() and other.exists()
