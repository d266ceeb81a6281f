"""The server of a live avatar: one page, its WebSocket, and the API for programs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tornado.httpserver
import tornado.netutil
import tornado.web

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.live.access import LARGEST_BODY, PERIOD, REQUESTS, Access, Guarded, rate_of
from aed_nerfstudio.live.protocol import LONGEST_CHUNK
from aed_nerfstudio.live.resampling import Resampler, read_wav
from aed_nerfstudio.live.sockets import LiveSocket, PageSocket, SpeechSocket
from aed_nerfstudio.live.studio import Studio
from aed_nerfstudio.live.utterance import MOST_SECONDS

PAGE = Path(__file__).parent / "page"


class PageFile(Guarded, tornado.web.StaticFileHandler):
    """A file of the page."""

    page = True

    def initialize(self, access: Access, path: str, default_filename: str | None = None) -> None:  # pyright: ignore
        """Takes the access and the folder."""
        Guarded.initialize(self, access)
        tornado.web.StaticFileHandler.initialize(self, path, default_filename)

    def set_extra_headers(self, path: str) -> None:
        """Has browsers ask anew, so that page and server are of one version."""
        self.set_header("Cache-Control", "no-store")


class ApiHandler(Guarded):
    """What the requests of programs have in common."""

    studio: Studio
    recent: deque[float]

    def prepare(self) -> None:
        """Refuses strangers, and more requests than anyone needs."""
        super().prepare()
        now = time.monotonic()
        while self.recent and now - self.recent[0] > PERIOD:
            self.recent.popleft()
        if len(self.recent) >= REQUESTS:
            raise tornado.web.HTTPError(429, f"more than {REQUESTS} requests in {PERIOD:g} s; use WS /speech")
        self.recent.append(now)

    async def post(self) -> None:
        """Does the work; what is wrong with the request is answered as one line."""
        try:
            await self.work()
        except InputError as error:
            raise tornado.web.HTTPError(400, "%s", str(error)) from error

    async def work(self) -> None:
        """Does the request's work; raises InputError."""
        raise NotImplementedError


class Say(ApiHandler):
    """Says a text, or a sound."""

    async def work(self) -> None:
        """Answers with the number of what will be said."""
        kind, studio = self.request.headers.get("Content-Type", "").lower(), self.studio
        if kind.startswith("audio/") or kind.startswith("application/octet-stream"):
            asked: dict[str, Any] = {k: self.get_query_argument(k, None) for k in ("emotion", "intensity", "interrupt")}
            emotion = studio.emotion(asked["emotion"], asked["intensity"])
            interrupt = asked["interrupt"] in ("1", "true")
            samples = await asyncio.to_thread(self._sound, kind)
            utterance = studio.say_sound(samples, emotion, interrupt)
        else:
            asked = self.asked()
            text = asked.get("text")
            if not isinstance(text, str):
                raise InputError(
                    'send {"text": "Hello"} as JSON, or sound with the Content-Type audio/wav or audio/L16'
                )
            emotion = studio.emotion(asked.get("emotion"), asked.get("intensity"))
            utterance = studio.say_text(text, emotion, bool(asked.get("interrupt")))
        self.answer(utterance=utterance.number, epoch=studio.engine.performer.epoch)

    def _sound(self, kind: str) -> np.ndarray:
        body = self.request.body
        if kind.startswith(("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave")) or body[:4] == b"RIFF":
            samples = read_wav(body)
        else:
            resampler = Resampler(rate_of(kind))
            samples = np.concatenate([resampler(body), resampler.rest()])
        if samples.size > MOST_SECONDS * SAMPLE_RATE:
            raise InputError(f"the sound lasts more than {MOST_SECONDS} s; stream it by WS /speech")
        return samples


class Stop(ApiHandler):
    """Ends all speech."""

    async def work(self) -> None:
        """Answers with the new epoch."""
        self.studio.engine.performer.stop()
        self.answer(epoch=self.studio.engine.performer.epoch)


class Emotion(ApiHandler):
    """Shows an emotion from now on."""

    async def work(self) -> None:
        """Answers when it is taken."""
        asked = self.asked()
        if asked.get("emotion") is None and asked.get("intensity") is None:
            raise InputError('send {"emotion": "happy", "intensity": 0.7}')
        self.studio.feel(asked.get("emotion"), asked.get("intensity"))
        self.answer(ok=True)


class Record(ApiHandler):
    """Records what the page shows."""

    async def work(self) -> None:
        """Starts a recording; with `stop` ends it and answers with its MP4."""
        if "page" not in self.taken:
            raise InputError("nobody sees the pictures; open the page first")
        if not self.asked().get("stop"):
            self.studio.record()
            self.answer(recording=True)
            return
        video = await asyncio.to_thread(self.studio.recorded)
        self.set_header("Content-Type", "video/mp4")
        self.set_header("Content-Disposition", 'attachment; filename="aed-live.mp4"')
        self.finish(video)

    taken: dict[str, LiveSocket]


class Status(Guarded):
    """What the engine does."""

    studio: Studio
    taken: dict[str, LiveSocket]

    def get(self) -> None:
        """Answers the figures."""
        self.answer(clients=sorted(self.taken), **self.studio.engine.status())


class Server:
    """Serves a studio; binds at once, and serves in `run`.

    Args:
        studio: the avatar.
        access: on which address, and for whom.
        port: to listen on; 0: any that is free.

    Raises:
        InputError: the address cannot be listened on.
    """

    def __init__(self, studio: Studio, access: Access, port: int) -> None:
        self._studio = studio
        try:
            self._sockets = tornado.netutil.bind_sockets(port, access.host)
        except OSError as error:
            raise InputError(f"{access.host}:{port} cannot be listened on ({error.strerror or error}); "
                             "choose another --host or --port") from error  # fmt: skip
        self.port: int = self._sockets[0].getsockname()[1]
        shared = {"access": access, "studio": studio}
        taken: dict[str, LiveSocket] = {}
        with_places = {**shared, "taken": taken}
        api = {**shared, "recent": deque()}
        self._app = tornado.web.Application(
            [
                ("/ws", PageSocket, with_places),
                ("/speech", SpeechSocket, with_places),
                ("/say", Say, api),
                ("/stop", Stop, api),
                ("/emotion", Emotion, api),
                ("/recording", Record, {**api, "taken": taken}),
                ("/status", Status, with_places),
                ("/(.*)", PageFile, {"access": access, "path": str(PAGE), "default_filename": "index.html"}),
            ],
            log_function=lambda handler: None,
            websocket_ping_interval=20,
            websocket_ping_timeout=20,
            websocket_max_message_size=LONGEST_CHUNK + 1024,
        )
        self._ended = threading.Event()

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serves until `end`; ready: called as soon as clients can connect."""
        asyncio.run(self._serve(ready))

    def end(self) -> None:
        """Ends `run`, from any thread or signal handler."""
        self._ended.set()

    async def _serve(self, ready: Callable[[], None]) -> None:
        server = tornado.httpserver.HTTPServer(
            self._app, max_body_size=LARGEST_BODY, max_buffer_size=2 * LARGEST_BODY, idle_connection_timeout=60,
            body_timeout=30,
        )  # fmt: skip
        server.add_sockets(self._sockets)
        self._studio.engine.start()
        try:
            ready()
            while not self._ended.is_set():
                await asyncio.sleep(0.1)
        finally:
            server.stop()
            await asyncio.to_thread(self._studio.end)
