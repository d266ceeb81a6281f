"""Pictures of an avatar: the one way in, whatever device it is on."""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from aed_nerfstudio.avatar.network import Network
from aed_nerfstudio.avatar.portrait import Portrait
from aed_nerfstudio.avatar.renderers.begun import Begun
from aed_nerfstudio.avatar.renderers.culled import CulledRenderer
from aed_nerfstudio.avatar.renderers.layers import relit
from aed_nerfstudio.avatar.renderers.recorded import RecordedRenderer
from aed_nerfstudio.driving.track import FrameCondition
from aed_nerfstudio.fields.head_field import EncodedCondition


class Renderer:
    """Renders one camera at a time.

    Args:
        network: of the avatar.
        portrait: of the avatar.
    """

    def __init__(self, network: Network, portrait: Portrait) -> None:
        self.network, self.portrait = network, portrait
        self.culled = CulledRenderer(network, portrait)
        self.recorded = RecordedRenderer(network, portrait, self.culled.torso_region)
        self._last: CulledRenderer | RecordedRenderer = self.culled

    @property
    def evaluated(self) -> int:
        """Returns how many samples of the head the last picture took."""
        return self._last.evaluated

    def render(
        self,
        camera: Cameras,
        condition: FrameCondition,
        background: Float[Tensor, "h w 3"] | None = None,
        encoded: EncodedCondition | None = None,
        show_torso: bool = True,
    ) -> dict[str, Float[Tensor, "_ _ _"]]:
        """Renders one camera.

        The torso and the background belong to the recording's picture: a camera of another opening or shape sees the
        part of it that lies in its own picture, continued at the borders.

        Args:
            camera: one camera.
            condition: what drives the frame.
            background: [H',W',3] in 0..1, the recording's whole picture in any resolution; the portrait's where None.
            encoded: from the network's `encode([condition])`, where the caller has changed it (smoothed lips).
            show_torso: False leaves the torso out.

        Returns:
            Images [H,W,C] in 0..1: rgb; head (premultiplied by accumulation), accumulation (the head's alpha), torso
            (before the background), foreground (head and torso, premultiplied by alpha), alpha (of both), depth,
            ambient.
        """
        return self.begin(camera, condition, background, encoded, show_torso).whole()

    @torch.no_grad()
    def begin(
        self,
        camera: Cameras,
        condition: FrameCondition,
        background: Float[Tensor, "h w 3"] | None = None,
        encoded: EncodedCondition | None = None,
        show_torso: bool = True,
    ) -> Begun:
        """Begins to render one camera, as `render` does."""
        training = self.network.training
        if training:
            self.network.eval()
        camera = camera.reshape((1,))
        background = self.network.background if background is None else background
        if self.recorded.fits(camera):
            self._last = self.recorded
            begun = self.recorded.begin(camera, condition, background, encoded, show_torso)
            begun.again = partial(self.begin, camera, condition, background, encoded, show_torso)
        else:
            self._last = self.culled
            encoded = self.network.encode([condition]) if encoded is None else encoded
            begun = Begun(self.culled.render(camera, condition, background, encoded, show_torso))
        light = self.network.light_of(condition)
        if light is not None:
            begun.images = relit(begun.images, light)
        if training:
            self.network.train()
        return begun
