"""nerfstudio's viewer page as a person uses it: controls by their labels, and the picture."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np

from tests.forks import forked
from tests.viewer.chromium import Chromium

KEEP_PICTURES = """
const create = URL.createObjectURL;
URL.createObjectURL = (object) => {
  if (object.type?.startsWith("image/")) { window.lastPicture = object; window.pictures = (window.pictures ?? 0) + 1; }
  return create.call(URL, object);
};
window.lastPictureBase64 = async () => {
  const reader = new FileReader();
  const done = new Promise((resolve) => { reader.onload = resolve; });
  reader.readAsDataURL(window.lastPicture ?? new Blob());
  await done;
  return reader.result.split(",")[1];
};
"""
"""Every picture of the avatar comes as an image file; the last one is kept for the tests."""
PACE = """
const draws = new Map(), next = window.requestAnimationFrame.bind(window);
const forget = window.cancelAnimationFrame.bind(window);
let draw = 0;
window.pace = 150;
window.requestAnimationFrame = (work) => {
  const name = ++draw;
  const begin = () => {
    const frame = next((time) => { draws.delete(name); work(time); });
    draws.set(name, () => forget(frame));
  };
  if (window.pace) { const timer = setTimeout(begin, window.pace); draws.set(name, () => clearTimeout(timer)); }
  else begin();
  return name;
};
window.cancelAnimationFrame = (name) => { draws.get(name)?.(); draws.delete(name); };
"""
"""viser draws its scene again as often as a browser lets it, which without a GPU takes a core for itself: it is made
to wait `pace` milliseconds longer for each frame."""
SHOWN_OPTIONS = "[...document.querySelectorAll('[role=option]')].filter(b => b.offsetParent)"


class ViewerPage(Chromium):
    """The viewer's page, its panel ready and the first picture shown, at most `resolution` pixels high and wide."""

    def __init__(self, port: int, folder: Path, size: tuple[int, int], resolution: int) -> None:
        self.before: int | None = None
        """Pictures that the page had been sent before the last click."""
        super().__init__(self._address(port), folder, size, KEEP_PICTURES + PACE)
        self._opened(resolution)

    @staticmethod
    def _address(port: int) -> str:
        return f"http://127.0.0.1:{port}"

    def turn_to(self, port: int, resolution: int) -> None:
        """Leaves the viewer's page for that of another viewer."""
        self.before = None
        self.call("Page.navigate", url=self._address(port))
        self._opened(resolution)

    def _opened(self, resolution: int) -> None:
        self.wait(lambda: self.run("document.body && document.body.innerText.includes('Emotion')"), 60)
        self.number("Max res", resolution)
        self.settled()

    # ---- controls

    def labelled(self, label: str) -> str:
        """JavaScript that finds the input with a label."""
        name = json.dumps(label)
        label = f"[...document.querySelectorAll('label')].find(l => l.innerText === {name})"
        return f"document.getElementById({label}?.htmlFor)"

    def button(self, label: str) -> str:
        """JavaScript that finds a button or the title of a folder by its text."""
        return (
            "[...document.querySelectorAll('button, div')].find(b => b.getClientRects().length && "
            f"(b.tagName === 'BUTTON' || b.firstChild?.nodeType === 3) && b.innerText.trim() === {json.dumps(label)})"
        )

    def press(self, label: str) -> None:
        self.click(self.button(label))

    def fold(self, label: str) -> None:
        """Opens or closes a folder."""
        self.press(label)
        time.sleep(0.6)  # it moves all that is below it, for a while

    def check(self, label: str) -> None:
        self.click(self.labelled(label))

    def choose(self, label: str, option: str) -> None:
        """Of a menu."""
        self._open(label)
        self.click(f"{SHOWN_OPTIONS}.find(b => b.innerText === {json.dumps(option)})")
        self.wait(lambda: not self.run(f"{SHOWN_OPTIONS}.length"))

    def options(self, label: str) -> list[str]:
        """What a menu offers."""
        found = self._open(label)
        self.run("document.activeElement.blur()")
        self.wait(lambda: not self.run(f"{SHOWN_OPTIONS}.length"))
        return found

    def _open(self, label: str) -> list[str]:
        for _ in range(5):  # a menu that is just closing swallows the click
            self.click(self.labelled(label))
            with suppress(TimeoutError):
                return self.wait(lambda: self.run(f"{SHOWN_OPTIONS}.map(b => b.innerText)"), 3)
        raise TimeoutError(f"{label}: does not open")

    def entry(self, label: str) -> str:
        """JavaScript that finds where one types: the labelled input, or the one beside a slider."""
        return (
            f"(e => e && (e.tagName === 'INPUT' ? e : e.parentElement.querySelector('input:not([type=hidden])')))"
            f"({self.labelled(label)})"
        )

    def number(self, label: str, value: float) -> None:
        """Types into the number beside a slider."""
        self.click(self.entry(label))
        self.text(str(value))

    def value(self, label: str) -> str:
        """What stands in a menu, or in the number beside a slider."""
        return self.run(f"{self.entry(label)}.value")

    def give(self, label: str, path: Path) -> None:
        """Uploads by a button."""
        self.upload(f"{self.button(label)}.parentElement.querySelector('input[type=file]')", path)

    def told(self, text: str) -> None:
        """Waits for a notification that holds a text, and closes it and all others."""
        self.wait(lambda: self.run(f"document.body.innerText.includes({json.dumps(text)})"), 60)
        close = "document.querySelector('.mantine-Notification-closeButton')"
        while self.run(f"!!{close}"):
            with suppress(TimeoutError):  # some close by themselves
                self.click(close, 3)

    # ---- the picture

    def on_screen(self) -> np.ndarray:
        """What is seen of the avatar now, uint8 [S, S, 3] RGB: the square in the middle of the page's canvas."""
        canvas = "[...document.querySelectorAll('canvas')].at(-1)"  # the first one is for labels
        box = self.run(f"(b => [b.x, b.y, b.width, b.height])({canvas}.getBoundingClientRect())")
        side = min(box[2:])
        return self.screenshot((box[0] + (box[2] - side) / 2, box[1] + (box[3] - side) / 2, side, side))

    def picture(self) -> np.ndarray:
        """The last picture that the page was sent, uint8 [S, S, 3] RGB: the square in its middle."""
        image = self._sent_picture()
        height, width = image.shape[:2]
        side = min(height, width)
        left, top = (width - side) // 2, (height - side) // 2
        return image[top : top + side, left : left + side]

    def _sent_picture(self) -> np.ndarray:
        data = self.run("window.lastPictureBase64()")
        if not data:
            return np.zeros((1, 1, 3), np.uint8)
        image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    @contextmanager
    def at_video_s_pace(self) -> Iterator[None]:
        """Has the page draw about as often as a video has pictures."""
        pace = self.run("window.pace")
        self.run("window.pace = 25")
        yield
        self.run(f"window.pace = {pace}")

    def mouse(self, x: float, y: float) -> None:
        self.before = self.run("window.pictures")
        super().mouse(x, y)

    def settled(self, seconds: float = 60) -> np.ndarray:
        """The picture after the last click: nerfstudio sends coarse ones first, and a fine one when nothing changes."""
        with suppress(TimeoutError):  # not every click makes a new picture
            self.wait(lambda: self.run("window.pictures") != self.before, 3)
        finest, seen = int(self.value("Max res")), []

        def stands_still() -> bool:
            seen.append((self.run("window.pictures"), max(self._sent_picture().shape[:2])))
            return len(seen) > 3 and seen[-1] == seen[-4] and seen[-1][1] >= finest

        self.wait(stands_still, seconds, 0.2)
        return self.picture()


@contextmanager
def served(*command: object, log: Path) -> Iterator[int]:
    """A running `ns-viewer` or `ns-train` with its arguments; yields its port. What it prints goes to `log`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = forked(*command, "--viewer.websocket-port", port)
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
