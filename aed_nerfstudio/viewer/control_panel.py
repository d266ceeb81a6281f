"""The avatar's own panel in nerfstudio's viewer: emotion, speech with sound, head, picture, and videos."""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections.abc import Callable
from typing import Protocol

import viser
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.configs.base_config import ViewerConfig
from nerfstudio.viewer.viewer import Viewer
from nerfstudio.viewer.viewer_elements import ViewerControl
from torch import Tensor

from aed_nerfstudio.avatar.renderers.renderer import Renderer
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import inside
from aed_nerfstudio.viewer import private
from aed_nerfstudio.viewer.emotion_controls import EmotionControls
from aed_nerfstudio.viewer.film import write_film
from aed_nerfstudio.viewer.own_panel import OwnPanel
from aed_nerfstudio.viewer.performance import Performance, Pose, Setting
from aed_nerfstudio.viewer.speech import Recordings
from aed_nerfstudio.viewer.uploads import Limits

POSES: dict[str, Pose] = {"from the data": "recorded", "still": "still", "free camera": "free"}


class DrivenModel(Protocol):
    """The parts of nerfstudio's model that the panel reads and sets."""

    renderer: Renderer
    driver: Callable[[Cameras], dict[str, Tensor]] | None
    """Renders the cameras that name no frame of the dataset."""


class ControlPanel(ViewerControl):
    """Found by the viewer, which walks the pipeline's attributes; until then nothing is built.

    Emotion, head and videos are for all browsers; speech and background are each one's own, see `OwnPanel`.

    Args:
        model: nerfstudio's; its `driver` is set when there is a viewer.
        recordings: the clips that the avatar can repeat.
        uploads: what a browser may send.
    """

    def __init__(self, model: DrivenModel, recordings: Recordings, uploads: Limits) -> None:
        private.install()  # there is no viewer before there is a panel
        self.model = model
        self.recordings = recordings
        self.uploads = uploads

    def _setup(self, viewer: Viewer) -> None:
        super()._setup(viewer)
        portrait = self.model.renderer.portrait
        neutral = portrait.vocabulary.encode()
        self._performance = Performance(self.model.renderer, self.recordings.first(portrait), Setting(neutral))
        self._panels: dict[int, OwnPanel] = {}
        self._film_work = threading.Lock()
        self._built = False
        gui = self.viser_server.gui
        # Above nerfstudio's tabs, under its buttons.
        place = viewer.stats_markdown.order + 0.1
        self._own_places = place + 0.1, place + 0.3
        with gui.add_folder("Emotion", order=place):
            self._emotion = EmotionControls(gui, portrait.vocabulary, self._changed)
        with gui.add_folder("Head", order=place + 0.2):
            self._build_head(gui)
        with gui.add_folder("Video", order=place + 0.4, expand_by_default=False):
            self._build_film(gui)
        private.hide_time(viewer)  # the frame slider takes its place, at full resolution
        if viewer.config.max_num_display_images == ViewerConfig().max_num_display_images:
            # Hundreds of frames before one face hide it, and take the page many seconds to load.
            viewer.config.max_num_display_images = 0
            viewer.hide_images.visible = False
            private.show_pictures_before_all(viewer)  # nothing is left to hide behind the head
        self._built = True
        self.viser_server.on_client_disconnect(self._gone)
        self.viser_server.on_client_connect(self._connected)
        self.model.driver = self._drive

    # ---- building

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

    def _build_film(self, gui: viser.GuiApi) -> None:
        width = self.model.renderer.portrait.camera.w
        self._width = gui.add_slider("Width", 64, max(1024, width), 2, width, hint="Of the video, pixels.")
        self._render = gui.add_button(
            "Render video", icon=viser.Icon.MOVIE, hint="The whole speech as set above, as an MP4 to download."
        )
        self._cancel = gui.add_button("Cancel", visible=False)
        self._film_progress = gui.add_progress_bar(0, visible=False)
        self._film_note = gui.add_markdown("", visible=False)
        self._render.on_click(self._start_film)
        self._cancel.on_click(lambda event: setattr(self, "_film_wanted", False))

    # ---- browsers

    def _connected(self, client: viser.ClientHandle) -> None:
        performance = copy.copy(self._performance)
        self._panels[client.client_id] = OwnPanel(
            client, self.viewer, performance, self.recordings, self.uploads, self._own_places
        )

    def _gone(self, client: viser.ClientHandle) -> None:
        private.forget_uploads(client)
        panel = self._panels.pop(client.client_id, None)
        if panel is not None:
            panel.close()

    # ---- what is shown

    def _drive(self, camera: Cameras) -> dict[str, Tensor]:
        """Renders for the viewer, in its render threads, in place of the model's own choice."""
        client = getattr(threading.current_thread(), "client", None)  # nerfstudio gives every browser a thread
        panel = None if client is None else self._panels.get(client.client_id)
        performance = self._performance if panel is None else panel.performance
        if self.viewer.render_tab_state.preview_render:
            share = 0.0 if camera.times is None else float(camera.times.flatten()[0])
            return performance.seen_by(performance.frame_at(share), camera)
        frame = 0 if panel is None else panel.frame
        images = performance.framed(frame, camera)
        if panel is not None:
            panel.announce(frame)
        return images

    def _changed(self) -> None:
        if not self._built:
            return
        self._performance.setting = setting = Setting(
            emotion=self._emotion.vector,
            pose=POSES[self._pose.value],
            eyes=self._eyes.value if self._own_eyes.value else None,
            torso=self._torso.value,
        )
        for panel in list(self._panels.values()):
            panel.apply(setting)

    # ---- videos

    def _start_film(self, event: viser.GuiEvent) -> None:
        client = event.client
        if client is None:
            return
        if not self._film_work.acquire(blocking=False):
            raise InputError("a video is being rendered already; wait for it, or cancel it")
        try:
            camera, width = self.model.renderer.portrait.camera, self._width.value
            browser = self.get_camera(round(camera.h * width / camera.w), width, client.client_id)
            performance = copy.copy(self._panels[client.client_id].performance)  # what is set now
            work = lambda: self._make_film(performance, width, browser, client)  # noqa: E731
            self._film_wanted = True
            threading.Thread(target=work, daemon=True).start()
        except BaseException:
            self._film_work.release()
            raise

    def _make_film(
        self, performance: Performance, width: int, browser: Cameras | None, client: viser.ClientHandle
    ) -> None:
        name = f"{time.strftime('%Y-%m-%d_%H%M%S')}.mp4"
        folder = self.viewer.log_filename.parent
        path = folder / "renders" / name
        started = time.monotonic()
        self._render.visible, self._cancel.visible, self._film_progress.visible = False, True, True
        self._film_progress.value = 0

        def report(done: int, total: int) -> bool:
            left = (time.monotonic() - started) / done * (total - done)
            self._film_progress.value = 100 * done / total
            self._say(f"{done} of {total} frames, {left:.0f} s left")
            return self._film_wanted

        try:
            lock = self.viewer.train_lock or contextlib.nullcontext()
            if write_film(inside(path, folder), performance, width, browser, lock, report):
                self._say(f"kept as `{path}`")
                client.send_file_download(name, path.read_bytes())
            else:
                self._say("cancelled")
        except InputError as error:
            self._say(f"`{error}`")  # as it stands: viser reads braces and angles in markdown as code
        finally:
            self._render.visible, self._cancel.visible, self._film_progress.visible = True, False, False
            self._film_work.release()

    def _say(self, text: str) -> None:
        self._film_note.visible = True
        self._film_note.content = text
