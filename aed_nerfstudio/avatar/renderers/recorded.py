"""Pictures on a GPU: the same work for every picture of a size, which the host starts at once and waits for at its end.

What a CPU gains by leaving things out (`CulledRenderer`) a GPU loses by telling the host what is left. Here the picture
takes as many samples as fit it with some room, however many its rays have; the host asks at the end whether all did. On
CUDA the work is recorded as a CUDA graph when a size is asked for a second time, and replayed from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod

import numpy as np
import torch
from jaxtyping import Bool, Float
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from aed_nerfstudio.avatar.network import Network
from aed_nerfstudio.avatar.portrait import Portrait
from aed_nerfstudio.avatar.renderers.begun import Begun
from aed_nerfstudio.avatar.renderers.culled import SAME_POSE
from aed_nerfstudio.avatar.renderers.layers import in_region, is_plain, layers, painted
from aed_nerfstudio.avatar.renderers.picture_plane import directions_at, in_recording, on_torso, plane
from aed_nerfstudio.backends import resolve
from aed_nerfstudio.driving.track import FrameCondition
from aed_nerfstudio.fields.head_field import EncodedCondition, spherical_harmonics
from aed_nerfstudio.rendering.compositing import composite
from aed_nerfstudio.rendering.cuda_graphs import CudaGraphs
from aed_nerfstudio.rendering.ray_marching import march_rays_within
from aed_nerfstudio.rendering.transfer import fetch, send

FIRST, GRAIN, ROOM = 1 << 15, 1 << 13, 1.25
"""Samples of the first picture of a size, what their number is a multiple of, and the room that is left for more."""
RECORDINGS = 4
"""Sizes of pictures, and what else decides their work, that are kept recorded."""
NUMBERS = (12, 4, 12, 1)
"""Of a camera and a head pose: the camera's pose, fx fy cx cy, the head's pose, and 1 where both agree."""
Shapes = tuple[tuple[int, ...], ...]

Images = dict[str, Tensor]


class RecordedRenderer:
    """Renders one camera at a time: undistorted perspective ones, where Triton marches (`fits`).

    Args:
        network: of the avatar.
        portrait: of the avatar.
        torso_region: gives where in the recording's picture a torso can be, bool [S, S].
    """

    def __init__(self, network: Network, portrait: Portrait, torso_region: Callable[[], Bool[Tensor, "s s"]]) -> None:
        self.network, self.portrait, self.torso_region = network, portrait, torso_region
        self.evaluated = 0
        """Samples of the head that the last picture took."""
        self._capacity: dict[tuple[int, int], int] = {}
        self._graphs = CudaGraphs(RECORDINGS)

    @property
    def here(self) -> bool:
        """Returns whether there are cameras that can be rendered here, where the network is now."""
        return resolve(self.network.settings.backend, self.network.device).marching == "triton"

    def fits(self, camera: Cameras) -> bool:
        """Returns whether a camera [1] can be rendered here."""
        return self.here and is_plain(camera)

    @torch.no_grad()
    def begin(
        self,
        camera: Cameras,
        condition: FrameCondition,
        background: Float[Tensor, "h w 3"],
        encoded: EncodedCondition | None,
        torso: bool,
    ) -> Begun:
        """Has the images of `Renderer.render` made, [H, W, C] each.

        encoded: None: of the condition. torso: whether to show it.

        The host waits where it asks whether there is enough, which also says how much room the next picture has.
        """
        network = self.network
        size = int(camera.height.item()), int(camera.width.item())
        shown = network.torso is not None and torso
        told = [_numbers(camera, condition.head_pose)]
        told += [network.torso_numbers(condition.head_pose, condition.torso)] if shown else []
        told += network.condition_numbers([condition]) if encoded is None else []
        shapes = tuple(array.shape for array in told)
        everything = np.concatenate([array.ravel() for array in told], dtype=np.float32)
        inputs = [send(everything, network.device), network.occupancy.binaries[0], network.box, background]
        inputs += [self.torso_region()] if shown else []
        inputs += encoded or []
        capacity = self._capacity.get(size, FIRST)

        def picture(*tensors: Tensor) -> Images:
            return self._picture(size, capacity, tensors, shapes, shown)

        images = self._run((size, capacity, shapes, shown), picture, inputs)
        wait = fetch(images.pop("wanted"))

        def enough() -> bool:
            self.evaluated = int(wait())
            if self.evaluated > capacity or self.evaluated * 4 * ROOM < capacity:
                self._capacity[size] = GRAIN * max(1, -int(-self.evaluated * ROOM // GRAIN))
            return self.evaluated <= capacity

        return Begun(images, enough, partial(self.begin, camera, condition, background, encoded, torso))

    def _picture(
        self, size: tuple[int, int], capacity: int, inputs: Sequence[Tensor], shapes: Shapes, shown: bool
    ) -> Images:
        """Renders the layers, and counts as `wanted` how many samples there are. No operation in here may wait for the
        device.

        Args:
            inputs: the numbers that the host tells, all one behind the other; occupied cells, box, background; with a
                torso its region; a condition that was encoded before, if one was.
            shapes: of the numbers: a camera and a head pose; with a torso what moves it; a condition, if none was
                encoded before.
        """
        network, c = self.network, self.network.settings
        told, occupied, box, background, *rest = inputs
        parts = told.split([prod(shape) for shape in shapes])
        numbers, *more = (part.view(shape) for part, shape in zip(parts, shapes, strict=True))
        moved_by = network.torso_moved_by(more.pop(0)) if shown else None
        region = rest.pop(0) if shown else None
        encoded = EncodedCondition(*rest) if rest else self._encoded(more)
        pose, intrinsics, head_pose, same = numbers.split(NUMBERS)
        pose, head_pose = pose.view(3, 4), head_pose.view(3, 4)
        x, y = plane(*size, intrinsics)
        directions = directions_at(x, y, pose)
        origins = pose[:, 3].expand_as(directions)
        samples, wanted = march_rays_within(capacity, origins, directions, occupied, box, c.step_size, c.max_samples)
        view = spherical_harmonics(directions)[samples.ray_indices]
        sigma, rgb, ambient, _ = network.head(samples.positions, view, encoded, [capacity])
        length = ambient.abs().sum(-1, keepdim=True)
        found = composite(sigma, rgb, length, samples, c.step_size, c.backend)
        head = found.rgb, found.accumulation[:, None], found.depth[:, None], found.extra_sums
        recorded = in_recording(x, y, self.portrait.camera)
        torso = torch.zeros_like(head[1]), torch.zeros_like(head[0])
        if region is not None:
            turned = on_torso(x, y, pose, head_pose, self.portrait.camera)
            pixels = torch.where(same > 0, recorded, turned)
            alpha, colour = network.torso_field()(pixels, moved_by)
            alpha = alpha * in_region(pixels, region)[:, None]
            torso = alpha, alpha * colour
        return {**layers(size, head, torso, painted(background, recorded)), "wanted": wanted}

    def _encoded(self, numbers: Sequence[Tensor]) -> EncodedCondition:
        """Returns what the head field takes of a condition's numbers."""
        codes = self.network.codes
        return self.network.encoded(numbers, None if codes is None else self.network.usual_code(codes.weight))

    def _run(self, kind: tuple, picture: Callable[..., Images], inputs: list[Tensor]) -> Images:
        """Returns what `picture` makes of the inputs, from its recording where there is one."""
        network, c = self.network, self.network.settings
        # tiny-cuda-nn manages its memory itself.
        if network.device.type != "cuda" or resolve(c.backend, network.device).grids == "tcnn":
            return picture(*inputs)
        weights = tuple(tensor.data_ptr() for tensor in (*network.parameters(), *network.buffers()))
        shapes = tuple((tensor.shape, tensor.dtype) for tensor in inputs)
        options = c.backend, c.step_size, c.max_samples, network.head.bfloat16
        return self._graphs.run((*kind, shapes, weights, *options), picture, inputs)


def _numbers(camera: Cameras, head_pose: np.ndarray) -> np.ndarray:
    """Returns a camera [1] and a head pose [3, 4] as `NUMBERS` has them, float32."""
    parts = camera.camera_to_worlds, camera.fx, camera.fy, camera.cx, camera.cy
    seen = torch.cat([part.flatten().float().cpu() for part in parts]).numpy()
    same = np.allclose(seen[:12].reshape(3, 4), head_pose, atol=SAME_POSE)
    return np.concatenate([seen, head_pose.ravel(), [same]], dtype=np.float32)
