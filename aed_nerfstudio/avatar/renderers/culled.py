"""Pictures of an avatar, without computing what does not show or has been computed before."""

from __future__ import annotations

import math
from collections.abc import Hashable

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor, nn

from aed_nerfstudio.avatar.network import Network
from aed_nerfstudio.avatar.portrait import Portrait
from aed_nerfstudio.avatar.renderers.layers import in_region, is_plain, layers, painted
from aed_nerfstudio.avatar.renderers.picture_plane import at_distance_one, directions_at, in_recording, on_torso, plane
from aed_nerfstudio.driving.track import FrameCondition
from aed_nerfstudio.fields.head_field import EncodedCondition, spherical_harmonics
from aed_nerfstudio.fields.mlp import truncated_exp, whole_rows
from aed_nerfstudio.rendering.compositing import composite
from aed_nerfstudio.rendering.occupancy import dilate
from aed_nerfstudio.rendering.ray_marching import PackedSamples
from aed_nerfstudio.rendering.still_view import StillView
from aed_nerfstudio.rendering.transfer import send

ROUNDS = (4, 4, *[8] * 32)
"""Samples of a ray that are evaluated together, before it is asked whether what is behind them can show; in smaller
rounds they would be fewer, and take longer. Later ones depend on the condition, so that only the first is kept."""
OPAQUE = 1e-3
"""Transmittance below which nothing behind shows: a quarter of a level of 255."""

TILE = 8
"""Side, in pixels, of the parts of a picture that rays are cast in or not."""
REGION, REGION_POSES = 96, 12
"""Cells along a side of the picture, and poses, for which it is found out where the torso can be."""
SAME_POSE = 1e-6
"""Difference of pose matrices below which the torso is seen as it was recorded."""
HAZE = 0.02
"""Alpha of the torso that counts as none where it is not exceeded nearby: networks seldom say exactly zero."""


class CulledRenderer:
    """Renders one camera at a time.

    Rays are cast in the parts of the picture that see occupied cells, and end where the head is opaque. What the camera
    and the weights alone decide is kept while they stay as they are (`StillView`).
    """

    def __init__(self, network: Network, portrait: Portrait) -> None:
        self.network, self.portrait = network, portrait
        self.still = StillView()
        self._of_weights = StillView()
        """What no camera changes."""
        self.evaluated = 0
        """Samples of the head that the last picture took."""

    @torch.no_grad()
    def render(
        self,
        camera: Cameras,
        condition: FrameCondition,
        background: Float[Tensor, "h w 3"],
        encoded: EncodedCondition,
        torso: bool,
    ) -> dict[str, Float[Tensor, "_ _ _"]]:
        """Returns the images of `Renderer.render`, [H, W, C] each; torso: whether to show it."""
        camera = camera.to(self.network.device)
        view = _view_key(camera)
        h, w = int(camera.height.item()), int(camera.width.item())
        head = self._head(camera, view, encoded)
        behind = self._backdrop(camera, background)
        none = torch.zeros_like(head[1]), torch.zeros_like(head[0])
        shown = self.network.torso is not None and torso
        return layers((h, w), head, self._torso(camera, view, condition) if shown else none, behind)

    # ---- head

    def _head(self, camera: Cameras, view: Hashable, encoded: EncodedCondition) -> tuple[Tensor, ...]:
        """Returns premultiplied colour [h*w, 3], alpha, depth and ambient [h*w, 1] of the head."""
        network = self.network
        pixels, harmonics, *packed = self.still.reuse(
            ("head", view), (network.occupancy.binaries, network.box), lambda: self.hits(camera)
        )
        samples = PackedSamples(*packed)
        found = torch.zeros(len(pixels), 6, device=pixels.device)
        tables = network.head.blend(encoded)
        # A CPU's caches hold the features of few rays.
        chunk, self.evaluated = network.settings.eval_num_rays_per_chunk, 0
        for first in range(0, len(pixels), chunk):
            rays = slice(first, first + chunk)
            self._march(samples, rays, harmonics, found[rays], encoded, tables, (view, first, chunk))
        image = torch.zeros(int(camera.height.item()) * int(camera.width.item()), 6, device=pixels.device)
        image[pixels] = found
        return image.split([3, 1, 1, 1], -1)

    def hits(self, camera: Cameras) -> tuple[Shaped[Tensor, " ..."], ...]:
        """Returns the pixels [R] that see an occupied cell, their directions' spherical harmonics [R, 16], and their
        samples' positions, t, ray_indices and ray_starts."""
        network = self.network
        camera = camera.to(network.device)
        y, x = self._seen(camera)
        if is_plain(camera):
            pose = camera.camera_to_worlds[0].float()
            directions = directions_at(*at_distance_one(y, x, _intrinsics(camera)), pose)
            origins = pose[:, 3].expand_as(directions)
        else:
            bundle = camera.generate_rays(camera_indices=0, coords=torch.stack([y, x], -1) + 0.5)
            origins, directions = bundle.origins.reshape(-1, 3), bundle.directions.reshape(-1, 3)
        c = network.settings
        samples = network.occupancy.march(origins, directions, network.box, c.step_size, c.max_samples)
        counts = samples.ray_starts.diff()
        hit = torch.nonzero(counts)[:, 0]
        order = torch.empty_like(counts)
        order[hit] = torch.arange(len(hit), device=hit.device)
        starts = torch.cat([samples.ray_starts[hit], samples.ray_starts[-1:]])
        pixels = y[hit] * int(camera.width.item()) + x[hit]
        harmonics = spherical_harmonics(directions[hit])
        return pixels, harmonics, samples.positions, samples.t, order[samples.ray_indices], starts

    def _seen(self, camera: Cameras) -> tuple[Tensor, Tensor]:
        """Returns rows and columns [P] of the pixels near occupied cells: of all tiles of the picture that touch
        one."""
        h, w = int(camera.height.item()), int(camera.width.item())
        (cells,) = self._of_weights.reuse("cells", (self.network.occupancy.binaries,), self._outer_cells)
        if not len(cells):
            return cells.new_zeros(0, dtype=torch.long), cells.new_zeros(0, dtype=torch.long)
        pose = camera.camera_to_worlds[0].float()
        x, y, z = ((cells - pose[:, 3]) @ pose[:, :3]).unbind(-1)
        radius = math.sqrt(3) / self.network.occupancy.binaries.shape[-1]  # of the ball around a cell
        if not is_plain(camera) or z.max() > -0.05 - radius:  # near or behind the camera
            tiles = torch.ones(-(-h // TILE), -(-w // TILE), dtype=torch.bool, device=cells.device)
        else:
            column, row, near = -x / z, y / z, -z - radius
            spans = []
            for place, focal, centre, size in ((row, camera.fy, camera.cy, h), (column, camera.fx, camera.cx, w)):
                reach = focal[0, 0] * radius * (1 + place.abs()) / near
                middle, count = centre[0, 0] + focal[0, 0] * place, -(-size // TILE)
                first = ((middle - reach) / TILE).floor().clamp(0, count).long()
                spans.append((first, ((middle + reach) / TILE).ceil().clamp(0, count).long(), count))
            (top, bottom, rows), (left, right, columns) = spans
            # Rectangles as the sums of their corners.
            corners = torch.zeros((rows + 1) * (columns + 1), dtype=torch.int32, device=cells.device)
            for line, place, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
                ones = torch.full_like(line, sign, dtype=torch.int32)
                corners.index_add_(0, line * (columns + 1) + place, ones)
            tiles = corners.view(rows + 1, columns + 1).cumsum(0).cumsum(1)[:-1, :-1] > 0
        pixels = tiles.repeat_interleave(TILE, 0).repeat_interleave(TILE, 1)[:h, :w]
        rows_seen, columns_seen = torch.nonzero(pixels).unbind(-1)
        return rows_seen, columns_seen

    def _outer_cells(self) -> tuple[Tensor]:
        """Returns the centres of the occupied cells that have an empty neighbour, or none on a side, [C, 3]: no ray
        from outside comes to others before it has come to one of them, and none of the others is the nearest."""
        cells = self.network.occupancy.binaries[0]
        empty = torch.nn.functional.pad(~cells, (1,) * 6, value=True)
        outer = cells & dilate(empty)[1:-1, 1:-1, 1:-1]
        return ((torch.nonzero(outer) + 0.5) * (2 / len(cells)) - 1,)

    def _march(
        self,
        samples: PackedSamples,
        rays: slice,
        harmonics: Tensor,
        found: Tensor,
        encoded: EncodedCondition,
        tables: Tensor | None,
        name: Hashable,
    ) -> None:
        """Composites a part of the rays into `found` [n, 6]: colour, alpha, depth, ambient; a round at a time, front to
        back, until nothing more can show."""
        network = self.network
        head, step = network.head, network.settings.step_size
        starts = samples.ray_starts[rays.start : rays.stop + 1]
        starts, left = starts[:-1], starts.diff()
        live = torch.arange(len(starts), device=starts.device)
        first = 0
        for number in ROUNDS if starts.device.type == "cpu" else (network.settings.max_samples,):
            if first:
                live = torch.nonzero((found[:, 3] < 1 - OPAQUE) & (left > first))[:, 0]
            if not len(live):
                return
            counts = (left[live] - first).clamp(max=number)
            own = torch.repeat_interleave(torch.arange(len(live), device=live.device), counts)
            ends = counts.cumsum(0)
            index = torch.arange(len(own), device=live.device) + (starts[live] + first - ends + counts)[own]
            # The networks get whole rows, the last of which belong to no ray.
            count, rows = len(own), whole_rows(len(own))
            index, ray = (nn.functional.pad(of, (0, rows - count)) for of in (index, live[own]))
            at_rest = samples.positions[index]
            positions, moved = head.moved(at_rest, encoded.articulation, [rows])
            x_g, a_g, ambient = self._features(at_rest, positions, moved, encoded, name if not first else None)
            h = head.geometry(positions, x_g, a_g, encoded, [rows], tables)
            sigma = truncated_exp(h[:, 0].float())
            colours = head.colours(h, x_g, harmonics[rays][ray], encoded.code, [rows])
            length = ambient.abs().sum(-1, keepdim=True)
            t, bounds = samples.t[index[:count]], nn.functional.pad(ends, (1, 0))
            packed = PackedSamples(positions[:count], t, own, bounds)
            result = composite(sigma[:count], colours[:count], length[:count], packed, step, network.settings.backend)
            passed = 1 - found[live, 3:4]
            part = torch.cat([result.rgb, result.accumulation[:, None], result.depth[:, None]], -1) * passed
            found.index_add_(0, live, torch.cat([part, result.extra_sums], -1))
            self.evaluated += len(own)
            first += number

    def _features(
        self,
        at_rest: Tensor,
        positions: Tensor,
        moved: Tensor | None,
        encoded: EncodedCondition,
        name: Hashable | None,
    ) -> tuple[Tensor, ...]:
        """Returns x_g, a_g and a_l of samples [N]; under a name they are kept for the next picture.

        Args:
            at_rest, positions: [N, 3], before and after lips moved them.
            moved: which may have moved, [M] (None: all, or none where nothing moves points).
            encoded: of the picture.
            name: of these samples at rest.
        """
        network, head = self.network, self.network.head
        audio, lips = encoded.audio, encoded.articulation

        def spatial() -> tuple[Tensor, ...]:
            return (head.spatial_features(at_rest),)

        def listen() -> tuple[Tensor, ...]:
            return head.heard_features(x_g, audio, lips, [len(positions)])[:2]

        depends = (network.occupancy.binaries, network.box, head.grid.params)
        if name is None or (moved is None and head.warp is not None):
            x_g = head.spatial_features(positions)
        else:
            (x_g,) = self.still.reuse(("x_g", name), depends, spatial)
            if moved is not None:
                x_g = x_g.index_copy(0, moved, head.spatial_features(positions[moved]))
        depends += () if head.warp is None else (*head.warp.parameters(), *head.warp.buffers())
        if name is None or not network.settings.audio_compression:
            return x_g, *listen()
        key = ("heard", name, *(values.cpu().numpy().tobytes() for values in (audio, lips)))
        listeners = (*head.compress.parameters(), head.audio_grid.params)
        return x_g, *self.still.reuse(key, (*depends, *listeners), listen)

    # ---- what is behind it

    def _backdrop(self, camera: Cameras, background: Tensor) -> Tensor:
        """Returns what a camera [1] sees of a background [H',W',3], [h*w, 3]."""

        def sample() -> tuple[Tensor, ...]:
            return (painted(background, self._recorded_pixels(camera)),)

        return self.still.reuse(("background", _lens_key(camera)), (background,), sample)[0]

    def _recorded_pixels(self, camera: Cameras) -> Tensor:
        """Returns the pixels of a camera [1] as places in the recording's picture, [h*w, 2] in [-1, 1]; beyond:
        outside."""
        size = int(camera.height.item()), int(camera.width.item())
        return in_recording(*plane(*size, _intrinsics(camera)), self.portrait.camera)

    def _torso(self, camera: Cameras, view: Hashable, condition: FrameCondition) -> tuple[Tensor, Tensor]:
        """Returns alpha [h*w, 1] and premultiplied colour [h*w, 3] of the torso in a camera's [1] picture."""
        network, field = self.network, self.network.torso_field()
        depends = network.torso_weights()
        head_pose, torso = condition.head_pose, condition.torso

        def paint() -> tuple[Tensor, ...]:
            within, pixels = self._torso_pixels(camera, head_pose)
            alpha, rgb = field(pixels, network.torso_input(head_pose, torso))
            layer = torch.zeros(int(camera.height.item()) * int(camera.width.item()), 4, device=pixels.device)
            layer[within] = torch.cat([alpha, alpha * rgb], -1)
            return layer.split([1, 3], -1)

        key = "torso", view, head_pose.tobytes(), None if torso is None else torso.tobytes()
        alpha, colour = self.still.reuse(key, depends, paint)
        return alpha, colour

    def _torso_pixels(self, camera: Cameras, head_pose: np.ndarray) -> tuple[Tensor, ...]:
        """Returns the pixels [N] of a camera [1] that a head pose's torso can be seen in, and their places in its
        picture."""

        def within(pixels: Tensor) -> tuple[Tensor, ...]:
            found = torch.nonzero(in_region(pixels, self.torso_region()))[:, 0]
            return found, pixels[found]

        pose = camera.camera_to_worlds[0]
        if np.allclose(pose.cpu().numpy(), head_pose, atol=SAME_POSE):
            key, depends = ("torso pixels", _lens_key(camera)), self.network.torso_weights()
            return self.still.reuse(key, depends, lambda: within(self._recorded_pixels(camera)))
        x, y = plane(int(camera.height.item()), int(camera.width.item()), _intrinsics(camera))
        return within(on_torso(x, y, pose, send(head_pose, self.network.device), self.portrait.camera))

    def torso_region(self) -> Bool[Tensor, "s s"]:
        """Returns where in the recording's picture a torso is for some of its poses, and a margin: bool [S, S], by
        rows."""
        return self._of_weights.reuse("torso region", self.network.torso_weights(), self._torso_region)[0]

    def _torso_region(self) -> tuple[Tensor]:
        network, field = self.network, self.network.torso_field()
        motion = network.portrait.motion
        middles = (torch.arange(REGION, device=network.device) + 0.5) * (2 / REGION) - 1
        points = torch.stack(torch.meshgrid(middles, middles, indexing="xy"), -1).reshape(-1, 2)
        most = torch.zeros(len(points), device=network.device)
        for k in np.linspace(0, len(motion) - 1, REGION_POSES).astype(int):
            torso = None if motion.torso is None else motion.torso[k]
            alpha, _ = field(points, network.torso_input(motion.poses[k], torso))
            most = torch.maximum(most, alpha[:, 0])
        found = nn.functional.max_pool2d(most.view(1, 1, REGION, REGION), 5, 1, 2)[0, 0]
        return (found > HAZE,)


def _intrinsics(camera: Cameras) -> Tensor:
    """Returns fx, fy, cx, cy of a camera [1], [4]."""
    return torch.cat([camera.fx[0], camera.fy[0], camera.cx[0], camera.cy[0]])


def _lens_key(camera: Cameras) -> Hashable:
    """Returns a name of a camera [1], wherever it stands."""
    numbers = [camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height]
    if camera.distortion_params is not None:
        numbers.append(camera.distortion_params)
    kind = int(camera.camera_type.item())
    return kind, torch.cat([n.flatten().double().cpu() for n in numbers]).numpy().tobytes()


def _view_key(camera: Cameras) -> Hashable:
    """Returns a name of a camera [1]: equal for cameras that see the same picture."""
    return _lens_key(camera), camera.camera_to_worlds.double().cpu().numpy().tobytes()
