"""`ns-viewer` that gives back what it has freed whenever it is sent SIGUSR1, and prints that it has.

What a C library keeps of freed memory depends on which of its threads drew at the same time, up to hundreds of MiB.
"""

import ctypes
import gc
import signal

from nerfstudio.scripts.viewer.run_viewer import entrypoint

TRIMMED = "gave back what it had freed"


def trim(*_: object) -> None:
    gc.collect()
    if hasattr(library := ctypes.CDLL(None), "malloc_trim"):  # glibc's
        library.malloc_trim(0)
    print(TRIMMED, flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, trim)
    entrypoint()
