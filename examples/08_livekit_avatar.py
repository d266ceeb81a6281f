"""A live avatar as the video generator of livekit-agents, an agent framework: in a process and environment of its own.

livekit-agents needs a newer protobuf than nerfstudio, so this file imports nothing of ours:

    python -m venv agents && agents/bin/pip install livekit-agents pillow tyro websockets
    aed live --avatar actor --size 256
    agents/bin/python examples/08_livekit_avatar.py --audio hello.wav

That says one WAV without a LiveKit server, and counts what comes out. In a room it is published by the framework:

    runner = AvatarRunner(room, audio_recv=DataStreamAudioReceiver(room), video_gen=avatar,
                          options=AvatarOptions(256, 256, 25, 16_000, 1))
"""

import asyncio
import io
import json
import struct
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import tyro
from livekit import rtc
from livekit.agents.voice.avatar import AudioSegmentEnd, QueueAudioOutput, VideoGenerator
from PIL import Image
from websockets.asyncio.client import ClientConnection, connect

HEADER = struct.Struct("<BxxxIq")  # kind, epoch, number of the first sample
SOUND, PICTURE = 1, 2
RATE, FRAME = 16_000, 640


class LiveAvatar(VideoGenerator):
    """Sends an agent's speech to `aed live` (WS /speech), and plays what its page would (WS /ws)."""

    def __init__(self, server: str = "ws://localhost:7008", token: str = "") -> None:
        self._server, self._query = server, f"?token={token}" if token else ""
        self._speaking = False
        self._epoch = 0
        self._sounds: dict[int, bytes] = {}
        self._pictures: dict[int, bytes] = {}
        self._ended = 0

    async def __aenter__(self) -> "LiveAvatar":
        self._speech: ClientConnection = await connect(f"{self._server}/speech{self._query}")
        self._page: ClientConnection = await connect(f"{self._server}/ws{self._query}")
        hello = json.loads(await self._page.recv())
        if hello["type"] != "hello":
            raise ConnectionError(hello["error"])
        self._epoch, self._start = hello["epoch"], hello["position"]
        self._began = asyncio.get_running_loop().time()
        self._tasks = [asyncio.create_task(work()) for work in (self._watch, self._hear, self._report)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await self._page.close()
        await self._speech.close()

    # ---- what the framework asks for

    async def push_audio(self, frame: rtc.AudioFrame | AudioSegmentEnd) -> None:
        """Sends a piece of speech, or says that it is whole."""
        if isinstance(frame, AudioSegmentEnd):
            await self._speech.send(json.dumps({"type": "end"}))
            self._speaking = False
            return
        if not self._speaking:
            await self._speech.send(json.dumps({"type": "begin", "rate": frame.sample_rate}))
            self._speaking = True
        await self._speech.send(bytes(frame.data))

    async def clear_buffer(self) -> None:
        """Interrupts what is being said."""
        self._speaking = False
        await self._speech.send(json.dumps({"type": "stop"}))

    async def __aiter__(self) -> AsyncIterator[rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd]:
        """Yields each frame's picture and, of speech, its sound, as they are due; and where a piece of speech ended."""
        loop, number = asyncio.get_running_loop(), self._start // FRAME
        while True:
            await asyncio.sleep(self._began + (number * FRAME - self._start) / RATE - loop.time())
            due = [frame for frame in self._pictures if frame <= number]
            if due:
                yield _video(self._pictures[max(due)])
            for frame in due:
                del self._pictures[frame]
            if number in self._sounds:
                yield rtc.AudioFrame(self._sounds.pop(number), RATE, 1, FRAME)
            while self._ended and not self._sounds:
                self._ended -= 1
                yield AudioSegmentEnd()
            number += 1

    # ---- the two connections

    async def _watch(self) -> None:
        async for message in self._page:
            if isinstance(message, str):
                told = json.loads(message)
                if told["type"] == "epoch":  # an interruption: what was to come is void
                    self._epoch, first = told["epoch"], told["sample"] // FRAME
                    for waiting in (self._sounds, self._pictures):
                        for frame in [f for f in waiting if f >= first]:
                            del waiting[frame]
                continue
            kind, epoch, sample = HEADER.unpack_from(message)
            if epoch >= self._epoch:
                (self._sounds if kind == SOUND else self._pictures)[sample // FRAME] = message[HEADER.size :]

    async def _hear(self) -> None:
        async for message in self._speech:
            told = json.loads(message)
            self._ended += told["type"] == "finished"
            if told["type"] == "error":
                print(told["error"])

    async def _report(self) -> None:
        while True:
            position = self._start + (asyncio.get_running_loop().time() - self._began) * RATE
            await self._page.send(json.dumps({"type": "clock", "position": position}))
            await asyncio.sleep(0.2)


def _video(jpeg: bytes) -> rtc.VideoFrame:
    picture = Image.open(io.BytesIO(jpeg)).convert("RGB")
    return rtc.VideoFrame(picture.width, picture.height, rtc.VideoBufferType.RGB24, picture.tobytes())


async def say(audio: Path, server: str, token: str) -> dict[str, float]:
    """Has an avatar say a WAV of 16-bit mono as an agent would; returns what came of it."""
    with wave.open(str(audio)) as file:
        rate, pcm = file.getframerate(), file.readframes(file.getnframes())
    output = QueueAudioOutput()
    for first in range(0, len(pcm), rate // 5):  # 0.1 s
        piece = pcm[first : first + rate // 5]
        await output.capture_frame(rtc.AudioFrame(piece, rate, 1, len(piece) // 2))
    output.flush()
    found = {"pictures": 0, "sound": 0.0, "said": len(pcm) / 2 / rate}
    async with LiveAvatar(server, token) as avatar:

        async def push() -> None:
            async for frame in output:
                await avatar.push_audio(frame)

        pushing = asyncio.create_task(push())
        async for frame in avatar:
            if isinstance(frame, AudioSegmentEnd):
                break
            found["pictures"] += isinstance(frame, rtc.VideoFrame)
            found["sound"] += frame.duration if isinstance(frame, rtc.AudioFrame) else 0
        pushing.cancel()
    return found


def main(audio: Path, server: str = "ws://localhost:7008", token: str = "") -> None:
    """Say a WAV through a live avatar.

    Args:
        audio: 16-bit mono.
        server: the address of `aed live`.
        token: its --token, where it has one.
    """
    print(asyncio.run(say(audio, server, token)))


if __name__ == "__main__":
    tyro.cli(main)
