"""`aed`: the command line. `ns-train`, `ns-viewer`, `ns-eval` and `ns-render` are nerfstudio's own."""

from __future__ import annotations

import importlib
import signal
import sys
import warnings

import tyro

from aed_nerfstudio.errors import InputError, import_fault, one_line
from aed_nerfstudio.jobs.signals import on_signals

COMMANDS = {
    "process": "aed_nerfstudio.commands.process:Process",
    "process-mead": "aed_nerfstudio.commands.process_mead:ProcessMead",
    "process-csv": "aed_nerfstudio.commands.process_csv:ProcessCsv",
    "process-corpus": "aed_nerfstudio.commands.process_corpus:ProcessCorpus",
    "export-rad": "aed_nerfstudio.commands.export_rad:ExportRad",
    "inspect": "aed_nerfstudio.commands.inspect:Inspect",
    "set-driving": "aed_nerfstudio.commands.set_driving:SetDriving",
    "render": "aed_nerfstudio.commands.render:Render",
    "batch": "aed_nerfstudio.commands.batch:Batch",
    "eval": "aed_nerfstudio.commands.eval:Eval",
    "bench": "aed_nerfstudio.commands.bench:Bench",
    "demo": "aed_nerfstudio.commands.demo:Demo",
    "doctor": "aed_nerfstudio.commands.doctor:Doctor",
}
"""Where each subcommand's dataclass is; only the one asked for is imported. Its docstring is its help."""

DESCRIPTION = (
    "Talking-face avatars: `aed process` turns a video into a dataset, `ns-train aed-nerf --data FOLDER` trains on it, "
    "`aed render` speaks any audio with any emotion. `aed demo` shows all of it without a video."
)


def _load(name: str) -> type:
    module, attribute = COMMANDS[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def main(arguments: list[str] | None = None) -> None:
    """Runs one subcommand; bad input, and an OpenCV or a shared library that is missing, end it with one line on stderr
    and exit code 1, Ctrl-C with 130, and SIGTERM, which does what Ctrl-C does, with 143.

    Args:
        arguments: those after the program's name; the command line's when None.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    terminated = []

    def interrupt(number: int) -> None:
        if not terminated:  # once, because `timeout` sends it twice
            terminated.append(number)
            raise KeyboardInterrupt

    # nerfstudio 1.1.5's cameras under torch >= 2.9; nothing that the user could mend
    warnings.filterwarnings("ignore", message="Using a non-tuple sequence")
    try:
        with on_signals(interrupt, signal.SIGTERM):
            if arguments and arguments[0] in COMMANDS:
                command = tyro.cli(_load(arguments[0]), prog=f"aed {arguments[0]}", args=arguments[1:])
            else:  # help, or a mistake: all are needed to list them
                command = tyro.extras.subcommand_cli_from_dict(
                    {name: _load(name) for name in COMMANDS}, prog="aed", description=DESCRIPTION, args=arguments
                )
            command.main()
    except InputError as error:
        _end(one_line(error), 1)
    except (ImportError, OSError, AttributeError) as error:
        fault = import_fault(error)
        if fault is None:
            raise
        _end(one_line(InputError(fault)), 1)
    except KeyboardInterrupt:
        _end("stopped", 143 if terminated else 130)


def _end(line: str, code: int) -> None:
    """Ends the program with a last line on stderr, also where stdout is a file or a pipe and the same."""
    try:
        sys.stdout.flush()
    except OSError:  # nobody reads it any more
        pass
    print(line, file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
