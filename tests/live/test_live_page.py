"""The page in a browser, and the command as a process."""

import re
import signal
import subprocess
import time

import numpy as np
import pytest

from aed_nerfstudio.live.protocol import pcm16
from tests.forks import forked
from tests.live.live_client import Client, ask
from tests.socket_client import PATIENCE
from tests.viewer.chromium import PROGRAM, Chromium


@pytest.fixture(scope="module")
def process():
    """`aed live` and its port."""
    options = ("--avatar", "actor", "--size", "96", "--port", "0", "--tts-command", "cat /dev/null")
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


@pytest.mark.browser
@pytest.mark.skipif(PROGRAM is None, reason="needs Chromium")
def test_the_page_shows_and_plays(process, tmp_path):
    _, port = process
    sound = np.sin(np.arange(800_000) / 8).astype(np.float32) * 0.3
    script = "window.addEventListener('error', (e) => (window.faults = [...(window.faults || []), e.message]));"
    with Chromium(f"http://localhost:{port}/", tmp_path, (390, 844), script) as browser:
        browser.wait(lambda: browser.run("globalThis.live?.state().shown > 3"))
        browser.click("document.getElementById('hear')")
        browser.wait(lambda: browser.run("live.state().audio") == "running")
        assert ask(port, "/say?emotion=happy", pcm16(sound), "audio/L16")[0] == 200
        browser.wait(lambda: browser.run("live.state().sounds") > 10)
        before = browser.run("live.state().shown")
        browser.wait(lambda: browser.run("live.state().shown") > before + 3)
        browser.click("document.getElementById('stop')")
        browser.wait(lambda: browser.run("live.state().epoch") > 0)
        assert browser.run("document.documentElement.scrollWidth") <= 390  # a phone's width
        assert browser.run("getComputedStyle(document.getElementById('picture')).width") != "0px"
        assert "fps" in browser.wait(lambda: browser.run("document.getElementById('figures').textContent"))
        all_controls = "[...document.querySelectorAll('button, input, select, a')]"
        assert browser.run(f"{all_controls}.every(e => e.tabIndex >= 0)")
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
