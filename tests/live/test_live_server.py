"""The server: page, API and WebSockets, with the packaged actor; who may use it, and what bad input does."""

import asyncio
import dataclasses
import importlib.util
import io
import json
import re
import runpy
import socket
import threading
import time
import wave
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from aed_nerfstudio.audio.live_hearing import FRAME
from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.live.access import Access
from aed_nerfstudio.live.painter import SIZES, Painter, fast_size
from aed_nerfstudio.live.protocol import from_pcm16, pcm16
from aed_nerfstudio.live.server import PAGE, Server
from aed_nerfstudio.live.speech import LiveSpeech
from aed_nerfstudio.live.studio import MOST_TEXTS, Studio
from aed_nerfstudio.live.text_to_speech import CommandSpeech
from aed_nerfstudio.media.provenance import SYNTHETIC_NOTE
from tests.live.live_client import Client, ask

SIZE = 32
"""Pixels: what is tested here does not hang on how much there is to see."""


@contextmanager
def serving(studio: Studio, access: Access):
    """The port of a server that runs in a thread."""
    server, ready = Server(studio, access, 0), threading.Event()
    thread = threading.Thread(target=server.run, args=(ready.set,))
    thread.start()
    assert ready.wait(60)
    try:
        yield server.port
    finally:
        server.end()
        thread.join(10)
        assert not thread.is_alive()


def wav(samples: np.ndarray, rate: int = 16_000, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(pcm16(np.repeat(samples, channels)))
    return file.getvalue()


@pytest.fixture(scope="module")
def actor():
    return Avatar.load(Path("actor"), "cpu")


@pytest.fixture(scope="module")
def studio(actor, tmp_path_factory):
    """With a program that says a beep of 0.2 s for each sentence."""
    beep = tmp_path_factory.mktemp("voice") / "beep.wav"
    beep.write_bytes(wav(np.full(4410, 0.4, np.float32), 22_050))
    return Studio(actor, SIZE, 0.28, voice=CommandSpeech(f"cat {beep}"))


@pytest.fixture(scope="module")
def port(studio):
    with serving(studio, Access("127.0.0.1")) as port:
        yield port


@pytest.fixture
def page(port):
    with Client(port) as client:
        client.event("hello")
        yield client


def speech(seconds: float) -> np.ndarray:
    return np.sin(np.arange(round(seconds * 16_000)) / 8).astype(np.float32) * 0.3


def silent(port: int) -> None:
    """Ends what other tests have begun to say."""
    assert ask(port, "/stop", {})[0] == 200


class TestPage:
    def test_it_loads_nothing_from_elsewhere(self, port):
        for path in PAGE.iterdir():
            status, body = ask(port, f"/{path.name}")
            assert status == 200 and body == path.read_bytes()
            assert not re.search(rb"(https?:)?//[a-z]+\.[a-z]", re.sub(rb"\s// .*", b"", body)), path.name
        assert ask(port, "/")[1] == (PAGE / "index.html").read_bytes()
        for path in ("/../server.py", "/%2e%2e/server.py", "/nothing", "/server.py"):
            status, body = ask(port, path)
            assert status in (400, 403, 404) and "error" in json.loads(body)

    def test_every_request_is_described(self, port):
        paths = json.loads(ask(port, "/openapi.json")[1])["paths"]
        assert set(paths) == {"/say", "/stop", "/emotion", "/recording", "/status", "/speech"}

    def test_idle_it_moves_silently(self, port, page, actor):
        page.wait(lambda: len(page.pictures) >= 6)
        shown = [cv2.imdecode(np.frombuffer(p.body, np.uint8), cv2.IMREAD_COLOR) for p in page.pictures]
        height, width = actor.frame_size(SIZE)
        assert shown[0].shape == (height, width, 3)
        assert not page.sounds and np.ptp(np.stack(shown)[:, 4:20].astype(int), axis=0).max() > 3
        stamps = [p.stamp for p in page.pictures]
        assert all(s % FRAME == 0 for s in stamps) and (np.diff(stamps) > 0).all()

    def test_hello_says_what_there_is(self, page):
        hello = page.event("hello")
        assert set(hello["emotions"]) == {"neutral", "angry", "fearful", "happy", "sad"}
        assert hello["sizes"] == list(SIZES) and hello["size"] == SIZE and hello["text"]


class TestSpeech:
    def test_a_wav_is_heard_whole_and_seen(self, port, page):
        silent(port)
        sound, before = speech(1.6), len(page.told)
        status, body = ask(port, "/say?emotion=happy&intensity=strong", wav(sound), "audio/wav")
        assert status == 200 and json.loads(body)["utterance"] > 0
        page.wait(lambda: len(page.sounds) >= 40)
        pieces = page.sounds[:40]
        assert (np.diff([p.stamp for p in pieces]) == FRAME).all()
        np.testing.assert_allclose(np.concatenate([from_pcm16(p.body) for p in pieces]), sound, atol=2e-4)
        end = pieces[-1].stamp
        page.wait(lambda: page.pictures and page.pictures[-1].stamp > end)
        assert any(pieces[0].stamp <= p.stamp <= end for p in page.pictures)
        assert not [m for _, m in page.told[before:] if m["type"] == "error"]

    @pytest.mark.parametrize("rate", [8000, 24_000, 44_100, 48_000])
    def test_pcm_of_any_rate_lasts_as_long(self, port, page, rate):
        silent(port)
        before = len(page.sounds)
        tone = np.sin(np.arange(rate // 2) * 2 * np.pi * 300 / rate).astype(np.float32) * 0.5
        assert ask(port, "/say", pcm16(tone), f"audio/L16;rate={rate}")[0] == 200
        page.wait(lambda: not json.loads(ask(port, "/status")[1])["speaking"])
        heard = np.concatenate([from_pcm16(p.body) for p in page.sounds[before:]])
        assert abs(np.flatnonzero(np.abs(heard) > 0.05)[-1] - 8000) < 200
        power = np.abs(np.fft.rfft(heard[:8000]))
        assert abs(np.argmax(power) * 2 - 300) <= 4

    def test_text_with_tags_is_spoken_and_told(self, port, page):
        silent(port)
        before = len(page.told)
        page.send(type="say", text="[happy] Hello you. [sad:0.4] Oh no!\n...", interrupt=True)
        page.event("finished", before)
        events = [(m["type"], m.get("mark", {}).get("text")) for _, m in page.told[before:]
                  if m["type"] in ("started", "chunk", "finished", "error")]  # fmt: skip
        assert events == [("started", None), ("chunk", "Hello you."), ("chunk", "Oh no!"), ("finished", None)]

    def test_the_microphone_comes_back(self, port, page):
        silent(port)
        before = len(page.sounds)
        page.send(type="mic", on=True, rate=48_000)
        piece = pcm16(np.full(960, 0.3, np.float32))
        for _ in range(30):
            page.socket.send(piece)
            time.sleep(0.02)
        page.send(type="mic", on=False)
        page.wait(lambda: len(page.sounds) - before >= 4)
        assert np.abs(from_pcm16(page.sounds[before + 3].body)).max() > 0.2

    def test_an_agent_streams_and_is_told(self, port, page):
        silent(port)
        with Client(port, "/speech") as agent:
            agent.event("ready")
            agent.send(type="begin", rate=16_000, emotion="angry", intensity=1.0)
            for _ in range(5):
                agent.socket.send(pcm16(speech(0.1)))
            agent.send(type="end")
            agent.event("finished")
            kinds = [m["type"] for _, m in agent.told]
            assert kinds == ["ready", "started", *["chunk"] * 5, "finished"]
            assert [m["mark"] for _, m in agent.told if m["type"] == "chunk"] == [0, 1, 2, 3, 4]
            agent.send(type="begin")
            agent.socket.send(pcm16(speech(2)))
            agent.wait(lambda: [m["type"] for _, m in agent.told].count("started") == 2)
            assert ask(port, "/stop", {})[0] == 200
            agent.event("interrupted")

    def test_after_a_stop_nothing_older_is_to_be_played(self, port, page):
        silent(port)
        assert ask(port, "/say", pcm16(speech(20)), "audio/L16")[0] == 200
        page.wait(lambda: len(page.sounds) > 10)
        before, asked = len(page.told), time.monotonic()
        ask(port, "/stop", {})
        cut = page.event("epoch", before)
        came = next(t for t, m in page.told[before:] if m["type"] == "epoch")
        page.wait(lambda: page.pictures and page.pictures[-1].epoch == cut["epoch"])
        assert not [s for s in page.sounds if s.epoch == cut["epoch"]]
        assert came - asked < 5  # a busy machine


class TestBadInput:
    @pytest.mark.parametrize(
        ("path", "body", "kind", "status", "says"),
        [
            ("/say", b"", "application/json", 400, "send"),
            ("/say", b"{", "application/json", 400, "no JSON"),
            ("/say", b"[1]", "application/json", 400, "no JSON object"),
            ("/say", b"\xff\xfe", "application/json", 400, "no JSON"),
            ("/say", {"text": 5}, "", 400, "send"),
            ("/say", {"text": " ... [happy] "}, "", 400, "no words"),
            ("/say", {"text": "x" * 5000}, "", 400, "at most 4000"),
            ("/say", {"text": "[delighted] Hello"}, "", 400, "unknown emotion"),
            ("/say", {"text": "[happy:7] Hello"}, "", 400, "intensity"),
            ("/say", {"text": "Hello", "emotion": "bored"}, "", 400, "unknown emotion"),
            ("/say", {"text": "Hello", "emotion": ["happy"]}, "", 400, "must be a text"),
            ("/say", {"text": "Hello", "intensity": 1e999}, "", 400, "intensity"),
            ("/say", b"RIFFnonsense", "audio/wav", 400, "no WAV"),
            ("/say", b"x", "audio/L16", 400, "16-bit"),
            ("/say", b"", "audio/L16", 400, "empty"),
            ("/say", b"xx", "audio/L16;rate=7", 400, "rate"),
            ("/say", b"\0" * 2 * 16_000 * 121, "audio/L16", 400, "more than 120 s"),
            ("/emotion", {}, "", 400, "send"),
            ("/emotion", {"emotion": "happy:-1"}, "", 400, "no emotion"),
            ("/recording", {"stop": True}, "", 400, "open the page"),
        ],
    )
    def test_requests(self, port, studio, path, body, kind, status, says):
        studio.engine.performer.stop()
        for _ in range(20):  # more at once than anyone needs, which has a test of its own
            answer = ask(port, path, body, kind)
            if answer[0] != 429:
                break
            time.sleep(1)
        assert answer[0] == status and says in json.loads(answer[1])["error"], answer
        assert not studio.engine.performer.speaking

    def test_a_body_of_ten_megabytes(self, port):
        with socket.create_connection(("127.0.0.1", port), 30) as raw:
            raw.sendall(b"POST /say HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10485760\r\n\r\n")
            assert raw.recv(100).startswith((b"HTTP/1.1 413", b"HTTP/1.1 400")) or not raw.recv(1)

    def test_messages_to_the_page(self, port, page):
        wrong = [
            "", "{", "[]", "null", '{"type": "dance"}', '{"type": "clock", "position": "now"}',
            '{"type": "clock", "position": 1e999}', '{"type": "emotion", "emotion": "bored"}',
            '{"type": "show", "size": 5000}', '{"type": "show", "background": "/etc/passwd"}',
            '{"type": "mic", "on": true, "rate": -5}', '{"type": "mic", "on": true}',
            '{"type": "say", "text": ""}', b"\0", b"\0\0",
        ]  # fmt: skip
        for message in wrong:
            before = len(page.told)
            page.socket.send(message)
            assert page.event("error", before)["error"].count("\n") == 0
        page.send(type="mic", on=True, rate=16_000)
        before = len(page.told)
        page.socket.send(b"\0")
        assert "16-bit" in page.event("error", before)["error"]
        page.send(type="clock", position=1e15)  # is bounded by what was made
        for noise in (b"\xff\x7f" * 8000, b"\0\x80" * 8000, np.random.default_rng(0).bytes(16_000)):
            page.socket.send(noise)
        page.send(type="mic", on=False)
        count = len(page.pictures)
        page.wait(lambda: len(page.pictures) > count + 3)

    def test_a_message_of_two_megabytes_ends_its_sender_only(self, port, studio):
        with Client(port) as page:
            page.event("hello")
            page.socket.send(b"\0" * (2 << 20))
            page.wait(lambda: page.code is not None)
        with Client(port) as page:
            page.wait(lambda: len(page.pictures) > 2)

    def test_a_second_client_is_told_that_it_is_busy(self, port, page):
        with Client(port) as second:
            assert "busy" in second.event("error")["error"]
            second.wait(lambda: second.code == 1013)
        count = len(page.pictures)
        page.wait(lambda: len(page.pictures) > count)

    def test_clients_that_vanish_make_room(self, port):
        for _ in range(5):
            client = Client(port)
            client.event("hello")
            client.socket.socket.shutdown(socket.SHUT_RDWR)
            time.sleep(0.3)

        def seen():
            with Client(port) as page:
                page.wait(lambda: page.told, 5)
                return page.told[0][1]["type"] == "hello" and page.wait(lambda: page.pictures)

        with Client(port) as waiting:
            waiting.wait(seen) if waiting.wait(lambda: waiting.told)[0][1]["type"] == "error" else None

    def test_a_client_that_never_reads_holds_nobody(self, port, studio):
        key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        with socket.create_connection(("127.0.0.1", port), 30) as raw:
            start = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            raw.sendall(f"{start}{key}\r\n".encode())
            time.sleep(0.5)
            before = studio.engine.pictures
            assert ask(port, "/say", pcm16(speech(3)), "audio/L16")[0] == 200
            end = time.monotonic() + 60
            while studio.engine.pictures < before + 5 and time.monotonic() < end:
                time.sleep(0.05)
            assert studio.engine.pictures >= before + 5
        silent(port)


class TestAccess:
    def test_pages_of_other_sites_and_other_names_are_refused(self, port):
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            assert ask(port, "/status", **headers)[0] == 403
            assert ask(port, "/say", {"text": "Hello"}, **headers)[0] == 403
        with pytest.raises(Exception, match="403"):
            Client(port, origin="http://evil.example")

    def test_a_token_is_asked_for(self, actor):
        with serving(Studio(actor, SIZE, 0.28), Access("127.0.0.1", "secret-words")) as port:
            assert ask(port, "/")[0] == 200
            for path in ("/status", "/status?token=wrong"):
                assert ask(port, path)[0] == 401
            assert ask(port, "/stop", {})[0] == 401
            assert ask(port, "/status?token=secret-words")[0] == 200
            assert ask(port, "/stop", {}, Authorization="Bearer secret-words")[0] == 200
            with pytest.raises(Exception, match="401"):
                Client(port)

    def test_too_many_requests_are_refused(self, actor):
        with serving(Studio(actor, SIZE, 0.28), Access("127.0.0.1")) as port:
            assert {ask(port, "/stop", {})[0] for _ in range(45)} == {200, 429}


def test_a_recording_says_that_it_is_synthetic(port, page, tmp_path):
    assert ask(port, "/recording", {})[0] == 200
    assert ask(port, "/say", pcm16(speech(0.4)), "audio/L16")[0] == 200
    page.wait(lambda: len(page.sounds) >= 10)
    first = page.sounds[0].stamp
    page.wait(lambda: page.pictures and page.pictures[-1].stamp > first + 20 * FRAME)
    time.sleep(0.5)
    status, video = ask(port, "/recording", {"stop": True})
    assert status == 200
    (tmp_path / "live.mp4").write_bytes(video)
    with av.open(str(tmp_path / "live.mp4")) as container:
        assert container.metadata["comment"] == SYNTHETIC_NOTE
        pictures = sum(1 for _ in container.decode(video=0))
        container.seek(0)
        sound = np.concatenate([f.to_ndarray().ravel() for f in container.decode(audio=0)])
    assert pictures > 15 and np.abs(sound).max() > 0.1


class TestExamples:
    EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

    def test_a_dialogue(self, port, capsys):
        runpy.run_path(str(self.EXAMPLES / "06_live_dialogue.py"))["main"](f"http://localhost:{port}")
        assert "Your parcel has arrived!" in capsys.readouterr().out
        silent(port)

    def test_a_stream(self, port, capsys):
        runpy.run_path(str(self.EXAMPLES / "07_live_stream.py"))["main"](None, "sad", f"ws://localhost:{port}")
        printed = capsys.readouterr().out
        assert printed.count("'chunk'") == 20 and "'finished'" in printed

    def test_an_agent_framework(self, port, tmp_path):
        """livekit-agents has an environment of its own, as the example says; where it is here, the example runs."""
        path = self.EXAMPLES / "08_livekit_avatar.py"
        compile(path.read_text(), str(path), "exec")
        if importlib.util.find_spec("livekit") is not None:
            (tmp_path / "a.wav").write_bytes(wav(speech(1.0)))
            found = asyncio.run(runpy.run_path(str(path))["say"](tmp_path / "a.wav", f"ws://localhost:{port}", ""))
            assert abs(found["sound"] - 1.0) <= 0.04 and found["pictures"]


class TestPainter:
    def test_one_picture_that_fails_does_no_harm(self, actor):
        speaking, painter = LiveSpeech(actor.portrait), Painter(actor, SIZE)
        good = speaking.condition(speaking.advance())
        with pytest.raises(Exception, match="."):
            painter(dataclasses.replace(good, audio=good.audio[:2]))
        assert painter(good).startswith(b"\xff\xd8")

    def test_a_slow_machine_gets_the_smallest_size(self, actor):
        speaking = LiveSpeech(actor.portrait)
        condition = speaking.condition(speaking.advance())

        def slowly():
            for _ in range(6):
                yield condition
                time.sleep(0.2)

        size, seconds = fast_size(actor, slowly)
        assert size == SIZES[0] and seconds >= 0.2


def test_texts_are_bounded_however_often_they_interrupt(actor):
    """Each of them runs a program of its own."""
    studio = Studio(actor, SIZE, 0.12, voice=CommandSpeech("sleep 0.3"))
    for _ in range(MOST_TEXTS):
        studio.say_text("Hello.", interrupt=True)
    with pytest.raises(InputError, match="being spoken"):
        studio.say_text("Hello.", interrupt=True)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            studio.say_text("Hello.", interrupt=True)
            break
        except InputError:
            time.sleep(0.1)
    else:
        raise AssertionError("no text is taken any more")


def test_pictures_are_marked_unless_it_is_switched_off(actor):
    """In the lower right corner, and nowhere else."""
    speaking = LiveSpeech(actor.portrait)
    condition = speaking.condition(speaking.advance())
    coded = [Painter(actor, 96, None, marked)(condition) for marked in (True, False)]
    marked, plain = (cv2.imdecode(np.frombuffer(c, np.uint8), cv2.IMREAD_COLOR).astype(int) for c in coded)
    difference = np.abs(marked - plain).max(-1)
    assert difference[80:, 20:].max() > 60 and difference[:70].max() < 12
