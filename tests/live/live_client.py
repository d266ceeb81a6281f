"""The page of a live avatar without a browser: what it hears and sees, and whatever an attacker would send."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request

from aed_nerfstudio.live.protocol import PICTURE, SOUND, Stamped
from tests.socket_client import PATIENCE, SocketClient


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


class Client(SocketClient):
    """Keeps what comes, with the time at which it came."""

    def __init__(self, port: int, path: str = "/ws", **options) -> None:
        self.items: list[tuple[float, Stamped]] = []
        self.told: list[tuple[float, dict]] = []
        super().__init__(port, path, **options)

    def hear(self, message: str | bytes) -> None:
        now = time.monotonic()
        if isinstance(message, bytes):
            self.items.append((now, Stamped.unpacked(message)))
        else:
            self.told.append((now, json.loads(message)))

    def told_lately(self) -> object:
        return self.told[-5:]

    def send(self, **message) -> None:
        self.socket.send(json.dumps(message))

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
