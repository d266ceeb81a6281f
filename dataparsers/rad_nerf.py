"""Dataparser `rad-nerf-data`: folders of AD-NeRF, RAD-NeRF and ER-NeRF as they are.

Must not import trainers, pipelines or method configs: nerfstudio loads this module while its own are half imported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro
from aed_nerfstudio.dataparsers.talking_face import TalkingFaceDataParser
from nerfstudio.data.dataparsers.base_dataparser import DataParserConfig
from nerfstudio.plugins.registry_dataparser import DataParserSpecification

from aed_nerfstudio.audio.feature_files import FILE, read_feature_file
from aed_nerfstudio.audio.features import NONE, SAMPLE_RATE, extract_features
from aed_nerfstudio.dataset.rad_folder import RadFolder, read_rad_folder
from aed_nerfstudio.dataset.schema import METRES_PER_UNIT
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.outside import BoundedFolder

FEATURE_FILES = {"aud_ds.npy": "deepspeech", "aud.npy": None, "aud_eo.npy": "esperanto", "aud_hu.npy": "hubert"}
"""The names of their feature files, and whose features they are; aud.npy holds whatever its maker chose."""


@dataclass
class RadNerfDataParserConfig(DataParserConfig):
    """Options of `rad-nerf-data`."""

    _target: type = field(default_factory=lambda: RadNerfDataParser)
    data: Path = Path("data")
    """Folder written by their data_utils/process.py."""
    audio_features: str = "auto"
    """What the avatar hears by: a front end's name, which reads aud.wav; `file`: the folder's own features, which
    renders new sound only with features of it made by the same program; `none`; `auto`: moonshine where there is an
    aud.wav, else file."""
    audio_features_file: Path | None = None
    """The features for `file`; the first of aud_ds.npy, aud.npy, aud_eo.npy and aud_hu.npy in the folder when None."""
    scale: float = 1 / METRES_PER_UNIT
    """Our units (0.25 m) per unit of the cameras; theirs are metres. RAD-NeRF's --scale."""
    head_centre: tuple[float, float, float] | None = None
    """Where the head's centre (between the ears, at the height of the eyes) is in their world; when None, what the
    transforms say of it, else their origin."""
    downscale_factor: tyro.conf.Suppress[float | None] = None
    """As that of `aed-data`."""


@dataclass
class RadNerfDataParser(TalkingFaceDataParser):
    """Parses as `aed-data`.

    Gives cameras with `times` and metadata `frame`, and the dataset in the outputs' metadata.
    """

    config: RadNerfDataParserConfig

    def _read(self) -> RadFolder:
        """Reads the folder with its audio features."""
        c = self.config
        dataset = read_rad_folder(c.data, c.scale, c.head_centre)
        count = dataset.clips[0].count
        chosen = c.audio_features
        if chosen == "auto":
            silent = not dataset.sound("").is_file() or c.audio_features_file is not None
            chosen = FILE if silent else "moonshine"
        if chosen == FILE:
            path = c.audio_features_file or _feature_file(c.data)
            maker = FEATURE_FILES.get(path.name)
            dataset.front_end = f"{FILE}/{maker}" if maker else FILE
            dataset.speech = read_feature_file(path, count)
        elif chosen != NONE.name:
            from aed_nerfstudio.media.audio_io import read_audio

            dataset.front_end = chosen
            dataset.speech = extract_features(read_audio(dataset.sound(""), SAMPLE_RATE), count, chosen)
        dataset.feature_dim = dataset.speech.shape[1]
        print(f"{c.data}: {count} frames, audio features {dataset.front_end}")
        for warning in dataset.warnings:
            print(f"warning: {warning}")
        return dataset


def _feature_file(folder: Path) -> Path:
    """Finds the first of their feature files in a folder."""
    for name in FEATURE_FILES:
        if BoundedFolder(folder).check(folder / name).is_file():
            return folder / name
    raise InputError(f"{folder}: has neither aud.wav nor features ({', '.join(FEATURE_FILES)}); add its sound as "
                     "aud.wav, or choose --audio-features none")  # fmt: skip


rad_nerf_data = DataParserSpecification(
    config=RadNerfDataParserConfig(), description="Folder of AD-NeRF, RAD-NeRF or ER-NeRF"
)
