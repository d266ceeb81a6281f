"""The one error the package raises for bad input (importable from every layer)."""

import sys


class InputError(ValueError):
    """Something the user gave cannot be used: one clear line that names the file and the mend."""


def one_line(error: InputError) -> str:
    """What a command prints of it."""
    return f"error: {' '.join(str(error).split())}"


def report_plainly() -> None:
    """From here on, an uncaught InputError ends the program with its one line and without a traceback.

    For nerfstudio's own commands, whose `main` we do not write.
    """
    usual = sys.excepthook

    def hook(kind, error, traceback) -> None:
        if isinstance(error, InputError):
            print(one_line(error), file=sys.stderr)
        else:
            usual(kind, error, traceback)

    sys.excepthook = hook
