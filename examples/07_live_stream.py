"""Stream a recording to a live avatar as it would come from elsewhere: in pieces of 0.1 s, in real time.

aed live --avatar actor
python examples/07_live_stream.py --audio hello.wav --emotion happy
"""

import json
import time
from pathlib import Path

import tyro
from websockets.sync.client import connect

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.live.protocol import pcm16
from aed_nerfstudio.media.audio_io import read_audio
from aed_nerfstudio.synthetic.record import unseen_speech

PIECE = SAMPLE_RATE // 10


def main(
    audio: Path | None = None, emotion: str = "neutral", server: str = "ws://localhost:7008", token: str = ""
) -> None:
    """Stream sound, and print the events that come back.

    Args:
        audio: what is said, any audio or video file; two seconds that come with the package when left out.
        emotion: how it is said.
        server: the address of `aed live`.
        token: its --token, where it has one.
    """
    samples = unseen_speech(2.0) if audio is None else read_audio(audio)
    with connect(f"{server}/speech" + (f"?token={token}" if token else "")) as socket:
        print(json.loads(socket.recv()))
        socket.send(json.dumps({"type": "begin", "rate": SAMPLE_RATE, "emotion": emotion, "interrupt": True}))
        for first in range(0, len(samples), PIECE):
            socket.send(pcm16(samples[first : first + PIECE]))
            time.sleep(PIECE / SAMPLE_RATE)
        socket.send(json.dumps({"type": "end"}))
        for message in socket:
            event = json.loads(message)
            print(event)
            if event["type"] in ("finished", "interrupted"):
                return


if __name__ == "__main__":
    tyro.cli(main)
