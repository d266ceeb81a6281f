"""Where the viewer's camera stands when a browser connects: before the face, upright, at the recorded distance."""

from __future__ import annotations

import math

import numpy as np
import viser
from nerfstudio.viewer.viewer import VISER_NERFSTUDIO_SCALE_RATIO, Viewer
from nerfstudio.viewer.viewer_elements import ViewerControl

from aed_nerfstudio.avatar.portrait import Portrait


class StartView(ViewerControl):
    """nerfstudio starts at a fixed place in a world whose z is up: inside this head, which has y up."""

    def __init__(self, camera_to_world: np.ndarray, fov: float) -> None:
        """Takes the camera's place, camera_to_world [3, 4] (OpenGL), and its vertical opening, fov, in radians."""
        self.camera_to_world = camera_to_world
        self.fov = fov

    @classmethod
    def of(cls, portrait: Portrait) -> StartView:
        """Returns the view of a portrait's first recorded pose."""
        return cls(portrait.motion.poses[0], 2 * math.atan(portrait.camera.h / 2 / portrait.camera.fl_y))

    def _setup(self, viewer: Viewer) -> None:
        super()._setup(viewer)
        self.viser_server.on_client_connect(self._place)

    def _place(self, client: viser.ClientHandle) -> None:
        position = VISER_NERFSTUDIO_SCALE_RATIO * self.camera_to_world[:, 3]
        forward = -self.camera_to_world[:, 2]
        client.camera.up_direction = self.camera_to_world[:, 1]
        client.camera.position = position
        # The point that dragging turns around: the head's, at the same distance along the view.
        client.camera.look_at = position + np.linalg.norm(position) * forward
        client.camera.fov = self.fov
