"""The page in a browser, and the command as a process."""

import re
import signal
import subprocess
import time

import numpy as np
import pytest

from aed_nerfstudio.live.protocol import pcm16
from aed_nerfstudio.media.audio_io import write_wav
from tests.forks import forked
from tests.live.live_client import Client, ask
from tests.socket_client import PATIENCE
from tests.viewer.chromium import PROGRAM, Chromium

TONE = np.sin(np.arange(800_000) / 8).astype(np.float32) * 0.3


@pytest.fixture(scope="module")
def tone(tmp_path_factory):
    """A WAV of ten seconds."""
    path = tmp_path_factory.mktemp("sound") / "tone.wav"
    write_wav(path, TONE[:160_000], 16_000)
    return path


@pytest.fixture(scope="module")
def process(tone):
    """`aed live` and its port."""
    options = ("--avatar", "actor", "--size", "96", "--port", "0", "--tts-command", f"cat {tone}")
    command = forked("aed", "live", *options)
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert running.stdout is not None
    printed = []
    try:
        for line in running.stdout:
            printed.append(line)
            if found := re.search(r"live: http://localhost:(\d+)/", line):
                yield running, int(found[1])
                break
        else:
            raise AssertionError("".join(printed))
    finally:
        running.kill()
        running.wait()


@pytest.fixture(scope="module")
def browser(process, tone, tmp_path_factory):
    """The page on a phone, which has shown something."""
    script = "window.addEventListener('error', (e) => (window.faults = [...(window.faults || []), e.message]));"
    folder = tmp_path_factory.mktemp("browser")
    with Chromium(f"http://localhost:{process[1]}/", folder, (390, 844), script, tone) as browser:
        browser.wait(lambda: browser.run("globalThis.live?.state().shown > 3"))
        yield browser


def counted(browser: Chromium, name: str, more: int) -> None:
    """Waits until a count of the page is higher by so many."""
    before = browser.run(f"live.state().{name}")
    browser.wait(lambda: browser.run(f"live.state().{name}") >= before + more)


def pressed(browser: Chromium, button: str) -> bool:
    return browser.run(f"document.getElementById('{button}').ariaPressed") == "true"


@pytest.mark.browser
@pytest.mark.skipif(PROGRAM is None, reason="needs Chromium")
class TestBrowser:
    def test_it_shows_and_plays(self, process, browser):
        browser.click("document.getElementById('hear')")
        browser.wait(lambda: browser.run("live.state().audio") == "running")
        assert ask(process[1], "/say?emotion=happy", pcm16(TONE), "audio/L16")[0] == 200
        counted(browser, "sounds", 10)
        counted(browser, "shown", 3)
        browser.click("document.getElementById('stop')")
        browser.wait(lambda: browser.run("live.state().epoch") > 0)
        assert "fps" in browser.wait(lambda: browser.run("document.getElementById('figures').textContent"))

    def test_it_fits_a_phone(self, browser):
        assert browser.run("document.documentElement.scrollWidth") <= 390
        assert browser.run("document.getElementById('picture').getBoundingClientRect().width") > 300

    def test_the_keyboard_does_all(self, browser):
        """Tab goes through every control in its order; Enter in the text says it, Escape ends it."""
        browser.run("document.getElementById('text').focus(), document.getElementById('text').value = ''")
        browser.call("Input.insertText", text="[happy] Hello.")
        browser.key("Enter", 13)
        counted(browser, "sounds", 5)
        before = browser.run("live.state().epoch")
        browser.key("Escape", 27)
        browser.wait(lambda: browser.run("live.state().epoch") > before)
        reached = []
        for _ in range(9):
            reached.append(browser.run("document.activeElement.id"))
            browser.key("Tab", 9)
        assert reached == ["text", "say", "stop", "mic", "record", "emotion", "intensity", "background", "size"]

    def test_the_microphone_is_heard_and_outlives_an_interruption(self, browser):
        browser.click("document.getElementById('mic')")
        counted(browser, "sounds", 10)
        assert pressed(browser, "mic")
        browser.click("document.getElementById('stop')")
        counted(browser, "sounds", 10)
        browser.click("document.getElementById('mic')")
        browser.wait(lambda: not pressed(browser, "mic"))

    def test_the_record_button_saves_a_video(self, browser):
        browser.click("document.getElementById('record')")
        browser.wait(lambda: pressed(browser, "record"))
        counted(browser, "shown", 5)
        browser.click("document.getElementById('record')")
        (video,) = browser.wait(lambda: [p for p in browser.downloads.iterdir() if p.suffix == ".mp4"])
        browser.wait(lambda: video.stat().st_size > 1000)
        browser.wait(lambda: not pressed(browser, "record"))

    def test_bare_it_shows_nothing_but_the_picture(self, process, browser):
        assert browser.run("window.faults || []") == []
        browser.call("Page.navigate", url=f"http://localhost:{process[1]}/?bare=1")
        browser.wait(lambda: browser.run("location.search === '?bare=1' && globalThis.live?.state().shown > 1"))
        assert not browser.run("document.getElementById('controls').getClientRects().length")
        assert browser.run("document.getElementById('picture').getBoundingClientRect().width") == 390
        assert browser.run("window.faults || []") == []


def test_it_ends_within_seconds_of_sigterm(process):
    """The last of this module, because it ends the process."""
    running, port = process
    with Client(port) as page:
        page.wait(lambda: page.told)
        ask(port, "/say", pcm16(np.zeros(160_000, np.float32)), "audio/L16")
        start = time.monotonic()
        running.send_signal(signal.SIGTERM)
        code = running.wait(PATIENCE)
    assert code == 143 and time.monotonic() - start < 20


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--host", "0.0.0.0"), "add --token"),
        (("--host", "0.0.0.0", "--token", "short"), "8 characters"),
        (("--size", "5000"), "at most 4096"),
        (("--lookahead", "nan"), "from 0 to 1"),
        (("--tts-command", "no-such-program"), "no such program"),
        (("--voice", "no.onnx"), "no.onnx.json: no such file"),
        (("--voice", "no.onnx", "--tts-command", "cat"), "give one of them"),
        (("--background", "no-such-colour"), "is no colour"),
        (("--background", "transparent"), "no transparency"),
    ],
)
def test_flags_are_checked_before_anything_listens(in_process, options, says):
    printed = in_process("aed", "live", "--avatar", "actor", *options, fails=True)
    assert says in printed and printed.strip().splitlines()[-1].startswith("error: ")
