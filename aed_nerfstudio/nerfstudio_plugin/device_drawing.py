"""Draws a step's rays on the device, with all else that is left to chance: of the same number whatever is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from aed_nerfstudio.nerfstudio_plugin.datamanager import AedDataManager, as_batch
from aed_nerfstudio.nerfstudio_plugin.model import AedNerfModel
from aed_nerfstudio.nerfstudio_plugin.resident_frames import ResidentFrames

LIPS, FACE, EYES, PICTURE = range(4)
"""Of `ResidentFrames.boxes`."""


@dataclass
class Drawn:
    """The rays of a step, those of F frames one after the other, in G groups with a condition each."""

    shown: str
    """See `StageSchedule.shows`."""
    frames: Int64[Tensor, " f"]
    x: Int64[Tensor, "f n"]
    y: Int64[Tensor, "f n"]
    groups: Int64[Tensor, " r"]
    """Of the rays: 2 f, and 2 f + 1 beyond the face, where labels are swapped there; else f."""
    emotions: Float[Tensor, "g e"]
    jitter: Float[Tensor, " r"]
    lips_are_true: Bool[Tensor, "g 1"]
    listened: Int64[Tensor, " b"]
    """Frames whose lip shape the audio encoder has to tell."""
    looks: Float[Tensor, " c"]
    """In 0..1: G numbers by which a group, and L by which another label is chosen, for a look at the tone of skin."""
    batch: dict[str, Any]
    """What the losses compare the rays with."""


class DeviceDrawing:
    """Draws rays as `AedDataManager.next_train` does, from `ResidentFrames`; none of it waits for the device.

    All lip patches have one side, that of the largest.
    """

    def __init__(self, data: AedDataManager, model: AedNerfModel, frames: ResidentFrames) -> None:
        self.data, self.frames, self.config = data, frames, model.config
        self.truth = 0.0 if model.lips is None else model.lips.truth
        self.generator = torch.Generator(frames.device)
        """What is drawn depends on its seed alone."""
        self._parts = {shown: self._boxes_of_rays(shown) for shown in ("head", "torso")}
        """Of the rays of a frame: which box they are drawn from."""

    def _boxes_of_rays(self, shown: str) -> Int64[Tensor, " n"]:
        _, lips, face, eyes, rest = self.data.rays_of_frame(shown)
        parts = [LIPS] * lips + [FACE] * face + [EYES] * eyes + [PICTURE] * rest
        return torch.tensor(parts, device=self.frames.device)

    def groups_of_frame(self, shown: str) -> int:
        """Returns how many groups the rays of a frame have."""
        return 2 if shown == "head" and self.data.config.beyond_face else 1

    def rays_of_step(self, shown: str) -> int:
        """Returns how many rays a step has."""
        if shown in ("lips", "face"):
            return self.frames.side**2
        return self.data.rays_of_frame(shown)[0] * len(self._parts[shown])

    def draw(self, shown: str) -> Drawn:
        """Draws a step of a kind that `StageSchedule.shows` names."""
        patch = shown in ("lips", "face")
        count = 1 if patch else self.data.rays_of_frame(shown)[0]
        # The smallest of exponential waiting times: drawn without replacement by chances (Efraimidis, Spirakis 2006).
        waits = -torch.log1p(-self._uniform(len(self.frames))) / self.frames.chances
        frames = waits.topk(count, largest=False).indices
        x, y = self._patch(frames, shown) if patch else self._pixels(frames, self._parts[shown])
        left, top, right, bottom = self.frames.boxes[frames, FACE, :, None].unbind(1)
        in_face = (x >= left) & (x < right) & (y >= top) & (y < bottom)
        each = self.groups_of_frame(shown)
        groups = torch.arange(count, device=x.device)[:, None].expand_as(x) * each
        emotions = self.frames.emotions[frames]
        if each == 2:
            groups, emotions = groups + ~in_face, self._swapped(emotions)
        batch: dict[str, Any] = as_batch(*self.frames.stored(frames[:, None], x, y), in_face.flatten())
        if patch:
            batch["patch"] = self.frames.side
        c = self.config
        return Drawn(
            shown=shown,
            frames=frames,
            x=x,
            y=y,
            groups=groups.flatten(),
            emotions=emotions,
            jitter=self._uniform(x.numel()),
            lips_are_true=self._uniform(len(emotions), 1) < self.truth,
            listened=self._listened(c.articulation_batch),
            looks=self._uniform(len(emotions) + len(self.frames.labels)),
            batch=batch,
        )

    def _listened(self, count: int) -> Int64[Tensor, " b"]:
        heard = self.frames.heard_frames
        return heard[self._below(torch.full((count,), len(heard), device=heard.device))]

    def _uniform(self, *shape: int) -> Float[Tensor, "*shape"]:
        return torch.rand(shape, generator=self.generator, device=self.frames.device)

    def _below(self, sizes: Int64[Tensor, "*n"]) -> Int64[Tensor, "*n"]:
        """Returns whole numbers from 0 to each of sizes less 1."""
        return torch.minimum((self._uniform(*sizes.shape) * sizes).long(), sizes - 1)

    def _pixels(
        self, frames: Int64[Tensor, " f"], parts: Int64[Tensor, " n"]
    ) -> tuple[Int64[Tensor, "f n"], Int64[Tensor, "f n"]]:
        """Returns columns and rows of pixels in boxes of frames, as far as these are in the picture."""
        left, top, right, bottom = self.frames.boxes[frames][:, parts].unbind(-1)
        w, h = self.frames.camera.w, self.frames.camera.h
        left, top = left.clamp_min(0), top.clamp_min(0)
        right, bottom = torch.maximum(right, left + 1).clamp_max(w), torch.maximum(bottom, top + 1).clamp_max(h)
        left, top = left.clamp_max(w - 1), top.clamp_max(h - 1)
        return left + self._below(right - left), top + self._below(bottom - top)

    def _patch(self, frames: Int64[Tensor, " f"], shown: str) -> tuple[Int64[Tensor, "f n"], Int64[Tensor, "f n"]]:
        """Returns columns and rows of a square about the lips, or anywhere on the face."""
        left, top, right, bottom = self.frames.boxes[frames, LIPS if shown == "lips" else FACE].unbind(-1)
        if shown == "lips":
            x, y = (left + right) // 2, (top + bottom) // 2
        else:
            x, y = left + self._below(right - left), top + self._below(bottom - top)
        side, camera = self.frames.side, self.frames.camera
        number = torch.arange(side * side, device=x.device)
        columns = (x - side // 2).clamp(0, camera.w - side)[:, None] + number % side
        return columns, (y - side // 2).clamp(0, camera.h - side)[:, None] + number // side

    def _swapped(self, emotions: Float[Tensor, "f e"]) -> Float[Tensor, "g e"]:
        """Returns the emotions of each frame's two groups: in the second, another one at times."""
        labels = self.frames.labels
        other = labels[self._below(torch.full((len(emotions),), len(labels), device=labels.device))]
        swapped = (self._uniform(len(emotions), 1) < self.config.swapped_labels) & (len(labels) > 1)
        return torch.stack([emotions, torch.where(swapped, other, emotions)], 1).flatten(0, 1)
