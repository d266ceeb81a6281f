"""Pictures on a GPU: the same work for every picture of a size, which the host starts at once and waits for at its end.

What a CPU gains by leaving things out (`Renderer`) a GPU loses by telling the host what is left. Here the picture takes
as many samples as fit it with some room, however many its rays have; the host asks at the end whether all did. On CUDA
the work is recorded as a CUDA graph when a size is asked for a second time, and replayed from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from aed_nerfstudio.avatar.renderers.culled import SAME_POSE, in_region, is_plain, layers, painted
from aed_nerfstudio.avatar.renderers.picture_plane import directions_at, in_recording, on_torso, plane
from aed_nerfstudio.backends import resolve
from aed_nerfstudio.driving.head_pose import pose_vector
from aed_nerfstudio.driving.track import FrameCondition
from aed_nerfstudio.fields.head_field import spherical_harmonics
from aed_nerfstudio.rendering.compositing import composite
from aed_nerfstudio.rendering.cuda_graphs import CudaGraphs
from aed_nerfstudio.rendering.ray_marching import march_rays_within
from aed_nerfstudio.rendering.transfer import send

if TYPE_CHECKING:
    from aed_nerfstudio.nerfstudio_plugin.model import AedNerfModel

FIRST, GRAIN, ROOM = 1 << 15, 1 << 13, 1.25
"""Samples of the first picture of a size, what their number is a multiple of, and the room that is left for more."""
RECORDINGS = 4
"""Sizes of pictures, and what else decides their work, that are kept recorded."""
NUMBERS = (12, 4, 12, 6, 1)
"""Of a camera and a head pose: the camera's pose, fx fy cx cy, the head's pose, its vector, and 1 where both agree."""

Images = dict[str, Tensor]


class FixedRenderer:
    """Renders one camera at a time: undistorted perspective ones, where Triton marches (`fits`)."""

    def __init__(self, model: AedNerfModel) -> None:
        self.model = model
        self.evaluated = 0
        """Samples of the head that the last picture took."""
        self._capacity: dict[tuple[int, int], int] = {}
        self._graphs = CudaGraphs(RECORDINGS)

    def fits(self, camera: Cameras) -> bool:
        """Whether a camera [1] can be rendered here."""
        return resolve(self.model.config.backend, self.model.device).marching == "triton" and is_plain(camera)

    @torch.no_grad()
    def render(
        self, camera: Cameras, condition: FrameCondition, background: Tensor, given: dict[str, Tensor], torso: bool
    ) -> Images:
        """The layers of `AedNerfModel.render_condition`, [H, W, C] each; `torso`: whether to show it."""
        model = self.model
        size = int(camera.height.item()), int(camera.width.item())
        inputs = [send(_numbers(camera, condition.head_pose), model.device), model.occupancy.binaries[0], model.box]
        inputs += [background, *given.values()]
        shown = model.torso is not None and torso
        if shown:
            inputs.append(model.renderer.torso_region())
        while True:
            capacity = self._capacity.get(size, FIRST)

            def picture(*tensors: Tensor, capacity: int = capacity) -> Images:
                return self._picture(size, capacity, tuple(given), tensors, shown)

            images = self._run((size, capacity, shown, tuple(given)), picture, inputs)
            self.evaluated = int(images.pop("wanted"))  # here the host waits for the picture
            if self.evaluated > capacity or self.evaluated * 4 * ROOM < capacity:
                self._capacity[size] = GRAIN * max(1, -int(-self.evaluated * ROOM // GRAIN))
            if self.evaluated <= capacity:
                return images

    def _picture(
        self, size: tuple[int, int], capacity: int, names: Sequence[str], inputs: Sequence[Tensor], shown: bool
    ) -> Images:
        """The layers, and as `wanted` how many samples there are. No operation in here may wait for the device."""
        model, c = self.model, self.model.config
        numbers, occupied, box, background, *rest = inputs
        given = dict(zip(names, rest, strict=False))
        pose, intrinsics, head_pose, turn, same = numbers.split(NUMBERS)
        pose, head_pose = pose.view(3, 4), head_pose.view(3, 4)
        x, y = plane(*size, intrinsics)
        directions = directions_at(x, y, pose)
        origins = pose[:, 3].expand_as(directions)
        samples, wanted = march_rays_within(capacity, origins, directions, occupied, box, c.step_size, c.max_samples)
        view = spherical_harmonics(directions)[samples.ray_indices]
        sigma, rgb, ambient, _ = model.head(samples.positions, view, **given, counts=[capacity])
        length = ambient.abs().sum(-1, keepdim=True)
        found = composite(sigma, rgb, length, samples, c.step_size, c.backend)
        head = found.rgb, found.accumulation[:, None], found.depth[:, None], found.extra_sums
        recorded = in_recording(x, y, model.dataset.camera)
        torso = torch.zeros_like(head[1]), torch.zeros_like(head[0])
        if shown:
            turned = on_torso(x, y, pose, head_pose, model.dataset.camera)
            pixels = torch.where(same > 0, recorded, turned)
            alpha, colour = model.torso(pixels, (turn - model.pose_mean) * model.pose_scale)
            alpha = alpha * in_region(pixels, rest[-1])[:, None]
            torso = alpha, alpha * colour
        return {**layers(size, head, torso, painted(background, recorded)), "wanted": wanted}

    def _run(self, kind: tuple, picture: Callable[..., Images], inputs: list[Tensor]) -> Images:
        """What `picture` makes of the inputs, from its recording where there is one."""
        model, c = self.model, self.model.config
        # tiny-cuda-nn manages its memory itself.
        if model.device.type != "cuda" or resolve(c.backend, model.device).grids == "tcnn":
            return picture(*inputs)
        weights = tuple(tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers()))
        shapes = tuple((tensor.shape, tensor.dtype) for tensor in inputs)
        options = c.backend, c.step_size, c.max_samples, model.head.bfloat16
        return self._graphs.run((*kind, shapes, weights, *options), picture, inputs)


def _numbers(camera: Cameras, head_pose: np.ndarray) -> np.ndarray:
    """A camera [1] and a head pose [3, 4] as `NUMBERS` has them, float32."""
    parts = camera.camera_to_worlds, camera.fx, camera.fy, camera.cx, camera.cy
    seen = torch.cat([part.flatten().float().cpu() for part in parts]).numpy()
    same = np.allclose(seen[:12].reshape(3, 4), head_pose, atol=SAME_POSE)
    return np.concatenate([seen, head_pose.ravel(), pose_vector(head_pose), [same]], dtype=np.float32)
