"""A live avatar and all that one asks of it, without the network: speech, emotions, pictures, recording."""

from __future__ import annotations

import math
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ImageColor

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.driving.emotion import parse_mixture
from aed_nerfstudio.errors import InputError, reason
from aed_nerfstudio.live.engine import Engine
from aed_nerfstudio.live.painter import SIZES, Painter, fast_size
from aed_nerfstudio.live.performer import Cut
from aed_nerfstudio.live.protocol import Stamped
from aed_nerfstudio.live.recording import Recording
from aed_nerfstudio.live.speech import LiveSpeech
from aed_nerfstudio.live.text import Sentence, sentences
from aed_nerfstudio.live.utterance import Listener, Utterance
from aed_nerfstudio.media.backgrounds import Background, open_background

if TYPE_CHECKING:
    from aed_nerfstudio.avatar.avatar import Avatar
    from aed_nerfstudio.driving.track import FrameCondition
    from aed_nerfstudio.live.text_to_speech import TextToSpeech

AHEAD = 20 * SAMPLE_RATE
"""Samples of a text that are spoken ahead of what is heard."""
TRIED = 20
"""Frames that each size is tried with."""
MOST_TEXTS, VOICES = 20, 2
"""Texts that are spoken or wait for it, and those that are spoken at once: the first may still be busy when it is
interrupted."""


class Studio:
    """Holds the engine of one avatar; all methods may be called from any thread.

    Args:
        avatar: whose.
        size: width of the pictures, pixels; what this machine renders fast enough when None.
        lookahead: see `LiveSpeech`.
        background: see `Painter`.
        marked: see `Painter`.
        voice: speaks text; None: text is refused.
    """

    def __init__(
        self,
        avatar: Avatar,
        size: int | None,
        lookahead: float,
        background: Background | None = None,
        marked: bool = True,
        voice: TextToSpeech | None = None,
    ) -> None:
        self._avatar, self.vocabulary, self.voice = avatar, avatar.vocabulary, voice
        speech = LiveSpeech(avatar.portrait, lookahead=lookahead)
        if size is None:
            size, seconds = fast_size(avatar, lambda: _speech(avatar, lookahead), background)
            print(f"size {size}: a picture takes {1000 * seconds:.0f} ms here", flush=True)
        painter = Painter(avatar, size, background, marked)
        painter(next(_speech(avatar, lookahead)))  # what is made once is made before somebody waits for it
        self._first_background = background
        self.outlet: Callable[[Stamped | Cut], None] = lambda item: None
        """Is given what is for the listener."""
        self.engine = Engine(speech, painter, self._deliver)
        self._recording: Recording | None = None
        self._written: Recording | None = None
        self._recording_lock = threading.Lock()
        self._category = self.vocabulary.default_category
        """The one that an intensity without an emotion is of."""
        self._texts = threading.BoundedSemaphore(MOST_TEXTS)
        self._voices = threading.Semaphore(VOICES)

    def _deliver(self, item: Stamped | Cut) -> None:
        recording = self._recording
        if recording is not None:
            recording.take(item)
        self.outlet(item)

    # ---- speech

    def emotion(self, label: object, intensity: object) -> np.ndarray | None:
        """Returns the vector of an emotion as a client names it; None where it names none.

        Raises:
            InputError: unknown, not recorded, or no text and number at all.
        """
        if label is None and intensity is None:
            return None
        if not isinstance(label, (str, type(None))) or isinstance(intensity, bool):
            raise InputError("emotion must be a text, such as happy or happy:0.7+sad:0.3")
        if not isinstance(intensity, (str, int, float, type(None))):
            raise InputError("intensity must be a label or a number from 0 to 1")
        if isinstance(intensity, float) and not math.isfinite(intensity):
            raise InputError("intensity must be a number from 0 to 1")
        mixture = None if label is None else parse_mixture(label[:200])
        return self.vocabulary.encode(self._category if mixture is None else mixture, intensity)

    def feel(self, label: object, intensity: object) -> None:
        """Shows an emotion from now on; errors as `emotion`."""
        vector = self.emotion(label, intensity)
        if vector is not None:
            self.engine.performer.feel(vector)
        if isinstance(label, str) and "+" not in label and ":" not in label:
            self._category = label

    def say_sound(
        self,
        samples: np.ndarray,
        emotion: np.ndarray | None = None,
        interrupt: bool = False,
        listener: Listener | None = None,
    ) -> Utterance:
        """Says a whole sound, float [n] at 16 kHz.

        Raises:
            InputError: it is empty, longer than two minutes, or too much waits.
        """
        if not samples.size:
            raise InputError("the sound is empty; send some")
        utterance = self.engine.performer.begin(listener, interrupt=interrupt)
        try:
            utterance.put(samples, emotion, mark=0)
        finally:
            utterance.close()
        return utterance

    def say_text(
        self, text: str, emotion: np.ndarray | None = None, interrupt: bool = False, listener: Listener | None = None
    ) -> Utterance:
        """Says a text, sentence by sentence as they are spoken.

        Raises:
            InputError: there is no voice, the text cannot be said, or too much waits.
        """
        if self.voice is None:
            raise InputError("this server has no voice for text; start it with --voice or --tts-command")
        parts = sentences(text, self.vocabulary)
        vectors = [emotion if s.emotion is None else self.emotion(s.emotion, s.intensity) for s in parts]
        vectors[1:] = [None if parts[n].emotion is None else vectors[n] for n in range(1, len(parts))]
        if not self._texts.acquire(blocking=False):
            raise InputError(f"{MOST_TEXTS} texts are being spoken already; wait for one to finish")
        try:
            utterance = self.engine.performer.begin(listener, interrupt=interrupt)
        except InputError:
            self._texts.release()
            raise
        work = threading.Thread(target=self._speak, args=(self.voice, utterance, parts, vectors), daemon=True)
        work.start()
        return utterance

    def _speak(
        self, voice: TextToSpeech, utterance: Utterance, parts: list[Sentence], vectors: list[np.ndarray | None]
    ) -> None:
        """Fills a flow with the sound of sentences, until it is interrupted; a thread's work."""
        try:
            with self._voices:
                for number, (part, vector) in enumerate(zip(parts, vectors, strict=True)):
                    if not any(c.isalnum() for c in part.words):
                        continue
                    for piece in () if utterance.closed else voice.speak(part.words):
                        while utterance.waiting > AHEAD and not utterance.closed:
                            time.sleep(0.1)
                        if utterance.closed:
                            break  # which ends the voice's work
                        utterance.put(piece, vector)
                        vector = None
                    utterance.put(np.zeros(0, np.float32), None, {"sentence": number, "text": part.words})
        except Exception as error:
            text = str(error) if isinstance(error, InputError) else reason(error)
            print(f"live: {text}", flush=True)  # a program that asked by POST /say has its answer already
            utterance.listener("error", {"error": text})
        finally:
            utterance.close()
            self._texts.release()

    # ---- pictures

    def show(self, size: object = None, background: object = None) -> None:
        """Changes the pictures' size, one of `SIZES`, or the background: `original` or a colour, no file's name.

        Raises:
            InputError: neither.
        """
        painter = self.engine.painter
        if size is None:
            size = painter.size
        elif size not in SIZES or not isinstance(size, int):
            raise InputError(f"size must be one of {', '.join(map(str, SIZES))}")
        behind = painter.background
        if background is not None:
            behind = self._first_background if background == "original" else _colour(background)
        self.engine.painter = Painter(self._avatar, size, behind, painter.marked)

    # ---- recording

    @property
    def recording(self) -> bool:
        """Returns whether a recording runs."""
        return self._recording is not None

    def record(self) -> None:
        """Begins to record, anew where a recording runs."""
        self.forget()
        self._recording = Recording(self.engine.position)

    def forget(self) -> None:
        """Ends a recording without a video."""
        with self._recording_lock:
            running, self._recording = self._recording, None
        if running is not None:
            running.close()

    def end(self) -> None:
        """Ends the engine, and whatever is being recorded or written."""
        self.forget()
        written = self._written
        if written is not None:
            written.give_up()
        self.engine.end()

    def recorded(self) -> bytes:
        """Ends the recording; returns its MP4.

        Raises:
            InputError: none runs, or it holds nothing.
        """
        with self._recording_lock:
            if self._recording is None or self._written is not None:
                raise InputError("no recording runs, or one is being written; start one first")
            running, self._recording = self._recording, None
            self._written = running
        tags: Mapping[str, str] = {"model": self._avatar.name}
        height, width = self._avatar.frame_size(self.engine.painter.size)
        try:
            with tempfile.TemporaryDirectory(prefix="aed-live-") as folder:
                path = Path(folder) / "live.mp4"
                running.write(path, self.engine.position, (width, height), tags)
                return path.read_bytes()
        finally:
            running.close()
            self._written = None


def _colour(name: object) -> Background:
    """Returns a plain background; InputError where it is no colour: a client names no files."""
    try:
        red, green, blue = ImageColor.getrgb(str(name)[:40])[:3]
    except ValueError as error:
        raise InputError(f"{str(name)[:40]}: is no colour; give one such as green or #00ff00, or original") from error
    found = open_background(f"#{red:02x}{green:02x}{blue:02x}")
    assert found is not None
    return found


def _speech(avatar: Avatar, lookahead: float) -> Iterator[FrameCondition]:
    """Yields the conditions of frames that differ in lips and pose, as in speech; each is heard when it is asked."""
    speech = LiveSpeech(avatar.portrait, lookahead=lookahead)
    speech.push(np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE * 2).astype(np.float32))
    for number in range(TRIED * 2):
        frame = speech.advance()
        if number % 2:
            yield speech.condition(frame)
