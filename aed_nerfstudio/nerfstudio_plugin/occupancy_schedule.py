"""When a training finds out what space around the head is empty."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from nerfstudio.utils.comms import is_main_process
from torch import Tensor

from aed_nerfstudio.avatar.network import Network
from aed_nerfstudio.dataset.face_depth import FaceDepth
from aed_nerfstudio.dataset.schema import HEAD, Dataset
from aed_nerfstudio.driving.track import DatasetTrack
from aed_nerfstudio.face.face_mesh import FOREHEAD, NOSE_TIP, lip_shape
from aed_nerfstudio.nerfstudio_plugin.lip_supervision import LipSupervision
from aed_nerfstudio.nerfstudio_plugin.processes import broadcast
from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule
from aed_nerfstudio.rendering.occupancy import surface_shell, visual_hull

FRAMES = 64
"""Training frames that carving and tightening look at."""
BEFORE_FACE, BEHIND_FACE = 0.12, 0.25
"""Units from the face's surface that stay: 3 cm for glasses and lashes, 6 cm for the inside of the mouth."""
WIDE = 1.5
"""How far an avatar's lips may go over the recorded ones."""


def carve(network: Network, dataset: Dataset) -> None:
    """Empties for good what the head's parsing never covers, nor would cover if the mouth were wide open."""
    camera, frames, picks = dataset.camera, dataset.frames, _spread(dataset.split("train"))
    margin = np.ones((2 * (camera.w // 64) + 1,) * 2, np.uint8)
    heads = [(dataset.parsing(frames[i]) == HEAD).astype(np.uint8) for i in picks]
    heads = [_with_open_mouth(head, *jaw) for head, jaw in zip(heads, _jaws(dataset, picks), strict=True)]
    masks = torch.from_numpy(np.stack([cv2.dilate(head, margin) > 0 for head in heads]))
    _keep(network, visual_hull(masks, *_views(dataset, picks), network.occupancy.binaries.shape[-1]))


def _jaws(dataset: Dataset, picks: list[int]) -> list[tuple[int, int]]:
    """Returns the row of the nose's tip in frames, and by how many rows the chin could drop further there."""
    landmarks = np.concatenate([dataset.landmarks(clip.name) for clip in dataset.clips])
    drop = lip_shape(landmarks)[:, 3]
    recorded = drop[dataset.split("train")]
    usual = np.nanmean(recorded)
    widest = usual + WIDE * (np.nanquantile(recorded, 0.99) - usual)
    faces = landmarks[picks]
    rows = (widest - drop[picks]) * np.linalg.norm(faces[:, FOREHEAD, :2] - faces[:, NOSE_TIP, :2], axis=-1)
    found = np.nan_to_num(np.stack([faces[:, NOSE_TIP, 1], np.clip(rows, 0, None)], -1))
    return [(int(nose), int(rows)) for nose, rows in found.round()]


def _with_open_mouth(head: UInt8[np.ndarray, "h w"], nose: int, rows: int) -> UInt8[np.ndarray, "h w"]:
    """Returns where a head could be, given where it is [H, W], if what is below the nose's row went down by rows."""
    below = head.copy()
    below[: max(0, nose)] = 0
    return head | cv2.dilate(below, np.ones((rows + 1, 1), np.uint8), anchor=(0, rows))


def carve_face(network: Network, dataset: Dataset, depth: FaceDepth) -> None:
    """Empties for good what is far before or behind the surface of the face."""
    camera, picks = dataset.camera, _spread(dataset.split("train"))
    y, x = (axis.ravel() for axis in np.mgrid[: camera.h, : camera.w])
    maps = torch.from_numpy(np.stack([depth.distances(i, x, y).reshape(camera.h, camera.w) for i in picks]))
    allowed = network.occupancy.allowed[0]
    views = _views(dataset, picks)
    _keep(network, surface_shell(maps, *views, allowed.shape[-1], BEFORE_FACE, BEHIND_FACE, among=allowed))


def _spread(frames: list[int]) -> list[int]:
    return [frames[i] for i in np.linspace(0, len(frames) - 1, FRAMES).astype(int)]


def _views(dataset: Dataset, frames: list[int]) -> tuple[torch.Tensor, float, tuple[float, float]]:
    """Returns camera-to-worlds [N, 4, 4], focal length and principal point of frames."""
    camera = dataset.camera
    poses = torch.tensor([dataset.frames[i].camera_to_world for i in frames])
    return poses, camera.fl_x, (camera.cx, camera.cy)


def _keep(network: Network, cells: Tensor) -> None:
    network.occupancy.carve(cells.to(network.device))


class OccupancySchedule:
    """Updates a network's occupancy grid as its training goes on.

    Args:
        network: that is trained.
        track: conditions of the dataset's frames.
        train_frames: numbers of those that are trained on.
        schedule: the training's stages.
        every: steps between updates.
        warmup: until this step every update visits every cell.
        lips: the recording's; None: there are no lip shapes.
    """

    def __init__(
        self,
        network: Network,
        track: DatasetTrack,
        train_frames: list[int],
        schedule: StageSchedule,
        every: int,
        warmup: int,
        lips: LipSupervision | None = None,
    ) -> None:
        self.network, self.track, self.train_frames = network, track, train_frames
        self.lips = lips
        self.schedule, self.every, self.warmup = schedule, every, warmup

    def before_step(self, step: int) -> None:
        """Updates or tightens the grid where it is time to."""
        occupancy = self.network.occupancy
        if self._updates(step):
            if is_main_process():
                decay = 0.95 ** (self.every / 16)
                occupancy.update(step, self._random_density, decay, warmup_steps=self.warmup, every=self.every)
            broadcast((occupancy.occs, occupancy.binaries))
        if self._tightens(step):
            if is_main_process():
                frames = _spread(self.train_frames)
                gains = (1.0, WIDE) if self.network.settings.articulation else (1.0,)
                occupancy.tighten(self._density_of(i, gain) for gain in gains for i in frames)
            broadcast((occupancy.binaries,))

    def changes(self, step: int) -> bool:
        """Returns whether the grid is another after `before_step`."""
        return self._updates(step) or self._tightens(step)

    def _updates(self, step: int) -> bool:
        # Untrained densities say nothing of what is empty, hence not at the first step.
        return step > 0 and self.schedule.stage(step) == "head" and step % self.every == 0

    def _tightens(self, step: int) -> bool:
        # A head stage as short as the grid's warm-up leaves densities that say nothing of what is empty.
        return self.schedule.leaves_head(step) and step > self.warmup

    def _random_density(self, positions: Tensor) -> Tensor:
        """Returns the densities of a chunk of cells under a random frame's audio, emotion and eyes."""
        return self._density_of(int(torch.randint(len(self.track), ())))(positions)

    def _density_of(self, frame: int, lip_gain: float = 1.0) -> Callable[[Tensor], Tensor]:
        """Returns a function from positions to their densities under what drives a frame, its lips so far from the
        middle over how far they were."""
        encoded = self.network.encode([self.track[frame]])
        if self.lips is not None and self.lips.silent:  # nothing else tells how far a mouth was open
            encoded = encoded._replace(articulation=self.lips.lip_shapes[frame : frame + 1])
        encoded = encoded._replace(articulation=lip_gain * encoded.articulation)
        return lambda positions: self.network.head.density_at(positions, encoded)
