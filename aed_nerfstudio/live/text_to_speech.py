"""Engines that speak text. One is a program of the user's choice; another is a new class with `speak`."""

from __future__ import annotations

import io
import shlex
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Generator, Iterator
from typing import IO, Protocol, cast

import numpy as np
from jaxtyping import Float32

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.live.resampling import Resampler, read_wav_header

LONGEST_SENTENCE = 60.0
"""Seconds that a program may take for one sentence, and that it may last."""
LONGEST_HEADER = 10_000
"""Bytes before a WAV's samples at most."""
PIECE = 8192
"""Bytes that are read of a program's output at a time."""


class TextToSpeech(Protocol):
    """Speaks sentences."""

    def speak(self, words: str) -> Iterator[Float32[np.ndarray, " n"]]:
        """Yields the sound of a sentence as it comes, float32 [n] mono at 16 kHz; closing the iterator ends the work.

        Raises:
            InputError: it cannot be spoken.
        """
        ...


class CommandSpeech:
    """Speaks by a program that reads a sentence as UTF-8 from its standard input and writes sound to its output.

    Args:
        command: as it is typed, without a shell, such as `espeak-ng --stdin --stdout`.
        rate: samples a second of PCM16 mono without a header; a WAV header says its own.

    Raises:
        InputError: no command, or its program is not there.
    """

    def __init__(self, command: str, rate: int = 22_050) -> None:
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise InputError(f"--tts-command {command}: {error}; check the quotes") from error
        if not self._words or shutil.which(self._words[0]) is None:
            raise InputError(f"--tts-command {command}: there is no such program; check that it is installed")
        self._rate = rate

    def speak(self, words: str) -> Iterator[Float32[np.ndarray, " n"]]:
        """Yields the program's sound; see `TextToSpeech.speak`."""
        try:
            process = subprocess.Popen(
                self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
            )
        except OSError as error:
            raise InputError(f"--tts-command: {self._words[0]} does not start ({error.strerror})") from error
        timer = threading.Timer(LONGEST_SENTENCE, process.kill)
        timer.start()
        said: deque[bytes] = deque(maxlen=10)
        errors = cast(IO[bytes], process.stderr)
        complaint = threading.Thread(target=lambda: said.extend(iter(lambda: errors.read(1000), b"")), daemon=True)
        complaint.start()
        try:
            threading.Thread(target=_give, args=(process, words), daemon=True).start()
            total = yield from self._read(cast(IO[bytes], process.stdout))
            if process.wait() != 0:
                complaint.join(1)
                text = b"".join(said).decode(errors="replace").strip().splitlines() or [""]
                code = process.returncode
                raise InputError(f"the program that speaks text ended with {code}: {text[-1][:200]}; try it by hand")
            if not total:
                raise InputError("the program that speaks text wrote no sound; check --tts-command and --tts-rate")
        finally:
            timer.cancel()
            process.kill()
            process.wait()
            complaint.join(1)
            cast(IO[bytes], process.stdout).close()

    def _read(self, stream: IO[bytes]) -> Generator[np.ndarray, None, int]:
        """Yields what comes as PCM, or as WAV; returns how many samples there were."""
        start = b""
        while len(start) < LONGEST_HEADER and (piece := stream.read(PIECE)):
            start += piece
            if not b"RIFF".startswith(start[:4]) or b"data" in start[:-4]:
                break
        rate, channels, start = read_wav_header(start) if start[:4] == b"RIFF" else (self._rate, 1, start)
        resampler, total, rest = Resampler(rate, channels), 0, b""
        piece = start
        while piece:
            piece, whole = rest + piece, 2 * channels
            rest = piece[len(piece) // whole * whole :]
            sound = resampler(piece[: len(piece) - len(rest)])
            total += sound.size
            if total > LONGEST_SENTENCE * 16_000:
                raise InputError("the program that speaks text does not come to an end; check --tts-command")
            if sound.size:
                yield sound
            piece = stream.read(PIECE)
        yield resampler.rest()
        return total


def _give(process: subprocess.Popen, words: str) -> None:
    """Writes a sentence to a program, which need not read it."""
    try:
        stream = cast(io.RawIOBase, process.stdin)
        stream.write(words.encode() + b"\n")
        stream.close()
    except OSError:
        pass
