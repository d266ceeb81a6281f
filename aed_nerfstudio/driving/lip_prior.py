"""What the lips of other people teach about a voice's: where the regression of a person's own lips begins."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError
from safetensors.numpy import load, save

from aed_nerfstudio import files
from aed_nerfstudio.audio.features import cut_windows, front_end_named
from aed_nerfstudio.dataset.schema import Dataset, read_dataset
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.face_mesh import lip_shape
from aed_nerfstudio.fields.linear_lips import pooled
from aed_nerfstudio.outside import read_bytes

PACKAGED = "actor"
"""The prior that comes with this package, of the computer-made actor."""
VERSION = "1"
LARGEST = 1 << 26
"""Bytes of a file."""
SHAPES = 4
WINDOW = 16
MEND = "give the file that `aed lip-prior` wrote"


def spoken_lip_shapes(dataset: Dataset) -> Float32[np.ndarray, "f 4"]:
    """Returns what speech does to the lips, float32 [F, 4]: lip shapes less the mean of their label, standardised.

    A smile widens the mouth for the whole of a clip, which the audio cannot tell and the emotion does; left in, it
    would be noise to what reads the audio.
    """
    shapes = np.concatenate([lip_shape(dataset.landmarks(clip.name)) for clip in dataset.clips])
    train = np.zeros(len(shapes), bool)
    train[dataset.split("train")] = True
    labels = np.array(dataset.labels)
    for label in np.unique(labels[train]):
        shapes[labels == label] -= shapes[train & (labels == label)].mean(0)
    return np.clip(shapes / (shapes[train].std(0) + 1e-6), -4, 4).astype(np.float32)


@dataclass(frozen=True)
class LipPrior:
    """A linear map from windows of standardised audio features to standardised lip shapes, pooled over people.

    front_end: whose features it reads. weight: [4, 16 * dim]. people: how many it was learned from.
    """

    front_end: str
    weight: Float32[np.ndarray, "4 window"]
    people: int

    @classmethod
    def of(cls, datasets: Sequence[Dataset]) -> LipPrior:
        """Learns it from the recordings of one or more people.

        Raises:
            InputError: they are none, have no sound, or have not all the same audio features.
        """
        if not datasets:
            raise InputError("a lip prior needs a dataset; give folders that `aed process` made")
        first = datasets[0]
        for dataset in datasets:
            if dataset.front_end == "none":
                raise InputError(f"{dataset.root}: has no sound, so its lips say nothing about a voice; leave it out")
            if (dataset.front_end, dataset.feature_dim) != (first.front_end, first.feature_dim):
                raise InputError(
                    f"{dataset.root}: has audio features {dataset.front_end} ({dataset.feature_dim} numbers), and "
                    f"{first.root} has {first.front_end} ({first.feature_dim}); process all with the same"
                )
        people = [(_windows(dataset), spoken_lip_shapes(dataset)[dataset.split("train")]) for dataset in datasets]
        return cls(first.front_end, pooled(people).astype(np.float32), len(datasets))

    @classmethod
    def load(cls, path: Path) -> LipPrior:
        """Reads a file of `save`, which may come from a stranger.

        Raises:
            InputError: there is none, or it is damaged, too large, of a later version or something else.
        """
        content = read_bytes(path, LARGEST, MEND)
        try:
            size = int.from_bytes(content[:8], "little")
            facts = json.loads(content[8 : 8 + size])["__metadata__"]
            weight = load(content)["weight"]
            version, front_end, people = facts["version"], facts["front_end"], int(facts["people"])
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: damaged, or no lip prior; {MEND}") from error
        if version != VERSION:
            raise InputError(f"{path}: a lip prior of version {version}, not {VERSION}; update aed-nerfstudio")
        if weight.dtype not in (np.float16, np.float32) or weight.ndim != 2 or weight.shape[0] != SHAPES or (
            weight.shape[1] % WINDOW or not np.isfinite(weight).all()
        ):  # fmt: skip
            raise InputError(f"{path}: damaged, its numbers are {weight.dtype} {list(weight.shape)}; {MEND}")
        return cls(front_end, weight.astype(np.float32), people)

    def save(self, path: Path) -> None:
        """Writes it into one file, in half precision: no footage, no sound, no face; InputError where it cannot."""
        facts = {"version": VERSION, "front_end": self.front_end, "people": str(self.people)}
        # In C's order: safetensors writes the memory as it lies.
        files.write(path, save({"weight": self.weight.astype(np.float16, order="C")}, facts))

    def fitted_to(self, front_end: str, feature_dim: int) -> Float32[np.ndarray, "4 window"] | None:
        """Returns its weight for an avatar's features, [4, 16 * feature_dim]; None where it does not know them.

        What it knows of one of several joined front ends counts; of the others it says nothing.
        """
        own = self.weight.reshape(SHAPES, WINDOW, -1)
        start = 0
        for part in [front_end] if front_end == self.front_end else front_end.split("+"):
            dim = feature_dim if part == front_end else front_end_named(part).dim
            if part == self.front_end and dim == own.shape[2] and start + dim <= feature_dim:
                weight = np.zeros((SHAPES, WINDOW, feature_dim), np.float32)
                weight[:, :, start : start + dim] = own
                return weight.reshape(SHAPES, -1)
            start += dim
        return None


def lip_prior(paths: Sequence[Path], front_end: str, feature_dim: int) -> Float32[np.ndarray, "4 window"] | None:
    """Returns the weight of a prior for an avatar's audio features, [4, 16 * feature_dim]; None: there is none.

    Args:
        paths: a file of `LipPrior.save`, datasets of people to learn one from now, or `actor`: the one that comes with
            this package, where it knows these features.

    Raises:
        InputError: a path is none of these, or its prior does not know these features.
    """
    if not paths:
        return None
    if [str(path) for path in paths] == [PACKAGED] and not paths[0].exists():
        prior = LipPrior.load(Path(__file__).parent / "packaged_files" / f"{PACKAGED}.prior")
        return prior.fitted_to(front_end, feature_dim)
    if len(paths) == 1 and not paths[0].is_dir():
        prior = LipPrior.load(paths[0])
    else:
        prior = LipPrior.of([read_dataset(path) for path in paths])
    weight = prior.fitted_to(front_end, feature_dim)
    if weight is None:
        raise InputError(f"{paths[0]}: a lip prior of audio features {prior.front_end}, and the avatar has {front_end} "
                         f"({feature_dim} numbers a step); process the people of both with the same")  # fmt: skip
    return weight


def _windows(dataset: Dataset) -> np.ndarray:
    """Returns the windows of the training frames of standardised features, float32 [F, 16, dim]."""
    clips = [dataset.features(clip.name) for clip in dataset.clips]
    features = np.concatenate(clips)
    mean, scale = features.mean(0), 1 / (features.std(0) + 1e-3)
    windows = np.concatenate([cut_windows((part - mean) * scale) for part in clips])
    return windows[dataset.split("train")]
