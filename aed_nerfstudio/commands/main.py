"""`aed`: the command line. `ns-train`, `ns-viewer`, `ns-eval` and `ns-render` are nerfstudio's own."""

from __future__ import annotations

import importlib
import os
import re
import signal
import sys
import traceback
import warnings
from contextlib import redirect_stderr
from io import StringIO, TextIOWrapper
from typing import Any, NoReturn

import tyro

from aed_nerfstudio.commands.flags import check_words
from aed_nerfstudio.errors import InputError, debugging, explained, one_line, unexpected
from aed_nerfstudio.jobs.signals import on_signals

COMMANDS = {
    "process": "aed_nerfstudio.commands.process:Process",
    "process-mead": "aed_nerfstudio.commands.process_mead:ProcessMead",
    "process-csv": "aed_nerfstudio.commands.process_csv:ProcessCsv",
    "process-corpus": "aed_nerfstudio.commands.process_corpus:ProcessCorpus",
    "lip-prior": "aed_nerfstudio.commands.lip_prior:LipPriorCommand",
    "export-rad": "aed_nerfstudio.commands.export_rad:ExportRad",
    "inspect": "aed_nerfstudio.commands.inspect:Inspect",
    "set-driving": "aed_nerfstudio.commands.set_driving:SetDriving",
    "render": "aed_nerfstudio.commands.render:Render",
    "pack": "aed_nerfstudio.commands.pack:Pack",
    "view": "aed_nerfstudio.commands.view:View",
    "live": "aed_nerfstudio.commands.live:Live",
    "batch": "aed_nerfstudio.commands.batch:Batch",
    "eval": "aed_nerfstudio.commands.eval:Eval",
    "bench": "aed_nerfstudio.commands.bench:Bench",
    "demo": "aed_nerfstudio.commands.demo:Demo",
    "doctor": "aed_nerfstudio.commands.doctor:Doctor",
}
"""Where each subcommand's dataclass is; only the one asked for is imported. Its docstring is its help."""

DESCRIPTION = (
    "Talking-face avatars: `aed process` turns a video into a dataset, `ns-train aed-nerf --data FOLDER` trains on it, "
    "`aed render` speaks any audio with any emotion. `aed demo` shows all of it without a video. `--debug`, before or "
    "after a command's name, shows the traceback of an error."
)
SOFTWARE = 70
"""Exit code of an error that nobody has foreseen (sysexits.h: EX_SOFTWARE)."""


def _load(name: str) -> type:
    module, attribute = COMMANDS[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def main(arguments: list[str] | None = None) -> None:
    """Runs one subcommand. What ends it is said in one line on stderr, and by the exit code: 1 for bad input and what
    the machine lacks (memory, disk, a library), 2 for a command line that is none, 130 for Ctrl-C, 143 for SIGTERM,
    which does what Ctrl-C does, and 70 for an error that nobody has foreseen.

    Args:
        arguments: those after the program's name; the command line's when None. `--debug` among them, or AED_DEBUG=1
            in the environment, shows the traceback of any error as well.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments or debugging()
    arguments = [word for word in arguments if word != "--debug"]
    terminated = []

    def interrupt(number: int) -> None:
        if not terminated:  # once, because `timeout` sends it twice
            terminated.append(number)
            raise KeyboardInterrupt

    # nerfstudio 1.1.5's cameras under torch >= 2.9; nothing that the user could mend
    warnings.filterwarnings("ignore", message="Using a non-tuple sequence")
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show ends nothing
    try:
        with on_signals(interrupt, signal.SIGTERM):
            _parsed(arguments).main()
            sys.stdout.flush()
    except KeyboardInterrupt:
        _end("stopped", 143 if terminated else 130)
    except Exception as error:
        if debug:
            traceback.print_exc()
        known = explained(error)
        if known is None:
            _end(unexpected(error, "the same command with --debug"), SOFTWARE)
        _end(one_line(known), 1)


def _parsed(arguments: list[str]) -> Any:
    """Returns the command that a command line means; ends the program where it is none, and after its help."""
    check_words(arguments)
    said = StringIO()
    try:
        with redirect_stderr(said):
            if arguments and arguments[0] in COMMANDS:
                return tyro.cli(_load(arguments[0]), prog=f"aed {arguments[0]}", args=arguments[1:])
            return tyro.extras.subcommand_cli_from_dict(  # help, or a mistake: all are needed to list them
                {name: _load(name) for name in COMMANDS}, prog="aed", description=DESCRIPTION, args=arguments
            )
    except SystemExit as end:
        if end.code:
            _end(one_line(InputError(_unboxed(said.getvalue()))), int(end.code))
        raise


def _unboxed(text: str) -> str:
    """Returns in a line what tyro says in a box: what is wrong, and the options that it thinks were meant."""
    rows = [line.strip("│").rstrip() for line in text.splitlines() if line[:1] not in ("╭", "╰")]
    rows = [row for row in rows if not row.startswith(" " * 9)]  # which say what an option is for
    parts = [" ".join(part.split()) for part in re.split(r"\s[─-]{3,}", "\n".join(rows))]
    if "│" not in text:  # of a terminal that has no lines, where the title is on one of its own
        parts = parts[1:]
    meant = re.search(r"Perhaps you meant: (-\S+)", " ".join(parts[1:]))
    hint = f"perhaps {meant[1]} was meant; " if meant else ""
    said = "; ".join([parts[0], *(part for part in parts[1:-1] if part.startswith("Unrecognized"))])
    return f"{said}; {hint}{parts[-1].removeprefix('For full helptext, ')}"


def _end(line: str, code: int) -> NoReturn:
    """Ends the program with a last line on stderr, also where stdout is a file or a pipe and the same."""
    try:
        sys.stdout.flush()
    except OSError:  # nobody reads it any more, and Python would try once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    try:
        print(line, file=sys.stderr)
    except OSError:
        pass
    sys.exit(code)


if __name__ == "__main__":
    main()
