"""Playing a speech: its sound in the browser, and the frame that goes with it here."""

from __future__ import annotations

import base64
import io
import threading
import time
import wave
from collections.abc import Callable
from importlib.resources import files

import numpy as np
import viser

from aed_nerfstudio.dataset.schema import FPS
from aed_nerfstudio.viewer.clock import Clock
from aed_nerfstudio.viewer.private import name_in_page, run_javascript
from aed_nerfstudio.viewer.speech import Speech

TICK = 0.02
"""Seconds between looks at the clock."""


def wav(samples: np.ndarray, sample_rate: int = 16000) -> bytes:
    """Returns mono samples, float [n] in -1..1, as the bytes of a 16-bit WAV file."""
    data = io.BytesIO()
    with wave.open(data, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(sample_rate)
        out.writeframes(np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return data.getvalue()


class Playback:
    """Where the speech of one browser is, and its sound there.

    The browser's clock leads: it reports it about once a second through the number `clock`, ours runs in between
    (`sound.js` says why so seldom). A speech without sound is played by our clock.

    Args:
        client: the browser.
        clock: the number input that it writes its clock into.
        on_frame: is called when another frame's time has come, in a thread of its own.
        on_stop: is called when the playing ends by itself; `frame` is then the last one.
    """

    def __init__(
        self,
        client: viser.ClientHandle,
        clock: viser.GuiInputHandle[float],
        on_frame: Callable[[int], None],
        on_stop: Callable[[], None],
    ) -> None:
        self.client = client
        self.on_frame = on_frame
        self.on_stop = on_stop
        self.speech: Speech | None = None
        self._clock = Clock(0.0)
        self._frame = 0
        self._loaded: Speech | None = None
        self._script = files("aed_nerfstudio.viewer").joinpath("sound.js").read_text()
        self._script = self._script.replace("CLOCK_ID", name_in_page(clock)).replace("FPS", str(FPS))
        clock.on_update(self._hear)

    def _said(self) -> Speech:
        """Returns the speech that was loaded; ValueError where none was."""
        if self.speech is None:
            raise ValueError("nothing was loaded to be played")
        return self.speech

    @property
    def playing(self) -> bool:
        return self._clock.running

    @property
    def frame(self) -> int:
        """Returns the frame to show now."""
        if self.playing:
            return min(int(self._clock.now() * FPS), len(self._said().track) - 1)
        return self._frame

    def load(self, speech: Speech) -> None:
        """Takes another speech, from its start; stops the one that plays."""
        self.pause()
        self.speech = speech
        loop, self._clock = self._clock.loop, Clock(len(speech.track) / FPS)
        self._clock.loop = loop
        self._frame = 0

    def play(self) -> None:
        """Plays from the frame where it stands, or from the start if that is the last."""
        speech = self._said()
        start = self._frame if self._frame < len(speech.track) - 1 else 0
        if speech.samples is not None:
            if self._loaded is not speech:
                sound = base64.b64encode(wav(speech.samples)).decode()
                self._run(f"{self._script}\nwindow.aedSound.load('{sound}');")
                self._loaded = speech
            self._run(f"window.aedSound.play({start / FPS}, {str(self._clock.loop).lower()});")
        was_playing = self.playing
        self._clock.start(start / FPS)
        if not was_playing:
            threading.Thread(target=self._follow, daemon=True).start()

    def pause(self) -> None:
        if self.playing:
            self._frame = self.frame
            self._clock.stop()
            self._run("window.aedSound && window.aedSound.pause();")

    def seek(self, frame: int) -> None:
        self._frame = frame
        if self.playing:
            self.play()

    def loop(self, loop: bool) -> None:
        self._clock.loop = loop
        self._run(f"window.aedSound && window.aedSound.loop({str(loop).lower()});")

    def announce(self, frame: int) -> None:
        """Tells the page that the next picture that it is sent is of this frame."""
        if self._loaded is not None:
            self._run(f"window.aedSound && window.aedSound.expect({frame});")

    def _hear(self, event: viser.GuiEvent) -> None:
        if event.client is not None and self.playing:
            self._clock.set(event.target.value)

    def _follow(self) -> None:
        last = -1
        while self.playing:
            if self._clock.ended:
                self._frame = self.frame
                self._clock.stop()
                self.on_stop()
                return
            frame = self.frame
            if frame != last:
                self.on_frame(frame)
                last = frame
            time.sleep(TICK)

    def _run(self, source: str) -> None:
        run_javascript(self.client, source)
