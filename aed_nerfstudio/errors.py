"""The one error the package raises for bad input (importable from every layer)."""

import sys


class InputError(ValueError):
    """Something the user gave cannot be used: one clear line that names the file and the mend."""


_NAME = f"{InputError.__module__}.{InputError.__name__}: "
"""What a traceback says before its message."""


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
        elif kind.__name__ == "ProcessRaisedException" and _NAME in str(error):  # torch's, of a process it started
            print(one_line(InputError(str(error).rpartition(_NAME)[2])), file=sys.stderr)
        else:
            usual(kind, error, traceback)

    sys.excepthook = hook
