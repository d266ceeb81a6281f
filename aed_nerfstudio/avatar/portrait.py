"""What an avatar knows of its person without the recording."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version

import numpy as np
from jaxtyping import Float, Int32, Shaped, UInt8

from aed_nerfstudio.dataset.schema import FPS, LARGEST_SIDE, Camera, Dataset
from aed_nerfstudio.dataset.torso_motion import MOTION_DIM
from aed_nerfstudio.driving.assembler import Assembler
from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.driving.head_motion import HeadMotion
from aed_nerfstudio.errors import InputError

VERSION = 1
"""Of what `facts` and `arrays` hold."""
MOST_LABELS = 64
"""Categories or intensities of a vocabulary."""
LONGEST_TEXT = 10_000
"""Characters of a text about the avatar."""
DTYPES = {
    "background": "uint8",
    "poses": "float32",
    "eye_openness": "float32",
    "takes": "int32",
    "frames": "int32",
    "torso": "float32",
}
"""Kinds of the arrays. Portraits without a measured motion of the shoulders have no `torso`."""


@dataclass(frozen=True)
class Provenance:
    """Where an avatar comes from, in words; empty where it was not noted."""

    sources: str = ""
    """SHA-256 of the description of the dataset that it was made of."""
    date: str = ""
    """The day on which the training began, YYYY-MM-DD."""
    tool: str = ""
    """Name and version of the program."""
    consent: str = ""
    """Who agreed to what."""
    licence: str = ""
    """Under which terms the avatar may be used."""


@dataclass(frozen=True)
class Portrait:
    """Everything that drives or renders an avatar, beside its network's weights."""

    vocabulary: EmotionVocabulary
    camera: Camera
    """The recording's; `background` has its size."""
    background: UInt8[np.ndarray, "h w 3"]
    """uint8 [H, W, 3]: the picture without the person."""
    motion: HeadMotion
    """Of the F training frames."""
    frames: Int32[np.ndarray, " f"]
    """int32 [F]: the number of each training frame among all of the recording."""
    frame_count: int
    """Of all frames of the recording."""
    front_end: str
    """Name of the way from sound to features."""
    feature_dim: int
    """Numbers a step of these."""
    takes: tuple[str, ...]
    """Names of the recording's takes, by their numbers."""
    provenance: Provenance = Provenance()

    @classmethod
    def of(cls, dataset: Dataset) -> Portrait:
        """Returns the portrait of a dataset's person.

        Raises:
            InputError: the dataset has no usable training frame, or its background cannot be read.
        """
        train = dataset.split("train")
        if not train:
            raise InputError(f"{dataset.root}: has no usable training frames")
        names = {clip.name: number for number, clip in enumerate(dataset.clips)}
        labels = {clip.name: (clip.emotion, clip.intensity) for clip in dataset.clips}
        chosen = [dataset.frames[i] for i in train]
        portrait = cls(
            vocabulary=EmotionVocabulary(
                tuple(dataset.categories), tuple(dataset.intensities), tuple(dict.fromkeys(labels.values()))
            ),
            camera=dataset.camera,
            background=dataset.static_background(),
            motion=HeadMotion(
                poses=np.array([frame.camera_to_world for frame in chosen], np.float32)[:, :3],
                eye_openness=np.array([frame.eye_openness for frame in chosen], np.float32),
                takes=np.array([names[frame.clip] for frame in chosen], np.int32),
                labels=tuple(" ".join(label) for label in labels.values()),
            ),
            frames=np.array(train, np.int32),
            frame_count=len(dataset.frames),
            front_end=dataset.front_end,
            feature_dim=dataset.feature_dim,
            takes=tuple(names),
            provenance=Provenance(
                sources=_digest(dataset),
                date=datetime.date.today().isoformat(),
                tool=f"aed-nerfstudio {version('aed-nerfstudio')}",
                consent=dataset.consent,
            ),
        )
        return replace(portrait, background=dataset.static_background(portrait.takes[portrait.reference_take]))

    def assembler(self) -> Assembler:
        """Returns what puts together the conditions of this avatar's frames."""
        return Assembler(self.motion, self.vocabulary)

    @property
    def reference_take(self) -> int:
        """Returns the number of the take whose light and room are shown: the longest that is neutral, or of all."""
        longest = self.motion.longest_first
        return next((k for k in longest if self.motion.labels[k].split()[0] == "neutral"), longest[0])

    def take_number(self, name: str) -> int:
        """Returns the number of a take, by its name or, where only one has it, by its label, such as `happy strong`.

        Raises:
            InputError: there is no such take.
        """
        labelled = [number for number, label in enumerate(self.motion.labels) if label == name]
        if name not in self.takes and len(labelled) != 1:
            known = ", ".join(f"{take} ({label})" for take, label in zip(self.takes, self.motion.labels, strict=True))
            raise InputError(f"take {name!r}: the avatar was recorded in {known}")
        return self.takes.index(name) if name in self.takes else labelled[0]

    def noting(self, **words: str) -> Portrait:
        """Returns the same with other words of its `provenance`; empty ones change nothing."""
        return replace(self, provenance=replace(self.provenance, **{k: v for k, v in words.items() if v}))

    def moving(self, torso: Float[np.ndarray, "f m"]) -> Portrait:
        """Returns the same with another motion of the shoulders in its training frames, [F, M]."""
        return replace(self, motion=replace(self.motion, torso=torso.astype(np.float32)))

    # ---- as plain values, in checkpoints and avatar files

    def facts(self) -> dict:
        """Returns all but the arrays, as values that JSON can hold."""
        return {
            "version": VERSION,
            "fps": FPS,
            "vocabulary": {
                "categories": list(self.vocabulary.categories),
                "intensities": list(self.vocabulary.intensities),
                "recorded": [list(pair) for pair in self.vocabulary.recorded],
            },
            "camera": asdict(self.camera),
            "labels": list(self.motion.labels),
            "takes": list(self.takes),
            "frame_count": self.frame_count,
            "front_end": self.front_end,
            "feature_dim": self.feature_dim,
            "provenance": asdict(self.provenance),
        }

    def arrays(self) -> dict[str, Shaped[np.ndarray, " ..."]]:
        """Returns the arrays by name, each of the type that `DTYPES` says."""
        motion = self.motion
        found = {"background": self.background, "poses": motion.poses, "eye_openness": motion.eye_openness}
        found |= {"takes": motion.takes, "frames": self.frames}
        return found if motion.torso is None else {**found, "torso": motion.torso}

    @classmethod
    def restore(cls, facts: Mapping[str, object], arrays: Mapping[str, Shaped[np.ndarray, " ..."]]) -> Portrait:
        """Returns the portrait of which `facts` and `arrays` were taken; both may come from a stranger.

        Raises:
            ValueError: they are of a newer version, damaged, or do not fit together; says what is wrong.
        """
        if facts.get("version") != VERSION:
            raise ValueError(f"its portrait has version {facts.get('version')!r}, and this program knows {VERSION}")
        try:
            portrait = cls._restored(facts, arrays)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"its portrait lacks something, or holds something else ({error!r})") from error
        portrait._check()
        return portrait

    @classmethod
    def _restored(cls, facts: Mapping, arrays: Mapping[str, np.ndarray]) -> Portrait:
        words, seen = facts["vocabulary"], facts["camera"]
        arrays = {name: np.asarray(arrays[name]) for name in DTYPES if name != "torso" or name in arrays}
        for name, kind in DTYPES.items():
            if name in arrays and arrays[name].dtype != kind:
                raise ValueError(f"its {name} are {arrays[name].dtype}, not {kind}")
        return cls(
            vocabulary=EmotionVocabulary(
                tuple(map(_text, words["categories"])),
                tuple(map(_text, words["intensities"])),
                tuple((_text(category), _text(intensity)) for category, intensity in words["recorded"]),
            ),
            camera=Camera(
                fl_x=_number(seen["fl_x"]),
                fl_y=_number(seen["fl_y"]),
                cx=_number(seen["cx"]),
                cy=_number(seen["cy"]),
                w=_whole(seen["w"]),
                h=_whole(seen["h"]),
            ),
            background=arrays["background"],
            motion=HeadMotion(
                arrays["poses"],
                arrays["eye_openness"],
                arrays["takes"],
                tuple(map(_text, facts["labels"])),
                arrays.get("torso"),
            ),
            frames=arrays["frames"],
            frame_count=_whole(facts["frame_count"]),
            front_end=_text(facts["front_end"]),
            feature_dim=_whole(facts["feature_dim"]),
            # Avatars of before there was a light of takes name none.
            takes=tuple(map(_text, facts.get("takes", [str(number) for number in range(len(facts["labels"]))]))),
            provenance=Provenance(**{f.name: _text(facts["provenance"][f.name]) for f in fields(Provenance)}),
        )

    def _check(self) -> None:
        """Makes sure that what was restored fits together."""
        camera, motion, words = self.camera, self.motion, self.vocabulary
        count = len(motion.poses)
        sides = 1 <= camera.w <= LARGEST_SIDE and 1 <= camera.h <= LARGEST_SIDE
        torso = np.zeros((count, MOTION_DIM)) if motion.torso is None else motion.torso
        unique = all(len({*labels}) == len(labels) for labels in (words.categories, words.intensities))
        known = all(c in words.categories and i in words.intensities for c, i in words.recorded)
        posed = motion.poses.shape == (count, 3, 4) and np.isfinite(motion.poses).all() and count > 0
        rotation = motion.poses[..., :3].astype(np.float64) if posed else np.zeros((1, 3, 3))
        for fits, what in (
            (sides and camera.fl_x > 0 and camera.fl_y > 0, "camera"),
            (self.background.shape == (camera.h, camera.w, 3), "background"),
            (0 < len(words.categories) <= MOST_LABELS and 0 < len(words.intensities) <= MOST_LABELS, "vocabulary"),
            (unique and known and words.recorded, "vocabulary"),
            (posed and count <= self.frame_count <= 10**8 and (np.abs(motion.poses) < 1e6).all(), "poses"),
            (np.allclose(rotation @ rotation.swapaxes(-1, -2), np.eye(3), atol=1e-2), "poses"),
            (np.linalg.det(rotation).min() > 0, "poses"),
            (motion.eye_openness.shape == (count,) and np.isfinite(motion.eye_openness).all(), "eyes"),
            (torso.shape == (count, MOTION_DIM) and (np.abs(torso) < 1e3).all(), "motion of the shoulders"),
            (motion.takes.shape == (count,) and 0 <= motion.takes.min(initial=0), "takes"),
            (motion.takes.max(initial=0) < len(motion.labels) <= 10**6, "takes"),
            (len(self.takes) == len({*self.takes}) == len(motion.labels), "takes"),
            (self.frames.shape == (count,) and 0 <= self.frames.min(initial=0), "frames"),
            (self.frames.max(initial=0) < self.frame_count, "frames"),
            (1 <= self.feature_dim <= 10**5, "size of the audio features"),
        ):
            if not fits:
                raise ValueError(f"the {what} of its portrait cannot be")


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or "\0" in value:
        raise TypeError(f"{str(value)[:40]!r} is no text, or a long one")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not abs(value) < 1e12:
        raise TypeError(f"{str(value)[:40]!r} is no whole number that can be")
    return value


def _number(value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < 1e12:
        raise TypeError(f"{str(value)[:40]!r} is no number that can be")
    return float(value)


def _digest(dataset: Dataset) -> str:
    """Returns the digest of a dataset's description, which tells all of its frames."""
    found = hashlib.sha256()
    for frame in dataset.frames:
        found.update(f"{frame.stem} {frame.camera_to_world} {frame.face_box}\n".encode())
    for clip in dataset.clips:
        found.update(f"{clip.name} {clip.source} {clip.emotion} {clip.intensity} {clip.count}\n".encode())
    return found.hexdigest()
