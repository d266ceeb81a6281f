"""The checks of `aed doctor` by the headings of its page, and the process that runs them."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection

from aed_nerfstudio.commands.doctor_check import Check, answer
from aed_nerfstudio.commands.doctor_machine import backends, gpu, kernels, system
from aed_nerfstudio.commands.doctor_packages import nerfstudio, opencv, packages
from aed_nerfstudio.commands.doctor_parts import parts, paths

SECTIONS: dict[str, Callable[[], Iterator[Check]]] = {
    "System": system,
    "Packages": packages,
    "OpenCV": opencv,
    "GPU": gpu,
    "Backends": backends,
    "Kernels": kernels,
    "nerfstudio": nerfstudio,
    "Parts": parts,
    "Paths": paths,
}
"""The page, by its headings."""


def serve(sections: tuple[str, ...], start: int, connection: Connection) -> None:
    """Runs the checks of some sections from number `start` on, in a process of its own, and sends what they find.

    Of each it sends (heading, name, needed) before it runs and the Finding after; None at the end.

    What broken packages print goes nowhere, since it may hold paths.
    """
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silence, stream)
    warnings.simplefilter("ignore")
    gc.disable()  # what is imported stays, and a tenth of the time went into looking through it
    number = 0
    for heading in sections:
        checks = SECTIONS[heading]()
        while True:
            try:
                check = next(checks, None)
            except (Exception, SystemExit) as error:  # what is needed to know the checks is broken
                check = Check("all of them", partial(_raise, error))
            if check is None:
                break
            if number >= start:
                connection.send((heading, check.name, check.needed))
                connection.send(answer(check))
            number += 1
    connection.send(None)


def _raise(error: BaseException) -> str:
    raise error
