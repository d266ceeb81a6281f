"""The program of a process that ends others once the one that started it is gone, however that ended.

Its input: a line `PID TIME` for each of them, the time that it was started at, so that no later process of the same
number is taken for it. The end of the input is the end of who wrote it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

GRACE = 3.0
"""Seconds that they have to end by themselves."""


def begin(processes: Iterable[psutil.Process]) -> subprocess.Popen:
    """Starts the watch over processes, and returns it: its `communicate` is as the end of this process."""
    # By its file: `-m` would look into the current folder first.
    watch = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, text=True, start_new_session=True)
    assert watch.stdin is not None  # a pipe, as was asked for
    watch.stdin.writelines(f"{process.pid} {process.create_time()!r}\n" for process in processes)
    watch.stdin.flush()
    return watch


def main() -> None:
    """Waits for the end of the input, and ends the processes that it named."""
    import psutil

    told = dict(line.split() for line in sys.stdin)
    left = []
    for number, time in told.items():
        try:
            process = psutil.Process(int(number))
            if process.create_time() == float(time):
                left.append(process)
        except psutil.NoSuchProcess:
            pass
    for process in psutil.wait_procs(left, GRACE)[1]:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            pass


if __name__ == "__main__":
    main()
