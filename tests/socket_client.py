"""What the clients of our two servers have in common: a WebSocket whose messages a thread takes."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from typing_extensions import Self
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

PATIENCE = 120
"""Seconds that something is waited for: a machine that tests has other work as well."""


class SocketClient(ABC):
    """Connects, and hears what it is sent; a context manager that leaves.

    Subclasses have all that `hear` needs before they call the constructor.
    """

    def __init__(self, port: int, path: str = "", **options) -> None:
        self.socket = connect(f"ws://127.0.0.1:{port}{path}", max_size=None, open_timeout=PATIENCE, **options)
        self.code: int | None = None
        """With which the connection was closed."""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.socket.close()
        self._listener.join(10)

    def _listen(self) -> None:
        try:
            for message in self.socket:
                self.hear(message)
        except ConnectionClosed:
            pass
        self.code = self.socket.close_code

    @abstractmethod
    def hear(self, message: str | bytes) -> None:
        """Takes a message, in the listening thread."""

    def told_lately(self) -> object:
        """What an error says of that which came."""
        return ""

    def wait(self, ready: Callable, seconds: float = PATIENCE):
        """Returns what `ready` does, once that is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := ready():
                return found
            time.sleep(0.01)
        raise TimeoutError(f"waited {seconds} s in vain; told: {self.told_lately()}")
