"""The avatar as the panel sets it: any frame of what it says, for any camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor, nn

from aed_nerfstudio.avatar.renderers.renderer import Renderer
from aed_nerfstudio.driving.track import DrivingTrack, FrameCondition
from aed_nerfstudio.viewer.speech import Speech

Pose = Literal["recorded", "still", "free"]


@dataclass(frozen=True)
class Setting:
    """Everything that the panel decides but the frame."""

    emotion: np.ndarray
    """From `EmotionVocabulary.encode`."""
    pose: Pose = "recorded"
    """Where the head is: as it was recorded, with the emotion where the speech was not, in its most typical pose, or
    where the browser's camera sees it."""
    eyes: float | None = None
    """Openness, 0..1; None: as recorded."""
    torso: bool = True
    background: Tensor | None = None
    """float [H, W, 3] in 0..1, the whole picture; None: the recording's."""


class Performance:
    """Renders frames of a speech under a setting; both may be replaced at any time, also from other threads."""

    def __init__(self, renderer: Renderer, speech: Speech, setting: Setting) -> None:
        self.renderer = renderer
        self.speech = speech
        self.setting = setting
        self._assembler = renderer.portrait.assembler()
        self._shown = speech, setting.emotion, speech.shown_with(setting.emotion)

    def __len__(self) -> int:
        return len(self.speech.track)

    def frame_at(self, share: float) -> int:
        """Returns the frame at a time from 0, the first, to 1, the last."""
        return round(min(max(share, 0.0), 1.0) * (len(self) - 1))

    def condition(self, frame: int, seen_from: np.ndarray | None = None) -> FrameCondition:
        """Returns what drives a frame; seen_from: camera-to-world [3, 4] of the free camera."""
        setting = self.setting
        track = self._track(setting.emotion)
        condition = track[min(frame, len(track) - 1)]
        still = setting.pose == "still"
        condition = self._assembler.changed(condition, setting.emotion, still, setting.eyes)
        if setting.pose == "free" and seen_from is not None:
            condition = self._assembler.seen_from(condition, seen_from)
        return condition

    def _track(self, emotion: np.ndarray) -> DrivingTrack:
        """Returns the speech's track with the head motion of an emotion."""
        wanted, (speech, shown_emotion, track) = self.speech, self._shown
        if speech is not wanted or shown_emotion is not emotion:
            track = wanted.shown_with(emotion)
            self._shown = wanted, emotion, track
        return track

    def picture(self, frame: int, width: int, height: int, browser: Cameras | None = None) -> dict[str, Tensor]:
        """Renders a frame in the recording's picture, scaled to a size of its shape.

        Args:
            browser: one camera, the browser's, which places the free camera; the others are placed by the recording.

        Returns:
            The images of `Renderer.render`, [height, width, C] each.
        """
        recorded = self.renderer.portrait.camera.resized(width, height)
        free = browser if self.setting.pose == "free" else None
        pose = None if free is None else free.camera_to_worlds.reshape(-1, 3, 4)[0].cpu().numpy()
        condition = self.condition(frame, pose)
        place = condition.head_pose if pose is None else pose
        camera = Cameras(
            camera_to_worlds=torch.from_numpy(np.asarray(place, np.float32))[None],
            fx=recorded.fl_x if free is None else free.fx.item(),
            fy=recorded.fl_y if free is None else free.fy.item(),
            cx=recorded.cx,
            cy=recorded.cy,
            width=width,
            height=height,
        )
        return self._render(camera, condition)

    def framed(self, frame: int, browser: Cameras) -> dict[str, Tensor]:
        """Renders a frame for a browser's window: the largest picture of the recording's shape, in the middle, before
        black.

        A window is wider than the recording, which shows nothing of what is beside it.
        """
        width, height = int(browser.width.item()), int(browser.height.item())
        recorded = self.renderer.portrait.camera
        scale = min(width / recorded.w, height / recorded.h)
        inner = max(1, round(scale * recorded.w)), max(1, round(scale * recorded.h))
        left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
        border = (0, 0, left, width - inner[0] - left, top, height - inner[1] - top)
        return {name: nn.functional.pad(image, border) for name, image in self.picture(frame, *inner, browser).items()}

    def seen_by(self, frame: int, camera: Cameras) -> dict[str, Tensor]:
        """Renders a frame as a camera [1] of any shape sees it: what `ns-render` makes of a camera path."""
        pose = camera.camera_to_worlds.reshape(-1, 3, 4)[0].cpu().numpy()
        return self._render(camera, self._assembler.seen_from(self.condition(frame), pose))

    def _render(self, camera: Cameras, condition: FrameCondition) -> dict[str, Tensor]:
        setting = self.setting
        return self.renderer.render(
            camera.to(self.renderer.network.device), condition, setting.background, show_torso=setting.torso
        )
