"""What `aed process` is given: options, and videos with all that belongs to each, checked before hours of work."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from aed_nerfstudio.audio.feature_files import is_file_front_end
from aed_nerfstudio.audio.features import check_front_end
from aed_nerfstudio.bounds import DATASET_SIDE, SHIFT
from aed_nerfstudio.capture.parsers import open_parser
from aed_nerfstudio.capture.tracking import MINIMUM_SECONDS, too_short
from aed_nerfstudio.driving.emotion import CATEGORIES, INTENSITIES
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import stamp
from aed_nerfstudio.media.containers import open_media, sound_streams
from aed_nerfstudio.media.video_reader import probe
from aed_nerfstudio.outside import read_array

LABEL = r"[\w-]{1,60}"
"""An emotion's name."""


@dataclass(frozen=True)
class ProcessOptions:
    """How videos become a dataset.

    size: side of the square pictures, pixels. emotions: every video's label, or one for all; usually of
    `driving.emotion.CATEGORIES`, others are added to these. intensities: the same from `INTENSITIES`. front_end: name
    of the audio front end; with "none" the videos need no sound, and the lips follow none; with "file" `features` are
    used. features: a `.npy` file of audio features for every video. parser: name in `capture.parsers.PARSERS`.
    parser_weights: file or folder of its weights, where it needs any. sound: a sound file for every video, or None for
    the video's own track; empty: all have their own. audio_shift: seconds by which the sound is late, which is mended.
    consent: who agreed to what, a text.
    """

    size: int = 512
    emotions: Sequence[str] = ("neutral",)
    intensities: Sequence[str] = ("medium",)
    front_end: str = "moonshine"
    features: Sequence[Path] = ()
    parser: str = "mediapipe"
    parser_weights: Path | None = None
    sound: Sequence[Path | None] = ()
    audio_shift: float = 0.0
    consent: str = ""


@dataclass
class Source:
    """A video with all that is given about it; `name` is unique and fit for a folder."""

    video: Path
    name: str
    emotion: str
    intensity: str
    sound: Path | None
    features: Path | None

    def inputs(self) -> dict:
        """Returns what identifies its contents."""
        return {k: stamp(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}


def read_sources(videos: list[Path], options: ProcessOptions) -> list[Source]:
    """Returns the videos with what is given about them.

    Raises:
        InputError: what can be told within a moment is wrong: an option, a file, its length, its missing sound.
    """
    if not videos:
        raise InputError("no video given; name at least one video file")
    if len({v.resolve() for v in videos}) < len(videos):
        raise InputError("the same video is given twice; name every file once")
    DATASET_SIDE.check("size", options.size)
    SHIFT.check("audio shift", options.audio_shift)
    check_front_end(options.front_end)
    open_parser(options.parser, options.parser_weights)  # whether there is one; its model is loaded later
    if options.parser_weights is not None and not options.parser_weights.exists():
        raise InputError(f"{options.parser_weights}: no such file or folder; give --parser-weights the parser's")
    ready = is_file_front_end(options.front_end)
    if ready != bool(options.features):
        raise InputError("feature files and the front end 'file' go together; give one .npy file a video, or neither")
    emotions = _one_each(options.emotions, videos, "emotion")
    intensities = _one_each(options.intensities, videos, "intensity")
    for emotion in emotions:
        if not re.fullmatch(LABEL, emotion):
            raise InputError(f"emotion {emotion!r} is no label; use one word such as {', '.join(CATEGORIES)}")
    for intensity in intensities:
        if intensity not in INTENSITIES:
            raise InputError(f"unknown intensity {intensity!r}; choose one of {', '.join(INTENSITIES)}")
    sound = list(options.sound) or [None] * len(videos)
    features = list(options.features) or [None] * len(videos)
    for kind, files in (("sound", sound), ("feature", features)):
        if len(files) != len(videos):
            raise InputError(f"{len(files)} {kind} files for {len(videos)} videos; give one each")
        for file in files:
            if file is not None:
                check_sound(file) if kind == "sound" else read_array(file)  # of its header
    sources = [Source(*parts) for parts in zip(videos, _names(videos), emotions, intensities, sound, features,
                                               strict=True)]  # fmt: skip
    for source in sources:
        info = probe(source.video)
        if options.front_end != "none" and not ready and source.sound is None and not info.has_audio:
            raise InputError(f"{source.video}: holds no audio; speech drives the avatar, so give a video with its "
                             "sound track (or --audio-features none, for emotions without speech)")  # fmt: skip
        if 0 < info.longest < MINIMUM_SECONDS:  # of one that is cut off, more will be said
            raise InputError(too_short(source.video, info.longest))
    return sources


def check_sound(file: Path) -> None:
    """Raises InputError where a file cannot be opened or holds no sound; read later, it may still be damaged."""
    with open_media(file) as container:
        if not sound_streams(container):
            raise InputError(f"{file}: holds no audio stream; give a file with sound")


def _one_each(labels: Sequence[str], videos: list[Path], name: str) -> list[str]:
    """Returns a label for every video."""
    if len(labels) not in (1, len(videos)):
        raise InputError(f"--{name} has {len(labels)} values for {len(videos)} videos; give one each, or one for all")
    return list(labels) * (len(videos) if len(labels) == 1 else 1)


def _names(videos: list[Path]) -> list[str]:
    """Returns a unique folder name for every video, from its file name."""
    names: list[str] = []
    for video in videos:
        stem = re.sub(r"[^\w-]+", "_", video.stem).strip("_") or "clip"
        name, number = stem, 2
        while name in names:
            name, number = f"{stem}_{number}", number + 1
        names.append(name)
    return names
