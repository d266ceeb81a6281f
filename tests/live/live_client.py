"""The page of a live avatar without a browser: what it hears and sees, and whatever an attacker would send."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from aed_nerfstudio.live.protocol import PICTURE, SOUND, Stamped

PATIENCE = 120
"""Seconds that something is waited for: a machine that tests has other work as well."""


def ask(port: int, path: str, body: bytes | dict | None = None, kind: str = "", **headers) -> tuple[int, bytes]:
    """The status and the answer of a request; a body makes it a POST."""
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", content, headers)
    request.add_header("Content-Type", kind or "application/json")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Client:
    """Connects and keeps what comes, with the time at which it came; a context manager that leaves."""

    def __init__(self, port: int, path: str = "/ws", **options) -> None:
        self.socket = connect(f"ws://127.0.0.1:{port}{path}", max_size=None, open_timeout=PATIENCE, **options)
        self.items: list[tuple[float, Stamped]] = []
        self.told: list[tuple[float, dict]] = []
        self.code: int | None = None
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_) -> None:
        self.socket.close()
        self._listener.join(10)

    def _listen(self) -> None:
        try:
            for message in self.socket:
                now = time.monotonic()
                if isinstance(message, bytes):
                    self.items.append((now, Stamped.unpacked(message)))
                else:
                    self.told.append((now, json.loads(message)))
        except ConnectionClosed:
            pass
        self.code = self.socket.close_code

    def send(self, **message) -> None:
        self.socket.send(json.dumps(message))

    def wait(self, ready: Callable, seconds: float = PATIENCE):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := ready():
                return found
            time.sleep(0.01)
        raise TimeoutError(f"waited {seconds} s in vain; told: {self.told[-5:]}")

    def event(self, kind: str, since: int = 0) -> dict:
        """Waits for a message of a kind, after so many others."""
        return self.wait(lambda: next((m for _, m in self.told[since:] if m["type"] == kind), None))

    def of(self, kind: int) -> list[Stamped]:
        return [item for _, item in list(self.items) if item.kind == kind]

    @property
    def pictures(self) -> list[Stamped]:
        return self.of(PICTURE)

    @property
    def sounds(self) -> list[Stamped]:
        return self.of(SOUND)
