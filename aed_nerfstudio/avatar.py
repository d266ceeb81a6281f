"""A trained checkpoint as an object: load it, drive it with sound and emotion, render it frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from aed_nerfstudio.dataset.schema import FPS, Dataset
from aed_nerfstudio.driving.audio import STEPS_PER_FRAME
from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.driving.head_pose import ping_pong, smooth
from aed_nerfstudio.driving.hearing import hear
from aed_nerfstudio.driving.track import DrivingTrack, FrameCondition
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.video_writer import VideoWriter

if TYPE_CHECKING:  # torch and nerfstudio take seconds to load; only `load` and `render` need them
    import torch

    from aed_nerfstudio.model.aed_nerf import AedNerfModel


def to_uint8(image: torch.Tensor) -> np.ndarray:
    """A rendered image, float in 0..1 (clamped), as uint8 of the same shape."""
    return (image.clamp(0, 1) * 255).round().byte().cpu().numpy()


class Avatar:
    """A trained avatar, with the dataset that it was trained on (for its camera, background and head motion).

    Example::

        avatar = Avatar.load(Path("outputs/anna/aed-nerf/2026-01-01_120000/config.yml"))
        samples = read_audio("sentence.wav")
        track = avatar.track(samples, avatar.vocabulary.encode("happy", 0.7))
        avatar.write_video(Path("anna.mp4"), track, samples)
    """

    def __init__(self, model: AedNerfModel, dataset: Dataset) -> None:
        self.model = model
        self.dataset = dataset

    @classmethod
    def load(cls, config: Path, device: str | torch.device | None = None) -> Avatar:
        """Loads the newest checkpoint of a training run.

        Args:
            config: the run's `config.yml`, which `ns-train` writes and names; the run's folder may have been moved.
            device: where to render; a GPU if there is one, else the CPU, when None.

        Raises:
            InputError: no such run, no checkpoint in it, not a run of this method, or its dataset is missing.
        """
        config = Path(config).resolve()
        if not config.is_file():
            raise InputError(f"{config}: no such file; give the config.yml of a training run")
        checkpoints = config.parent / "nerfstudio_models"
        if not list(checkpoints.glob("step-*.ckpt")):
            raise InputError(f"{checkpoints}: holds no checkpoint; train for longer, or again")

        from nerfstudio.utils.eval_utils import eval_setup

        def where_it_lies(loaded):
            # The run remembers its folder relative to where it was started; this is where it is now.
            loaded.output_dir, loaded.experiment_name = config.parents[3], config.parents[2].name
            loaded.timestamp = config.parents[0].name
            # What drives nerfstudio's cameras: nothing to an avatar, and maybe lost by now.
            for name in ("audio", "audio_features_file", "background"):
                setattr(loaded.pipeline.model, name, None)
            return loaded

        _, pipeline, _, _ = eval_setup(config, test_mode="test", update_config_callback=where_it_lies)
        dataset = getattr(pipeline.datamanager, "dataset", None)
        if not isinstance(dataset, Dataset):
            raise InputError(f"{config}: is a run of another method; train with `ns-train aed-nerf`")
        if device is not None:
            pipeline.to(device)
        pipeline.eval()
        return cls(pipeline.model, dataset)

    @property
    def vocabulary(self) -> EmotionVocabulary:
        """The emotions that this avatar knows; its `encode` makes the vectors that `track` takes."""
        return self.model.vocabulary

    def frame_size(self, size: int | None = None) -> tuple[int, int]:
        """Height and width in pixels of the frames that `render` gives for a `size` (their width)."""
        camera = self.dataset.camera
        if size is None:
            return camera.h, camera.w
        if size < 16:
            raise InputError(f"size must be at least 16 pixels, not {size}")
        return round(camera.h * size / camera.w), size

    def features(self, audio: np.ndarray, file: Path | None = None) -> np.ndarray:
        """What the avatar hears in a stretch of sound, by the front end that it was trained on.

        Args:
            audio: float [n] mono at 16 kHz.
            file: ready features of this sound, for an avatar that was trained on such; see `read_feature_file`.

        Returns:
            float32 [2 * frames, dim], two 50-Hz steps a frame.

        Raises:
            InputError: sound shorter than one frame, or a file that is missing, not wanted or does not fit.
        """
        return hear(audio, self.dataset.front_end, self.dataset.feature_dim, file)

    def track(
        self,
        audio: np.ndarray,
        emotion: np.ndarray | Callable[[float], np.ndarray],
        poses: Literal["dataset", "still"] = "dataset",
        features: np.ndarray | None = None,
    ) -> DrivingTrack:
        """What drives the avatar through a stretch of sound, one condition a frame at 25 frames a second.

        Args:
            audio: float [n] mono at 16 kHz.
            emotion: a vector from `vocabulary.encode`, or a function from the time in seconds to one.
            poses: `dataset` plays the head motion of the longest clip's training frames forth and back; `still` holds
                its most typical pose. The blinks of the same frames are played in both.
            features: from `features`; made there from the sound when None.

        Raises:
            InputError: sound shorter than one frame, features that sound alone does not give, or a dataset without
                usable training frames.
        """
        if features is None:
            features = self.features(audio)
        length = len(features) // STEPS_PER_FRAME
        training = [self.dataset.frames[i] for i in self.dataset.split("train")]
        if not training:
            raise InputError(f"{self.dataset.root}: has no usable training frames")
        names = [frame.clip for frame in training]
        longest = max(dict.fromkeys(names), key=names.count)  # the first of the longest
        frames = [frame for frame in training if frame.clip == longest]
        motion = smooth(np.array([frame.camera_to_world for frame in frames], np.float32)[:, :3])
        order = ping_pong(len(frames), length)
        eyes = np.array([frame.eye_openness for frame in frames], np.float32)[order]
        if poses == "still":
            distance = np.square(motion - motion.mean(axis=0)).sum(axis=(1, 2))
            order = np.full(length, distance.argmin())
        return DrivingTrack(features, emotion, motion[order], eyes, FPS)

    def images(
        self, condition: FrameCondition, size: int | None = None, background: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Renders one frame in layers.

        Args:
            condition: what drives it.
            size: width in pixels; the dataset's when None.
            background: float [H, W, 3] in 0..1, the whole picture in any resolution; the dataset's when None.

        Returns:
            float [H, W, C] images: rgb, head (before black), accumulation (the head's alpha), torso (before the
            background), depth, ambient.
        """
        import torch
        from nerfstudio.cameras.cameras import Cameras

        height, width = self.frame_size(size)
        camera = self.dataset.camera
        across, down = width / camera.w, height / camera.h
        view = Cameras(
            camera_to_worlds=torch.from_numpy(np.asarray(condition.head_pose, np.float32))[None],
            fx=camera.fl_x * across,
            fy=camera.fl_y * down,
            cx=camera.cx * across,
            cy=camera.cy * down,
            width=width,
            height=height,
        ).to(self.model.device)
        with torch.no_grad():
            return self.model.render_condition(view, condition, background)

    def render(self, track: Iterable[FrameCondition], size: int | None = None) -> Iterator[np.ndarray]:
        """Renders a track, one frame at a time, before the dataset's background.

        Args:
            track: from `track`, or any other conditions, even an endless stream of them.
            size: width in pixels; the dataset's when None.

        Yields:
            uint8 [H, W, 3] RGB of `frame_size(size)`.
        """
        import torch

        height, width = self.frame_size(size)
        picture = self.dataset.static_background()
        if picture.shape[:2] != (height, width):
            shrinks = height < picture.shape[0]
            picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        background = torch.from_numpy(picture.astype(np.float32) / 255).to(self.model.device)
        for condition in track:
            rgb = self.images(condition, size, background)["rgb"]
            yield to_uint8(rgb)

    def write_video(
        self,
        path: Path,
        track: Sequence[FrameCondition],
        samples: np.ndarray,
        size: int | None = None,
        through: Callable[[Iterator[np.ndarray]], Iterable[np.ndarray]] = iter,
    ) -> None:
        """Renders a track into a video with its sound, frame by frame.

        Args:
            path: the video to write, .mp4, .m4v, .mov or .mkv; its folder is made.
            track: from `track`.
            samples: the sound that the track was made from, float [n] mono at 16 kHz.
            size: width in pixels; the dataset's when None.
            through: is given the frames as they are rendered and passes them on, to show progress or to measure them.

        Raises:
            InputError: the file cannot be written.
        """
        height, width = self.frame_size(size)
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path, FPS, (width, height), samples) as video:
            for frame in through(self.render(track, size)):
                video.write(frame)
