"""A check of `aed doctor` and what it finds. Nothing here may count on more than the standard library being whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from aed_nerfstudio.errors import OPENCV_FAULT, InputError, import_fault

IMPORT_CV2 = "import cv2"
"""The check that tells what is wrong with OpenCV, for all that need it."""


class NotHere(Exception):
    """Something optional that this machine lacks; the message says what, and what it would be for."""


class Broken(Exception):
    """Something that is there and unfit; the message is all that has to be said."""


class Check(NamedTuple):
    """What one line of the page tells.

    run: returns the line's text, or raises. needed: whether `aed` cannot do its work where that raises.
    """

    name: str
    run: Callable[[], str]
    needed: bool = True


class Finding(NamedTuple):
    """A line of the page."""

    name: str
    text: str
    broken: bool = False
    """Whether it is something needed that does not work."""


def answer(check: Check) -> Finding:
    """Runs a check and returns what it finds; whatever it raises is an answer too."""
    try:
        return Finding(check.name, check.run())
    except NotHere as error:
        return Finding(check.name, f"not here: {in_a_line(error)}")
    except (Exception, SystemExit) as error:  # of a broken package it may be anything
        said = isinstance(error, (Broken, InputError)) or type(error) is ArithmeticError  # the last is a kernel's
        text = in_a_line(error) if said else import_fault(error)
        if text and text.startswith(OPENCV_FAULT) and check.name != IMPORT_CV2:
            text = f"{OPENCV_FAULT}, see there"  # half of the page would be the one mend
        return failure(check, text or f"{type(error).__name__}: {in_a_line(error)}")


def failure(check: Check, text: str) -> Finding:
    """Returns the finding of a check that has failed; text: why."""
    return Finding(check.name, f"{'FAILED' if check.needed else 'does not work'}: {text}", check.needed)


def in_a_line(error: BaseException) -> str:
    """Returns what an error says in one line of at most 400 characters."""
    return " ".join(str(error).split())[:400]
