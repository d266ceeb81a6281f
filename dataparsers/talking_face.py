"""Dataparser `aed-data`: a dataset folder of `aed process` or of the synthetic actor.

Must not import trainers, pipelines or method configs: nerfstudio loads this module while its own are half imported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro
from nerfstudio.cameras.cameras import Cameras, CameraType
from nerfstudio.data.dataparsers.base_dataparser import DataParser, DataParserConfig, DataparserOutputs
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.plugins.registry_dataparser import DataParserSpecification

from aed_nerfstudio.dataset.schema import Dataset, read_dataset
from aed_nerfstudio.errors import InputError


@dataclass
class TalkingFaceDataParserConfig(DataParserConfig):
    """Options of `aed-data`."""

    _target: type = field(default_factory=lambda: TalkingFaceDataParser)
    data: Path = Path("data")
    """Folder written by `aed process`."""
    downscale_factor: tyro.conf.Suppress[float | None] = None
    """How many times smaller than recorded the pictures of `ns-render dataset` are, which sets it; training takes them
    as they are."""


@dataclass
class TalkingFaceDataParser(DataParser):
    """Gives cameras [F] with `times` (0..1 over all frames) and metadata `frame` (index into the dataset's frames)."""

    config: TalkingFaceDataParserConfig
    includes_time: bool = True
    _dataset: Dataset | None = None
    """Read for the first split that is asked for, and then for all."""

    def _read(self) -> Dataset:
        """Reads the folder."""
        return read_dataset(self.config.data)

    def _generate_dataparser_outputs(self, split: str = "train", **_) -> DataparserOutputs:
        if self._dataset is None:
            self._dataset = self._read()
        dataset = self._dataset
        indices = dataset.split(split)
        if not indices:
            raise InputError(f"{self.config.data} has no usable frame in its {split} part; process a longer video")
        camera = dataset.camera
        poses = np.array([dataset.frames[i].camera_to_world for i in indices], np.float32)[:, :3]
        cameras = Cameras(
            camera_to_worlds=torch.from_numpy(poses),
            fx=float(camera.fl_x),
            fy=float(camera.fl_y),
            cx=float(camera.cx),
            cy=float(camera.cy),
            width=camera.w,
            height=camera.h,
            camera_type=CameraType.PERSPECTIVE,
            times=torch.tensor(indices, dtype=torch.float32)[:, None] / max(1, len(dataset.frames) - 1),
            metadata={"frame": torch.tensor(indices)[:, None]},
        )
        return DataparserOutputs(
            image_filenames=[dataset.path("images", dataset.frames[i]) for i in indices],
            cameras=cameras,
            scene_box=SceneBox(aabb=torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])),
            metadata={"dataset": dataset},
        )


aed_data = DataParserSpecification(
    config=TalkingFaceDataParserConfig(), description="Talking-face dataset folder written by `aed process`"
)
