"""Decides what Ctrl-C and SIGTERM do while a piece of work runs."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOP = (signal.SIGINT, signal.SIGTERM)
AGAIN = 0.5
"""Seconds after which a second signal is meant as one: `timeout` and terminals may send the first one twice."""


@contextmanager
def on_signals(handle: Callable[[int], None], *numbers: int) -> Iterator[None]:
    """Calls handle(number) for each of the signals that comes while the block runs.

    Not in other threads than the main one, where Python can't; not in processes that are forked meanwhile, which end as
    they would have without it; and what is ignored (`nohup`) stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def caught(number: int, _) -> None:
        if os.getpid() == owner:
            handle(number)
        else:
            signal.signal(number, before[number])
            os.kill(os.getpid(), number)

    before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) not in (signal.SIG_IGN, None)}
    try:
        for number in before:
            signal.signal(number, caught)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave(number: int) -> None:
    """Ends the program with a signal's exit code, where there is nothing to be saved."""
    os.write(2, b"stopped\n")  # print could have been interrupted itself
    raise SystemExit(128 + number)
