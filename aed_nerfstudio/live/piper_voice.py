"""Speaks English by a voice of the Piper project: an ONNX file of the user's choice, run by onnxruntime."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from aed_nerfstudio.bounds import Between
from aed_nerfstudio.errors import InputError, reason
from aed_nerfstudio.live import english
from aed_nerfstudio.live.protocol import pcm16
from aed_nerfstudio.live.resampling import RATES, Resampler
from aed_nerfstudio.live.text_to_speech import LONGEST_SENTENCE
from aed_nerfstudio.outside import read_bytes, read_json

LARGEST_VOICE = 1 << 29
"""Bytes of a voice's file."""
SYMBOLS = Between(0, 4095)
"""Numbers of phonemes."""
NOISE, LENGTH = Between(0, 2), Between(0.2, 5)
START, END, GAP = "^", "$", "_"
"""Of the symbols that are no phonemes: the last one follows each of the others."""
PAUSE = 0.15
"""Seconds of silence after a sentence."""
THREADS = 1
"""Of the voice's own: pictures are rendered meanwhile."""


@dataclass(frozen=True)
class VoiceSettings:
    """What the JSON beside a voice says; others' values, checked."""

    rate: int
    """Samples a second."""
    ids: Mapping[str, tuple[int, ...]]
    """The voice's numbers of each phoneme."""
    scales: tuple[float, float, float]
    """Noise, length, and noise of the lengths."""
    speakers: int

    @classmethod
    def read(cls, path: Path) -> VoiceSettings:
        """Reads them; InputError where the file is none of a Piper voice, or of another language than English."""
        found = read_json(path, 1 << 20, "give a Piper voice with the .json that belongs to it")
        try:
            if not isinstance(found, dict):
                raise TypeError("no JSON object")
            language = str(found["espeak"]["voice"])
            if found.get("phoneme_type", "espeak") != "espeak" or not language.startswith("en"):
                raise InputError(f"{path}: the voice speaks {language[:20]}; only English ones can be used, others "
                                 "through --tts-command")  # fmt: skip
            rate, inference = int(found["audio"]["sample_rate"]), found.get("inference", {})
            defaults = {"noise_scale": 0.667, "length_scale": 1.0, "noise_w": 0.8}
            noise, length, noise_w = (float(inference.get(name, value)) for name, value in defaults.items())
            ids = {str(k): tuple(int(n) for n in v) for k, v in found["phoneme_id_map"].items()}
            speakers = int(found.get("num_speakers", 1))
            missing = [symbol for symbol in (START, END, GAP) if not ids.get(symbol)]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(f"{path}: is not that of a Piper voice ({reason(error)})") from error
        if missing:
            raise InputError(f"{path}: is not that of a Piper voice (no symbol {missing[0]})")
        RATES.check(f"{path}: sample_rate", rate)
        LENGTH.check(f"{path}: length_scale", length)
        for scale in (noise, noise_w):
            NOISE.check(f"{path}: noise", scale)
        for number in (n for numbers in ids.values() for n in numbers):
            SYMBOLS.check(f"{path}: a phoneme's number", number)
        return cls(rate, ids, (noise, length, noise_w), speakers)

    def numbers(self, phonemes: str) -> Int64[np.ndarray, " n"]:
        """Returns phonemes as the voice takes them, int64 [n]; those that it does not know are left out."""
        found = [*self.ids[START], *self.ids[GAP]]
        for phoneme in phonemes:
            if phoneme in self.ids:
                found += [*self.ids[phoneme], *self.ids[GAP]]
        return np.array([*found, *self.ids[END]], np.int64)


class PiperVoice:
    """A voice; `speak` is `TextToSpeech`'s, and may be called from several threads.

    Args:
        path: of the ONNX file; its settings are in the file of the same name with `.json` added.

    Raises:
        InputError: a file is missing, damaged, too large, or of another kind; no dictionary of English is installed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._settings = VoiceSettings.read(path.with_name(f"{path.name}.json"))
        content = read_bytes(path, LARGEST_VOICE, "give a Piper voice, such as en_US-joe-medium.onnx")
        english.prepare()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise InputError(f"{path}: cannot be opened ({reason(error)[:200]}); give a Piper voice") from error
        wanted = {"input", "input_lengths", "scales", *(["sid"] if self._settings.speakers > 1 else [])}
        given = {each.name for each in self._session.get_inputs()}
        if given != wanted:
            raise InputError(f"{path}: takes {', '.join(sorted(given))[:200]}, as no Piper voice of its settings does")

    def speak(self, words: str) -> Iterator[Float32[np.ndarray, " n"]]:
        """Yields a sentence's sound; see `TextToSpeech.speak`."""
        said = english.phonemes(words)
        if not said:
            raise InputError(f"{words[:60]}: the voice speaks English, and finds no English in it")
        sound = self._sound(self._settings.numbers(said))
        if sound.size > LONGEST_SENTENCE * self._settings.rate:
            raise InputError(f"{self._path}: the voice does not come to an end")
        resampler = Resampler(self._settings.rate)
        yield resampler(pcm16(np.append(sound, np.zeros(round(PAUSE * self._settings.rate), np.float32))))
        yield resampler.rest()

    def _sound(self, numbers: np.ndarray) -> np.ndarray:
        """Runs the voice, for a minute at most; returns float32 [n] at its rate."""
        import onnxruntime

        inputs = {
            "input": numbers[None],
            "input_lengths": np.array([numbers.size], np.int64),
            "scales": np.array(self._settings.scales, np.float32),
        }
        if self._settings.speakers > 1:
            inputs["sid"] = np.zeros(1, np.int64)
        run = onnxruntime.RunOptions()
        timer = threading.Timer(LONGEST_SENTENCE, setattr, (run, "terminate", True))
        timer.start()
        try:
            sound = np.asarray(self._session.run(None, inputs, run)[0])
        except Exception as error:
            raise InputError(f"{self._path}: the voice failed ({reason(error)[:200]})") from error
        finally:
            timer.cancel()
        if sound.dtype.kind != "f":
            raise InputError(f"{self._path}: the voice gives {sound.dtype} instead of sound")
        return np.nan_to_num(sound.ravel().astype(np.float32), posinf=0.0, neginf=0.0)
