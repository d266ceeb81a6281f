"""`aed live`: the avatar answers in the browser, in real time."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from aed_nerfstudio.bounds import RENDERED_SIDE, Between
from aed_nerfstudio.commands.avatar_flags import AvatarFlags
from aed_nerfstudio.commands.flags import check_flags
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.jobs.signals import STOP, on_signals

if TYPE_CHECKING:
    from aed_nerfstudio.live.server import Server
    from aed_nerfstudio.live.text_to_speech import TextToSpeech


@dataclass(kw_only=True)
class Live(AvatarFlags):
    """Talk through an avatar in the browser, or have a program talk through it; Ctrl-C ends it."""

    size: str = "auto"
    """Width of the pictures in pixels; auto: the largest that this machine makes 20 times a second, while it hears
    speech."""
    lookahead: Annotated[float, Between(0, 1, "s")] = 0.12
    """Seconds of sound that the lips wait for: less is sooner, and less exact (docs/live.md has the table)."""
    background: str = "original"
    """The recording's, a colour (such as green), or a picture's or a video's file."""
    mark: bool = True
    """Show the words AI-generated in the picture."""
    voice: Path | None = None
    """A voice of the Piper project that speaks texts in English, its .onnx with its .json beside it; needs
    aed-nerfstudio[speak]."""
    tts_command: str | None = None
    """A program that speaks text: it reads a sentence from its standard input, and writes WAV or PCM16 to its output,
    such as "espeak-ng --stdin --stdout"."""
    tts_rate: Annotated[int, Between(4000, 192_000)] = 22_050
    """Samples a second of that program's output, where it writes no WAV header."""
    host: str = "127.0.0.1"
    """Address to listen on; another than this machine's own needs --token. See docs/security.md."""
    port: Annotated[int, Between(0, 65_535)] = 7008
    """Port to listen on; 0: any that is free."""
    token: str | None = None
    """What clients must know: the page is opened with ?token=..., programs send it as a bearer token."""

    def main(self) -> None:
        """Serves until it is stopped."""
        server = self.server()
        address = f"http://{'localhost' if self.host == '127.0.0.1' else self.host}:{server.port}/"
        came: list[int] = []

        def stop(number: int) -> None:
            came.append(number)
            server.end()

        with on_signals(stop, *STOP):
            server.run(lambda: print(f"live: {address}{'?token=...' if self.token else ''}", flush=True))
        if came:
            signal.raise_signal(came[0])  # ends as all commands do

    def server(self) -> Server:
        """Returns the server, which listens already."""
        from aed_nerfstudio.visitors import is_this_machine

        check_flags(self)
        size = self._width()
        self.check_avatar()
        token = self.token or ""
        if not is_this_machine(self.host) and len(token) < 8:
            raise InputError(
                f"--host {self.host}: opens the avatar to the network; add --token with 8 characters or more"
            )
        from aed_nerfstudio.live.access import Access
        from aed_nerfstudio.live.server import Server
        from aed_nerfstudio.live.studio import Studio
        from aed_nerfstudio.media.backgrounds import open_background

        voice = self._voice()
        background = open_background(self.background)
        avatar = self.avatar_of()
        if not self.mark:
            print("note: --no-mark: nothing in the picture says that it is generated; tell those who see it, as "
                  "the law asks in many places (in the EU: AI Act, article 50)")  # fmt: skip
        studio = Studio(avatar, size, self.lookahead, background, self.mark, voice)
        return Server(studio, Access(self.host, token), self.port)

    def _voice(self) -> TextToSpeech | None:
        """Returns what speaks texts; None where nothing does."""
        from aed_nerfstudio.live.piper_voice import PiperVoice
        from aed_nerfstudio.live.text_to_speech import CommandSpeech

        if self.voice is not None and self.tts_command is not None:
            raise InputError("--voice and --tts-command both speak texts; give one of them")
        if self.voice is not None:
            return PiperVoice(self.voice)
        return None if self.tts_command is None else CommandSpeech(self.tts_command, self.tts_rate)

    def _width(self) -> int | None:
        """Returns the width of the pictures; None for auto."""
        if self.size == "auto":
            return None
        if not self.size.isascii() or not self.size.isdigit():
            raise InputError(f"--size {self.size}: must be auto, or a number of pixels")
        RENDERED_SIDE.check("--size", int(self.size))
        return int(self.size)
