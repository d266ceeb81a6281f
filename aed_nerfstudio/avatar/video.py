"""An avatar's video: its pictures with their sound, written so that a render that was stopped can go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.avatar.frame_range import check_frames, frames_text
from aed_nerfstudio.driving.camera_path import CameraPath
from aed_nerfstudio.driving.emotion_track import EmotionTrack
from aed_nerfstudio.driving.track import DrivingTrack
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import array_digest
from aed_nerfstudio.jobs.folder_lock import folder_lock
from aed_nerfstudio.media.backgrounds import Background
from aed_nerfstudio.media.captions import Mark
from aed_nerfstudio.media.output import FrameStream, check_room, open_output, side_by_side, size_together


@dataclass(kw_only=True)
class Video:
    """A video to be written; the fields without a docstring are the arguments of `Avatar.write_video`."""

    path: Path
    tracks: Mapping[str, DrivingTrack]
    """The tracks by their captions, of equal length and rate."""
    samples: Float[np.ndarray, " n"]
    size: tuple[int, int]
    """Height and width of one track's picture, pixels."""
    frames: range
    """Numbers of the frames, in steps of 1; see `video_frames`."""
    model: str
    """The avatar's name, which is written into the video."""
    consent: str
    """Who agreed to the avatar; empty where it is not known."""
    background: Background | None = None
    camera_path: CameraPath | None = None
    smooth_lips: bool = False
    mark: str | None = None
    form: str | None = None
    tags: Mapping[str, str] | None = None
    resume: bool = False
    sign: Callable[[Path, Mapping[str, str]], None] | None = None

    def write(
        self,
        render: Callable[[DrivingTrack, range], Iterator[UInt8[np.ndarray, "h w c"]]],
        through: Callable[[FrameStream], Iterable[UInt8[np.ndarray, "h w c"]]],
    ) -> None:
        """Renders and writes the frames that are not there yet.

        Args:
            render: yields the pictures of some of a track's frames, uint8 [H, W, C].
            through: passes the frames on as they are rendered.

        Raises:
            InputError: see `Avatar.write_video`.
        """
        height, width = self.size
        fps, whole = self._fps, size_together((width, height), len(self.tracks))
        transparent = self.background is not None and self.background.transparent
        check_room(self.path, self.form, transparent, whole, len(self.frames))
        tags = {"model": self.model, "emotion_track": self._emotion_text(), **(self.tags or {})}
        with (
            folder_lock(self.path),
            open_output(
                self.path,
                self.form,
                transparent,
                fps=fps,
                size=whole,
                audio=self.samples[round(self.frames.start / fps * SAMPLE_RATE) :],
                sample_rate=SAMPLE_RATE,
                metadata=tags,
                settings=self._settings(whole),
                resume=self.resume,
                **self._signed(tags),
            ) as output,
        ):
            left = range(self.frames.start + output.frames_written, self.frames.stop)
            panels = {caption: render(track, left) for caption, track in self.tracks.items()}
            burn = Mark(self.mark, whole) if self.mark else lambda frame: frame
            for frame in through(FrameStream(side_by_side(panels), len(left))):
                output.write(burn(frame))

    @property
    def _fps(self) -> float:
        return next(iter(self.tracks.values())).fps

    def _settings(self, whole: tuple[int, int]) -> dict[str, object]:
        """Returns what two renders of the same video have in common, as JSON values."""
        background, tracks = self.background, self.tracks.values()
        return {
            "model": self.model,
            "sound": array_digest(self.samples),
            "emotion": self._emotions(),
            "audio features and poses": [array_digest(t.features, t.poses, t.eye_openness) for t in tracks],
            "lip gain": [t.lip_gain for t in tracks],
            "take": [t.take for t in tracks],
            "size": list(whole),
            "fps": self._fps,
            "background": "original" if background is None else f"{background.name} {background.stamp}".strip(),
            "camera path": None if self.camera_path is None else self.camera_path.digest(),
            "lip smoothing": self.smooth_lips,
            "frames": f"{self.frames.start}:{self.frames.stop}",
            "label": self.mark,
            "format": self.form or self.path.suffix,
        }

    def _emotions(self) -> dict[str, object]:
        return {caption: _emotion(track) for caption, track in self.tracks.items()}

    def _emotion_text(self) -> str:
        """Returns the emotion of the only track, or those of all by their captions, as compact JSON."""
        emotions = self._emotions()
        return json.dumps(emotions.get("", emotions), separators=(",", ":"))

    def _signed(self, tags: Mapping[str, str]) -> dict[str, Callable[[Path], None]]:
        """Returns the option by which the output is signed when it is complete; none where it is not to be signed."""
        if self.sign is None:
            return {}
        sign, told = self.sign, {**tags, **({"consent": self.consent} if self.consent else {})}
        return {"finish": lambda video: sign(video, told)}


def video_frames(tracks: Mapping[str, DrivingTrack], frames: range | None) -> range:
    """Returns the frames of a video: those that are asked for, or all of the first track.

    Raises:
        InputError: the track does not have them, there are none, or they are not in steps of 1.
    """
    count = len(next(iter(tracks.values())))
    frames = range(count) if frames is None else frames
    check_frames(frames, count)
    if frames.step != 1 or not frames:
        raise InputError(f"frames {frames_text(frames)}: a video with its sound is made of one frame or more, in steps "
                         "of 1; `render` gives single ones")  # fmt: skip
    return frames


def _emotion(track: DrivingTrack) -> object:
    """Returns what is known of a track's emotion over time, as JSON values."""
    if isinstance(track.emotion, EmotionTrack):
        return track.emotion.to_json()
    return "a function of time" if callable(track.emotion) else track.emotion.tolist()
