"""How many threads a training on a CPU has: as many as there are cores that other programs leave to it.

Threads wait for each other hundreds of times a step, and spin meanwhile. Where one of them has no core, the others spin
for the whole time that it waits for one.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

STATISTICS = Path("/proc/stat")
NOTABLE = 0.6
"""Cores that others keep busy on the average: less is passing."""
BUSY = (0, 1, 2, 5, 6, 7)
"""Of the numbers in a line of the statistics: all but idle time and time spent waiting for disks."""


class Threads:
    """Fits the number of threads to what others leave, unless it was chosen (OMP_NUM_THREADS) or cannot be known."""

    def __init__(self) -> None:
        affinity = getattr(os, "sched_getaffinity", None)  # Linux only
        ours = affinity(0) if affinity else range(os.cpu_count() or 1)
        self.cores, self._ours = len(ours), {f"cpu{number}" for number in ours}
        self.count = self.cores
        """Threads that there are now."""
        self._chosen = "OMP_NUM_THREADS" in os.environ or not STATISTICS.is_file()
        self._then = self._spent()

    def _spent(self) -> tuple[float, float]:
        """Returns the time now, and how much time others have had of the cores that we may use, seconds."""
        now, own = time.monotonic(), time.process_time()
        if self._chosen:
            return now, 0.0
        lines = [line.split() for line in STATISTICS.read_text().splitlines()]
        cores = [numbers for name, *numbers in lines if name in self._ours]
        ticks = sum(int(numbers[k]) for numbers in cores for k in BUSY if k < len(numbers))
        return now, ticks / os.sysconf("SC_CLK_TCK") - own

    def fit(self) -> None:
        """Has PyTorch and Numba use another number of threads where others were busier, or less so, since last time."""
        if self._chosen:
            return
        then, self._then = self._then, self._spent()
        seconds = self._then[0] - then[0]
        others = max(0.0, self._then[1] - then[1]) / max(seconds, 1e-3)
        count = fitting(self.cores, others)
        if seconds < 1 or count == self.count:
            return
        import numba
        import torch

        self.count = count
        torch.set_num_threads(count)
        numba.set_num_threads(min(count, int(os.environ.get("NUMBA_NUM_THREADS", count))))
        print(f"{count} of {self.cores} threads from here on: other programs keep {others:.1f} cores busy "
              "(OMP_NUM_THREADS chooses a number)")  # fmt: skip


def fitting(cores: int, others: float) -> int:
    """Returns how many threads to have where others keep so many of the cores busy, at least 1."""
    return max(1, cores - int(others + 1 - NOTABLE))
