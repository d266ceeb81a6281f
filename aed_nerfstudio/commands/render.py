"""`aed render`: an avatar speaks a recording, with sound in the output."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from aed_nerfstudio.bounds import FRAME_RATE, LIP_GAIN, RENDERED_SIDE
from aed_nerfstudio.commands.avatar_flags import AvatarFlags
from aed_nerfstudio.commands.flags import check_flags
from aed_nerfstudio.driving.emotion import parse_mixture
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import keep_apart
from aed_nerfstudio.outside import is_file

if TYPE_CHECKING:
    from aed_nerfstudio.avatar.avatar import Avatar
    from aed_nerfstudio.driving.assembler import Poses
    from aed_nerfstudio.driving.track import DrivingTrack
    from aed_nerfstudio.media.output import FrameStream


def with_progress(frames: Iterable[np.ndarray], total: int, what: str) -> Iterator[np.ndarray]:
    """Passes frames on and shows how many are done, frames a second and the time left."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        task = progress.add_task("", total=total, rate="")
        for frame in frames:
            yield frame
            progress.advance(task)
            speed = progress.tasks[0].finished_speed or progress.tasks[0].speed
            progress.update(task, rate=f"{speed:.1f} frames/s" if speed else "")


@dataclass(kw_only=True)
class Render(AvatarFlags):
    """Make an avatar speak a recording; writes a video with sound."""

    audio: Path
    """What to say: any audio or video file with sound."""
    output: Path
    """The video to write: .mp4, .m4v, .mov, .mkv or .webm; a name without a suffix is a folder for PNG files."""
    emotion: str | None = None
    """One of the emotions that were recorded, or a mixture such as happy:0.7+sad:0.3; by default neutral, or the first
    of them."""
    intensity: str | None = None
    """How strong: a label (weak, medium, strong) or a number from 0 to 1, within what was recorded; by default as near
    to the middle as was recorded. Neutral has none."""
    emotion_track: Path | None = None
    """Emotion over time instead: .csv or .json of keyframes (time, emotion, intensity), interpolated."""
    grid: str | None = None
    """Several emotions side by side instead, such as happy,sad,happy:0.5+sad:0.5."""
    pose: str = "dataset"
    """Head motion: `dataset` plays the one recorded with the emotion forth and back, `still` holds the most typical
    pose of all; or a file of poses (.json, .npy, a dataset's transforms.json), which is smoothed and played forth and
    back."""
    take: str | None = None
    """Whose light the avatar is shown in, where takes were recorded in different ones: the name of a take or its label,
    such as "happy strong"; a neutral take's by default."""
    camera_path: Path | None = None
    """A camera path saved in the viewer: the camera moves along it and the head stands still."""
    background: str = "original"
    """`original`, a colour (green, #00ff00), a picture, a video (repeated), or `transparent` (.webm, .mov, PNG)."""
    size: Annotated[int, RENDERED_SIDE] | None = None
    """Width of the avatar in pixels; the dataset's, or the camera path's, by default."""
    fps: Annotated[float, FRAME_RATE] = 25
    """Frames a second."""
    format: Literal["mp4", "mov", "mkv", "webm", "prores", "png"] | None = None
    """By the suffix of --output when not given; a transparent .mov is ProRes 4444."""
    frames: str | None = None
    """Only the frames A:B of the video, from A to before B, counted from 0; either may be left out."""
    resume: bool = False
    """Go on where an earlier render into the same file, with the same options, was stopped."""
    lip_gain: Annotated[float, LIP_GAIN] = 1.0
    """How far the lips move over how far they would: 1 for as far as the person's do, 1.3 for a clearer speaker."""
    lip_smoothing: bool = False
    """Smooth what the lips follow over time, as RAD-NeRF does (0.35 / 0.65): steadier, and less exact."""
    label: tuple[str, ...] | None = None
    """Burn a small mark into a corner: these words, or "AI-generated" when none are given."""
    c2pa: Path | None = None
    """Sign the video (.mp4, .mov) with this certificate chain (PEM); needs the extra `c2pa`."""
    c2pa_key: Path | None = None
    """The certificate's private key (PEM)."""
    audio_features_file: Path | None = None
    """Ready features of --audio (.npy), for an avatar that was trained on such: DeepSpeech's, HuBERT's or others."""

    def main(self, load: Callable[[], Avatar] | None = None) -> None:
        """Runs the command; load: gives the avatar, in place of the flags' own way."""
        from aed_nerfstudio.media.backgrounds import open_background
        from aed_nerfstudio.media.captions import MARK
        from aed_nerfstudio.media.formats import choose_format

        # Whatever can be wrong is found before the seconds that loading the avatar takes.
        check_flags(self)
        self._check_combinations()
        keep_apart([self.output], self.inputs())
        samples = self._samples()
        background = open_background(self.background)
        form = choose_format(self.output, self.format, background is not None and background.transparent)
        credentials = self._credentials()
        self._check_driving(samples)
        self.check_avatar()

        from aed_nerfstudio.driving.camera_path import CameraPath
        from aed_nerfstudio.driving.pose_file import read_poses

        poses = self.pose if self.pose in ("dataset", "still") else read_poses(Path(self.pose))
        camera_path = None if self.camera_path is None else CameraPath.read(self.camera_path)
        avatar = self.avatar_of() if load is None else load()
        tracks = self._tracks(avatar, samples, poses)
        frames = self._frames(len(next(iter(tracks.values()))))
        done = 0

        def shown(stream: FrameStream) -> Iterator[np.ndarray]:
            nonlocal done
            for frame in with_progress(stream, len(stream), "rendering"):
                yield frame
                done += 1

        try:
            avatar.write_video(
                self.output,
                tracks if self.grid is not None else tracks[""],
                samples,
                self.size,
                shown,
                background=background,
                camera_path=camera_path,
                smooth_lips=self.lip_smoothing,
                frames=frames,
                mark=None if self.label is None else " ".join(self.label) or MARK,
                form=form,
                tags={"audio_sha256": hashlib.sha256(self.audio.read_bytes()).hexdigest()},
                resume=self.resume,
                sign=None if credentials is None else credentials.sign,
            )
        except KeyboardInterrupt:
            if done:
                print(f"{self.output} holds what was rendered so far; the same command with --resume goes on")
            raise
        print(f"{self.output.resolve()}: {len(frames) / self.fps:.1f} s, {form}, with sound")

    def _samples(self) -> np.ndarray:
        """Reads the sound, mono at 16 kHz, and prints what is to be known of it."""
        from aed_nerfstudio.media.audio_io import read_audio

        notes: list[str] = []
        samples = read_audio(self.audio, notes=notes)
        for note in notes:
            print(f"note: {note}")
        return samples

    def _check_driving(self, samples: np.ndarray) -> None:
        """Finds what is wrong with the features and the keyframes; a line says so where the sound is silent."""
        from aed_nerfstudio.audio.feature_files import read_feature_file
        from aed_nerfstudio.audio.hearing import count_frames
        from aed_nerfstudio.driving.emotion_track import read_rows
        from aed_nerfstudio.media.audio_io import is_silent

        if self.audio_features_file is not None:
            read_feature_file(self.audio_features_file, count_frames(samples))
        if self.emotion_track is not None:
            read_rows(self.emotion_track)
        if is_silent(samples):
            print(f"note: {self.audio} is silent, so the lips have nothing to follow")

    def inputs(self) -> list[Path]:
        """Returns all files and folders that are named to be read."""
        given = [getattr(self, f.name) for f in fields(self) if f.name != "output"]
        words = [Path(value) for value in given if isinstance(value, str)]
        return [*(p for p in given if isinstance(p, Path)), *filter(is_file, words), *self.avatar_files()]

    def _check_combinations(self) -> None:
        """Refuses options that contradict each other or are out of range."""
        for mixture in (self.emotion, *(self.grid or "").split(",")):
            if mixture:
                parse_mixture(mixture)
        ways = [name for name in ("emotion", "emotion_track", "grid") if getattr(self, name) is not None]
        if len(ways) > 1:
            raise InputError(f"give only one of {' and '.join('--' + name.replace('_', '-') for name in ways)}")
        if self.emotion_track is not None and self.intensity is not None:
            raise InputError(f"--intensity: is for the keyframes of {self.emotion_track} to say; leave it out")
        if self.camera_path is not None and self.pose != "dataset":
            raise InputError(f"--pose {self.pose}: with --camera-path the camera moves and not the head; leave one out")

    def _credentials(self):
        """Returns what signs the output, or None."""
        if self.c2pa is None:
            if self.c2pa_key is not None:
                raise InputError(f"{self.c2pa_key}: a key for which certificate? give it with --c2pa")
            return None
        from aed_nerfstudio.media.content_credentials import Credentials

        return Credentials(self.c2pa, self.c2pa_key, self.output)

    def _emotions(self, vocabulary) -> dict:
        """Returns the emotion tracks by their captions; one without a caption where there is no grid."""
        from aed_nerfstudio.driving.emotion_track import EmotionTrack

        if self.emotion_track is not None:
            return {"": EmotionTrack.read(self.emotion_track, vocabulary)}
        if self.grid is None:
            return {"": EmotionTrack.constant(vocabulary, self.emotion, self.intensity)}
        names = [name.strip() for name in self.grid.split(",")]
        if len(set(names)) < max(len(names), 2) or "" in names:
            raise InputError(f"--grid {self.grid}: give two or more different emotions, such as happy,sad")
        return {name: EmotionTrack.constant(vocabulary, name, self.intensity) for name in names}

    def _frames(self, count: int) -> range:
        """Returns the frames to render, of `count`."""
        if self.frames is None:
            return range(count)
        start, colon, stop = self.frames.partition(":")
        try:
            found = range(int(start or 0), min(int(stop or count), count))
        except ValueError:
            found = range(0)
        if not colon or found.start < 0 or not found:
            raise InputError(f"--frames {self.frames}: must be A:B, A below B and below the {count} frames there are")
        return found

    def _tracks(self, avatar: Avatar, samples: np.ndarray, poses: Poses) -> dict[str, DrivingTrack]:
        """Returns what drives each of the pictures that are shown beside each other, by its caption."""
        emotions = self._emotions(avatar.vocabulary)
        if avatar.portrait.front_end == "none":
            print("note: this avatar was trained without sound, so its lips follow nothing")
        features = avatar.features(samples, self.audio_features_file)
        return {
            caption: avatar.track(samples, emotion, poses, features, self.fps, self.take, self.lip_gain)
            for caption, emotion in emotions.items()
        }
