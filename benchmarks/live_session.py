"""Half a minute of a live avatar, recorded as its page's button does: idle, two emotions, an interruption.

    python benchmarks/live_session.py --output session --voice en_US-joe-medium.onnx

Writes `session.mp4`, `sheet.png` (a picture every 0.5 s, with the emotion that was asked for) and `session.json`: when
each part was heard, how loud the recording's sound is in it and in the pauses, and how late the sound is to the lips.
"""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import tyro
from live import RATE, Listener, aed_live, offset, post, started, status

from aed_nerfstudio.audio.features import FRAME_RATE
from aed_nerfstudio.media.audio_io import read_audio
from aed_nerfstudio.media.video_reader import read_frames

PARTS = (
    ("", "", 6.0),
    ("happy", "Good morning! Your parcel has arrived, and it is a large one.", 0.0),
    ("", "", 1.5),
    ("sad", "But I am sorry to say that the box is open, and that one half of it is empty.", 0.0),
    ("", "", 1.5),
    ("angry", "I told you that it was your own fault, that nobody had asked you to, and that I", 2.5),
    ("neutral", "Let us look into it together.", 0.0),
    ("", "", 3.0),
)
"""Emotion, words, and seconds after which the next begins, interrupting; 0: when it was said."""


def loudness(sound: np.ndarray, start: float, end: float) -> float:
    """Returns the RMS of a stretch of sound, dB of full scale."""
    part = sound[round(start * RATE) : round(end * RATE)]
    return round(20 * float(np.log10(np.sqrt(np.square(part).mean()) + 1e-6)), 1)


def play(port: int, listener: Listener) -> tuple[list[dict], bytes]:
    """Plays the session; returns its parts and the recording."""
    post(port, "/recording")
    begin, parts = time.monotonic(), []
    for number, (emotion, words, seconds) in enumerate(PARTS):
        start = time.monotonic() - begin
        if words:
            interrupt = PARTS[number - 1][1] != ""
            text = {"text": words, "emotion": emotion, "intensity": "strong", "interrupt": interrupt}
            before = len(listener.sounds)
            post(port, "/say", json.dumps(text).encode())
            while len(listener.sounds) == before:  # the voice needs a while
                time.sleep(0.05)
            start = time.monotonic() - begin
            end = time.monotonic() + (seconds or 60)
            while time.monotonic() < end and status(port)["speaking"]:
                time.sleep(0.05)
        else:
            time.sleep(seconds)
        parts.append({"emotion": emotion, "words": words, "from": round(start, 2)})
    request = urllib.request.Request(f"http://127.0.0.1:{port}/recording", b'{"stop": true}')
    with urllib.request.urlopen(request, timeout=300) as answer:
        return parts, answer.read()


def sheet(path: Path, pictures: np.ndarray, parts: list[dict]) -> None:
    """Writes a picture every half second, ten in a row, with its time and emotion."""
    cells = []
    for number in range(0, len(pictures), FRAME_RATE // 2):
        at = number / FRAME_RATE
        said = [part for part in parts if part["from"] <= at][-1:]
        cell = np.pad(cv2.resize(pictures[number], (160, 160), interpolation=cv2.INTER_AREA), ((0, 16), (0, 0), (0, 0)))
        text = f"{at:.1f} s {said[0]['emotion'] if said else ''}"
        cells.append(cv2.putText(cell, text, (3, 172), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA))
    cells += [np.zeros_like(cells[0])] * (-len(cells) % 10)
    rows = [np.hstack(cells[first : first + 10]) for first in range(0, len(cells), 10)]
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


def main(output: Path, voice: Path, avatar: str = "actor", size: str = "auto") -> None:
    """Records and measures.

    Args:
        output: a folder.
        voice: a Piper voice.
        avatar: an avatar file, or actor.
        size: see `aed live`.
    """
    output.mkdir(parents=True, exist_ok=True)
    process, port = started([*aed_live(avatar, size), "--voice", str(voice)])
    try:
        listener = Listener(port, keep=True)
        time.sleep(3)
        parts, video = play(port, listener)
        figures = {"size": status(port)["size"], "fps": round(status(port)["fps"], 1), "lips": offset(listener)}
        listener.leave()
    finally:
        process.terminate()
    (output / "session.mp4").write_bytes(video)
    sound = read_audio(output / "session.mp4")
    for part, following in zip(parts, [*parts[1:], {"from": sound.size / RATE}], strict=True):
        part["loudness_db"] = loudness(sound, part["from"] + 0.5, following["from"] - 0.5)  # it is heard a little later
    (output / "session.json").write_text(json.dumps({**figures, "parts": parts}, indent=1) + "\n")
    sheet(output / "sheet.png", np.stack(list(read_frames(output / "session.mp4"))), parts)
    print((output / "session.json").read_text())


if __name__ == "__main__":
    tyro.cli(main)
