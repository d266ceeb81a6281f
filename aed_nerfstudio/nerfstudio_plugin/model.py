"""The AED-NeRF model: head field, torso field and background, driven by `FrameCondition`s."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.models.base_model import Model, ModelConfig
from nerfstudio.utils.comms import is_main_process
from torch import Tensor, nn

from aed_nerfstudio.audio.feature_files import is_file_front_end
from aed_nerfstudio.avatar.renderers.culled import Renderer
from aed_nerfstudio.avatar.renderers.recorded import FixedRenderer
from aed_nerfstudio.backends import Backend, resolve
from aed_nerfstudio.dataset.schema import FPS, HEAD
from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.driving.head_pose import pose_vector
from aed_nerfstudio.driving.track import DatasetTrack, FrameCondition
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.face_mesh import lip_shape
from aed_nerfstudio.fields.audio_encoder import AudioEncoder
from aed_nerfstudio.fields.head_field import HeadField, spherical_harmonics
from aed_nerfstudio.fields.linear_lips import LinearLips
from aed_nerfstudio.fields.torso_field import TorsoField
from aed_nerfstudio.media.backgrounds import open_background
from aed_nerfstudio.nerfstudio_plugin.camera_driver import CameraDriver
from aed_nerfstudio.nerfstudio_plugin.losses import PerceptualLoss, distortion, entropy
from aed_nerfstudio.nerfstudio_plugin.processes import broadcast
from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule
from aed_nerfstudio.rendering.compositing import composite
from aed_nerfstudio.rendering.occupancy import HeadOccupancy, visual_hull
from aed_nerfstudio.rendering.transfer import send


@dataclass
class AedNerfModelConfig(ModelConfig):
    """AED-NeRF. Defaults are the paper's or, where it is silent, RAD-NeRF's; presets say where they differ."""

    _target: type = field(default_factory=lambda: AedNerfModel)
    schedule: StageSchedule = field(default_factory=StageSchedule)
    use_emotion: bool = True
    """False: the paper's ablation without emotion (Fig. 9)."""
    use_eye: bool = True
    """Eye openness as an input (RAD-NeRF; the paper is silent)."""
    audio_compression: bool = True
    """False: a_h enters the density network as it is, not through a_l and its grid (ablation)."""
    appearance_dim: int = 0
    """Size of a code of every training frame that enters the colour network (RAD-NeRF: 4) and takes up what differs
    between recordings: light, exposure. Their mean stands in at inference; 0: none."""
    articulation: bool = False
    """Supervise four lip distances at the audio encoder and give them to the density network. Not in the paper: without
    it the audio branch dies in short trainings, which PSNR does not show."""
    articulation_truth: float = 0.5
    """Share of training steps whose lip shape is the true one, so that the field learns from a clean signal."""
    articulation_batch: int = 8
    """Frames a step whose lip shape the audio encoder has to tell: one frame a step learns four times slower."""
    linear_lips: bool = False
    """The lip shape is the mean of the audio encoder's reading and of a ridge regression from the frame's window."""
    expression_grid: bool = False
    """A 3-D grid blended by emotion, eyes and lip shape beside the spatial one. Not in the paper."""
    log2_size: int = 16
    top_resolution: int = 2048
    step_size: float = 2 * math.sqrt(3) / 128
    """World units between samples (RAD-NeRF)."""
    max_samples: int = 16
    """Occupied samples of a ray, counted from the camera."""
    max_samples_start: int = 16
    """The same until `carving_steps`: 16 steps do not reach from the box's front to the cheeks, so a start with 16 fits
    a screen of fog before the face, which never leaves."""
    carving_steps: int = 0
    """Steps with `max_samples_start`."""
    visual_hull: bool = False
    """Space that the head's parsing never covers stays empty from the start."""
    occupancy_every: int = 16
    """Steps between updates of the occupancy grid."""
    occupancy_warmup: int = 256
    """Until this step every update visits every cell."""
    aabb: tuple[float, float, float, float, float, float] = (-0.8, -1.0, -0.8, 0.8, 1.0, 0.8)
    """Box of the head, world units."""
    lambda_lpips: float = 0.01
    lambda_alpha: float = 0.001
    lambda_audio: float = 0.1
    """L1 of a_l outside the face."""
    audio_ramp: bool = False
    """`lambda_audio` grows from 0 over the head and lip stages (RAD-NeRF)."""
    lambda_mask: float = 0.0
    """Squared distance of the head's alpha from its parsing mask; without it fog stays outside the head for long."""
    lambda_torso_mask: float = 0.0
    """The same for the torso, which else learns to let the one background that it was recorded before shine through."""
    lambda_distortion: float = 0.0
    """Spread of the weights along a ray: draws fog together to a surface, which few samples show."""
    lambda_articulation: float = 0.0
    lambda_saturation: float = 0.0
    """Square of a_l before its tanh: keeps the tanh out of saturation."""
    bfloat16: bool = False
    """MLPs in bfloat16, where the processor has it."""
    backend: Backend = "auto"
    """What computes grids, ray marching and compositing (docs/backends.md). auto: the fastest that this machine has;
    torch: plain PyTorch, anywhere; numba: CPU; triton and tcnn (tiny-cuda-nn): GPU. One that cannot be had is an error,
    and a checkpoint fits all of them."""
    emotion: str | None = None
    """Emotion (happy, happy:0.7+sad:0.3) of cameras that name no frame of the dataset, as those of camera paths and the
    viewer; None: neutral, where recorded."""
    intensity: str | None = None
    """A label, or 0 to 1; None: the middle of what was recorded."""
    audio: Path | None = None
    """Sound that such cameras speak, any audio or video file; None: the dataset's own."""
    audio_features_file: Path | None = None
    """Ready features of `audio` (.npy), for an avatar that was trained on such."""
    background: str | None = None
    """What is behind the avatar for such cameras: a colour (white, #00b140), a picture file or original; None: the
    recording's."""
    clock: Literal["times", "frames"] = "times"
    """What such cameras follow: their times, 0 to 1 over the whole sound, or their number, at `fps`. Cameras without
    times always follow their number, and the viewer's their times."""
    fps: float = float(FPS)
    """Frames a second of the video that the cameras make, where their number counts."""
    drive_frames: bool = False
    """Cameras that name a frame (ns-render dataset, ns-eval) show `emotion`, `background` and, in their order, `audio`
    as well, instead of that frame's own; where None, these stay."""
    eval_num_rays_per_chunk: int = 65536


class AedNerfModel(Model):
    """See `AedNerfModelConfig`. `metadata`: the `dataset` it learns from, its `background` uint8 [H,W,3]."""

    config: AedNerfModelConfig

    def __init__(self, config: AedNerfModelConfig, metadata: dict, **kwargs) -> None:
        self.dataset = metadata["dataset"]
        self.static_background = metadata["background"]
        self.consent = self.dataset.consent
        super().__init__(config, **kwargs)

    def populate_modules(self) -> None:
        super().populate_modules()
        c, data = self.config, self.dataset
        labels = {clip.name: (clip.emotion, clip.intensity) for clip in data.clips}
        self.vocabulary = EmotionVocabulary(
            tuple(data.categories), tuple(data.intensities), tuple(dict.fromkeys(labels.values()))
        )
        self.train_frames = data.split("train")
        features = {clip.name: data.features(clip.name) for clip in data.clips}
        self.track = DatasetTrack(
            features,
            clips=[f.clip for f in data.frames],
            indices=[f.index for f in data.frames],
            emotions=np.stack([self.vocabulary.encode(*labels[f.clip]) for f in data.frames]),
            poses=np.array([f.camera_to_world for f in data.frames], np.float32)[:, :3],
            eye_openness=np.array([f.eye_openness for f in data.frames], np.float32),
        )
        stacked = np.concatenate(list(features.values()))
        # Front ends have constant offsets far above their variation; unnormalised they drown the speech.
        self.register_buffer("feature_mean", torch.from_numpy(stacked.mean(0)))
        self.register_buffer("feature_scale", torch.from_numpy(1 / (stacked.std(0) + 1e-3)))
        self.register_buffer("backdrop", None, persistent=False)
        self.drive(c)  # at once, because a wrong name would else end the run when the first picture is evaluated
        turns = pose_vector(self.track.poses[self.train_frames])
        self.register_buffer("pose_mean", torch.from_numpy(turns.mean(0)))
        self.register_buffer("pose_scale", torch.from_numpy(1 / (turns.std(0) + 1e-3)))
        articulation_dim = 4 if c.articulation else 0
        self.audio_encoder = AudioEncoder(data.feature_dim)
        self.articulation_head = nn.Linear(64, articulation_dim) if articulation_dim else None
        self.linear_lips = LinearLips(data.feature_dim, articulation_dim) if c.articulation and c.linear_lips else None
        self.head = HeadField(
            emotion_dim=self.vocabulary.dim if c.use_emotion else 0,
            eye_dim=int(c.use_eye),
            articulation_dim=articulation_dim,
            appearance_dim=c.appearance_dim,
            audio_compression=c.audio_compression,
            log2_size=c.log2_size,
            top_resolution=c.top_resolution,
            bfloat16=c.bfloat16,
            expression_grid=c.expression_grid,
            backend=c.backend,
        )
        if articulation_dim:
            self.register_buffer("lip_shapes", torch.from_numpy(self._lip_shapes()), persistent=False)
        self.codes = nn.Embedding(len(data.frames), c.appearance_dim) if c.appearance_dim else None
        if self.codes is not None:
            nn.init.normal_(self.codes.weight, std=0.1)
            self.register_buffer("trained_codes", torch.tensor(self.train_frames), persistent=False)
        self.torso = TorsoField(c.log2_size, c.top_resolution, c.backend) if c.schedule.use_torso else None
        self.occupancy = HeadOccupancy(128, c.backend)
        self.register_buffer("box", torch.tensor(c.aabb), persistent=False)
        self.register_buffer("background", torch.from_numpy(self.static_background).float() / 255)
        self.renderer, self.fixed_renderer = Renderer(self), FixedRenderer(self)
        self.evaluated = 0
        """Samples of the head that the last picture took."""
        self.driver: Callable[[Cameras], dict[str, Tensor]] | None = None
        """Renders the cameras that name no frame of the dataset, in place of `condition_for`: the viewer's panel."""
        self._perceptual: list[PerceptualLoss] = []  # in a list: its weights do not belong into the checkpoint
        self.step = 0
        self._announced: set[torch.device] = set()

    def _apply(self, fn, recurse: bool = True):
        # What all of `to`, `cuda` and a parent's `to` go through: here the model learns its device.
        super()._apply(fn, recurse)
        if self.device not in self._announced:
            print(f"backend: {resolve(self.config.backend, self.device)}")
            self._announced.add(self.device)
        return self

    def use_backend(self, name: Backend) -> None:
        """Changes what computes grids, marching and compositing, of a model that is on its device already.

        Raises:
            InputError: the device does not have it.
        """
        resolve(name, self.device)
        self.config.backend = name
        for module in self.modules():
            if hasattr(module, "backend"):
                module.backend = name

    # ---- what a checkpoint says of itself

    def get_extra_state(self) -> dict:
        """Stored in checkpoints beside the weights: which audio features they were trained on, and who agreed to it."""
        data = self.dataset
        return {"front_end": data.front_end, "feature_dim": data.feature_dim, "consent": self.consent}

    def set_extra_state(self, state: dict) -> None:
        """Refuses a checkpoint of other audio features than the dataset's; its `front_end` may be None: unknown."""
        data, name, dim = self.dataset, state["front_end"], state["feature_dim"]
        self.consent = state.get("consent") or data.consent
        if dim == data.feature_dim and name in (None, data.front_end):
            return
        trained = f"{name or 'other ones'} ({dim} numbers a step)"
        option = f"{name or 'NAME'}{' --features-file X.npy' if name and is_file_front_end(name) else ''}"
        raise InputError(
            f"{data.root}: has audio features {data.front_end} ({data.feature_dim} numbers a step), but this avatar "
            f"was trained on {trained}; give it a dataset made by `aed process VIDEO --output FOLDER --audio-features "
            f"{option}`, or train a new avatar on this one"
        )

    # ---- conditions

    def drive(self, config: AedNerfModelConfig) -> None:
        """From now on, nerfstudio's cameras are driven as a config says: its `emotion` to `drive_frames`.

        Raises:
            InputError: a sound or a picture that cannot be read, or an emotion that was not recorded.
        """
        self.camera_driver = CameraDriver(config, self.dataset, self.vocabulary, self.track)
        self.backdrop = None
        background = None if config.background is None else open_background(config.background)
        if background is not None and background.transparent:
            raise InputError("transparent: nerfstudio gives this as the output rgba, whatever the background is")
        if background is not None:
            size = self.dataset.camera.w, self.dataset.camera.h
            picture = next(background.frames(size, FPS, 0))  # of a video, its first frame
            self.backdrop = torch.from_numpy(picture).to(self.feature_mean.device) / 255

    def _lip_shapes(self) -> np.ndarray:
        """What speech does to the lips, float32 [F, 4]: lip shapes less the mean of their label, standardised.

        A smile widens the mouth for the whole of a clip, which the audio cannot tell and the emotion does; left in, it
        would be noise to the audio encoder.
        """
        shapes = np.concatenate([lip_shape(self.dataset.landmarks(clip.name)) for clip in self.dataset.clips])
        train = np.zeros(len(shapes), bool)
        train[self.train_frames] = True
        labels = np.array(self.dataset.labels)
        for label in np.unique(labels[train]):
            shapes[labels == label] -= shapes[train & (labels == label)].mean(0)
        return np.clip(shapes / (shapes[train].std(0) + 1e-6), -4, 4).astype(np.float32)

    def standardised(self, audio: np.ndarray) -> Tensor:
        """Audio features [..., dim] in units of their deviation; padding stays zero."""
        audio = send(audio, self.device)
        silent = (audio == 0).all(-1, keepdim=True)
        return torch.where(silent, 0.0, (audio - self.feature_mean) * self.feature_scale)

    def encode_audio(self, frames: list[np.ndarray]) -> tuple[Tensor, Tensor, Tensor]:
        """Audio of B conditions, [8, 16, dim] each.

        Returns: a_h [B, 64], the lip shape that the audio encoder reads from it [B, 4] and the one to use [B, 4]; both
        lip shapes are [B, 0] without articulation.
        """
        audio = self.standardised(np.stack(frames))
        a_h = self.audio_encoder(audio)
        if self.articulation_head is None:
            return a_h, a_h[:, :0], a_h[:, :0]
        lips = self.articulation_head(a_h)
        # Window 4 of the eight is the frame's own.
        return a_h, lips, lips if self.linear_lips is None else (lips + self.linear_lips(audio[:, 4])) / 2

    def encode(self, conditions: list[FrameCondition]) -> dict[str, Tensor]:
        """C conditions -> what the head field takes of them, [C, ...] each: audio, emotion, eye, articulation, code."""
        a_h, _, articulation = self.encode_audio([condition.audio for condition in conditions])
        emotion = send(np.stack([condition.emotion for condition in conditions]), a_h.device)
        eye = send(np.array([[condition.eye_openness] for condition in conditions], np.float32), a_h.device)
        code = a_h[:, :0]
        if self.codes is not None:
            weight = self.codes.weight
            if self.training:
                code = weight[[condition.appearance for condition in conditions]]
            else:  # held-out frames' own codes were never trained
                code = weight[self.trained_codes].mean(0, keepdim=True).expand(len(conditions), -1)
        return {
            "audio": a_h,
            "emotion": emotion if self.config.use_emotion else a_h[:, :0],
            "eye": eye if self.config.use_eye else a_h[:, :0],
            "articulation": articulation,
            "code": code,
        }

    def condition_for(self, camera: Cameras) -> FrameCondition:
        """What drives a camera of nerfstudio's; see `CameraDriver.condition`."""
        return self.camera_driver.condition(camera)

    # ---- rendering

    def march_head(
        self, origins: Tensor, directions: Tensor, given: dict[str, Tensor], counts: list[int]
    ) -> dict[str, Tensor]:
        """Training rays of C frames, [R,3] each -> rgb [R,3] (premultiplied), alpha [R,1], ambient [R,1].

        given: from `encode`. counts: rays of each frame, in order.
        """
        c = self.config
        jitter = torch.rand(len(origins), device=origins.device) if self.training else None
        count = c.max_samples_start if self.training and self.step < c.carving_steps else c.max_samples
        samples = self.occupancy.march(origins, directions, self.box, c.step_size, count, jitter=jitter)
        view = spherical_harmonics(directions)[samples.ray_indices]
        counts = samples.ray_starts[np.cumsum([0, *counts])].diff().tolist()
        sigma, rgb, ambient, logits = self.head(samples.positions, view, **given, counts=counts)
        result = composite(sigma, rgb, ambient.abs().sum(-1, keepdim=True), samples, c.step_size, c.backend)
        out = {
            "rgb": result.rgb,
            "alpha": result.accumulation[:, None],
            "ambient": result.extra_sums,
            "logits": logits,
        }
        if c.lambda_distortion:
            out["distortion"] = distortion(result.weights, samples, c.step_size)
        return out

    def get_outputs(self, ray_bundle: RayBundle) -> dict[str, Tensor]:
        """Training: the rays of one or several frames, with the datamanager's metadata (`frame`, `pixel`)."""
        frames, counts = torch.unique_consecutive(ray_bundle.metadata["frame"].flatten(), return_counts=True)
        conditions, counts = [self.track[i] for i in frames.tolist()], counts.tolist()
        if self.training and self.config.schedule.stage(self.step) == "torso":
            pixels = ray_bundle.metadata["pixel"].split(counts)
            parts = [self.torso(p, self.pose_of(c)) for p, c in zip(pixels, conditions, strict=True)]
            alpha, colour = (torch.cat(x) for x in zip(*parts, strict=True))
            return {"torso_alpha": alpha, "torso_rgb": colour}
        supervised = self.training and self.articulation_head is not None
        given = self.encode(conditions)
        if supervised:
            forced = torch.rand(len(frames), 1, device=frames.device) < self.config.articulation_truth
            given["articulation"] = torch.where(forced, self.lip_shapes[frames], given["articulation"])
        out = self.march_head(ray_bundle.origins, ray_bundle.directions, given, counts)
        if supervised:
            out["articulation_error"] = self._articulation_error()
        return out

    def _articulation_error(self) -> Tensor:
        """Squared error of the lip shapes that the audio of random training frames predicts."""
        train = self.train_frames
        picks = [train[int(i)] for i in torch.randint(len(train), (self.config.articulation_batch,))]
        _, predicted, _ = self.encode_audio([self.track[i].audio for i in picks])
        return nn.functional.mse_loss(predicted, self.lip_shapes[picks])

    def pose_of(self, condition: FrameCondition) -> Tensor:
        """The condition's head pose as the torso field takes it, [6]."""
        return (send(pose_vector(condition.head_pose), self.device) - self.pose_mean) * self.pose_scale

    @torch.no_grad()
    def render_condition(
        self,
        camera: Cameras,
        condition: FrameCondition,
        background: Tensor | None = None,
        given: dict[str, Tensor] | None = None,
        show_torso: bool = True,
    ) -> dict[str, Tensor]:
        """Renders one camera.

        The torso and the background belong to the recording's picture: a camera of another opening or shape sees the
        part of it that lies in its own picture, continued at the borders.

        Args:
            camera: one camera.
            condition: what drives the frame.
            background: [H',W',3] in 0..1, the recording's whole picture in any resolution; the dataset's where None.
            given: from `encode([condition])`, where the caller has changed it (smoothed lips); made here when None.
            show_torso: False leaves the torso out.

        Returns:
            Images [H,W,C] in 0..1: rgb; head (premultiplied by accumulation), accumulation (the head's alpha), torso
            (before the background), foreground (head and torso, premultiplied by alpha), alpha (of both), depth,
            ambient.
        """
        training = self.training
        self.eval()
        camera = camera.reshape((1,))
        background = self.background if background is None else background
        renderer = self.fixed_renderer if self.fixed_renderer.fits(camera) else self.renderer
        images = renderer.render(camera, condition, background, given or self.encode([condition]), show_torso)
        self.evaluated = renderer.evaluated
        self.train(training)
        return images

    @torch.no_grad()
    def get_outputs_for_camera(self, camera: Cameras, obb_box=None) -> dict[str, Tensor]:
        if self.driver is not None and "frame" not in (camera.metadata or {}):
            return self.driver(camera)
        background = self.backdrop if self.camera_driver.drives(camera) else None
        return self.render_condition(camera, self.condition_for(camera), background)

    def get_rgba_image(self, outputs: dict[str, Tensor], output_name: str = "rgb") -> Tensor:
        """The avatar without a background, [H,W,4] with straight alpha: nerfstudio's output `rgba`."""
        alpha = outputs["alpha"]
        return torch.cat([(outputs["foreground"] / alpha.clamp_min(1e-6)).clamp(0, 1), alpha], -1)

    # ---- training

    def get_loss_dict(self, outputs, batch, metrics_dict=None) -> dict[str, Tensor]:
        c = self.config
        if "torso_alpha" in outputs:
            a, behind = outputs["torso_alpha"], batch["background"]
            rgb = a * outputs["torso_rgb"] + (1 - a) * behind
            losses = {"torso": nn.functional.mse_loss(rgb, batch["torso"]), "torso_entropy": 1e-4 * entropy(a)}
            if c.lambda_torso_mask:
                losses["torso_mask"] = c.lambda_torso_mask * nn.functional.mse_loss(a[:, 0], batch["torso_alpha"])
            return losses
        rgb = outputs["rgb"] + (1 - outputs["alpha"]) * batch["torso"]
        losses = {
            "rgb": nn.functional.mse_loss(rgb, batch["image"]),
            "entropy": c.lambda_alpha * entropy(outputs["alpha"]),
        }
        if c.audio_compression:
            ramp = min(self.step / max(1, c.schedule.head + c.schedule.lips), 1.0) if c.audio_ramp else 1.0
            losses["ambient"] = ramp * c.lambda_audio * (outputs["ambient"] * ~batch["face"][:, None]).mean()
        if c.lambda_mask:
            losses["mask"] = c.lambda_mask * nn.functional.mse_loss(outputs["alpha"][:, 0], batch["head"])
        if c.lambda_saturation and c.audio_compression:
            logits = outputs["logits"]
            losses["saturation"] = c.lambda_saturation * logits.square().sum() / max(1, logits.numel())
        if c.lambda_distortion:
            losses["distortion"] = c.lambda_distortion * outputs["distortion"]
        if "articulation_error" in outputs:
            losses["articulation"] = c.lambda_articulation * outputs["articulation_error"]
        if "patch" in batch:
            side = batch["patch"]
            losses["lpips"] = c.lambda_lpips * self.perceptual()(
                rgb.view(1, side, side, 3).permute(0, 3, 1, 2).clamp(0, 1),
                batch["image"].view(1, side, side, 3).permute(0, 3, 1, 2),
            )
        return losses

    def perceptual(self) -> PerceptualLoss:
        """The lip patch's loss, built when first asked for. No property: the viewer reads all of those."""
        if not self._perceptual:
            # A training that went on from a checkpoint builds it at another step, and must draw the same all the same.
            with torch.random.fork_rng(devices=()):
                self._perceptual.append(PerceptualLoss().to(self.feature_mean.device))
            print(f"perceptual loss: {self._perceptual[0].name}")
        return self._perceptual[0]

    def get_metrics_dict(self, outputs, batch) -> dict[str, Tensor]:
        if "torso_alpha" in outputs:
            return {}
        rgb = outputs["rgb"] + (1 - outputs["alpha"]) * batch["torso"]
        return {"psnr": -10 * torch.log10(nn.functional.mse_loss(rgb.detach(), batch["image"]).clamp_min(1e-10))}

    def get_image_metrics_and_images(self, outputs, batch) -> tuple[dict[str, float], dict[str, Tensor]]:
        truth = batch["image"].to(outputs["rgb"].device)[..., :3]
        mse = (outputs["rgb"] - truth).square().mean()
        measures = [grey(outputs[key]) for key in ("depth", "ambient")]
        panel = torch.cat([truth, outputs["rgb"], outputs["head"], outputs["torso"], *measures], 1)
        # The name is nerfstudio's own, under which its writers show it: truth, render, head, torso, depth, |a_l|.
        return {"psnr": float(-10 * torch.log10(mse.clamp_min(1e-10)))}, {"img": panel}

    @torch.no_grad()
    def audio_spread(self, count: int = 32) -> dict[str, float]:
        """Standard deviation over audio frames of a_h, of a_l (at the mouth) and of the lip shape."""
        picks = np.linspace(0, len(self.track) - 1, count).astype(int)
        given = self.encode([self.track[int(i)] for i in picks])
        for key in ("emotion", "eye"):  # audio alone may vary here
            given[key] = given[key][:1].expand(count, -1)
        x = torch.tensor([[0.0, -0.3, 0.4]], device=self.feature_mean.device)
        view = spherical_harmonics(torch.tensor([[0.0, 0.0, -1.0]], device=x.device))
        x, view = x.expand(count, -1), view.expand(count, -1)
        a_l = self.head(x, view, **given, counts=[1] * count)[2]
        spread = {"a_h": given["audio"].std(0).mean().item()}
        if self.config.audio_compression:
            spread["a_l"] = a_l.std(0).mean().item()
        if self.articulation_head is not None:
            spread["lips"] = given["articulation"].std(0).mean().item()
        return spread

    @torch.no_grad()
    def lip_correlation(self) -> float | None:
        """Pearson's r, over the validation frames, of the mouth opening read from the audio with the true one."""
        held_out = self.dataset.split("val")
        if self.articulation_head is None or len(held_out) < 3:
            return None
        _, _, predicted = self.encode_audio([self.track[i].audio for i in held_out])
        r = torch.corrcoef(torch.stack([predicted[:, 0], self.lip_shapes[held_out, 0]]))[0, 1]
        return r.item()

    def _carve(self) -> None:
        """Empties the space around the head for good."""
        camera, frames = self.dataset.camera, self.dataset.frames
        picks = [self.train_frames[i] for i in np.linspace(0, len(self.train_frames) - 1, 64).astype(int)]
        margin = np.ones((2 * (camera.w // 64) + 1,) * 2, np.uint8)
        masks = [self.dataset.parsing(frames[i]) == HEAD for i in picks]
        self.occupancy.carve(
            visual_hull(
                torch.from_numpy(np.stack([cv2.dilate(m.astype(np.uint8), margin) > 0 for m in masks])),
                torch.tensor([frames[i].camera_to_world for i in picks]),
                camera.fl_x,
                (camera.cx, camera.cy),
                self.occupancy.binaries.shape[-1],
            ).to(self.occupancy.binaries.device)
        )

    def set_stage(self, step: int) -> None:
        """From now on it is a step of the training: what its stage does not train is frozen."""
        self.step = step
        frozen = self.config.schedule.stage(step) == "torso"
        if self.head.grid.params.requires_grad == frozen:
            for module in (self.head, self.audio_encoder, self.articulation_head, self.codes):
                if module is not None:
                    module.requires_grad_(not frozen)

    def _density_of(self, frame: int) -> Callable[[Tensor], Tensor]:
        """Densities of positions under what drives a frame."""
        given = self.encode([self.track[frame]])
        return lambda positions: self.head.density_at(positions, **given)

    def _before_step(self, step: int) -> None:
        self.set_stage(step)
        c = self.config
        # Untrained densities say nothing of what is empty, hence not at the first step.
        if step and c.schedule.stage(step) == "head" and step % c.occupancy_every == 0:
            if is_main_process():
                # Each chunk of cells sees another frame's audio, emotion and eyes, drawn together.
                def density(positions: Tensor) -> Tensor:
                    return self._density_of(int(torch.randint(len(self.track), ())))(positions)

                decay = 0.95 ** (c.occupancy_every / 16)
                warmup = c.occupancy_warmup
                self.occupancy.update(step, density, decay, warmup_steps=warmup, every=c.occupancy_every)
            broadcast((self.occupancy.occs, self.occupancy.binaries))
        # A head stage as short as the grid's warm-up leaves densities that say nothing of what is empty.
        if c.schedule.leaves_head(step) and step > c.occupancy_warmup:
            if is_main_process():
                picks = np.linspace(0, len(self.train_frames) - 1, 64).astype(int)
                self.occupancy.tighten(self._density_of(self.train_frames[i]) for i in picks)
            broadcast((self.occupancy.binaries,))

    def get_training_callbacks(self, training_callback_attributes: TrainingCallbackAttributes):
        if self.config.visual_hull:
            self._carve()
        if self.linear_lips is not None and not self.linear_lips.fitted:
            # Copied, because a view keeps all eight windows of its frame: 1.3 GB for 10 000 frames.
            windows = self.standardised(np.stack([self.track[i].audio[4].copy() for i in self.train_frames]))
            penalty = self.linear_lips.fit(windows.cpu().numpy(), self.lip_shapes[self.train_frames].cpu().numpy())
            print(f"lip shapes from audio: ridge regression, penalty {penalty:g}")
        return [
            TrainingCallback([TrainingCallbackLocation.BEFORE_TRAIN_ITERATION], self._before_step),
            TrainingCallback(
                [TrainingCallbackLocation.AFTER_TRAIN_ITERATION], self._report, update_every_num_iters=250
            ),
        ]

    def _report(self, step: int) -> None:
        from nerfstudio.utils import writer

        spread = self.audio_spread()
        for name, value in spread.items():
            writer.put_scalar(f"Audio spread/{name}", value, step)
        silent = self.dataset.front_end == "none"  # nothing to be alive for
        dead = not silent and spread.get("a_l", spread["a_h"]) < 1e-3 and spread.get("lips", 0.0) < 0.05
        text = ", ".join(f"{k} {v:.4f}" for k, v in spread.items())
        r = self.lip_correlation()
        if r is not None:
            writer.put_scalar("Audio spread/lip correlation (held out)", r, step)
            text += f"; mouth opening from held-out audio, r {r:.2f}"
        print(
            f"step {step}: spread over audio frames: {text}" + (" — WARNING: the audio branch is dead" if dead else "")
        )

    def get_param_groups(self) -> dict[str, list[nn.Parameter]]:
        """One group a kind of parameter, each with a learning rate of its own in the trainer's `optimizers`."""
        attention = [*self.audio_encoder.attention.parameters(), *self.audio_encoder.weights.parameters()]
        audio = [*self.audio_encoder.convs.parameters(), *self.audio_encoder.project.parameters()]
        if self.articulation_head is not None:
            audio += self.articulation_head.parameters()
        groups = {
            "grids": [p for n, p in self.head.named_parameters() if "grid" in n],
            "mlps": [p for n, p in self.head.named_parameters() if "grid" not in n],
            "audio": audio,
            "audio_attention": attention,
        }
        if self.codes is not None:
            groups["codes"] = [self.codes.weight]
        if self.torso is not None:
            groups["torso_grid"] = [self.torso.grid.params]
            groups["torso_mlps"] = [p for n, p in self.torso.named_parameters() if "grid" not in n]
        return groups


def grey(image: Tensor) -> Tensor:
    """A measure [H,W,1] as a grey picture [H,W,3]: its largest value is white."""
    return (image / image.max().clamp_min(1e-6)).expand(-1, -1, 3)
