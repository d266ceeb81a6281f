"""A headless Chromium, driven by its DevTools protocol, for the tests of the viewer and the pictures of its tour."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
from websockets.sync.client import connect

from tests.socket_client import PATIENCE

PROGRAM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)


class Chromium:
    """One page in a browser of its own; a context manager that ends it.

    folder: an empty one, for its profile and what it downloads. size: of the window, CSS pixels, of which a screen's
    pixel is two wide and high. script: JavaScript to run before the page's own. microphone: a WAV that its microphone
    hears, over and over.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        size: tuple[int, int] = (1280, 900),
        script: str = "",
        microphone: Path | None = None,
    ) -> None:
        self.downloads = folder / "downloads"
        self.downloads.mkdir(parents=True)
        flags = (
            *("--headless=new", "--no-sandbox", "--use-gl=swiftshader", "--enable-unsafe-swiftshader"),
            *("--no-first-run", "--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars"),
            *(f"--user-data-dir={folder / 'profile'}", "--remote-debugging-port=0"),
        )
        if microphone is not None:
            flags += ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
            flags += (f"--use-file-for-fake-audio-capture={microphone}",)
        self.process = subprocess.Popen([PROGRAM, *flags, "about:blank"], stderr=subprocess.DEVNULL)
        try:
            port = self.wait(lambda: (folder / "profile" / "DevToolsActivePort").read_text().split()[0], 60)
            pages = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
            address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
            self.socket = connect(address, max_size=None, ping_interval=None)
            self._sent = 0
            self.call("Page.enable")
            self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))
            # Half as many pixels each way: without a GPU, drawing them is what costs.
            shape = {"width": size[0], "height": size[1], "deviceScaleFactor": 0.5, "mobile": False}
            self.call("Emulation.setDeviceMetricsOverride", **shape)
            self.call("Page.addScriptToEvaluateOnNewDocument", source=script)
            self.call("Page.navigate", url=url)
        except BaseException:
            self.process.kill()
            raise

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_) -> None:
        self.socket.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()

    @staticmethod
    def wait(ready, seconds: float = PATIENCE, every: float = 0.1):
        """What `ready` returns once that is true; it may raise OSError until then."""
        end, last = time.monotonic() + seconds, None
        while time.monotonic() < end:
            try:
                last = ready()
            except (OSError, IndexError):
                last = None
            if last:
                return last
            time.sleep(every)
        raise TimeoutError(f"waited {seconds} s in vain")

    def call(self, method: str, **parameters) -> dict:
        self._sent += 1
        self.socket.send(json.dumps({"id": self._sent, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.socket.recv(timeout=60))
            if answer.get("id") == self._sent:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def run(self, script: str):
        """The value of a JavaScript expression, promises awaited."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def screenshot(self, box: tuple[float, float, float, float] | None = None) -> np.ndarray:
        """uint8 [H / 2, W / 2, 3] RGB of the page, or of a box (left, top, width, height) of CSS pixels in it."""
        clip = {}
        if box is not None:
            clip = {"clip": {"scale": 1, **dict(zip(("x", "y", "width", "height"), box, strict=True))}}
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png", **clip)["data"])
        return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    # ---- real input, by what a person sees

    def mouse(self, x: float, y: float) -> None:
        """A click at a place in the page."""
        at = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.call("Input.dispatchMouseEvent", type="mousePressed", **at)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **at)

    def click(self, element: str, seconds: float = PATIENCE) -> None:
        """Clicks in the middle of what a JavaScript expression finds, once it is in sight and stands still: it is
        scrolled to only where it is out of sight, because what is always brought to one place seems to stand there."""
        script = f"""(() => {{ const e = {element}; if (!e) return null;
            const b = e.getBoundingClientRect(), x = b.x + b.width / 2, y = b.y + b.height / 2;
            if (e.parentElement.contains(document.elementFromPoint(x, y))) return [x, y];
            e.scrollIntoView({{block: "center"}}); return null; }})()"""
        places = [None]

        def still():
            places.append(self.run(script))
            return places[-1] if places[-1] == places[-2] else None

        self.mouse(*self.wait(still, seconds))

    def text(self, text: str) -> None:
        """Types over all that the focused input holds, and leaves it."""
        self.key("a", 65, modifiers=2)
        self.call("Input.insertText", text=text)
        self.key("Enter", 13)

    def key(self, key: str, code: int, modifiers: int = 0) -> None:
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown" if text else "rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, modifiers=modifiers,
                commands=["selectAll"] if modifiers and kind == "rawKeyDown" else [], **text,
            )  # fmt: skip

    def drag(self, start: tuple[float, float], way: tuple[float, float], steps: int = 5) -> None:
        """Clicks, then moves the mouse with its button held."""
        self.mouse(*start)
        (x, y), held = start, {"button": "left", "buttons": 1, "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, **held)
        for step in range(1, steps + 1):
            at = {"x": x + way[0] * step / steps, "y": y + way[1] * step / steps}
            self.call("Input.dispatchMouseEvent", type="mouseMoved", **at, **held)
            self.run("new Promise(requestAnimationFrame)")  # a page may look where the mouse is once a frame
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **at, **held)

    def upload(self, element: str, path: Path) -> None:
        """Gives a file to the file input that a JavaScript expression finds."""
        found = self.call("Runtime.evaluate", expression=element)["result"]["objectId"]
        self.call("DOM.setFileInputFiles", files=[str(path)], objectId=found)
