"""What waits to be sent to one client: a slow one gets fewer pictures, a dead one is let go."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from aed_nerfstudio.live.protocol import PICTURE, Stamped

MOST_BYTES = 4 << 20
"""That wait for a client, before it counts as dead: two minutes of sound."""
PATIENCE = 10.0
"""Seconds that one message may take to be sent."""


class Outbox:
    """Sends messages one after the other, in a task of its own; of pictures only the newest waits.

    send: sends one message, and returns when the network has taken it. close: ends the connection.
    """

    def __init__(self, send: Callable[[bytes | str], Awaitable], close: Callable[[], None]) -> None:
        self._send, self._close = send, close
        self._waiting: deque[bytes | str | Stamped] = deque()
        self._bytes = 0
        self._more = asyncio.Event()
        self.skipped = 0
        """Pictures that were not sent, because a newer one came before the network took them."""
        self._task = asyncio.ensure_future(self._work())

    def put(self, message: bytes | str | Stamped) -> None:
        """Adds a message; from the event loop's thread."""
        if isinstance(message, Stamped) and message.kind == PICTURE:
            older = [m for m in self._waiting if isinstance(m, Stamped) and m.kind == PICTURE]
            for each in older:
                self._waiting.remove(each)
                self._bytes -= len(each.body)
                self.skipped += 1
        self._waiting.append(message)
        self._bytes += _size(message)
        if self._bytes > MOST_BYTES:
            self.end()
            self._close()
        self._more.set()

    async def _work(self) -> None:
        try:
            while True:
                while not self._waiting:
                    self._more.clear()
                    await self._more.wait()
                message = self._waiting.popleft()
                self._bytes -= _size(message)
                sent = self._send(message.packed() if isinstance(message, Stamped) else message)
                # Not `wait_for`: before Python 3.12 it loses a cancellation that comes as the message is sent.
                sending = asyncio.ensure_future(_awaited(sent))
                sent_in_time, _ = await asyncio.wait({sending}, timeout=PATIENCE)
                if not sent_in_time:
                    sending.cancel()
                    break
                sending.result()
        except asyncio.CancelledError:
            raise
        except Exception:  # closed
            pass
        self._close()  # also where it is too slow: the same to us

    def end(self) -> None:
        """Stops sending."""
        self._task.cancel()


async def _awaited(sent: Awaitable) -> None:
    await sent


def _size(message: bytes | str | Stamped) -> int:
    return len(message.body if isinstance(message, Stamped) else message)
