"""An avatar as an object: load it, drive it with sound and emotion, render it frame by frame, save it as one file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import entry_points
from itertools import islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from aed_nerfstudio.audio.hearing import hear
from aed_nerfstudio.avatar.frame_range import part_of_track
from aed_nerfstudio.avatar.packaged import is_config, packaged
from aed_nerfstudio.avatar.renderers.begun import Begun, late
from aed_nerfstudio.avatar.video import Video, video_frames
from aed_nerfstudio.bounds import LIP_GAIN, RENDERED_SIDE
from aed_nerfstudio.dataset.schema import FPS
from aed_nerfstudio.driving.assembler import Emotion, Poses
from aed_nerfstudio.driving.camera_path import CameraPath
from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.driving.lip_smoothing import LipSmoothing
from aed_nerfstudio.driving.track import DrivingTrack, FrameCondition
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.files import keep_apart
from aed_nerfstudio.media.backgrounds import Background
from aed_nerfstudio.media.output import FrameStream

if TYPE_CHECKING:  # torch and nerfstudio take seconds to load; only `load` and `render` need them
    import torch
    from nerfstudio.cameras.cameras import Cameras

    from aed_nerfstudio.avatar.network import Network
    from aed_nerfstudio.avatar.portrait import Portrait
    from aed_nerfstudio.fields.head_field import EncodedCondition


def to_uint8(image: Float[torch.Tensor, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Returns a rendered image, float in 0..1 (clamped), as uint8 of the same shape."""
    return _to_uint8(image)()


def _to_uint8(image: Float[torch.Tensor, "*shape"]) -> Callable[[], UInt8[np.ndarray, "*shape"]]:
    """Starts to make an image uint8, as `to_uint8` does, and to bring it to the host; what it returns waits for it."""
    from aed_nerfstudio.rendering.transfer import fetch

    wait = fetch((image.clamp(0, 1) * 255).round().byte())
    return lambda: wait().numpy()


class Avatar:
    """A trained avatar, which stands by itself: neither its recording nor its training run is needed.

    Example::

        avatar = Avatar.load(Path("anna.avatar"))
        samples = read_audio("sentence.wav")
        track = avatar.track(samples, avatar.vocabulary.encode("happy", 0.7))
        avatar.write_video(Path("anna.mp4"), track, samples)
    """

    def __init__(self, network: Network, name: str = "", step: int = 0, files: Sequence[Path] = ()) -> None:
        """Takes a network for an avatar.

        Args:
            network: on its device, with trained weights.
            name: of the avatar or of the training run and its checkpoint, for people; written into videos.
            step: of the training after which the weights are these.
            files: files and folders that the avatar came from, which it never writes over.
        """
        from aed_nerfstudio.avatar.renderers.renderer import Renderer

        self.network, self.name, self.step, self.files = network, name, step, list(files)
        self.renderer = Renderer(network, network.portrait)
        self._assembler = network.portrait.assembler()

    @classmethod
    def load(cls, path: Path, device: str | torch.device | None = None, data: Path | None = None) -> Avatar:
        """Loads an avatar.

        Args:
            path: an avatar file (`aed pack`), the `config.yml` of a training run, of which the newest checkpoint is
                taken, or `actor`: the avatar that comes with the package.
            device: where to render; a GPU if there is one, else the CPU, when None.
            data: the folder of the run's dataset, whose camera, background and head motion are taken instead of those
                that the checkpoint remembers. Checkpoints of version 0.1 remember none: theirs is looked for where it
                was, and beside the run, when None.

        Raises:
            InputError: there is no such file, or it is damaged, of another version or no avatar.
        """
        path = packaged(path)
        network, name, step, files = _of_run(path, data) if is_config(path) else _of_file(path, data)
        if device is not None:
            network.to(device)
        return cls(network.eval(), name, step, files)

    def save(self, path: Path, half: bool = True) -> None:
        """Writes the avatar into one file, whole or not at all; see `aed_nerfstudio.avatar.avatar_file`.

        Args:
            path: of the file, usually *.avatar.
            half: stores the hash grids in half precision: about half as large, pictures equal to 60 dB and more; where
                False, the same.

        Raises:
            InputError: it cannot be written, or is one of the files that the avatar came from.
        """
        from aed_nerfstudio.avatar.avatar_file import write_avatar

        keep_apart([path], self.files)
        write_avatar(path, self.network, self.name, self.step, half)

    @property
    def portrait(self) -> Portrait:
        """Returns what the avatar knows of its person without the recording."""
        return self.network.portrait

    @property
    def device(self) -> torch.device:
        """Returns where pictures are rendered."""
        return self.network.device

    @property
    def vocabulary(self) -> EmotionVocabulary:
        """Returns the emotions that this avatar knows; its `encode` makes the vectors that `track` takes."""
        return self.portrait.vocabulary

    @property
    def consent(self) -> str:
        """Returns who agreed to what, as it was noted when the avatar's dataset was made; empty where nothing was."""
        return self.portrait.provenance.consent

    def frame_size(self, size: int | None = None) -> tuple[int, int]:
        """Returns the height and width in pixels of the frames that `render` gives for a `size` (their width)."""
        camera = self.portrait.camera
        if size is None:
            return camera.h, camera.w
        return _checked(round(camera.h * size / camera.w), size)

    def features(
        self, audio: Float[np.ndarray, " samples"], file: Path | None = None
    ) -> Float32[np.ndarray, "steps dim"]:
        """Returns what the avatar hears in a stretch of sound, by the front end that it was trained on.

        Args:
            audio: float [n] mono at 16 kHz.
            file: ready features of this sound, for an avatar that was trained on such; see `read_feature_file`.

        Returns:
            float32 [2 * frames, dim], two 50-Hz steps a frame.

        Raises:
            InputError: sound shorter than one frame, or a file that is missing, not wanted or does not fit.
        """
        return hear(audio, self.portrait.front_end, self.portrait.feature_dim, file)

    def track(
        self,
        audio: Float[np.ndarray, " samples"],
        emotion: Emotion,
        poses: Poses = "dataset",
        features: Float[np.ndarray, "steps dim"] | None = None,
        fps: float = FPS,
        take: str | None = None,
        lip_gain: float = 1.0,
    ) -> DrivingTrack:
        """Returns what drives the avatar through a stretch of sound, one condition a frame.

        Args:
            audio: float [n] mono at 16 kHz.
            emotion: a vector from `vocabulary.encode`, or a function from the time in seconds to one, such as an
                `EmotionTrack`; a function is asked for all times at once, and again for each frame.
            poses: `dataset` plays the head motion that was recorded with the emotion forth and back, and goes over to
                another smoothly where the emotion changes; `still` holds the recording's most typical pose;
                camera-to-world [N, 3, 4] of 25 a second are smoothed and played forth and back. The blinks that were
                recorded with the emotion are played in all three.
            features: from `features`; made there from the sound when None.
            fps: frames a second.
            take: name of the take in whose light the avatar is shown; a neutral one's when None.
            lip_gain: how far the lips move over how far they would, 0 to 2.

        Raises:
            InputError: sound shorter than one frame, features that sound alone does not give, an unknown take, or lips
                beyond these bounds.
        """
        LIP_GAIN.check("lip_gain", lip_gain)
        if features is None:
            features = self.features(audio)
        number = None if take is None else self.portrait.take_number(take)
        return self._assembler.speech(features, emotion, poses, fps, number, lip_gain)

    def recorded_view(self, condition: FrameCondition, size: int | None) -> Cameras:
        """Returns the recording's camera [1], where the head's pose puts it."""
        import torch
        from nerfstudio.cameras.cameras import Cameras

        height, width = self.frame_size(size)
        camera = self.portrait.camera.resized(width, height)
        return Cameras(
            camera_to_worlds=torch.from_numpy(np.asarray(condition.head_pose, np.float32))[None],
            fx=camera.fl_x,
            fy=camera.fl_y,
            cx=camera.cx,
            cy=camera.cy,
            width=width,
            height=height,
        )

    def images(
        self,
        condition: FrameCondition,
        size: int | None = None,
        background: Float[torch.Tensor, "h w 3"] | None = None,
        camera: Cameras | None = None,
        encoded: EncodedCondition | None = None,
    ) -> dict[str, Float[torch.Tensor, "_ _ _"]]:
        """Renders one frame in layers.

        Args:
            condition: what drives it.
            size: width in pixels; the recording's when None.
            background: float [H, W, 3] in 0..1, the whole picture in any resolution; the recording's when None.
            camera: one camera that sees the head from elsewhere, in place of the recording's; the torso, which is a
                picture, follows it as far as the head was recorded. `size` is then without meaning.
            encoded: what the network's `encode` made of the condition, where that was changed since.

        Returns:
            float [H, W, C] images: rgb, head (before black), accumulation (the head's alpha), torso (before the
            background), foreground (head and torso, premultiplied), alpha (of both), depth, ambient.
        """
        return self._begin(condition, size, background, camera, encoded).whole()

    def _begin(
        self,
        condition: FrameCondition,
        size: int | None,
        background: Float[torch.Tensor, "h w 3"] | None,
        camera: Cameras | None,
        encoded: EncodedCondition | None,
    ) -> Begun:
        """Begins to render one frame in layers; arguments as for `images`."""
        if camera is None:
            camera = self.recorded_view(condition, size)
        else:
            pose = camera.camera_to_worlds.reshape(-1, 3, 4)[0].cpu().numpy()
            condition = self._assembler.seen_from(condition, pose)
        return self.renderer.begin(camera, condition, background, encoded)

    def render(
        self,
        track: Iterable[FrameCondition],
        size: int | None = None,
        *,
        background: Background | None = None,
        camera_path: CameraPath | None = None,
        smooth_lips: bool = False,
        frames: range | None = None,
        ahead: int = 0,
    ) -> Iterator[UInt8[np.ndarray, "h w c"]]:
        """Renders a track, one frame at a time.

        Args:
            track: from `track`, or any other conditions, even an endless stream of them.
            size: width in pixels; the recording's, or the camera path's, when None.
            background: from `open_background`; the recording's when None.
            camera_path: where the camera is, in place of the recording's.
            smooth_lips: smooths what the lips follow, as RAD-NeRF does (`LipSmoothing`).
            frames: which of a sequence's, in steps of 1 or more; all when None. They come out as they do when all are
                rendered.
            ahead: how many conditions more are taken, and pictures begun, before a picture is waited for: what is done
                with it and the next one then go on together. Only where the host need not wait while a picture is made
                (on a GPU); elsewhere none.

        Yields:
            uint8 [H, W, 3] RGB of `frame_size(size)`, or of the camera path's; with a transparent background
            [H, W, 4] RGBA, not premultiplied.

        Raises:
            InputError: frames that the track does not have, or a step below 1.
        """
        ahead = ahead if self.renderer.recorded.here else 0
        yield from late(_started(self, track, size, background, camera_path, smooth_lips, frames), ahead)

    def _original(self, height: int, width: int) -> torch.Tensor:
        """Returns the recording's background at a size, float [H, W, 3] in 0..1."""
        return _scaled(self.portrait.background, height, width).to(self.device)

    def write_video(
        self,
        path: Path,
        track: DrivingTrack | Mapping[str, DrivingTrack],
        samples: Float[np.ndarray, " n"],
        size: int | None = None,
        through: Callable[[FrameStream], Iterable[UInt8[np.ndarray, "h w c"]]] = iter,
        *,
        background: Background | None = None,
        camera_path: CameraPath | None = None,
        smooth_lips: bool = False,
        frames: range | None = None,
        mark: str | None = None,
        form: str | None = None,
        tags: Mapping[str, str] | None = None,
        resume: bool = False,
        sign: Callable[[Path, Mapping[str, str]], None] | None = None,
    ) -> None:
        """Renders a track into a video with its sound, frame by frame.

        A render that was stopped keeps its frames in a hidden folder beside the output, from which `resume` goes on;
        stopped by Ctrl-C, the video plays as far as it came. What was there before stays until the new one is whole.

        Args:
            path: the video to write, .mp4, .m4v, .mov, .mkv or .webm, or a folder for PNG files; its folder is made.
            track: from `track`; or several of equal length by their captions, which are shown side by side.
            samples: the sound that the track was made from, float [n] mono at 16 kHz.
            size, background, camera_path, smooth_lips: as for `render`.
            frames: which of the track's, one after the other: in steps of 1, because the sound goes with them.
            through: is given the frames as they are rendered and passes them on, to show progress or to measure them;
                `len` tells how many are to come.
            mark: words to burn into a corner.
            form: a key of `FORMATS`; by the path's suffix when None.
            tags: metadata beside that which says that the file is synthetic, by which model and with what emotions.
            resume: go on where an earlier render into this file with the same arguments stopped, if one did.
            sign: is given the complete video, before it takes its place, and the tags; `Credentials.sign` for one.

        Raises:
            InputError: the file cannot be written, the avatar came from it, or another process writes it; the disk is
                too small; it is not signed; it was begun with other arguments; or not all of the frames exist.
        """
        tracks = track if isinstance(track, Mapping) else {"": track}
        seen = _Seen(background=background, camera_path=camera_path, smooth_lips=smooth_lips)
        video = Video(
            path=path,
            tracks=tracks,
            samples=samples,
            frames=video_frames(tracks, frames),
            size=_size_of_pictures(self, size, camera_path),
            model=self.name,
            consent=self.consent,
            mark=mark,
            form=form,
            tags=tags,
            resume=resume,
            sign=sign,
            **seen,
        )
        keep_apart([path], self.files)
        video.write(lambda each, left: self.render(each, size, frames=left, ahead=1, **seen), through)


def _started(
    avatar: Avatar,
    track: Iterable[FrameCondition],
    size: int | None,
    background: Background | None,
    camera_path: CameraPath | None,
    smooth_lips: bool,
    frames: range | None,
) -> Iterator[Callable[[], UInt8[np.ndarray, "h w c"]]]:
    """Begins one of a track's pictures after the other, and yields what waits for each; arguments as for
    `render`."""
    import torch

    from aed_nerfstudio.rendering.transfer import send

    fps = track.fps if isinstance(track, DrivingTrack) else FPS
    height, width = _size_of_pictures(avatar, size, camera_path)
    backgrounds: Iterator[Any] = repeat(None)
    if background is not None and background.frames is not None:
        first, step = (0, 1) if frames is None else (frames.start, frames.step)
        backgrounds = islice(background.frames((width, height), fps, first), 0, None, step)
    original = avatar._original(height, width) if background is None and camera_path is None else None
    smoothing = LipSmoothing(fps) if smooth_lips else None
    memory = 0 if smoothing is None else smoothing.memory
    for number, condition in _numbered(track, frames, memory):
        encoded = None
        if smoothing is not None:
            with torch.no_grad():
                encoded = smoothing(avatar.network.encode([condition]))
        if frames is not None and number not in frames:
            continue
        camera = None if camera_path is None else camera_path.camera(number / fps, width)
        begun = avatar._begin(condition, size, original, camera, encoded)
        if background is None:
            show = _as_recorded
        elif background.transparent:
            show = _transparent
        else:
            show = partial(_before, send(next(backgrounds), avatar.device) / 255)
        yield _fetched(begun, show)


def _as_recorded(layers: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Returns a picture before the background that it was rendered with, [H, W, 3]."""
    return layers["rgb"]


def _transparent(layers: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Returns a picture with its alpha, [H, W, 4], not premultiplied."""
    import torch

    alpha = layers["alpha"]
    return torch.cat([layers["foreground"] / alpha.clamp_min(1e-6), alpha], -1)


def _before(background: torch.Tensor, layers: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Returns a picture before another background, [H, W, 3] both."""
    return layers["foreground"] + (1 - layers["alpha"]) * background


def _fetched(
    begun: Begun, show: Callable[[Mapping[str, torch.Tensor]], torch.Tensor]
) -> Callable[[], UInt8[np.ndarray, "h w c"]]:
    """Starts to bring a picture that was begun, as it is to be shown, to the host; what it returns waits for it."""
    wait = _to_uint8(show(begun.images))
    return lambda: wait() if begun.enough() else to_uint8(show(begun.whole()))


class _Seen(TypedDict):
    """The arguments that `render` and `Video` share."""

    background: Background | None
    camera_path: CameraPath | None
    smooth_lips: bool


def _of_run(config: Path, data: Path | None) -> tuple[Network, str, int, list[Path]]:
    """Returns a training run's network, name, step and files.

    What trains says by the entry point `aed_nerfstudio.runs` how its runs are read: an avatar itself knows of none.
    """
    readers = list(entry_points(group="aed_nerfstudio.runs"))
    if not readers:
        raise InputError(f"{config}: training runs can be read by the installed package only; run `pip install -e .`")
    return readers[0].load()(config, data)


def _of_file(path: Path, data: Path | None) -> tuple[Network, str, int, list[Path]]:
    """Returns an avatar file's network, name, step and files."""
    from aed_nerfstudio.avatar.avatar_file import read_avatar

    if data is not None:
        raise InputError(f"--data {data}: is for the config.yml of a training run; {path} needs no dataset")
    network, name, step = read_avatar(path)
    return network, name, step, [path]


def _size_of_pictures(avatar: Avatar, size: int | None, camera_path: CameraPath | None) -> tuple[int, int]:
    """Returns the height and width in pixels of what `Avatar.render` yields."""
    return avatar.frame_size(size) if camera_path is None else _checked(*camera_path.frame_size(size))


def _checked(height: int, width: int) -> tuple[int, int]:
    """Returns height and width; InputError where these are no size to render at."""
    if width < RENDERED_SIDE.low:
        raise InputError(f"size must be at least {RENDERED_SIDE.low} pixels, not {width}")
    if max(height, width) > RENDERED_SIDE.high:
        raise InputError(f"size must be at most {RENDERED_SIDE.high} pixels, not {width} x {height}")
    return height, width


def _scaled(picture: np.ndarray, height: int, width: int) -> torch.Tensor:
    """Returns a picture uint8 [H', W', 3] as float [height, width, 3] in 0..1: renderers only sample."""
    import torch

    if picture.shape[:2] != (height, width):
        shrinks = height < picture.shape[0]
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return torch.from_numpy(picture.astype(np.float32) / 255)


def _numbered(
    track: Iterable[FrameCondition], frames: range | None, memory: int
) -> Iterable[tuple[int, FrameCondition]]:
    """Returns the conditions to look at and their numbers: all, or those of some frames and what smoothed lips feel of
    the frames before these."""
    if frames is None:
        return enumerate(track)
    if not isinstance(track, Sequence):
        raise TypeError("only of a sequence of conditions can some frames be rendered")
    return part_of_track(track, frames, memory)
