"""What somebody could hand to a command, made on the fly: a table of faults x commands and their options.

No file here is kept; each is written by a few lines when its case is run.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from PIL import Image

from aed_nerfstudio.media.audio_io import write_wav
from tests.media.test_hostile_media import float_wav, with_gap

HUGE = str(10**30)
DIGITS = "9" * 5000
DEEP = "[" * 100_000
GOOD = "good"
"""The folder of what is right, beside which each case has `given` (its faulty files) and `place` (to write to)."""


@dataclass
class Case:
    """A command line with one fault.

    change: option -> value, or a function that makes it from the folder for faulty files; "" is the positional one,
    None leaves the option out. names: what the one line must contain, any of these; the changed options and the names
    of their files when empty. works: it is legal, though odd.
    """

    command: str
    change: dict[str, object]
    title: str
    names: tuple[str, ...] = ()
    works: bool = False

    @property
    def id(self) -> str:
        return f"{self.command} {' '.join(self.change) or 'bare'} {self.title}"


# ---- what is right


def make_good(folder: Path, run: Path, data: Path) -> None:
    """Short files that every command takes."""
    t = np.arange(7680) / 16000
    write_wav(folder / "speech.wav", 0.3 * np.sin(2 * np.pi * 180 * t))
    np.save(folder / "features.npy", np.zeros((24, 29), np.float32))
    clip(folder / "clip.mp4")
    (folder / "takes.csv").write_text("path,emotion,intensity\nclip.mp4,happy,strong\n")
    (folder / "list.txt").write_text("path,name\nclip.mp4,anna\n")
    mead = folder / "mead" / "M030" / "video" / "front" / "happy" / "level_1"
    mead.mkdir(parents=True)
    shutil.copy(folder / "clip.mp4", mead / "001.mp4")
    row = {"load_config": str(run / "config.yml"), "audio": "speech.wav", "output": "../place/a.mp4", "size": "16"}
    (folder / "jobs.csv").write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    private = ec.generate_private_key(ec.SECP256R1())
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(private.private_bytes(*form))
    os.symlink(data, folder / "data")
    os.symlink(run, folder / "run")


def clip(path: Path, seconds: float = 2.4, sound: bool = True, size: int = 64, form: str | None = None) -> None:
    """A grey video without a face."""
    with av.open(str(path), "w", format=form) as out:
        video = out.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width = video.height = size
        video.pix_fmt = "yuv420p"
        voice = out.add_stream("aac", rate=16000, layout="mono") if sound else None
        for k in range(round(seconds * 25)):
            frame = av.VideoFrame.from_ndarray(np.full((size, size, 3), 90 + k % 9, np.uint8), "rgb24")
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if voice is not None:
            samples = (0.2 * np.sin(np.arange(round(seconds * 16000)) / 9)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(samples[None], "fltp", "mono")
            frame.sample_rate = 16000
            out.mux([*voice.encode(frame), *voice.encode(None)])


RIGHT: dict[str, dict[str, str | None]] = {
    "process": {"": "good/clip.mp4", "--output": "place/out", "--audio-features": "none"},
    "process-mead": {"": "good/mead", "--output": "place/out", "--dry-run": None},
    "process-csv": {"": "good/takes.csv", "--output": "place/out", "--dry-run": None},
    "process-corpus": {"": "good/list.txt", "--output": "place/out", "--sequential": None, "--audio-features": "none"},
    "export-rad": {"": "good/data", "--output": "place/out"},
    "inspect": {"": "good/data", "--output": "place/out"},
    "set-driving": {"--load-config": "good/run/config.yml"},
    "render": {
        "--load-config": "good/run/config.yml",
        "--audio": "good/speech.wav",
        "--output": "place/out.mp4",
        "--size": "16",
    },
    "pack": {"--load-config": "good/run/config.yml", "--output": "place/me.avatar"},
    "view": {"": "good/actor.avatar"},
    "batch": {"": "good/jobs.csv", "--sequential": None, "--state": "place/state.json"},
    "eval": {"--load-config": "good/run/config.yml", "--output": "place/out"},
    "bench": {"--load-config": "good/run/config.yml", "--output": "place/out.json", "--repeats": "2"},
    "demo": {"--output": "place/demo", "--steps": "10", "--size": "32"},
    "doctor": {},
}
"""A command line of each that would work; None: an option without a value."""


# ---- faults of any place


def fifo(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    """A socket's name must be short."""
    here = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(path.name)
    finally:
        os.chdir(here)


INPUT_FAULTS: dict[str, Callable[[Path], None] | bytes | str] = {
    "that is missing": lambda path: None,
    "that is a folder": lambda path: path.mkdir(),
    "that is a FIFO": fifo,
    "that is a socket": listening,
    "that is an endless device": lambda path: path.symlink_to("/dev/zero"),
    "that is an empty device": lambda path: path.symlink_to("/dev/null"),
    "that is a link to itself": lambda path: path.symlink_to(path.name),
    "that is a link to nothing": lambda path: path.symlink_to("gone"),
    "that is empty": b"",
    "of noise": np.random.default_rng(0).bytes(5000),
    "of zeros": bytes(5000),
    "of words": "Dear diary,\nnothing happened.\n",
}
NAME_FAULTS: dict[str, str] = {
    "whose name is empty": "",
    "whose name has a NUL": "a\0b",
    "whose name is too long": "x" * 300,
    "whose path is too long": "d/" * 2500 + "x",
    "whose name is no Unicode": "caf\udce9",
}
OUTPUT_FAULTS: dict[str, object] = {
    "that is the root": "/",
    "that is a FIFO": fifo,
    "that is a socket": listening,
    "that is a device": lambda path: path.symlink_to("/dev/null"),
    "that is a link to itself": lambda path: path.symlink_to(path.name),
    "in what is a file": lambda path: path.parent.joinpath("file").write_text("mine"),
    "where nothing can be made": "/proc/aed/out",
}

READ = [
    *(("process", o, s) for o, s in (("", ".mp4"), ("--audio", ".wav"), ("--features-file", ".npy"))),
    *(("process-mead", "", ""), ("process-csv", "", ".csv"), ("process-corpus", "", ".txt")),
    *(("export-rad", "", ""), ("inspect", "", ""), ("set-driving", "--load-config", ".yml")),
    *(("set-driving", "--audio", ".wav"), ("set-driving", "--background", ".png")),
    *(("render", "--load-config", ".yml"), ("render", "--audio", ".wav"), ("render", "--emotion-track", ".json")),
    *(("render", "--pose", ".npy"), ("render", "--camera-path", ".json"), ("render", "--background", ".png")),
    *(("render", "--audio-features-file", ".npy"), ("render", "--c2pa", ".pem"), ("batch", "", ".csv")),
    *(("eval", "--load-config", ".yml"), ("eval", "--audio", ".wav"), ("eval", "--syncnet", ".model")),
    ("bench", "--load-config", ".yml"),
    *(("pack", "--load-config", ".yml"), ("view", "", ".avatar"), ("render", "--avatar", ".avatar")),
]
"""Command, option and suffix of what is read."""
WRITTEN = [
    *(("process", "--output", ""), ("process-mead", "--output", ""), ("process-csv", "--output", "")),
    *(("process-corpus", "--output", ""), ("export-rad", "--output", ""), ("inspect", "--output", "")),
    *(("render", "--output", ".mp4"), ("batch", "--state", ".json"), ("eval", "--output", "")),
    *(("bench", "--output", ".json"), ("demo", "--output", ""), ("pack", "--output", ".avatar")),
]
"""The same of what is written."""
TOGETHER = {
    ("process", "--features-file"): {"--audio-features": "file"},
    ("render", "--c2pa"): {"--c2pa-key": "good/key.pem"},
    ("render", "--avatar"): {"--load-config": False},
    ("process-mead", "--output"): {"--dry-run": False},
    ("process-csv", "--output"): {"--dry-run": False},
}


def made(how: object, name: str, inside: str = "") -> Callable[[Path], str]:
    """What writes a faulty file and gives its path."""

    def make(folder: Path) -> str:
        path = folder / name
        if isinstance(how, (bytes, str)):
            path.write_bytes(how if isinstance(how, bytes) else how.encode())
        else:
            how(path)
        return str(folder / inside if inside else path)

    return make


def places() -> Iterator[Case]:
    """Every option that names a file, with each fault that a place can have."""
    for command, option, suffix in READ:
        more = TOGETHER.get((command, option), {})
        for title, how in INPUT_FAULTS.items():
            name = f"odd{suffix}"
            yield Case(command, {option: made(how, name), **more}, title, (name, option or name, "gone", "Dear_diary"))
        for title, name in NAME_FAULTS.items():
            yield Case(command, {option: name + (name and suffix), **more}, title, _names(command, option, name))
    for command, option, suffix in WRITTEN:
        more = TOGETHER.get((command, option), {})
        for title, how in OUTPUT_FAULTS.items():
            name = f"odd{suffix}"
            inside = f"file/out{suffix}" if title == "in what is a file" else ""
            value = how + suffix if isinstance(how, str) and how != "/" else how
            if not isinstance(how, str):
                value = made(how, name, inside)
            yield Case(command, {option: value, **more}, title, (name, "file", option, "/proc", " /: ", "in /,"))
        for title, name in NAME_FAULTS.items():
            value = name if name == "" else f"place/{name}{suffix}"
            yield Case(command, {option: value, **more}, title, _names(command, option, name))
    for title in ("that is a FIFO", "that is a folder", "that is an endless device", "that is empty"):
        yield Case("process", {"--consent": made(INPUT_FAULTS[title], "odd.txt")}, title, ("--consent", "odd.txt"))


def _names(command: str, option: str, name: str) -> tuple[str, ...]:
    """An option, or a name as far as it can be printed."""
    shown = name.replace("\0", "\\x00").replace("\udce9", "\\udce9")[:9]
    return tuple(filter(None, (option, shown))) or ("argument",)


# ---- numbers and words

NO_INTEGER = ("ten", "1.5", "nan", "-1", HUGE, DIGITS)
NO_NUMBER = ("ten", "nan", "inf", "-inf", "1e400", HUGE)
NUMBERS = {
    ("process", "--size"): (*NO_INTEGER, "0", "63", "2049"),
    ("process", "--audio-shift"): (*NO_NUMBER, "2.1", "-2.1"),
    ("process-mead", "--size"): (*NO_INTEGER, "2049"),
    ("process-mead", "--levels"): (*NO_INTEGER, "0", "4"),
    ("process-mead", "--seconds"): (*NO_NUMBER, "0", "-1"),
    ("process-csv", "--size"): (*NO_INTEGER, "2049"),
    ("process-csv", "--seconds"): (*NO_NUMBER, "0", "-1"),
    ("process-corpus", "--size"): (*NO_INTEGER, "2049"),
    ("process-corpus", "--workers"): (*NO_INTEGER, "0"),
    ("process-corpus", "--retries"): NO_INTEGER,
    ("set-driving", "--fps"): (*NO_NUMBER, "0", "0.5", "-1"),
    ("render", "--fps"): (*NO_NUMBER, "0", "0.5", "241", "-1"),
    ("render", "--size"): (*NO_INTEGER, "0", "15", "4097"),
    ("batch", "--workers"): (*NO_INTEGER, "0"),
    ("batch", "--retries"): NO_INTEGER,
    ("eval", "--frames"): (*NO_INTEGER, "0", "2"),
    ("eval", "--seed"): NO_INTEGER,
    ("bench", "--repeats"): (*NO_INTEGER, "1"),
    ("bench", "--size"): (*NO_INTEGER, "0", "15", "4097"),
    ("bench", "--rays"): (*NO_INTEGER, "63"),
    ("demo", "--size"): (*NO_INTEGER, "31", "5000"),
    ("demo", "--steps"): (*NO_INTEGER, "9"),
    ("demo", "--seed"): (*NO_INTEGER, str(2**32)),
}
WORDS = {
    ("process", "--emotion"): ("two words", "../up", "a/b", "x" * 300, "\udce9", "a\0b"),
    ("process", "--intensity"): ("huge", "0.5", "Strong"),
    ("process", "--audio-features"): ("bogus", "file", "file/deepspeech", "none2"),
    ("process", "--parser"): ("bogus", "bisenet", "../bisenet"),
    ("process", "--consent"): (" ", "x" * 10_001),
    ("process-mead", "--actor"): ("M031", "..", "../..", "x" * 300, "a\0b"),
    ("process-mead", "--view"): ("left", "..", "../..", "x" * 300, "a\0b"),
    ("process-mead", "--emotions"): ("bored", "x" * 300),
    ("export-rad", "--clips"): ("bogus", "../data", "x" * 300),
    ("set-driving", "--name"): ("../up", "a/b", "config", ".hidden", "x" * 300, "a\nb", "a b"),
    ("set-driving", "--emotion"): ("bored", "sad", "happy:", "happy:nan", "happy:1e400", "happy:-1", "+", ":1"),
    ("set-driving", "--intensity"): ("nan", "-0.1", "1.1", "huge", "weak"),
    ("set-driving", "--background"): ("transparent", "no-colour", "rgb(1,2", "#12345"),
    ("set-driving", "--clock"): ("noon",),
    ("render", "--emotion"): ("bored", "sad", "happy:", "happy:nan", "happy:inf", "happy:-1", "happy+happy", ":1", "+"),
    ("render", "--intensity"): ("nan", "inf", "-0.1", "1.1", "huge", "weak"),
    ("render", "--grid"): ("happy", "happy,happy", ",", "happy,bored", "happy,,neutral"),
    ("render", "--frames"): ("1", "a:b", "-3:4", "9:2", "99:", ":0", "1:2:3", f"0:{DIGITS}", "nan:"),
    ("render", "--format"): ("avi", "png8", "webm"),
    ("render", "--background"): ("no-colour", "rgb(1,2", "#12345", "transparent", "hsl(nan,1%,1%)"),
    ("render", "--output"): ("place/out.avi", "place/out.mp4.exe", "place/out.gif"),
    ("batch", "--address"): ("no address", "ray://127.0.0.1:1", "127.0.0.1:1"),
    ("bench", "--backend"): ("bogus", "tcnn", "triton", "x" * 300),
    ("eval", "--emotion"): ("bored", "sad", "happy:nan"),
    ("eval", "--intensity"): ("nan", "1.1", "huge"),
}
PAIRS = [
    Case("render", {"--emotion": "happy", "--grid": "happy,neutral"}, "twice"),
    Case("render", {"--emotion": "happy", "--emotion-track": "good/speech.wav"}, "twice"),
    Case("render", {"--camera-path": "good/speech.wav", "--pose": "still"}, "with a head that stands still"),
    Case("render", {"--c2pa-key": "good/speech.wav"}, "without a certificate", ("speech.wav",)),
    Case("render", {"--c2pa": "good/speech.wav"}, "without a key", ("speech.wav",)),
    Case("render", {"--audio-features-file": "good/features.npy"}, "that are not wanted", ("features.npy",)),
    Case("render", {"--output": "good/speech.wav"}, "on top of the sound", ("speech.wav",)),
    Case("render", {"--output": "good/run/config.yml"}, "on top of the run", ("config.yml",)),
    Case("render", {"--output": "good/data/images"}, "on top of the pictures", ("images",)),
    Case("eval", {"--audio-features-file": "good/features.npy"}, "without sound", ("features.npy",)),
    Case("process", {"--output": "good"}, "that holds the video", ("good",)),
    Case("process-csv", {"--output": "good"}, "that holds the table", ("good",)),
    Case("bogus", {}, "command", ("bogus",)),
    Case("", {}, "no command", ("process",)),
    Case("Render", {}, "command in capitals", ("Render",)),
    Case("doctor", {"--bogus": "1"}, "option", ("--bogus",)),
    Case("render", {"--sise": "3"}, "option that is misspelt", ("--sise",)),
    Case("render", {"--audio": None}, "without its value", ("--audio",)),
]


def values() -> Iterator[Case]:
    """Every number and word with what it cannot be."""
    for (command, option), wrong in {**NUMBERS, **WORDS}.items():
        for value in wrong:
            shown = value if len(value) < 20 else f"{value[:6]}... of {len(value)}"
            more = {}
            if option == "--intensity" and command in ("render", "set-driving", "eval"):
                more = {"--emotion": "happy"}
            if command == "eval":
                more["--audio"] = "good/speech.wav"
            if option == "--address":
                more["--sequential"] = False
            names = (option, value, value[:20], ascii(value)[1:-1], "front end 'file'")
            names += (value.rpartition(",")[2],) if option == "--grid" and value[-1] != "," else ()
            names = names if option != "--output" else (value,)
            yield Case(command, {option: value, **more}, f"as {shown}", names)
    yield from PAIRS


# ---- contents


def npy(header: dict | str, body: bytes = b"") -> bytes:
    """A .npy file that says of itself what it likes."""
    text = str(header).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def saved(array: object, **options: object) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def wav(rate: int = 16000, channels: int = 1, bits: int = 16, samples: int = 7680, claimed: int | None = None) -> bytes:
    """PCM with a header of its own."""
    body = bytes(samples * max(channels, 1) * 2)
    claim = len(body) if claimed is None else claimed
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", 1, channels, rate & 0xFFFFFFFF, rate * block & 0xFFFFFFFF, block, bits)
    data = b"data" + struct.pack("<I", claim & 0xFFFFFFFF) + body
    return b"RIFF" + struct.pack("<I", claim + 36 & 0xFFFFFFFF) + b"WAVEfmt " + struct.pack("<I", 16) + form + data


def loud(value: float) -> Callable[[Path], None]:
    samples = np.full(7680, 0.1, np.float32)
    samples[4000:4010] = value
    return lambda path: float_wav(path, samples)


@cache
def bomb() -> bytes:
    """A picture of a billion pixels in 130 kB."""
    file = io.BytesIO()
    Image.new("1", (32704, 32704)).save(file, "png")
    return file.getvalue()


def picture(form: str, keep: int | None = None, size: tuple[int, int] = (64, 64)) -> bytes:
    """A picture, or its first bytes."""
    file = io.BytesIO()
    Image.effect_noise(size, 90).convert("RGB").save(file, form)
    return file.getvalue()[:keep]


def cut(share: float, **form: object) -> Callable[[Path], None]:
    """The first part of a video."""

    def make(path: Path) -> None:
        clip(path, **form)
        os.truncate(path, round(path.stat().st_size * share))

    return make


def shifted(path: Path, seconds: float) -> None:
    """A transport stream whose clock jumps by so much in its middle."""
    clip(path, 1.2, form="mpegts")
    first = path.read_bytes()
    with av.open(str(path), "w", format="mpegts") as out, av.open(io.BytesIO(first)) as source:
        streams = {s.index: out.add_stream_from_template(s) for s in source.streams}
        packets = [p for p in source.demux() if p.dts is not None]
        for again in range(2):
            for packet in packets:
                late = round(again * seconds / packet.time_base)
                packet.pts, packet.dts = packet.pts + late, packet.dts + late
                packet.stream = streams[packet.stream.index] if not again else packet.stream
                out.mux(packet)


def joined(path: Path) -> None:
    """Two transport streams one after the other, whose clocks both begin at the same time."""
    clip(path, 1.2, form="mpegts")
    path.write_bytes(2 * path.read_bytes())


def key(**change: object) -> str:
    return json.dumps([{"time": 0, "emotion": "happy", "intensity": "strong"} | change])


def camera(matrix: object = None, **change: object) -> str:
    """A camera path of the viewer's."""
    eye = [1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 4, 0, 0, 0, 1] if matrix is None else matrix
    view = {"camera_to_world": eye, "fov": 20.0, "aspect": 1}
    view |= {name: change.pop(name) for name in ("fov",) if name in change}
    path = {"camera_type": "perspective", "render_height": 64, "render_width": 64, "fps": 24, "seconds": 1,
            "is_cycle": False, "camera_path": [view, view]}  # fmt: skip
    return json.dumps(path | change)


PLAYLIST = "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n"
SOUNDS: dict[str, object] = {
    "not numbers.wav": loud(np.nan),
    "infinite.wav": loud(np.inf),
    "too loud.wav": loud(1e30),
    "of one hertz.wav": wav(rate=1, samples=40_000),
    "of no channel.wav": wav(channels=0),
    "of no sample.wav": wav(samples=0),
    "of no rate.wav": wav(rate=0),
    "header only.wav": wav()[:44],
    "cut header.wav": wav()[:30],
    "shorter than a frame.wav": wav(samples=100),
    "playlist.wav": PLAYLIST,
    "playlist.m3u8": PLAYLIST,
    "list.ffconcat": "ffconcat version 1.0\nfile /etc/passwd\n",
    "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
    "no sound.mp4": lambda path: clip(path, 0.4, sound=False),
    "cut.mp4": cut(0.5),
    "picture.png": picture("PNG"),
}
VIDEOS: dict[str, object] = {
    "too short.mp4": lambda path: clip(path, 0.4),
    "cut.mp4": cut(0.6),
    "cut.mkv": cut(0.3),
    "gap.mkv": lambda path: with_gap(path, 36_000.0, "pictures"),
    "jump of hours.ts": lambda path: shifted(path, 7200.0),
    "clock that begins anew.ts": joined,
    "playlist.mp4": PLAYLIST,
    "list.ffconcat": "ffconcat version 1.0\nfile /etc/passwd\n",
    "picture.png": picture("PNG"),
    "picture.mp4": picture("JPEG"),
    "sound.wav": wav(),
    "no face.mp4": lambda path: clip(path),
    "page.html": "<html></html>",
}
TRACKS: dict[str, object] = {
    "deep.json": DEEP,
    "deep objects.json": '[{"time":' * 50_000,
    "big time.json": key(time=10**400),
    "big weight.json": key(emotion={"happy": 10**400}),
    "digits.json": f'[{{"time": {DIGITS}, "emotion": "happy"}}]',
    "NaN.json": '[{"time": NaN, "emotion": "happy"}]',
    "NaN weight.json": '[{"time": 0, "emotion": {"happy": NaN}}]',
    "negative.json": key(time=-1),
    "true.json": key(time=True),
    "word.json": key(time="soon"),
    "unknown.json": key(emotion="bored"),
    "list.json": key(emotion=["happy"]),
    "number.json": key(emotion=3),
    "nothing shown.json": key(emotion={}),
    "intensity.json": key(intensity=[1]),
    "infinite.json": key(intensity=float("inf")),
    "misspelt.json": key(emotoin="happy"),
    "no list.json": '{"time": 0}',
    "empty list.json": "[]",
    "null.json": "[null]",
    "surrogate.json": '[{"time": 0, "emotion": "\\ud800"}]',
    "NUL.json": '[{"time": 0, "emotion": "\\u0000"}]',
    "trailing.json": key() + "[",
    "not UTF-8.json": b'[{"time": 0, "emotion": "\xff"}]',
    "UTF-16.json": key().encode("utf-16"),
    "field.csv": "time,emotion\n0," + "a" * 200_000,
    "quotes.csv": 'time,emotion\n0,"happy\n1,happy\n',
    "NUL.csv": "time,emotion\n0,ha\0ppy\n",
    "header only.csv": "time,emotion\n",
    "no header.csv": "0,happy\n",
    "digits.csv": f"time,emotion\n{DIGITS},happy\n",
    "unsorted.csv": "time,emotion,intensity\n1,happy,strong\n0,happy,strong\n",
    "columns.csv": "time,emotion\n" + "," * 100_000,
    "track.txt": key(),
}
POSES: dict[str, object] = {
    "9 TB.npy": npy({"descr": "<f4", "fortran_order": False, "shape": (10**11, 4, 4)}),
    "10^30.npy": npy({"descr": "<f4", "fortran_order": False, "shape": (10**30, 4, 4)}),
    "negative.npy": npy({"descr": "<f4", "fortran_order": False, "shape": (-1, 4, 4)}),
    "deep header.npy": npy("(" * 5000),
    "code.npy": npy("__import__('os').system('true')"),
    "objects.npy": saved(np.array([{}], object), allow_pickle=True),
    "words.npy": saved(np.array(["a"])),
    "complex.npy": saved(np.zeros((2, 4, 4), complex)),
    "cut.npy": saved(np.zeros((9, 4, 4)))[:300],
    "wrong shape.npy": saved(np.zeros((2, 5))),
    "none.npy": saved(np.zeros((0, 4, 4))),
    "zeros.npy": saved(np.zeros((2, 4, 4))),
    "NaN.npy": saved(np.full((2, 4, 4), np.nan)),
    "far.npy": saved(np.full((2, 4, 4), 1e38)),
    "deep.json": DEEP,
    "no frames.json": '{"frames": []}',
    "digits.json": f'{{"frames": [{DIGITS}]}}',
    "frames.json": '{"frames": {"a": 1}}',
    "words.json": '{"frames": [{"transform_matrix": "eye"}]}',
    "NaN.json": '{"frames": [{"transform_matrix": [[NaN]]}]}',
    "poses.txt": "1 0 0 0\n",
}
CAMERAS: dict[str, object] = {
    "deep.json": DEEP,
    "NaN.json": camera([float("nan")] * 16),
    "far.json": camera([1e38] * 16),
    "zeros.json": camera([0] * 16),
    "short.json": camera([1.0] * 12),
    "words.json": camera("eye"),
    "digits.json": camera().replace("20.0", DIGITS),
    "fov.json": camera(fov=0),
    "wide.json": camera(fov=10**400),
    "no rate.json": camera(fps=0),
    "huge rate.json": camera(fps=10**400),
    "huge.json": camera(render_width=10**9),
    "negative.json": camera(render_height=-5),
    "panorama.json": camera(camera_type="equirectangular"),
    "empty.json": camera(camera_path=[]),
    "object.json": camera(camera_path={"a": 1}),
    "half.json": camera()[:200],
    "list.json": "[]",
}
FEATURES: dict[str, object] = {
    "9 TB.npy": npy({"descr": "<f4", "fortran_order": False, "shape": (24, 10**11)}),
    "objects.npy": saved(np.array([{}], object), allow_pickle=True),
    "whole numbers.npy": saved(np.zeros((24, 29), int)),
    "NaN.npy": saved(np.full((24, 29), np.nan, np.float32)),
    "too long.npy": saved(np.zeros((500, 29), np.float32)),
    "four axes.npy": saved(np.zeros((2, 2, 2, 2), np.float32)),
    "scalar.npy": saved(np.float32(3)),
    "cut.npy": saved(np.zeros((24, 29), np.float32))[:200],
}
PICTURES: dict[str, object] = {
    "bomb.png": lambda path: path.write_bytes(bomb()),
    "cut.jpg": picture("JPEG", 700),
    "cut.png": picture("PNG", 700),
    "header.jpg": b"\xff\xd8\xff\xe0" + bytes(99),
    "drawing.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
    "claims.bmp": b"BM" + struct.pack("<IHHI IiiHHIIiiII", 100, 0, 0, 54, 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0),
    "playlist.png": PLAYLIST,
    "sound.wav": wav(),
}
CONFIGS: dict[str, object] = {
    "code.yml": "!!python/object/apply:os.system ['true']\n",
    "deep.yml": "[" * 20_000,
    "laughs.yml": "a: &a [1,1]\n"
    + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{f'*{chr(97 + n)},' * 9}]\n" for n in range(9)),
    "digits.yml": f"max_num_iterations: {DIGITS}\n",
    "large.yml": "a: " + "x" * 300_000,
    "tab.yml": "a:\n\t- b\n",
    "list.yml": "- 1\n",
    "latin.yml": b"a: \xff\n",
}
KEYS: dict[str, object] = {
    "words.pem": "hello",
    "half.pem": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    "large.pem": b"-----BEGIN CERTIFICATE-----\n" + b"A" * 3_000_000,
}


def zipped(path: Path) -> None:
    """What torch would call a checkpoint."""
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("archive/data.pkl", b"cos\nsystem\n(S'true'\ntR.")
        out.writestr("archive/version", b"3")


SYNCNETS: dict[str, object] = {
    "pickle.model": b"cos\nsystem\n(S'true'\ntR.",
    "zip.model": zipped,
    "cut.model": b"PK\x03\x04" + bytes(99),
}


def jobs(**cells: object) -> Callable[[Path], None]:
    """A table of one row as JSON lines, with changed cells."""

    def make(path: Path) -> None:
        good = path.parent.parent / GOOD
        row = {"load_config": str(good / "run/config.yml"), "audio": str(good / "speech.wav"),
               "output": str(path.parent.parent / "place/b.mp4"), "size": 16}  # fmt: skip
        path.write_text(json.dumps(row | cells))

    return make


def raw(text: str) -> Callable[[Path], None]:
    """A table as a text in which RUN, SOUND and OUT stand for right ones."""

    def make(path: Path) -> None:
        good = path.parent.parent / GOOD
        place = path.parent.parent / "place"
        words = {"RUN": good / "run/config.yml", "SOUND": good / "speech.wav", "OUT": place / "b.mp4"}
        found = text
        for word, file in words.items():
            found = found.replace(word, str(file))
        path.write_text(found)

    return make


HEADER = "load_config,audio,output"
TABLES: dict[str, object] = {
    "deep.jsonl": DEEP,
    "digits.jsonl": f'{{"size": {DIGITS}}}',
    "half.jsonl": '{"load_config": ',
    "list.jsonl": "[1, 2]",
    "surrogate.jsonl": jobs(audio="\ud800.wav"),
    "NUL.jsonl": jobs(audio="a\0b.wav"),
    "big size.jsonl": jobs(size=10**30),
    "digits size.jsonl": jobs(size=DIGITS),
    "true size.jsonl": jobs(size=True),
    "list size.jsonl": jobs(size=[16, 16]),
    "object size.jsonl": jobs(size={"a": 1}),
    "NaN rate.jsonl": jobs(fps="nan"),
    "infinite rate.jsonl": jobs(fps=float("inf")),
    "list audio.jsonl": jobs(audio=["a.wav", "b.wav"]),
    "number audio.jsonl": jobs(audio=3),
    "root.jsonl": jobs(output="/"),
    "no output.jsonl": jobs(output=None),
    "long output.jsonl": jobs(output="x" * 300 + ".mp4"),
    "deep value.jsonl": jobs(label=[[[["a"]]]]),
    "option.jsonl": jobs(bogus=1),
    "format.jsonl": jobs(format="avi"),
    "quotes.csv": raw(f'{HEADER}\nRUN,SOUND,"OUT\n'),
    "field.csv": raw(f"{HEADER}\nRUN,SOUND,{'a' * 200_000}\n"),
    "NUL.csv": raw(f"{HEADER}\nRUN,SO\0UND,OUT\n"),
    "header only.csv": f"{HEADER}\n",
    "cells.csv": raw(f"{HEADER}\nRUN,SOUND\n"),
    "twice.csv": raw(f"{HEADER}\nRUN,SOUND,OUT\nRUN,SOUND,OUT\n"),
    "column twice.csv": raw(f"{HEADER},audio\nRUN,SOUND,OUT,SOUND\n"),
    "column.csv": raw(f"{HEADER},bogus\nRUN,SOUND,OUT,1\n"),
    "over sound.csv": raw(f"{HEADER}\nRUN,SOUND,SOUND\n"),
    "UTF-16.csv": HEADER.encode("utf-16"),
    "columns.csv": "," * 200_000,
}
TAKES: dict[str, object] = {
    "label.csv": "path,emotion,intensity\n../good/clip.mp4,two words,strong\n",
    "intensity.csv": "path,emotion,intensity\n../good/clip.mp4,happy,huge\n",
    "lost.csv": "path,emotion,intensity\nlost.mp4,happy,strong\n",
    "folder.csv": "path,emotion,intensity\n../good,happy,strong\n",
    "twice.csv": "path,emotion,intensity\n" + "../good/clip.mp4,happy,strong\n" * 2,
    "NUL.csv": "path,emotion,intensity\na\0b,happy,strong\n",
    "long.csv": f"path,emotion,intensity\n{'x' * 300},happy,strong\n",
    "quotes.csv": 'path,emotion,intensity\n"a.mp4,happy,strong\n',
    "field.csv": f"path,emotion,intensity\n{'x' * 200_000},happy,strong\n",
    "no column.csv": "path,emotion\na.mp4,happy\n",
    "header only.csv": "path,emotion,intensity\n",
}
LISTS: dict[str, object] = {
    "name.txt": "path,name\n../good/clip.mp4,../up\n",
    "dots.txt": "path,name\n../good/clip.mp4,..\n",
    "long name.txt": f"path,name\n../good/clip.mp4,{'x' * 300}\n",
    "lost.txt": "lost.mp4\n",
    "NUL.txt": "path\na\0b.mp4\n",
    "long.txt": f"path\n{'x' * 300}.mp4\n",
    "field.txt": "x" * 200_000,
    "label.txt": "path,name,emotion\n../good/clip.mp4,a,two words\n",
}


def changed(file: str, how: object) -> Callable[[Path], str]:
    """A copy of the dataset in which one file is another."""

    def make(folder: Path) -> str:
        root = folder / "odd"
        shutil.copytree(folder.parent / GOOD / "data", root)
        path = next(root.glob(file))
        before = path.read_bytes()
        path.unlink()
        if how is fifo:
            fifo(path)
            return str(root)
        content = how(before) if callable(how) else how
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(root)

    return make


def edited(**change: object) -> Callable[[bytes], str]:
    return lambda before: json.dumps(json.loads(before) | change)


def landmarks(before: bytes) -> bytes:
    return saved(np.full_like(np.load(io.BytesIO(before)), 1e38))


DATASETS: dict[str, tuple[str, object]] = {
    "deep description": ("dataset.json", DEEP),
    "description of digits": ("dataset.json", f'{{"version": {DIGITS}}}'),
    "description that is a list": ("dataset.json", "[]"),
    "description of another format": ("dataset.json", edited(format="nerf")),
    "huge version": ("dataset.json", edited(version=10**400)),
    "rate of nothing": ("dataset.json", edited(fps=0)),
    "clips that are none": ("dataset.json", edited(clips=[])),
    "clip outside": ("dataset.json", edited(clips=[{"name": "../up", "first": 0, "count": 9}])),
    "huge features": ("dataset.json", lambda before: before.replace(b'"feature_dim": ', b'"feature_dim": 99999999')),
    "description that is a FIFO": ("dataset.json", fifo),
    "cut transforms": ("transforms.json", lambda before: before[:999]),
    "transforms of NaN": ("transforms.json", lambda before: before.replace(b'"fl_x": ', b'"fl_x": NaN, "x": ', 1)),
    "huge picture size": ("transforms.json", edited(w=10**9, h=10**9)),
    "frames that are none": ("transforms.json", edited(frames=[])),
    "background that is a bomb": ("background.png", lambda before: bomb()),
    "background that is cut": ("background.png", lambda before: before[:200]),
    "background that is a FIFO": ("background.png", fifo),
    "picture that is cut": ("images/*/00001.jpg", lambda before: before[:700]),
    "picture that is a FIFO": ("images/*/00001.jpg", fifo),
    "parsing that is another picture": ("parsing/*/00001.png", picture("PNG", size=(9, 9))),
    "landmarks that are far": ("landmarks/*.npy", landmarks),
    "landmarks of 9 TB": ("landmarks/*.npy", POSES["9 TB.npy"]),
    "features that are a FIFO": ("audio_features/*.npy", fifo),
    "features of 9 TB": ("audio_features/*.npy", POSES["9 TB.npy"]),
    "features that are objects": ("audio_features/*.npy", POSES["objects.npy"]),
    "sound of one hertz": ("audio/*.wav", SOUNDS["of one hertz.wav"]),
    "sound that is a FIFO": ("audio/*.wav", fifo),
    "sound that is a playlist": ("audio/*.wav", PLAYLIST),
}
CONTENTS = {
    ("render", "--audio"): SOUNDS,
    ("render", "--emotion-track"): TRACKS,
    ("render", "--pose"): POSES,
    ("render", "--camera-path"): CAMERAS,
    ("render", "--audio-features-file"): FEATURES,
    ("render", "--background"): PICTURES,
    ("render", "--load-config"): CONFIGS,
    ("render", "--c2pa"): KEYS,
    ("set-driving", "--load-config"): CONFIGS,
    ("eval", "--syncnet"): SYNCNETS,
    ("batch", ""): TABLES,
    ("process", ""): VIDEOS,
    ("process-csv", ""): TAKES,
    ("process-corpus", ""): LISTS,
}


def contents() -> Iterator[Case]:
    """Files that are what they should be by their names, and not by what is in them."""
    for (command, option), files in CONTENTS.items():
        more = TOGETHER.get((command, option), {})
        for name, how in files.items():
            change = {option: made(how, name), **more}
            names = (name.partition(" ")[0].partition(".")[0], "given/3", "speech.wav", "xxxxxx")
            yield Case(command, change, name, names)
    for title, (file, how) in DATASETS.items():
        name = file.partition("/")[0]
        for command in ("inspect", "export-rad"):
            yield Case(command, {"": changed(file, how)}, title, (name,))


# ---- legal, though odd


def odd_name(name: str, source: str = "speech.wav") -> Callable[[Path], str]:
    """A right file of another name."""

    def make(folder: Path) -> str:
        shutil.copy(folder.parent / GOOD / source, folder / name)
        return str(folder / name)

    return make


def legal() -> Iterator[Case]:
    def renders(title: str, **change: object) -> Case:
        given = {f"--{name.replace('_', '-')}": value for name, value in change.items()}
        return Case("render", {"--frames": "0:2", **given}, title, works=True)

    yield renders("sound of 3 bits", audio=made(wav(bits=3), "a.wav"))
    yield renders("sound with a gap of days", audio=made(lambda path: with_gap(path, 200_000.0, "sound"), "a.mka"))
    yield renders("sound of a name with a colon", audio=odd_name("http:me.wav"))
    yield renders("sound of a name with blanks and signs", audio=odd_name("é 日本 %03d $x ;&.wav"))
    yield renders("camera path of whole numbers", camera_path=made(camera([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 4, 0, 0, 0,
                                                                           1]), "camera.json"))  # fmt: skip
    yield renders("track of 30 000 keyframes", emotion_track=made(json.dumps(
        [{"time": n / 9, "emotion": "happy", "intensity": 1} for n in range(30_000)]), "track.json"))  # fmt: skip
    yield renders("track with a byte order mark", emotion_track=made(
        "time,emotion,intensity\n0,happy,strong\n".encode("utf-8-sig"), "track.csv"))  # fmt: skip
    yield renders("label of quotes and signs", label='it\'s "mine" 日本 100%')
    yield Case("batch", {"": made(raw(f"{HEADER},size,frames,label\nRUN,SOUND,OUT,16,0:2,it's\n"), "it's 100%.csv")},
               "table with apostrophes", works=True)  # fmt: skip
    yield Case("process-mead", {"--dry-run": True, "--emotions": "happy"}, "only looked at", works=True)
    table = "path,emotion,intensity\n../good/clip.mp4,happy,strong\n"
    yield Case("process-csv", {"": made(table, "file:a,b.csv"), "--dry-run": True}, "odd name", works=True)
    yield Case("set-driving", {"--name": "köln-2", "--emotion": "happy"}, "name of letters", works=True)


CASES = [*places(), *values(), *contents(), *legal()]
