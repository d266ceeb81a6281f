"""Commands in processes of their own, without the seconds that a fresh interpreter's imports take.

As a program this is one of two, on Linux. `serve` has imported what commands need, has begun no thread, and forks for
each that asks. `ask` stands where the command would: it lends the fork its streams, folder, environment and arguments,
passes signals on, takes it along where it is killed itself, and ends as it ends. Warnings are ignored. What is read
while modules are imported (variables, packages that hide others) needs a fresh interpreter instead.

Pytest's own workers are forks too, of a server that has the package's shapes checked.
"""

import atexit
import ctypes
import functools
import gc
import importlib
import importlib.metadata
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from traceback import walk_stack
from types import ModuleType, SimpleNamespace
from unittest import mock

BIN = Path(sys.executable).parent
NERFSTUDIOS = ("train", "viewer.run_viewer", "eval", "render")
SHARED = "AED_TEST_FORKS"
"""Environment variable: where a server listens that several processes ask."""
PASSED_ON = (signal.SIGINT, signal.SIGTERM)
M_ARENA_MAX = -8
"""Of glibc's malloc.h."""


def forked(program: str | Path, *arguments: object) -> list[str]:
    """Returns a command line that runs an installed command, or a file of Python, with its arguments.

    Elsewhere than on Linux, a fresh interpreter runs it.
    """
    path = BIN / program
    words = [str(path), *map(str, arguments)]
    if sys.platform == "linux":
        return [sys.executable, "-I", __file__, "ask", address(), *words]
    return words if path.parent == BIN else [sys.executable, *words]


def interpreter() -> list[str]:
    """Returns a command line that stands for this Python, for programs that are given with `-c`: in a fork of a process
    that has imported what tests import, with checks of shapes."""
    return [sys.executable, "-I", __file__, "ask", _server("checked")[0]]


def address() -> str:
    """Returns where a server listens: that of the process which started this one, or one of its own."""
    return os.environ.get(SHARED) or _server()[0]


@functools.cache
def _server(*how: str) -> tuple[str, subprocess.Popen]:
    """Starts a server, which ends with this process since its standard input does; returns where it listens, and it.

    how: `checked`, one that checks types and shapes, and tells warnings as Python does.
    """
    folder = tempfile.mkdtemp(prefix="aed-forks-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    address = f"{folder}/socket"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    command = [sys.executable, *([] if how else ["-W", "ignore"]), __file__, "serve", str(listener.fileno()), *how]
    environment = {**os.environ, "COLUMNS": "200"}  # nerfstudio's console reads it when it is imported
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()], start_new_session=True, env=environment
    )
    listener.close()
    return address, server


# ---- the one that asks


def ask(address: str, *words: str) -> int:
    """Has a command run, and returns its exit code: below zero the number of the signal that ended it."""
    request = {"words": words, "folder": os.getcwd(), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        socket.send_fds(server, [b"-"], [0, 1, 2])
        with server.makefile("rw") as lines:
            print(json.dumps(request), file=lines, flush=True)
            pid = int(lines.readline())
            for number in PASSED_ON:
                signal.signal(number, lambda number, _: os.kill(pid, number))
            return int(lines.readline())


def end(code: int) -> None:
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


# ---- the one that forks


def load_methods() -> None:
    """Imports nerfstudio's list of methods in a tenth of the time.

    For each of two dozen methods that are not installed it asks for the whole stack with all sources, and needs one
    function's name.
    """

    def names() -> list[SimpleNamespace]:
        return [SimpleNamespace(function=frame.f_code.co_name) for frame, _ in walk_stack(sys._getframe(1))]

    with mock.patch("inspect.stack", names):
        importlib.import_module("nerfstudio.configs.method_configs")


def load() -> None:
    """Imports what commands import, nothing of which may begin a thread or touch a GPU."""
    gc.disable()  # all that is made here stays
    load_methods()
    from aed_nerfstudio.commands.main import COMMANDS
    from aed_nerfstudio.face.engine import has_solutions, load_mediapipe

    modules = [f"nerfstudio.scripts.{name}" for name in NERFSTUDIOS]
    for module in (*modules, *(place.partition(":")[0] for place in COMMANDS.values()), "torch.utils.tensorboard"):
        importlib.import_module(module)
    if has_solutions():
        load_mediapipe()
    gc.collect()
    gc.freeze()
    gc.enable()


def serve(listener: socket.socket) -> dict:
    """Forks for all that ask, until standard input is closed; returns in forks only, with what is asked of them."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        if sys.stdin in select.select([sys.stdin, listener], [], [])[0]:
            os._exit(0)
        connection, _ = listener.accept()
        if not os.fork():
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return attend(connection)
        connection.close()


def attend(connection: socket.socket) -> dict:
    """Forks once more and waits for that one, in which alone it returns."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    lines = connection.makefile("rw")
    request = json.loads(lines.readline())
    child = os.fork()
    if not child:
        lines.close()
        connection.close()
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return request
    for stream in streams:
        os.close(stream)
    print(child, file=lines, flush=True)
    watched = os.pidfd_open(child)
    if connection in select.select([connection, watched], [], [])[0]:
        os.kill(child, signal.SIGKILL)  # as who asked
    else:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=lines, flush=True)
    os._exit(0)


def become(words: list[str], folder: str, environment: dict[str, str]) -> None:
    """Runs what is asked for, as a fresh interpreter would."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if arenas := environment.get("MALLOC_ARENA_MAX"):  # which glibc reads before a program's first line
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, int(arenas))
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        former = getattr(sys, name)
        like = {"encoding": former.encoding, "errors": former.errors, "closefd": False}
        stream = open(former.fileno(), mode, 1 if name == "stderr" or os.isatty(former.fileno()) else -1, **like)
        setattr(sys, name, stream)
    sys.argv = words
    if words[0] == "-u":  # -c PROGRAM
        sys.modules["__main__"] = ModuleType("__main__")  # which processes that are spawned import, if it has a file
        exec(words[-1], vars(sys.modules["__main__"]))
        sys.exit()
    program = Path(words[0])
    if program.parent == BIN:
        (entry,) = importlib.metadata.entry_points(group="console_scripts", name=program.name)
        sys.exit(entry.load()())
    sys.path.insert(0, str(program.parent))
    runpy.run_path(words[0], run_name="__main__")


if __name__ == "__mp_main__" and Path(sys.argv[0]).name == "ns-train":
    gc.disable()  # what is imported stays
    load_methods()  # one of its processes, which it spawns
    gc.freeze()
    gc.enable()
if __name__ == "__main__":
    if "checked" in sys.argv:
        importlib.import_module("shape_checks").install()  # beside this file
    del sys.path[0]
    if sys.argv[1] == "ask":
        end(ask(*sys.argv[2:]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load()
    become(**serve(socket.socket(fileno=int(sys.argv[2]))))
