"""The avatar's own panel in nerfstudio's viewer: emotion, speech with sound, head, picture, and videos."""

from __future__ import annotations

import contextlib
import copy
import threading
import time

import viser
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.configs.base_config import ViewerConfig
from nerfstudio.viewer.viewer import Viewer
from nerfstudio.viewer.viewer_elements import ViewerControl
from torch import Tensor

from aed_nerfstudio.dataset.schema import Dataset
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.viewer import backdrops
from aed_nerfstudio.viewer.emotion_controls import EmotionControls, limit
from aed_nerfstudio.viewer.film import write_film
from aed_nerfstudio.viewer.performance import Performance, Setting, TalkingModel
from aed_nerfstudio.viewer.playback import Playback
from aed_nerfstudio.viewer.speech import Speech, speech_of_clip, speech_of_upload

REFUSED = "This cannot be used"
POSES = {"from the data": "recorded", "still": "still", "free camera": "free"}
BACKGROUNDS = ("original", "colour", "uploaded picture", "transparent (checkerboard)")
PLAYING_RATE = 12
"""Pictures a second that are aimed at while something moves: nerfstudio makes them as small as that takes, and for its
own 30 a CPU has to make them tiny."""
SLIDES = 0.1
"""Seconds between moves of the frame slider while it plays."""


class ControlPanel(ViewerControl):
    """Found by the viewer, which walks the pipeline's attributes; until then nothing is built.

    Args:
        model: what is shown; its `driver` is set when there is a viewer.
        dataset: that it was trained on.
    """

    def __init__(self, model: TalkingModel, dataset: Dataset) -> None:
        self.model = model
        self.dataset = dataset

    def _setup(self, viewer: Viewer) -> None:
        super()._setup(viewer)
        neutral = self.model.vocabulary.encode()
        names = dict.fromkeys(self.dataset.frames[i].clip for i in self.dataset.split("train"))
        self._clips = {f"clip {name}": name for name in names}
        first = speech_of_clip(self.dataset, next(iter(names)), neutral)
        self._uploads: dict[str, Speech] = {}
        self._performance = Performance(self.model, self.dataset, first, Setting(neutral))
        self._picture: Tensor | None = None
        self._film: threading.Thread | None = None
        self._built, self._slid = False, 0.0
        gui = self.viser_server.gui
        # Above nerfstudio's tabs, under its buttons.
        place = viewer.stats_markdown.order + 0.1
        with gui.add_folder("Emotion", order=place):
            self._emotion = EmotionControls(gui, self.model.vocabulary, self._changed)
        with gui.add_folder("Speech", order=place + 0.1):
            self._build_speech(gui)
        with gui.add_folder("Head", order=place + 0.2):
            self._build_head(gui)
        with gui.add_folder("Background", order=place + 0.3, expand_by_default=False):
            self._build_background(gui)
        with gui.add_folder("Video", order=place + 0.4, expand_by_default=False):
            self._build_film(gui)
        viewer.control_panel._time.set_hidden(True)  # the frame slider takes its place, at full resolution
        if viewer.config.max_num_display_images == ViewerConfig().max_num_display_images:
            # Hundreds of frames before one face hide it, and take the page many seconds to load.
            viewer.config.max_num_display_images = 0
            viewer.hide_images.visible = False
            viewer.control_panel._layer_depth.value = False  # nothing is left to hide behind the head
        self._built = True
        self._speak(first)
        self.viser_server.on_client_connect(self._connected)
        self.viser_server.on_client_disconnect(self._playback.forget)
        self.model.driver = self._drive

    # ---- building

    def _build_speech(self, gui: viser.GuiApi) -> None:
        self._source = gui.add_dropdown("Says", list(self._clips), hint="A clip of the dataset, or an uploaded sound.")
        self._upload = gui.add_upload_button("Upload a sound", icon=viser.Icon.UPLOAD, mime_type="audio/*,video/*")
        self._progress = gui.add_progress_bar(0, visible=False, animated=True)
        self._frame = gui.add_slider("Frame", 0, 1, 1, 0, hint="25 frames a second.")
        self._play = gui.add_button("Play", icon=viser.Icon.PLAYER_PLAY_FILLED)
        self._pause = gui.add_button("Pause", icon=viser.Icon.PLAYER_PAUSE_FILLED, visible=False)
        self._loop = gui.add_checkbox("Loop", False)
        self._rate = gui.add_slider(
            "Pictures/s", 4, 25, 1, PLAYING_RATE, hint="While it plays: more of them, or sharper ones."
        )
        self._clock = gui.add_number("Heard (s)", 0.0, step=0.001, disabled=True, hint="Where the sound is.")
        self._playback = Playback(self._clock, self._frame_due, self._stopped)
        self._source.on_update(lambda event: self._speak(self._chosen()))
        self._upload.on_upload(self._take_sound)
        self._frame.on_update(self._seek)
        self._play.on_click(self._start)
        self._pause.on_click(lambda event: self._stop())
        self._loop.on_update(lambda event: self._playback.loop(self._loop.value))
        self._rate.on_update(lambda event: self._aim())

    def _build_head(self, gui: viser.GuiApi) -> None:
        self._pose = gui.add_dropdown(
            "Pose", list(POSES), hint="As recorded, without motion, or seen from where you turn the camera to."
        )
        self._own_eyes = gui.add_checkbox("Own eyes", False, hint="Open the eyes by hand, not as recorded.")
        self._eyes = gui.add_slider("Eyes open", 0.0, 1.0, 0.01, 1.0, disabled=True)
        self._torso = gui.add_checkbox("Torso", True)
        for handle in (self._pose, self._eyes, self._torso):
            handle.on_update(lambda event: self._changed())

        @self._own_eyes.on_update
        def _(_) -> None:
            self._eyes.disabled = not self._own_eyes.value
            self._changed()

    def _build_background(self, gui: viser.GuiApi) -> None:
        self._background = gui.add_dropdown("Behind", list(BACKGROUNDS))
        self._colour = gui.add_rgb("Colour", (0, 177, 64))
        self._upload_picture = gui.add_upload_button("Upload a picture", icon=viser.Icon.PHOTO, mime_type="image/*")
        for handle in (self._background, self._colour):
            handle.on_update(lambda event: self._changed())
        self._upload_picture.on_upload(self._take_picture)

    def _build_film(self, gui: viser.GuiApi) -> None:
        width = self.dataset.camera.w
        self._width = gui.add_slider("Width", 64, max(1024, width), 2, width, hint="Of the video, pixels.")
        self._render = gui.add_button(
            "Render video", icon=viser.Icon.MOVIE, hint="The whole speech as set above, as an MP4 to download."
        )
        self._cancel = gui.add_button("Cancel", visible=False)
        self._film_progress = gui.add_progress_bar(0, visible=False)
        self._film_note = gui.add_markdown("", visible=False)
        self._render.on_click(self._start_film)
        self._cancel.on_click(lambda event: setattr(self, "_film_wanted", False))

    # ---- what is shown

    def _drive(self, camera: Cameras) -> dict[str, Tensor]:
        """Renders for the viewer, in its render threads, in place of the model's own choice."""
        performance = self._performance
        if self.viewer.render_tab_state.preview_render:
            share = 0.0 if camera.times is None else float(camera.times.flatten()[0])
            return performance.seen_by(performance.frame_at(share), camera)
        frame = self._playback.frame
        images = performance.framed(frame, camera)
        # nerfstudio gives every browser a thread of its own.
        self._playback.announce(frame, getattr(threading.current_thread(), "client", None))
        return images

    def _changed(self) -> None:
        if not self._built:
            return
        self._colour.disabled = self._background.value != "colour"
        self._performance.setting = Setting(
            emotion=self._emotion.vector,
            pose=POSES[self._pose.value],
            eyes=min(max(self._eyes.value, 0.0), 1.0) if self._own_eyes.value else None,
            torso=self._torso.value,
            background=self._behind(),
        )
        self._show()

    def _behind(self) -> Tensor | None:
        kind = self._background.value
        behind = None
        if kind == "colour":
            behind = backdrops.plain(self._colour.value)
        elif kind == "uploaded picture":
            behind = self._picture
        elif kind.startswith("transparent"):
            behind = backdrops.checkerboard()
        return None if behind is None else behind.to(self.model.device)

    def _show(self) -> None:
        self.viewer._trigger_rerender()

    # ---- speech

    def _chosen(self) -> Speech:
        name = self._source.value
        if name in self._uploads:
            return self._uploads[name]
        return speech_of_clip(self.dataset, self._clips[name], self.model.vocabulary.encode())

    def _speak(self, speech: Speech) -> None:
        if speech is self._playback.speech:
            return
        self._performance.speech = speech
        self._playback.load(speech)
        limit(self._frame, 0, max(1, len(speech.track) - 1))
        self._stopped()

    def _take_sound(self, event: viser.GuiEvent) -> None:
        file = event.target.value

        def report(what: str, share: float) -> None:
            self._progress.visible = True
            self._progress.value = 100 * share
            note.title, note.body = what, file.name

        note = event.client.add_notification("reading the sound", file.name, loading=True, with_close_button=False)
        try:
            speech = speech_of_upload(
                self.dataset, file.name, file.content, self.model.vocabulary.encode(), report
            )
        except InputError as error:
            event.client.add_notification(REFUSED, str(error), color="red", auto_close=20_000)
            return
        finally:
            self._progress.visible = False
            note.remove()
        self._uploads[speech.name] = speech
        self._source.options = (*self._clips, *self._uploads)
        self._speak(speech)  # before the menu says so; it may have said so before, of a file of the same name
        self._source.value = speech.name

    def _take_picture(self, event: viser.GuiEvent) -> None:
        file, camera = event.target.value, self.dataset.camera
        try:
            scale = max(1.0, 512 / camera.w)
            size = round(scale * camera.w), round(scale * camera.h)
            self._picture = backdrops.uploaded(file.name, file.content, size)
        except InputError as error:
            event.client.add_notification(REFUSED, str(error), color="red", auto_close=20_000)
            return
        self._background.value = "uploaded picture"
        self._changed()

    def _start(self, event: viser.GuiEvent) -> None:
        self._aim()
        self._playback.play(event.client)
        self._play.visible, self._pause.visible = False, True

    def _stop(self) -> None:
        self._playback.pause()
        self._stopped()

    def _stopped(self) -> None:
        self._play.visible, self._pause.visible = True, False
        self._frame.value = self._playback.frame
        self._show()

    def _frame_due(self, frame: int) -> None:
        self._show()
        now = time.monotonic()
        if now - self._slid > SLIDES:
            self._frame.value, self._slid = frame, now

    def _seek(self, event: viser.GuiEvent) -> None:
        if event.client is not None:  # else it is ours that set it
            self._playback.seek(min(max(self._frame.value, 0), len(self._performance) - 1))
            self._show()

    def _aim(self) -> None:
        for machine in self.viewer.render_statemachines.values():
            machine.target_fps = self._rate.value

    def _connected(self, client: viser.ClientHandle) -> None:
        self._aim()

    # ---- videos

    def _start_film(self, event: viser.GuiEvent) -> None:
        self._film_wanted = True
        client = event.client
        camera, width = self.dataset.camera, self._width.value
        browser = self.get_camera(round(camera.h * width / camera.w), width, client.client_id)
        self._render.visible, self._cancel.visible, self._film_progress.visible = False, True, True
        self._film_progress.value = 0
        performance = copy.copy(self._performance)  # what is set now, whatever is set while it is rendered
        work = lambda: self._make_film(performance, width, browser, client)  # noqa: E731
        threading.Thread(target=work, daemon=True).start()

    def _make_film(
        self, performance: Performance, width: int, browser: Cameras | None, client: viser.ClientHandle
    ) -> None:
        name = f"{time.strftime('%Y-%m-%d_%H%M%S')}.mp4"
        path = self.viewer.log_filename.parent / "renders" / name
        started = time.monotonic()

        def report(done: int, total: int) -> bool:
            left = (time.monotonic() - started) / done * (total - done)
            self._film_progress.value = 100 * done / total
            self._say(f"{done} of {total} frames, {left:.0f} s left")
            return self._film_wanted

        try:
            lock = self.viewer.train_lock or contextlib.nullcontext()
            if write_film(path, performance, width, browser, lock, report):
                self._say(f"kept as `{path}`")
                client.send_file_download(name, path.read_bytes())
            else:
                self._say("cancelled")
        except InputError as error:
            self._say(f"`{error}`")  # as it stands: viser reads braces and angles in markdown as code
        finally:
            self._render.visible, self._cancel.visible, self._film_progress.visible = True, False, False

    def _say(self, text: str) -> None:
        self._film_note.visible = True
        self._film_note.content = text
