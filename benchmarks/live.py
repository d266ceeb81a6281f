"""How `aed live` does on this machine: a client that behaves as the page does, whatever else the machine is doing.

    python benchmarks/live.py --seconds 600 --output benchmarks/results/live.json
    python benchmarks/live.py --size 512 --seconds 120 --output ...        # where a GPU is at hand

It starts the command, speaks through `POST /say` and `WS /speech`, and writes: pictures a second; milliseconds from the
end of a chunk of PCM until its sound and its picture are there, and until it is played; frames left out; pictures that
came too late; memory; how late the sound is to the lips in what was received, by the method of `aed inspect`; and
whether it lived through interruptions, reconnections and killed clients.
"""

from __future__ import annotations

import json
import os
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import tyro
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from aed_nerfstudio.audio.late_sound import SpokenTake, estimate_shift
from aed_nerfstudio.audio.live_hearing import FRAME
from aed_nerfstudio.face.face_finder import FaceFinder
from aed_nerfstudio.live.protocol import PICTURE, SOUND, Stamped, pcm16
from aed_nerfstudio.synthetic.record import training_speech, unseen_speech

RATE = 16_000
LOOKED_AT = 1500
"""Pictures that are looked for faces, the last minute of those that came."""


class Listener:
    """A page: plays by its own clock, which it reports, and notes what came when."""

    def __init__(self, port: int, keep: bool = False) -> None:
        self.socket = connect(f"ws://127.0.0.1:{port}/ws", max_size=None, open_timeout=60)
        hello = json.loads(self.socket.recv())
        self.busy = hello["type"] != "hello"
        self.base, self.at = hello.get("position", 0), time.monotonic()
        self.epoch, self.keep = hello.get("epoch", 0), keep
        self.pictures: list[tuple[float, int]] = []
        self.sounds: list[tuple[float, int]] = []
        self.kept: dict[int, bytes] = {}
        self.heard: dict[int, bytes] = {}
        self.late = 0
        self.cuts: list[float] = []
        self._stopped = threading.Event()
        for work in (self._listen, self._report):
            threading.Thread(target=work, daemon=True).start()

    def playhead(self, at: float | None = None) -> float:
        """Returns the sample that is played at a time, now when None."""
        return self.base + ((time.monotonic() if at is None else at) - self.at) * RATE

    def _listen(self) -> None:
        try:
            for message in self.socket:
                now = time.monotonic()
                if isinstance(message, bytes):
                    self._take(now, Stamped.unpacked(message))
                elif (told := json.loads(message))["type"] == "epoch":
                    self.epoch = told["epoch"]
                    self.cuts.append(now)
                    self.heard = {s: b for s, b in self.heard.items() if s < told["sample"]}
        except ConnectionClosed:
            pass

    def _take(self, now: float, item: Stamped) -> None:
        if item.epoch < self.epoch:
            return
        if item.kind == PICTURE:
            self.late += self.playhead(now) - item.stamp > 0.12 * RATE
            self.pictures.append((now, item.stamp))
            if self.keep:
                self.kept[item.stamp // FRAME] = item.body
                self.kept.pop(item.stamp // FRAME - LOOKED_AT, None)
        elif item.kind == SOUND:
            self.sounds.append((now, item.stamp))
            self.heard[item.stamp] = item.body

    def _report(self) -> None:
        try:
            while not self._stopped.wait(0.2):
                self.socket.send(json.dumps({"type": "clock", "position": self.playhead()}))
        except ConnectionClosed:
            pass

    def leave(self, killed: bool = False) -> None:
        """Goes, with a goodbye or without."""
        self._stopped.set()
        if killed:
            self.socket.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def post(port: int, path: str, body: bytes = b"{}", kind: str = "application/json") -> dict:
    """Returns the answer to a request."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def memory(process: subprocess.Popen) -> float:
    """Returns the MiB that a process and its children have in memory."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024  # pyright: ignore[reportOptionalSubscript]


def spread(values: list[float]) -> dict[str, float]:
    """Returns median and 95th percentile, in ms."""
    if not values:
        return {}
    return {
        "median_ms": round(1000 * statistics.median(values)),
        "p95_ms": round(1000 * float(np.quantile(values, 0.95))),
    }


def latencies(port: int, listener: Listener, chunks: int) -> dict[str, dict[str, float]]:
    """Streams speech in chunks of 0.1 s as it would be spoken, and times each chunk's sound and picture."""
    sound, ends = unseen_speech()[: chunks * RATE // 10], []
    before, shown = len(listener.sounds), len(listener.pictures)
    with connect(f"ws://127.0.0.1:{port}/speech") as agent:
        agent.recv()
        agent.send(json.dumps({"type": "begin", "interrupt": True}))
        start = time.monotonic()
        for number in range(len(sound) * 10 // RATE):
            time.sleep(max(0.0, start + (number + 1) / 10 - time.monotonic()))
            agent.send(pcm16(sound[number * RATE // 10 : (number + 1) * RATE // 10]))
            ends.append(time.monotonic())
        agent.send(json.dumps({"type": "end"}))
        said: dict[int, int] = {}
        """By the number of a chunk, the stream's sample after its last."""
        while (event := json.loads(agent.recv(timeout=120)))["type"] != "finished":
            if event["type"] == "chunk":
                said[event["mark"]] = event["sample"]
        time.sleep(1)
    sounds, pictures = listener.sounds[before:], listener.pictures[shown:]
    there, seen, played = [], [], []
    for number, sample in said.items():
        end, last = ends[number], sample - FRAME  # the last frame that it is in
        there += [t - end for t, stamp in sounds if stamp == last][:1]
        seen += [t - end for t, stamp in pictures if stamp >= last][:1]
        played.append((sample - listener.base) / RATE + listener.at - end)
    return {"sound there": spread(there), "picture there": spread(seen), "sound played": spread(played)}


def offset(listener: Listener) -> dict[str, float | str | None]:
    """Returns by how many ms the sound is later than the lips in what was received, as a 25-fps video."""
    newest = max(listener.kept)
    frames = list(range(max(min(listener.kept), newest - LOOKED_AT + 1), newest + 1))
    landmarks, last = [], np.full((478, 3), np.nan, np.float32)
    with FaceFinder(still=False) as finder:
        for frame in frames:
            if frame in listener.kept:
                picture = cv2.imdecode(np.frombuffer(listener.kept[frame], np.uint8), cv2.IMREAD_COLOR)
                picture = cv2.resize(picture, (384, 384), interpolation=cv2.INTER_CUBIC)
                last = finder.landmarks(np.ascontiguousarray(picture[..., ::-1]))
            landmarks.append(last)
    landmarks = np.stack(landmarks)
    sound = np.zeros(len(frames) * FRAME, np.float32)
    for stamp, body in listener.heard.items():
        at = stamp - frames[0] * FRAME
        if 0 <= at <= len(sound) - FRAME:
            sound[at : at + FRAME] = np.frombuffer(body, "<i2") / 32767
    found = estimate_shift([SpokenTake.of(landmarks, np.isfinite(landmarks).all((1, 2)), sound)])
    return {
        "sound_late_ms": None if found.shift is None else round(1000 * found.shift),
        "correlation": found.correlation and round(found.correlation, 3),
        "reason": found.reason,
        "seconds": len(frames) / 25,
        "faces": round(float(np.isfinite(landmarks[:, 0, 0]).mean()), 3),
    }


def interruptions(port: int, listener: Listener, count: int) -> dict[str, object]:
    """Interrupts speech so many times; times until the client knows, and until the first new picture."""
    known, seen = [], []
    for _ in range(count):
        post(port, "/say", pcm16(unseen_speech(3.0)), "audio/L16")
        time.sleep(0.7)
        cuts, start = len(listener.cuts), time.monotonic()
        post(port, "/stop")
        while len(listener.cuts) == cuts and time.monotonic() < start + 10:
            time.sleep(0.002)
        known.append(listener.cuts[-1] - start)
        while listener.pictures[-1][0] < listener.cuts[-1] and time.monotonic() < start + 10:
            time.sleep(0.002)
        seen.append(listener.pictures[-1][0] - start)
    return {"count": count, "silent after": spread(known), "next picture after": spread(seen)}


def reconnections(port: int, count: int, killed: bool) -> int:
    """Returns how many of so many clients got pictures, each after the one before went."""
    reached = 0
    for _ in range(count):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            listener = Listener(port)
            time.sleep(1.5)
            good = not listener.busy and bool(listener.pictures)
            listener.leave(killed)
            if good:
                reached += 1
                break
    return reached


def aed_live(avatar: str, size: str) -> list[str]:
    """Returns the command that starts a server at any free port."""
    program = Path(sys.executable).parent / "aed"
    return [str(program), "live", "--avatar", avatar, "--size", size, "--port", "0"]


def started(command: list[str]) -> tuple[subprocess.Popen, int]:
    """Starts a server; returns it and its port."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        if found := re.search(r"live: http://\S+:(\d+)/", line):
            return process, int(found[1])
    raise SystemExit("aed live did not start")


def status(port: int) -> dict:
    """Returns the server's figures."""
    return json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=60))


def long_talk(process: subprocess.Popen, port: int, listener: Listener, seconds: float) -> dict[str, object]:
    """Has it speak without a break; returns what came of it after a minute, after ten, and in all."""
    speech, rows = training_speech(), []
    start, marks = time.monotonic(), [m for m in (60.0, 600.0) if m < seconds] + [seconds]
    before, load = status(port), []
    first, late = len(listener.pictures), listener.late
    found: dict[str, object] = {}
    while marks:
        passed, now = time.monotonic() - start, status(port)
        if not now["speaking"]:
            at = int(passed * RATE) % (len(speech) - 20 * RATE)
            post(port, "/say", pcm16(speech[at : at + 20 * RATE]), "audio/L16")
        rows.append(memory(process))
        load.append(os.getloadavg()[0])
        if passed >= marks[0]:
            found[f"{marks.pop(0):g} s"] = {
                "fps": round((len(listener.pictures) - first) / passed, 1),
                "frames": round(passed * 25),
                "left_out": now["left_out"] - before["left_out"],
                "late": listener.late - late,
                "picture_ms": now["picture_ms"],
                "memory_mib": {"now": round(rows[-1]), "most": round(max(rows))},
                "load": {"median": statistics.median(load), "most": max(load)},
            }
            print(found, flush=True)
        time.sleep(1)
    return found


def main(
    output: Path, avatar: str = "actor", size: str = "auto", seconds: float = 120.0, lookahead: float = 0.12
) -> None:
    """Measures, and writes the figures.

    Args:
        output: JSON file.
        avatar: an avatar file, or actor.
        size: see `aed live`.
        seconds: of speech that pictures are counted in.
        lookahead: see `aed live`.
    """
    process, port = started([*aed_live(avatar, size), "--lookahead", str(lookahead)])
    listener = Listener(port, keep=True)
    time.sleep(3)
    found: dict[str, object] = {"avatar": avatar, "size": status(port)["size"], "lookahead_s": lookahead}
    found["cores"] = os.cpu_count()
    found["talk"] = long_talk(process, port, listener, seconds)
    found["lips"] = offset(listener)
    post(port, "/stop")
    found["latency"] = latencies(port, listener, 80)
    found["interruptions"] = interruptions(port, listener, 20)
    listener.leave()
    found["reconnected of 5"] = reconnections(port, 5, killed=False)
    found["reconnected after a kill of 5"] = reconnections(port, 5, killed=True)
    asked = time.monotonic()
    process.terminate()
    found["exit"] = {"code": process.wait(60), "seconds": round(time.monotonic() - asked, 2)}
    output.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    tyro.cli(main)
