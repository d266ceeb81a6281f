"""All that training frames give a step, kept on the device, so that a step asks the host for nothing."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from aed_nerfstudio.audio.features import windows_at
from aed_nerfstudio.dataset.face_depth import LIPS_TRUST, FaceDepth
from aed_nerfstudio.dataset.frames import FramePixels
from aed_nerfstudio.fields.head_field import EncodedCondition
from aed_nerfstudio.nerfstudio_plugin.datamanager import AedDataManager
from aed_nerfstudio.nerfstudio_plugin.model import AedNerfModel
from aed_nerfstudio.rendering.transfer import send


class ResidentFrames:
    """Pixels, cameras, boxes and conditions of T training frames; made when a training has fitted its buffers.

    Frames are meant by their numbers among these, 0 to T - 1.

    Args:
        data: whose training frames are meant; its frames are decoded already, or are now.
        model: that is trained.
    """

    def __init__(self, data: AedDataManager, model: AedNerfModel) -> None:
        device, dataset, numbers = model.device, data.dataset, data.train_indices
        network, track = model.network, model.track
        if track is None:
            raise ValueError("an avatar without its recording cannot be trained")
        camera, frames = dataset.camera, [dataset.frames[i] for i in numbers]
        self.device, self.camera, self.network = device, camera, network
        self.numbers = send(np.array(numbers), device)
        """Of the frames in the dataset, [T]."""
        self.pixels: UInt8[Tensor, "t hw 8"] = torch.empty(
            (len(numbers), camera.w * camera.h, 8), dtype=torch.uint8, device=device
        )
        for row, index in zip(self.pixels, numbers, strict=True):
            row.copy_(torch.from_numpy(data.store().draw(index).values))
        self.backgrounds: UInt8[Tensor, "b hw 3"] = data.backgrounds
        self.background_of = send(np.array([data.background_of[frame.clip] for frame in frames]), device)
        """Number of each frame's background, [T]."""
        self.chances: Float[Tensor, " t"] = send(data.chances.astype(np.float32), device)
        self.poses: Float[Tensor, "t 3 4"] = send(track.poses[numbers], device)
        whole = [[0, 0, camera.w, camera.h]] * len(frames)
        faces = [[*frame.face_box] for frame in frames]
        eyes = data.eyes
        boxes = [
            [[*frame.lips_box] for frame in frames],
            faces,
            [eyes[i] for i in numbers] if eyes else faces,
            whole,
        ]
        self.boxes: Int64[Tensor, "t 4 4"] = send(np.stack(boxes, axis=1).astype(np.int64), device)
        """Of lips, face, eyes and the picture: left, top, right, bottom, pixels."""
        self.side = max(data.patch_side(i) for i in numbers)
        """Of a patch: the largest of the frames'."""
        self.surfaces = None if data.face_depth is None else ResidentSurfaces(data.face_depth, numbers, device)
        rows, self.features = _features(track.features, network)
        steps = [rows[clip] for clip in (track.clips[i] for i in numbers)]
        windows = [windows_at(steps[k], track.indices[i])[..., 0] for k, i in enumerate(numbers)]
        self.windows: Int64[Tensor, "t 8 16"] = send(np.stack(windows).astype(np.int64), device)
        """Rows of `features` [steps, dim], which are standardised; the first is silent."""
        conditions = [track[i] for i in numbers]
        self.emotions: Float[Tensor, "t e"] = send(track.emotions[numbers], device)
        self.eyes: Float[Tensor, "t 1"] = send(network.eye_input(track.eye_openness[numbers][:, None]), device)
        self.labels: Float[Tensor, "l e"] = send(model.labels, device)
        """All that were recorded, [L, E]."""
        self.lip_shapes = None if model.lips is None else model.lips.lip_shapes[numbers]
        everything = torch.ones(len(numbers), dtype=torch.bool, device=device)
        self.heard: Bool[Tensor, " t"] = everything if model.lips is None else model.lips.heard[numbers]
        """Of which the sound may be learned from."""
        self.heard_frames = torch.nonzero(self.heard)[:, 0]
        takes = [condition.take or 0 for condition in conditions]
        self.light = network.light[takes] if network.settings.take_light else None
        """Of each frame's take, [T, 3]."""
        self.moved_by = None
        """What moves the torso, [T, 6 + M]."""
        if network.torso is not None:
            moved_by = [network.torso_input(condition.head_pose, condition.torso) for condition in conditions]
            self.moved_by = torch.stack(moved_by)

    def __len__(self) -> int:
        return len(self.chances)

    def stored(
        self, frames: Int64[Tensor, "f 1"], x: Int64[Tensor, "f n"], y: Int64[Tensor, "f n"]
    ) -> tuple[FramePixels, Tensor]:
        """Returns pixels [F * N] of frames, and the background's, uint8 [F * N, 3]."""
        number = y * self.camera.w + x
        behind = self.backgrounds[self.background_of[frames], number]
        return FramePixels(self.pixels[frames, number].flatten(0, 1)), behind.flatten(0, 1)

    def rays(
        self, frames: Int64[Tensor, " f"], x: Int64[Tensor, "f n"], y: Int64[Tensor, "f n"]
    ) -> tuple[Float[Tensor, "r 3"], Float[Tensor, "r 3"]]:
        """Returns origins and unit directions of rays through pixels, [F * N, 3] each."""
        c, pose = self.camera, self.poses[frames]
        local = torch.stack([(x + 0.5 - c.cx) / c.fl_x, -(y + 0.5 - c.cy) / c.fl_y, -torch.ones_like(x)], -1)
        directions = torch.einsum("fnk,fik->fni", torch.nn.functional.normalize(local, dim=-1), pose[:, :, :3])
        origins = pose[:, None, :, 3].expand_as(directions)
        return origins.reshape(-1, 3), directions.reshape(-1, 3)

    def hear(self, frames: Int64[Tensor, " f"]) -> tuple[Tensor, Tensor, Tensor]:
        """Returns what `Network.hear` does of frames."""
        return self.network.hear(self.features[self.windows[frames]])

    def encode(
        self, frames: Int64[Tensor, " f"], emotions: Float[Tensor, "c e"], lips_are_true: Bool[Tensor, "c 1"]
    ) -> EncodedCondition:
        """Returns what drives C = F * k groups of rays of F frames, those of a frame together.

        Args:
            emotions: of the groups.
            lips_are_true: in which of them the lip shape is not the one that is heard.
        """
        a_h, _, lips = self.hear(frames)
        heard = self.heard[frames][:, None]
        a_h = torch.where(heard, a_h, a_h.detach())
        each = len(emotions) // len(frames)
        frames = _repeated(frames, each)
        lips = _repeated(lips, each)
        if self.lip_shapes is not None:
            lips = torch.where(lips_are_true | ~_repeated(heard, each), self.lip_shapes[frames], lips)
        codes = self.network.codes
        code = None if codes is None else codes.weight[self.numbers[frames]]
        return self.network.condition(_repeated(a_h, each), emotions, self.eyes[frames], lips, code)


def _repeated(values: Tensor, each: int) -> Tensor:
    """Returns every row of [F, ...] so many times, [F * each, ...]."""
    return values[:, None].expand(-1, each, *values.shape[1:]).flatten(0, 1)


def _features(features: dict[str, np.ndarray], network) -> tuple[dict[str, np.ndarray], Float[Tensor, "steps dim"]]:
    """Returns the rows of clips' steps, float32 [2 F, 1] for each clip, and the steps behind one of silence."""
    silence = np.zeros((1, *next(iter(features.values())).shape[1:]), np.float32)
    rows: dict[str, np.ndarray] = {}
    parts: list[np.ndarray] = [silence]
    count = 1
    for name, steps in features.items():
        rows[name] = np.arange(count, count + len(steps), dtype=np.float32)[:, None]
        parts.append(np.asarray(steps, np.float32))
        count += len(steps)
    return rows, network.standardised(send(np.concatenate(parts), network.device))


class ResidentSurfaces:
    """Where the face is in frames, as `FaceDepth.surface` says it.

    Args:
        depth: of the dataset's frames.
        numbers: of the frames in the dataset, [T].
        device: where to keep it.
    """

    places: Float[Tensor, "t 3"]
    """Left, top and side of the cells, pixels, float64."""
    depths: Float[Tensor, "t s s"]
    """NaN beside the face, float32."""
    kinds: UInt8[Tensor, "t s s"]
    """1: lips, 2: skin that moves little."""

    def __init__(self, depth: FaceDepth, numbers: list[int], device: torch.device) -> None:
        self.camera, maps = depth.camera, [depth.map(i) for i in numbers]
        size = max((len(found.depth) for found in maps if found is not None), default=1)
        places = np.tile([0.0, 0.0, 1.0], (len(maps), 1))
        depths = np.full((len(maps), size, size), np.nan, np.float32)
        kinds = np.zeros((len(maps), size, size), np.uint8)
        for k, found in enumerate(maps):
            if found is not None:
                n = len(found.depth)
                places[k] = found.left, found.top, found.cell
                depths[k, :n, :n], kinds[k, :n, :n] = found.depth, found.lips + 2 * found.skin
        self.places, self.depths, self.kinds = (send(part, device) for part in (places, depths, kinds))

    def at(self, frames: Int64[Tensor, " f"], x: Int64[Tensor, "f n"], y: Int64[Tensor, "f n"]) -> Float[Tensor, "r 3"]:
        """Returns the surface along rays through pixels of frames, [F * N, 3]: see `FaceDepth.surface`."""
        left, top, cell = self.places[frames][:, :, None].unbind(1)
        column, row = (x + 0.5 - left) / cell, (y + 0.5 - top) / cell
        size = self.depths.shape[-1]
        inside = (column >= 0) & (row >= 0) & (column < size) & (row < size)
        cells = frames[:, None], row.long().clamp(0, size - 1), column.long().clamp(0, size - 1)
        kind = self.kinds[cells]
        c = self.camera
        slant = torch.sqrt(1 + ((x.double() + 0.5 - c.cx) / c.fl_x) ** 2 + ((y.double() + 0.5 - c.cy) / c.fl_y) ** 2)
        distance = torch.where(inside, self.depths[cells] * slant, torch.nan).float()
        trust = torch.where(inside & (kind == 1), LIPS_TRUST, 1.0)
        return torch.stack([distance, trust, (inside & (kind == 2)).float()], -1).flatten(0, 1)
