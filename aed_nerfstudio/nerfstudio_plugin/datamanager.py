"""Draws each step's rays, from one frame or a few; frames stay uint8 until their rays are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.data.datamanagers.base_datamanager import VanillaDataManager, VanillaDataManagerConfig
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs
from nerfstudio.data.datasets.base_dataset import InputDataset
from nerfstudio.data.utils.dataloaders import FixedIndicesEvalDataloader, RandIndicesEvalDataloader
from nerfstudio.engine.callbacks import TrainingCallbackAttributes
from nerfstudio.utils.comms import is_main_process
from torch import Tensor

from aed_nerfstudio.bounds import RENDERED_SIDE, Between
from aed_nerfstudio.dataparsers.rad_nerf import RadNerfDataParserConfig
from aed_nerfstudio.dataparsers.talking_face import TalkingFaceDataParserConfig
from aed_nerfstudio.dataset.face_depth import FaceDepth
from aed_nerfstudio.dataset.frames import FramePixels, FrameStore, over_background
from aed_nerfstudio.dataset.schema import Dataset, check_pictures
from aed_nerfstudio.face.face_mesh import EYE_OUTLINES
from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule
from aed_nerfstudio.rendering.transfer import send

AnyDataParser = tyro.conf.OmitSubcommandPrefixes[
    tyro.extras.subcommand_type_from_defaults(
        {"aed-data": TalkingFaceDataParserConfig(), "rad-nerf-data": RadNerfDataParserConfig()}, prefix_names=False
    )
]
"""Those that give what training needs; `ns-train aed-nerf rad-nerf-data --data FOLDER` chooses."""


CLOSED_EYES = 0.5
"""Eyes that are less open than this share of the person's widest count as closed."""
MOST_OFTEN = 5
"""How much more often than by chance a frame with closed eyes is drawn, at most."""
EYE_MARGIN = 0.15
"""Around the eyes, of the width of both."""


@dataclass
class AedDataManagerConfig(VanillaDataManagerConfig):
    """Random rays of random frames."""

    _target: type = field(default_factory=lambda: AedDataManager)
    dataparser: AnyDataParser = field(default_factory=TalkingFaceDataParserConfig)
    train_num_rays_per_batch: int = 65_536
    torso_rays_per_batch: int = 65_536
    """Rays of a step in the torso stage: in two dimensions a ray is one sample, so there may be more of them."""
    frames_per_step: int = 1
    """Frames among which a step's rays are divided. One, as the paper has it, needs its 65 536 rays: with a CPU's few
    thousand, each step would overfit its frame's label and light."""
    torso_frames_per_step: int = 1
    """The same in the torso stage: each shows another pose of head and shoulders."""
    balance_labels: bool = True
    """Every (emotion, intensity) is drawn equally often, however many frames show it."""
    lips_share: float = 0.0
    """Share of the rays drawn in the lip box."""
    face_share: float = 0.0
    """Share of the rays drawn in the face box."""
    eyes_share: float = 0.0
    """Share of the rays drawn in the box of both eyes."""
    blinks: float = 0.0
    """Share of the frames drawn that show closed eyes, at least, where there are some: they are few, and an avatar that
    saw hardly any does not blink."""
    patch_size_lips: int = 64
    """Largest side of the lip patch, pixels."""
    face_patches: float = 0.0
    """Share of the lip stage's steps between two lip patches that show a patch anywhere on the face: lips alone would
    become sharp."""
    frame_cache: Path | None = None
    """Folder of the decoded frames, 8 bytes a pixel (2 MiB a frame of 512x512). None: `.frames` in the dataset folder
    or, where that cannot be written, ~/.cache/aed-nerfstudio/frames. It may be deleted between trainings."""
    frames_on_gpu: float = 4.0
    """GiB. Frames of a dataset that needs no more than this stay on the GPU; of a larger one, only the pixels that are
    drawn go there."""
    face_depth: tyro.conf.Suppress[bool] = False
    """Whether the rays of the head stages know where the face is; set by the pipeline."""
    beyond_face: tyro.conf.Suppress[bool] = False
    """Whether the rays of a frame's head stage come sorted, those beyond the face last; set by the pipeline."""
    schedule: tyro.conf.Suppress[StageSchedule] = field(default_factory=StageSchedule)
    """The model's; set by the pipeline."""


class AedDataManager(VanillaDataManager[InputDataset]):
    """Batches: image, torso (over the background), background [N,3]; torso_alpha, head 0..1, face bool [N]; side of a
    lip patch."""

    config: AedDataManagerConfig

    @property
    def dataset(self) -> Dataset:
        return self.train_dataparser_outputs.metadata["dataset"]

    def create_train_dataset(self) -> InputDataset:
        """Returns the pictures and cameras of the training part."""
        return self._scaled(self.train_dataparser_outputs)

    def create_eval_dataset(self) -> InputDataset:
        """Returns the pictures and cameras of the part that is evaluated or rendered."""
        return self._scaled(self.dataparser.get_dataparser_outputs(split=self.test_split))

    def _scaled(self, outputs: DataparserOutputs) -> InputDataset:
        """Returns pictures and cameras of the size that `ns-render dataset --downscale-factor` asks for.

        Raises:
            InputError: such pictures would be too small or too large.
        """
        factor, camera = self.config.dataparser.downscale_factor, self.dataset.camera
        if factor is None:
            return InputDataset(outputs)
        smallest, largest = sorted((camera.w, camera.h))
        Between(largest / RENDERED_SIDE.high, smallest / RENDERED_SIDE.low).check("--downscale-factor", factor)
        return InputDataset(outputs, scale_factor=1 / factor)

    def setup_train(self) -> None:
        self._store: FrameStore | None = None
        self._kept: dict[int, Tensor] = {}
        """Pixels [H*W, 8] of the frames that stay on the GPU."""
        self.backgrounds, self.background_of = self._backgrounds()
        self.train_indices = self.dataset.split("train")
        self.chances = self._chances()
        self.eyes = self._eye_boxes()
        self.face_depth = FaceDepth.of(self.dataset) if self.config.face_depth else None
        # nerfstudio seeds NumPy with the machine's seed.
        self.generator = np.random.default_rng(np.random.randint(1 << 31))

    def _backgrounds(self) -> tuple[Tensor, dict[str, int]]:
        """Returns what is behind the person, uint8 [B, H*W, 3], and which of these a clip has, by its name."""
        pictures = {clip.name: self.dataset.static_background(clip.name).reshape(-1, 3) for clip in self.dataset.clips}
        different, number = np.unique(np.stack(list(pictures.values())), axis=0, return_inverse=True)
        return send(different, self.device), dict(zip(pictures, number.ravel().tolist(), strict=True))

    def store(self) -> FrameStore:
        """Returns the decoded frames; opened when first asked for, because only training has them."""
        if self._store is None:
            self._store = FrameStore(self.dataset, self.config.frame_cache)
        return self._store

    def get_training_callbacks(self, training_callback_attributes: TrainingCallbackAttributes) -> list:
        self.store()  # a disk that is too small is told before training begins
        check_pictures(self.dataset)  # and so is a damaged picture
        self.store().fill(self.train_indices, progress=is_main_process())  # else the first steps would wait for it
        return super().get_training_callbacks(training_callback_attributes)

    def _chances(self) -> np.ndarray:
        """Returns the probability of each training frame."""
        labels = np.array(self.dataset.labels if self.config.balance_labels else [""] * len(self.dataset.frames))
        _, number, counts = np.unique(labels[self.train_indices], return_inverse=True, return_counts=True)
        chances = 1 / (counts[number] * len(counts))
        closed = np.array([self.dataset.frames[i].eye_openness for i in self.train_indices]) < CLOSED_EYES
        now = chances[closed].sum()
        if 0 < now < self.config.blinks:
            wanted = min(self.config.blinks, MOST_OFTEN * now)
            chances = chances * np.where(closed, wanted / now, (1 - wanted) / (1 - now))
        return chances

    def _eye_boxes(self) -> dict[int, list[int]]:
        """Returns the box of both eyes, pixels, of each training frame; the face's where the eyes are not known."""
        if not self.config.eyes_share:
            return {}
        marks = {clip.name: self.dataset.landmarks(clip.name) for clip in self.dataset.clips}
        outlines = np.concatenate(EYE_OUTLINES)
        boxes = {}
        for index in self.train_indices:
            frame = self.dataset.frames[index]
            eyes = marks[frame.clip][frame.index][outlines, :2]
            if not np.isfinite(eyes).all():  # folders of other projects have not all landmarks
                boxes[index] = [*frame.face_box]
                continue
            low, high = eyes.min(axis=0), eyes.max(axis=0)
            margin = EYE_MARGIN * (high[0] - low[0])
            boxes[index] = [*(low - margin).astype(int).tolist(), *np.ceil(high + margin).astype(int).tolist()]
        return boxes

    def setup_eval(self) -> None:
        self.fixed_indices_eval_dataloader = FixedIndicesEvalDataloader(self.eval_dataset, device=self.device)
        self.eval_dataloader = RandIndicesEvalDataloader(self.eval_dataset, device=self.device)

    def get_param_groups(self) -> dict:
        return {}

    def get_train_rays_per_batch(self) -> int:
        return self.config.train_num_rays_per_batch

    def get_eval_rays_per_batch(self) -> int:
        return self.config.eval_num_rays_per_batch

    @property
    def _on_gpu(self) -> bool:
        return torch.device(self.device).type == "cuda"

    def _pixels(self, frame_index: int, pixels: np.ndarray) -> FramePixels:
        """Returns a frame's pixels [N] (row-major numbers), on the device."""
        store = self.store()
        if not (self._on_gpu and store.total_bytes <= self.config.frames_on_gpu * 2**30):
            return FramePixels(send(store.draw(frame_index, pixels).values, self.device))
        if frame_index not in self._kept:
            self._kept[frame_index] = send(store.draw(frame_index).values, self.device)
        return FramePixels(self._kept[frame_index][send(pixels, self.device)])

    def _boxed(self, box: list[int], count: int, width: int, height: int) -> np.ndarray:
        left, top = max(0, box[0]), max(0, box[1])
        right, bottom = min(width, max(left + 1, box[2])), min(height, max(top + 1, box[3]))
        x = self.generator.integers(min(left, width - 1), right, count)
        y = self.generator.integers(min(top, height - 1), bottom, count)
        return y * width + x

    def _in_face(self, frame_index: int, pixels: np.ndarray) -> np.ndarray:
        """Returns which pixels [N] of a frame lie in its face box, bool [N]."""
        left, top, right, bottom = self.dataset.frames[frame_index].face_box
        x, y = pixels % self.dataset.camera.w, pixels // self.dataset.camera.w
        return (x >= left) & (x < right) & (y >= top) & (y < bottom)

    def _rays(self, frame_index: int, pixels: np.ndarray) -> tuple[RayBundle, dict]:
        """Returns rays through pixels [N] (row-major numbers) of one frame, and the batch."""
        camera, frame = self.dataset.camera, self.dataset.frames[frame_index]
        w, h = camera.w, camera.h
        x, y = pixels % w, pixels // w
        pose = np.array(frame.camera_to_world, np.float32)
        local = np.stack(
            [(x + 0.5 - camera.cx) / camera.fl_x, -(y + 0.5 - camera.cy) / camera.fl_y, -np.ones(len(x))], -1
        )
        directions = (local / np.linalg.norm(local, axis=-1, keepdims=True)).astype(np.float32) @ pose[:3, :3].T
        n = len(pixels)
        stored = self._pixels(frame_index, pixels)
        background = self.backgrounds[self.background_of[frame.clip]][send(pixels, self.device)]
        face = self._in_face(frame_index, pixels)
        pixel = np.stack([(x + 0.5) / w, (y + 0.5) / h], -1).astype(np.float32) * 2 - 1
        bundle = RayBundle(
            origins=send(np.tile(pose[:3, 3], (n, 1)), self.device),
            directions=send(directions, self.device),
            pixel_area=torch.ones(n, 1, device=self.device),
            metadata={
                "frame": torch.full((n, 1), frame_index),  # stays on the host, which groups rays by it
                "pixel": send(pixel, self.device),
            },
        )
        if self.face_depth is not None:
            bundle.metadata["surface"] = send(self.face_depth.surface(frame_index, x, y), self.device)
        return bundle, as_batch(stored, background, send(face, self.device))

    def next_train(self, step: int) -> tuple[RayBundle, dict]:
        self.train_count += 1
        camera = self.dataset.camera
        shown = self.config.schedule.shows(step, self.config.face_patches)
        w, h = camera.w, camera.h
        if shown in ("lips", "face"):
            frame_index = int(self.generator.choice(self.train_indices, p=self.chances))
            frame = self.dataset.frames[frame_index]
            left, top, right, bottom = frame.lips_box
            side = self.patch_side(frame_index)
            x, y = (left + right) // 2, (top + bottom) // 2
            if shown == "face":
                left, top, right, bottom = frame.face_box
                x, y = self.generator.integers(left, right), self.generator.integers(top, bottom)
            left, top = int(np.clip(x - side // 2, 0, w - side)), int(np.clip(y - side // 2, 0, h - side))
            y, x = np.meshgrid(np.arange(side) + top, np.arange(side) + left, indexing="ij")
            bundle, batch = self._rays(frame_index, (y * w + x).reshape(-1))
            batch["patch"] = side
            return bundle, batch
        c = self.config
        count, lips, face, eyes, rest = self.rays_of_frame(shown)
        drawn = []
        for index in self.generator.choice(self.train_indices, count, replace=False, p=self.chances):
            frame = self.dataset.frames[index]
            parts = [
                self._boxed(frame.lips_box, lips, w, h),
                self._boxed(frame.face_box, face, w, h),
                *([self._boxed(self.eyes[int(index)], eyes, w, h)] if eyes else []),
                self._boxed([0, 0, w, h], rest, w, h),
            ]
            pixels = np.concatenate(parts)
            if not c.beyond_face or shown == "torso":
                drawn.append(self._rays(int(index), pixels))
                continue
            pixels = pixels[np.argsort(~self._in_face(index, pixels), kind="stable")]
            bundle, batch = self._rays(int(index), pixels)
            bundle.metadata["beyond_face"] = torch.from_numpy(~self._in_face(index, pixels))[:, None]  # on the host too
            drawn.append((bundle, batch))
        bundles, batches = zip(*drawn, strict=True)
        return _joined(bundles), {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}

    def patch_side(self, frame_index: int) -> int:
        """Returns the side of a frame's lip patch, pixels."""
        camera, (left, top, right, bottom) = self.dataset.camera, self.dataset.frames[frame_index].lips_box
        return int(min(max(right - left, bottom - top, 32), self.config.patch_size_lips, camera.w, camera.h))

    def rays_of_frame(self, shown: str) -> tuple[int, int, int, int, int]:
        """Returns among how many frames the rays of a `head` or `torso` step are divided, and how many of one frame's
        are drawn on lips, face and eyes, and anywhere."""
        c = self.config
        if shown == "torso":
            count = min(c.torso_frames_per_step, len(self.train_indices))
            return count, 0, 0, 0, c.torso_rays_per_batch // count
        count = min(c.frames_per_step, len(self.train_indices))
        n = c.train_num_rays_per_batch // count
        lips, face, eyes = int(n * c.lips_share), int(n * c.face_share), int(n * c.eyes_share)
        return count, lips, face, eyes, n - lips - face - eyes

    def next_eval(self, step: int) -> tuple[RayBundle, dict]:
        index = int(self.generator.choice(self.dataset.split("val")))
        camera = self.dataset.camera
        return self._rays(index, self._boxed([0, 0, camera.w, camera.h], 1024, camera.w, camera.h))

    def next_eval_image(self, step: int):
        self.eval_count += 1
        return next(iter(self.eval_dataloader))


def as_batch(stored: FramePixels, background: Tensor, face: Tensor) -> dict[str, Tensor]:
    """Returns what the losses compare rays with.

    Args:
        stored: pixels of frames, uint8 [N, 8].
        background: of the same pixels, uint8 [N, 3].
        face: whether they lie in the face box, bool [N].
    """
    return {
        "image": stored.image / 255,
        "torso": over_background(stored.torso, background),
        "torso_alpha": stored.torso[:, 3] / 255,
        "background": background / 255,
        "face": face,
        "head": stored.head.float(),
    }


def _joined(bundles: Sequence[RayBundle]) -> RayBundle:
    """Returns one bundle of all rays."""
    return RayBundle(
        origins=torch.cat([b.origins for b in bundles]),
        directions=torch.cat([b.directions for b in bundles]),
        pixel_area=torch.cat([b.pixel_area for b in bundles]),
        metadata={key: torch.cat([b.metadata[key] for b in bundles]) for key in bundles[0].metadata},
    )
