"""nerfstudio's viewer page as a person uses it: controls by their labels, and the picture."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tests.conftest import BIN
from tests.viewer.chromium import Chromium

SHOWN_OPTIONS = "[...document.querySelectorAll('[role=option]')].filter(b => b.offsetParent)"


class ViewerPage(Chromium):
    """The viewer's page, its panel ready and the first picture shown."""

    def __init__(self, port: int, folder: Path, size: tuple[int, int] = (1280, 900)) -> None:
        super().__init__(f"http://127.0.0.1:{port}", folder, size)
        self.wait(lambda: self.run("document.body && document.body.innerText.includes('Emotion')"), 60)
        self.settled()

    # ---- controls

    def labelled(self, label: str) -> str:
        """JavaScript that finds the input with a label."""
        name = json.dumps(label)
        return f"document.getElementById([...document.querySelectorAll('label')].find(l => l.innerText === {name})?.htmlFor)"

    def button(self, label: str) -> str:
        """JavaScript that finds a button, or whatever can be clicked, by its text."""
        name = json.dumps(label)
        return (
            f"[...document.querySelectorAll('button, [role=option], p')].find(b => b.innerText.trim() === {name} "
            "&& b.getClientRects().length)"
        )

    def press(self, label: str) -> None:
        self.click(self.button(label))

    def check(self, label: str) -> None:
        self.click(self.labelled(label))

    def choose(self, label: str, option: str) -> None:
        """Of a menu."""
        self.click(self.labelled(label))
        self.click(f"{SHOWN_OPTIONS}.find(b => b.innerText === {json.dumps(option)})")
        self.wait(lambda: not self.run(f"{SHOWN_OPTIONS}.length"))

    def options(self, label: str) -> list[str]:
        """What a menu offers."""
        self.click(self.labelled(label))
        found = self.wait(lambda: self.run(f"{SHOWN_OPTIONS}.map(b => b.innerText)"))
        self.key("Escape", 27)
        self.wait(lambda: not self.run(f"{SHOWN_OPTIONS}.length"))
        return found

    def number(self, label: str, value: float) -> None:
        """Types into the number beside a slider."""
        self.click(f"{self.labelled(label)}.parentElement.querySelector('input:not([type=hidden])')")
        self.text(str(value))

    def value(self, label: str) -> str:
        """What stands in the number beside a slider, or in a menu."""
        found = self.labelled(label)
        return self.run(f"({found}.tagName === 'INPUT' ? {found} : {found}.parentElement.querySelector('input:not([type=hidden])')).value")

    def give(self, label: str, path: Path) -> None:
        """Uploads by a button."""
        self.upload(f"{self.button(label)}.parentElement.querySelector('input[type=file]')", path)

    # ---- the picture

    def picture(self) -> np.ndarray:
        """What is shown of the avatar now, uint8 [H, W, 3] RGB: the square in the middle of the page's canvas."""
        box = self.run("(() => { const b = document.querySelector('canvas').getBoundingClientRect();"
                       " return [b.x, b.y, b.width, b.height]; })()")  # fmt: skip
        side = min(box[2:])
        return self.screenshot((box[0] + (box[2] - side) / 2, box[1] + (box[3] - side) / 2, side, side))

    def settled(self, seconds: float = 40) -> np.ndarray:
        """The picture once it has stopped changing: nerfstudio shows a coarse one first, and a fine one 0.4 s later."""
        end, same, last = time.monotonic() + seconds, 0, self.picture()
        while time.monotonic() < end:
            time.sleep(0.3)
            now = self.picture()
            same = same + 1 if now.shape == last.shape and np.array_equal(now, last) and now.any() else 0
            if same >= 4:
                return now
            last = now
        raise TimeoutError("the picture goes on changing")


@contextmanager
def served(config: Path, *more: str) -> Iterator[int]:
    """A running `ns-viewer` of a training run; yields its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [BIN / "ns-viewer", "--load-config", config, "--viewer.websocket-port", str(port), *more]
    log = config.parent / "viewer.log"
    with open(log, "w") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as viewer:
        try:
            end = time.monotonic() + 180
            while True:
                assert viewer.poll() is None and time.monotonic() < end, log.read_text()[-3000:]
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.3)
            yield port
        finally:
            viewer.terminate()
