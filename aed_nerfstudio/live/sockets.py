"""The two WebSockets: of the page, which sees, hears and speaks, and of programs that stream speech."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

import numpy as np
import tornado.websocket

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.live.access import Guarded, json_object
from aed_nerfstudio.live.outbox import Outbox
from aed_nerfstudio.live.painter import SIZES
from aed_nerfstudio.live.performer import Cut
from aed_nerfstudio.live.protocol import Stamped
from aed_nerfstudio.live.resampling import Resampler
from aed_nerfstudio.live.studio import Studio
from aed_nerfstudio.live.utterance import Listener, Utterance

BUSY = 1013
"""WebSocket's close code for "try again later"."""
MOST_MESSAGES = 200
"""A second, from one client: a microphone sends 50."""


class LiveSocket(Guarded, tornado.websocket.WebSocketHandler):
    """What both have in common: one client at a time, bounded messages, and one clear answer to each mistake."""

    studio: Studio
    taken: dict[str, LiveSocket]
    kind = ""
    outbox: Outbox | None = None
    """Of a client that has its place."""
    sound: Utterance | None = None
    """The flow that it fills."""

    def check_origin(self, origin: str) -> bool:
        """Lets `Guarded.prepare` decide, which has."""
        return True

    async def open(self, *arguments: str, **more: str) -> None:
        """Takes the place, or says that it is taken."""
        self._resampler = Resampler(SAMPLE_RATE)
        self._second, self._count = 0.0, 0
        self._loop = asyncio.get_running_loop()
        if self.kind in self.taken:
            self.write_message(
                json.dumps({"type": "error", "error": "busy: another client is connected; one at a time"})
            )
            self.close(BUSY, "busy")
            return
        self.taken[self.kind] = self
        self.outbox = Outbox(lambda m: self.write_message(m, binary=isinstance(m, bytes)), self._let_go)
        self.begin()

    def begin(self) -> None:
        """Greets the client."""
        raise NotImplementedError

    def leave(self) -> None:
        """Ends what belongs to the client."""

    def command(self, message: dict[str, Any]) -> None:
        """Does what a message says; raises InputError."""
        raise NotImplementedError

    def on_message(self, message: str | bytes) -> None:
        """Answers a message; whatever it is, the connection and the engine go on."""
        if self.outbox is None:
            return
        now = time.monotonic()
        if now - self._second > 1:
            self._second, self._count = now, 0
        self._count += 1
        try:
            if self._count > MOST_MESSAGES:
                raise InputError(f"more than {MOST_MESSAGES} messages a second; send larger chunks")
            if isinstance(message, bytes):
                self.hear(message)
            else:
                self.command(json_object(message))
        except InputError as error:
            if self._count <= MOST_MESSAGES + 1:
                self.tell("error", error=str(error))

    def hear(self, pcm: bytes) -> None:
        """Takes a chunk of sound, PCM16 mono, of the flow that is open."""
        if self.sound is None:
            raise InputError('sound without a beginning; send {"type": "begin", "rate": 16000} first')
        self.sound.put(self._resampler(pcm), *self.facts_of_chunk())

    def facts_of_chunk(self) -> tuple:
        """Returns the emotion and the mark of the next chunk."""
        return ()

    def open_sound(self, rate: object, live: bool, interrupt: bool) -> None:
        """Opens a flow of sound in place of the last one."""
        if not isinstance(rate, int) or isinstance(rate, bool):
            raise InputError("rate must be the samples a second, such as 16000")
        self._resampler = Resampler(rate)
        self.close_sound()
        self.sound = self.studio.engine.performer.begin(self.listener(), live, interrupt)

    def close_sound(self) -> None:
        """Says that no more comes of the flow that is open."""
        sound, self.sound = self.sound, None
        if sound is not None:
            try:
                sound.put(self._resampler.rest())
            finally:
                sound.close()

    def listener(self, **facts: object) -> Listener:
        """Returns what sends a flow's events to this client."""

        def told(event: str, more: dict) -> None:
            self.tell(event, **facts, **more)

        return told

    def tell(self, kind: str, **facts: object) -> None:
        """Sends a JSON message, from any thread."""
        self.send_soon(json.dumps({"type": kind, **facts}))

    def send_soon(self, message: str | Stamped) -> None:
        """Sends a message, from any thread; nothing where the server is at its end."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.put, message)

    def put(self, message: bytes | str | Stamped) -> None:
        """Sends a message, from the loop's thread."""
        if self.outbox is not None:
            self.outbox.put(message)

    def _let_go(self) -> None:
        """Ends a connection that takes nothing any more, without waiting for its goodbye."""
        self.on_close()
        connection = self.ws_connection
        if connection is not None:
            connection._abort()

    def on_close(self) -> None:
        """Frees the place."""
        if self.outbox is None:
            return
        self.outbox.end()
        self.outbox = None
        if self.taken.get(self.kind) is self:
            del self.taken[self.kind]
        if self.sound is not None:
            self.sound.close()
        self.leave()


class PageSocket(LiveSocket):
    """The page: pictures and sound down, the clock, the microphone and the controls up."""

    kind = "page"

    def begin(self) -> None:
        """Says what there is, and where the stream is."""
        self._statuses = asyncio.ensure_future(self._tell_status())
        studio, words = self.studio, self.studio.vocabulary
        studio.outlet = self._deliver
        position = studio.engine.attach()
        spans = {c: words.span(c) for c in words.categories}
        self.tell(
            "hello",
            position=position,
            emotions={c: span for c, span in spans.items() if span is not None},
            sizes=SIZES,
            text=studio.voice is not None,
            recording=studio.recording,
            **studio.engine.status(),
        )

    async def _tell_status(self) -> None:
        while True:
            await asyncio.sleep(1)
            skipped = 0 if self.outbox is None else self.outbox.skipped
            self.tell("status", skipped=skipped, recording=self.studio.recording, **self.studio.engine.status())

    def leave(self) -> None:
        """Goes on without pictures."""
        self._statuses.cancel()
        self.studio.outlet = lambda item: None
        self.studio.engine.detach()
        self.studio.forget()

    def _deliver(self, item: Stamped | Cut) -> None:
        if isinstance(item, Cut):
            self.tell("epoch", epoch=item.epoch, sample=item.stamp)
        else:
            self.send_soon(item)

    def command(self, message: dict[str, Any]) -> None:
        """Does what the page asks."""
        kind, studio = message.get("type"), self.studio
        if kind == "clock":
            position = message.get("position")
            if not isinstance(position, (int, float)) or isinstance(position, bool) or not np.isfinite(position):
                raise InputError("position must be a number of samples")
            studio.engine.report(float(position))
        elif kind == "mic":
            if message.get("on"):
                self.open_sound(message.get("rate"), live=True, interrupt=False)
            elif self.sound is not None:
                self.close_sound()
        elif kind == "say":
            emotion = studio.emotion(message.get("emotion"), message.get("intensity"))
            studio.say_text(str(message.get("text", "")), emotion, bool(message.get("interrupt")), self.listener())
        elif kind == "emotion":
            studio.feel(message.get("emotion"), message.get("intensity"))
        elif kind == "show":
            studio.show(message.get("size"), message.get("background"))
        elif kind == "stop":
            studio.engine.performer.stop()
        else:
            raise InputError(f"{str(kind)[:40]}: no such message")


class SpeechSocket(LiveSocket):
    """A program that streams speech: PCM16 up, events down."""

    kind = "speech"

    def begin(self) -> None:
        """Says that it may speak."""
        self._chunks, self._emotion = 0, None
        self.tell("ready", rate=SAMPLE_RATE)

    def leave(self) -> None:
        """Nothing but its flow is its own."""

    def facts_of_chunk(self) -> tuple:
        """Returns the emotion, which only the first chunk has, and the chunk's number."""
        emotion, self._emotion = self._emotion, None
        self._chunks += 1
        return emotion, self._chunks - 1

    def command(self, message: dict[str, Any]) -> None:
        """Does what the program asks."""
        kind, studio = message.get("type"), self.studio
        if kind == "begin":
            self._emotion = studio.emotion(message.get("emotion"), message.get("intensity"))
            self.open_sound(message.get("rate", SAMPLE_RATE), live=False, interrupt=bool(message.get("interrupt")))
            self._chunks = 0
        elif kind == "emotion":
            self._emotion = studio.emotion(message.get("emotion"), message.get("intensity"))
        elif kind == "end":
            self.close_sound()
        elif kind == "stop":
            studio.engine.performer.stop()
            self.sound = None
        else:
            raise InputError(f"{str(kind)[:40]}: no such message; there are begin, emotion, end and stop")
