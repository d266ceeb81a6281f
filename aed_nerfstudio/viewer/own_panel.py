"""What each browser has for itself: what the avatar says, and what is behind it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import viser
from nerfstudio.viewer.render_state_machine import RenderAction
from nerfstudio.viewer.viewer import Viewer
from torch import Tensor

from aed_nerfstudio.viewer import backdrops, private
from aed_nerfstudio.viewer.performance import Performance, Setting
from aed_nerfstudio.viewer.playback import Playback
from aed_nerfstudio.viewer.speech import Recordings, Speech, speech_of_nothing, speech_of_upload
from aed_nerfstudio.viewer.uploads import Limits, shown

BACKGROUNDS = ("original", "colour", "uploaded picture", "transparent (checkerboard)")
PLAYING_RATE = 12
"""Pictures a second that are aimed at while something moves: nerfstudio makes them as small as that takes, and for its
own 30 a CPU has to make them tiny."""
NOTHING = "nothing"
"""Is said where there is no recording."""
SLIDES = 0.1
"""Seconds between moves of the frame slider while it plays."""


class OwnPanel:
    """The folders "Speech" and "Background" of one browser. What it uploads is shown and played to nobody else, and
    forgotten when it leaves.

    Args:
        client: the browser.
        viewer: nerfstudio's.
        performance: of its own; starts with what is said first.
        recordings: the clips that it may choose.
        uploads: what it may send.
        place: where the two folders go among those that all share.
    """

    def __init__(
        self,
        client: viser.ClientHandle,
        viewer: Viewer,
        performance: Performance,
        recordings: Recordings,
        uploads: Limits,
        place: tuple[float, float],
    ) -> None:
        self.client, self.viewer, self.performance, self.uploads = client, viewer, performance, uploads
        self.portrait, self.recordings = performance.renderer.portrait, recordings
        self._clips = {f"clip {name}": name for name in recordings.names}
        self._uploaded: dict[str, Speech] = {}
        self._picture: Tensor | None = None
        self._slid = 0.0
        self._buttons: list[private.GuiUploadButtonHandle] = []
        with client.gui.add_folder("Speech", order=place[0]):
            self._build_speech(client.gui)
        with client.gui.add_folder("Background", order=place[1], expand_by_default=False):
            self._build_background(client.gui)
        self._load(performance.speech)
        self._aim()
        for button in self._buttons:
            button.disabled = False

    def _build_speech(self, gui: viser.GuiApi) -> None:
        hint = "A clip of the recording, or what you uploaded."
        self._source = gui.add_dropdown("Says", list(self._clips) or [NOTHING], hint=hint)
        self._button(gui, "Upload a sound", viser.Icon.UPLOAD, "audio/*,video/*", self._take_sound)
        self._progress = gui.add_progress_bar(0, visible=False, animated=True)
        self._frame = gui.add_slider("Frame", 0, 1, 1, 0, hint="25 frames a second.")
        self._play = gui.add_button("Play", icon=viser.Icon.PLAYER_PLAY_FILLED)
        self._pause = gui.add_button("Pause", icon=viser.Icon.PLAYER_PAUSE_FILLED, visible=False)
        self._loop = gui.add_checkbox("Loop", False)
        self._rate = gui.add_slider(
            "Pictures/s", 4, 25, 1, PLAYING_RATE, hint="While it plays: more of them, or sharper ones."
        )
        clock = gui.add_number("Heard (s)", 0.0, 0.0, step=0.001, disabled=True, hint="Where the sound is.")
        private.disable_for_people(clock)
        self._playback = Playback(self.client, clock, self._frame_due, self._stopped)
        self._source.on_update(lambda event: self._speak())
        self._frame.on_update(self._seek)
        self._play.on_click(lambda event: self._start())
        self._pause.on_click(lambda event: self._stop())
        self._loop.on_update(lambda event: self._playback.loop(self._loop.value))
        self._rate.on_update(lambda event: self._aim())

    def _build_background(self, gui: viser.GuiApi) -> None:
        self._background = gui.add_dropdown("Behind", list(BACKGROUNDS))
        self._colour = gui.add_rgb("Colour", (0, 177, 64), disabled=True)
        self._button(gui, "Upload a picture", viser.Icon.PHOTO, "image/*", self._take_picture)
        for handle in (self._background, self._colour):
            handle.on_update(lambda event: self.apply(self.performance.setting))

    def _button(
        self, gui: viser.GuiApi, label: str, icon: viser.IconName, kinds: str, take: Callable[[str, bytes], None]
    ) -> None:
        def uploaded(event: viser.GuiEvent) -> None:
            file = private.take_upload(event.target)
            take(shown(file.name), file.content)

        limits = f"up to {self.uploads.megabytes:g} MiB, and {self.uploads.minutes:g} minutes of sound"
        hint = f"For this browser only, and as long as it stays; {limits}."
        # Disabled until all is there that takes a file: the browser has it before this function goes on.
        button = gui.add_upload_button(label, disabled=True, icon=icon, mime_type=kinds, hint=hint)
        private.limit_uploads(button, self.uploads)
        button.on_upload(uploaded)
        self._buttons.append(button)

    # ---- what is shown

    @property
    def frame(self) -> int:
        return self._playback.frame

    def announce(self, frame: int) -> None:
        self._playback.announce(frame)

    def apply(self, setting: Setting) -> None:
        """Shows what all share when that has changed, or what is behind."""
        self._colour.disabled = self._background.value != "colour"
        self.performance.setting = replace(setting, background=self._behind())
        self.show()

    def show(self) -> None:
        machine = self.viewer.render_statemachines.get(self.client.client_id)
        if machine is not None and self.viewer.ready:
            machine.action(RenderAction("move", self.viewer.get_camera_state(self.client)))

    def close(self) -> None:
        """Forgets what a browser has uploaded when it has gone."""
        self._playback.pause()
        self._uploaded.clear()

    def _behind(self) -> Tensor | None:
        kind = self._background.value
        behind = None
        if kind == "colour":
            behind = backdrops.plain(self._colour.value)
        elif kind == "uploaded picture":
            behind = self._picture
        elif kind.startswith("transparent"):
            behind = backdrops.checkerboard()
        return None if behind is None else behind.to(self.performance.renderer.network.device)

    def _take_picture(self, name: str, content: bytes) -> None:
        camera = self.portrait.camera
        scale = max(1.0, 512 / camera.w)
        self._picture = backdrops.uploaded(name, content, (round(scale * camera.w), round(scale * camera.h)))
        self._background.value = "uploaded picture"
        self.apply(self.performance.setting)

    # ---- speech

    def _speak(self) -> None:
        name = self._source.value
        speech = self._uploaded.get(name)
        if speech is None:
            clip = self._clips.get(name)
            speech = speech_of_nothing(self.portrait) if clip is None else self.recordings.speech(clip, self.portrait)
        self._load(speech)

    def _load(self, speech: Speech) -> None:
        if speech is self._playback.speech:
            return
        self.performance.speech = speech
        self._playback.load(speech)
        private.set_ends(self._frame, 0, max(1, len(speech.track) - 1))
        self._stopped()

    def _take_sound(self, name: str, content: bytes) -> None:
        def report(what: str, share: float) -> None:
            self._progress.visible = True
            self._progress.value = 100 * share
            note.title, note.body = what, name

        note = self.client.add_notification("reading the sound", name, loading=True, with_close_button=False)
        try:
            speech = speech_of_upload(self.portrait, name, content, self.uploads.minutes, report)
        finally:
            self._progress.visible = False
            note.remove()
        # Another one of the same name takes its place.
        self._uploaded[name] = speech
        self._source.options = (*(self._clips or [NOTHING]), *self._uploaded)
        self._load(speech)  # before the menu says so; it may have said so before
        self._source.value = name

    def _start(self) -> None:
        self._aim()
        self._playback.play()
        self._play.visible, self._pause.visible = False, True

    def _stop(self) -> None:
        self._playback.pause()
        self._stopped()

    def _stopped(self) -> None:
        self._play.visible, self._pause.visible = True, False
        self._frame.value = self._playback.frame
        self.show()

    def _frame_due(self, frame: int) -> None:
        self.show()
        now = time.monotonic()
        if now - self._slid > SLIDES:
            self._frame.value, self._slid = frame, now

    def _seek(self, event: viser.GuiEvent) -> None:
        if event.client is not None:  # else it is ours that set it
            self._playback.seek(self._frame.value)
            self.show()

    def _aim(self) -> None:
        machine = self.viewer.render_statemachines.get(self.client.client_id)
        if machine is not None:
            machine.target_fps = self._rate.value
