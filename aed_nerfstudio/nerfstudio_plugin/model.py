"""nerfstudio's model of an avatar: its network, driven by cameras, with what a training needs around it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.models.base_model import Model, ModelConfig
from torch import Tensor, nn

from aed_nerfstudio.avatar.network import Network, NetworkSettings
from aed_nerfstudio.avatar.portrait import Portrait
from aed_nerfstudio.avatar.renderers.renderer import Renderer
from aed_nerfstudio.dataset.schema import Dataset
from aed_nerfstudio.dataset.take_light import take_light
from aed_nerfstudio.dataset.torso_motion import torso_motion
from aed_nerfstudio.driving.track import DatasetTrack, FrameCondition
from aed_nerfstudio.fields.head_field import EncodedCondition, spherical_harmonics
from aed_nerfstudio.nerfstudio_plugin import tone
from aed_nerfstudio.nerfstudio_plugin.camera_driver import CameraDriver, DrivingConfig
from aed_nerfstudio.nerfstudio_plugin.lip_supervision import LipSupervision, report_spread
from aed_nerfstudio.nerfstudio_plugin.losses import (
    LossWeights,
    PerceptualLoss,
    depth_error,
    distortion,
    head_losses,
    mse,
    over_torso,
    torso_losses,
)
from aed_nerfstudio.nerfstudio_plugin.occupancy_schedule import OccupancySchedule, carve
from aed_nerfstudio.nerfstudio_plugin.parameter_groups import parameter_groups
from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule
from aed_nerfstudio.rendering.compositing import composite
from aed_nerfstudio.rendering.transfer import send

NETWORK = "network."
"""Begins the names of the network's weights, and is left out in checkpoints."""


@dataclass
class AedNerfModelConfig(LossWeights, NetworkSettings, ModelConfig):
    """AED-NeRF. Defaults are the paper's or, where it is silent, RAD-NeRF's; presets say where they differ."""

    _target: type = field(default_factory=lambda: AedNerfModel)
    schedule: StageSchedule = field(default_factory=StageSchedule)
    driving: DrivingConfig = field(default_factory=DrivingConfig)
    """What nerfstudio's cameras show."""
    articulation_truth: float = 0.5
    """Share of training steps whose lip shape is the true one, so that the field learns from a clean signal; of a
    recording without sound all are."""
    articulation_batch: int = 8
    """Frames a step whose lip shape the audio encoder has to tell: one frame a step learns four times slower."""
    lip_prior: tuple[Path, ...] = ()
    """Whose lips the regression of the lip shape begins with (`linear_lips`): a file of `aed lip-prior`, folders of
    other people's datasets, or `actor`, the prior that comes with the package. The less speech an avatar learns from,
    the more it helps."""
    unheard_share: float = 0.0
    """Share of the training frames, in stretches of two seconds, whose sound nothing is learned from: by what is read
    there the lips' gain is set at the end of the lip stage (`linear_lips`). None where that is less than two of
    them."""
    response_frames: int = 0
    """Training frames that are rendered at the end of the lip stage, told their recorded lips, to measure how much less
    the renders' lips move (`linear_lips`): of `unheard_share`, where there are some. An avatar's lips are then told
    more. 0: none."""
    swapped_labels: float = 0.0
    """Chance of the rays beyond a frame's face to be shown with another of the recorded labels: an emotion moves the
    face only, and hair, ears and neck look in every pose as they do in the take that has it."""
    max_samples_start: int = 16
    """`max_samples` until `carving_steps`: 16 steps do not reach from the box's front to the cheeks, so a start with 16
    fits a screen of fog before the face, which never leaves."""
    carving_steps: int = 0
    """Steps with `max_samples_start`."""
    visual_hull: bool = False
    """Space that the head's parsing never covers stays empty from the start."""
    torso_cells: float = 0.0
    """Cells a pixel of the recording that the torso's grid may have: finer levels stay silent, for they show as a
    lattice at poses between the recorded ones; 0: all levels, as in the paper."""
    occupancy_every: int = 16
    """Steps between updates of the occupancy grid."""
    occupancy_warmup: int = 256
    """Until this step every update visits every cell."""

    def __setstate__(self, state: dict) -> None:
        # How PyYAML makes a config of a run's file, where version 0.1 had the driving's fields among these.
        own = {f.name for f in dataclasses.fields(self)}
        driving = {f.name for f in dataclasses.fields(DrivingConfig)} - own
        self.__dict__.update({name: value for name, value in state.items() if name not in driving})
        if "driving" not in state:
            self.driving = DrivingConfig(**{name: state[name] for name in driving & state.keys()})


class AedNerfModel(Model):
    """See `AedNerfModelConfig`. `metadata`: the `dataset` that it learns from and its `background`, uint8 [H, W, 3]; or
    the `network` of an avatar that is only looked at."""

    config: AedNerfModelConfig

    def __init__(self, config: AedNerfModelConfig, metadata: dict, **kwargs) -> None:
        self.dataset: Dataset | None = metadata.get("dataset")
        network: Network | None = metadata.get("network")
        self._ready = [network]  # in a list, because a module cannot be assigned yet
        self._portrait = Portrait.of(metadata["dataset"]) if network is None else network.portrait
        super().__init__(config, **kwargs)
        self.register_state_dict_post_hook(_drop_name)
        self.register_load_state_dict_pre_hook(_add_name)
        self.register_load_state_dict_post_hook(_know_shoulders)

    def populate_modules(self) -> None:
        super().populate_modules()
        c, data, portrait = self.config, self.dataset, self._portrait
        self.track = track = None if data is None else DatasetTrack.of(data, portrait.vocabulary)
        self.drive(c.driving)  # at once, because a wrong name would else end the run at the first picture it shows
        ready, made_of = self._ready.pop(), "" if data is None else str(data.root)
        self.network = Network(c, portrait, c.schedule.use_torso, made_of) if ready is None else ready
        self.renderer = Renderer(self.network, portrait)
        self.driver: Callable[[Cameras], dict[str, Float[Tensor, "h w _"]]] | None = None
        """Renders the cameras that name no frame of the dataset, in place of `camera_driver`: the viewer's panel."""
        self._perceptual: list[PerceptualLoss] = []  # in a list: its weights do not belong into the checkpoint
        self.step = 0
        self.lips = None
        if data is not None and track is not None:
            self.train_frames = data.split("train")
            self.labels = np.unique(track.emotions[self.train_frames], axis=0)
            """Those that were recorded, as the network is told them, [L, dim]."""
            self.network.fit_features(np.concatenate(list(track.features.values())))
            if c.torso_cells and self.network.torso is not None and ready is None:
                self.network.torso.keep_to(c.torso_cells * max(data.camera.w, data.camera.h))
            if c.articulation:
                self.lips = LipSupervision(data, track, c.unheard_share, c.articulation_truth)
            self.occupancy = OccupancySchedule(
                *(self.network, track, self.train_frames, c.schedule, c.occupancy_every, c.occupancy_warmup),
                self.lips,
            )

    @property
    def portrait(self) -> Portrait:
        """Returns what is known of the avatar's person."""
        return self.network.portrait

    # ---- driving and rendering

    def drive(self, config: DrivingConfig) -> None:
        """Has nerfstudio's cameras driven as a config says.

        Raises:
            InputError: a sound or a picture that cannot be read, or an emotion that was not recorded.
        """
        self.camera_driver = CameraDriver(config, self._portrait, self.track)

    @torch.no_grad()
    def get_outputs_for_camera(self, camera: Cameras, obb_box=None) -> dict[str, Float[Tensor, "_ _ _"]]:
        if self.driver is not None and "frame" not in (camera.metadata or {}):
            return self.driver(camera)
        background = self.camera_driver.background_for(camera, self.device)
        return self.renderer.render(camera, self.camera_driver.condition(camera), background)

    def get_rgba_image(
        self, outputs: dict[str, Float[Tensor, "_ _ _"]], output_name: str = "rgb"
    ) -> Float[Tensor, "h w 4"]:
        """Returns the avatar without a background, [H,W,4] with straight alpha: nerfstudio's output `rgba`."""
        alpha = outputs["alpha"]
        return torch.cat([(outputs["foreground"] / alpha.clamp_min(1e-6)).clamp(0, 1), alpha], -1)

    # ---- training

    def _recording(self) -> tuple[Dataset, DatasetTrack]:
        """Returns what the avatar learns from; ValueError for one that is only looked at."""
        if self.dataset is None or self.track is None:
            raise ValueError("an avatar without its recording cannot be trained")
        return self.dataset, self.track

    def get_outputs(self, ray_bundle: RayBundle) -> dict[str, Float[Tensor, " ..."]]:
        """Renders training rays of one or several frames, with the datamanager's metadata (`frame`, `pixel`)."""
        frames, conditions, counts = self._conditions(ray_bundle.metadata)
        if self.training and self.config.schedule.stage(self.step) == "torso":
            moved_by = [self.network.torso_input(condition.head_pose, condition.torso) for condition in conditions]
            pixels = ray_bundle.metadata["pixel"]
            alpha, colour = self.network.torso_field()(pixels, torch.stack(moved_by), counts)
            return {"torso_alpha": alpha, "torso_rgb": self._lit(colour, conditions, counts)}
        lips = self.lips if self.training else None
        encoded = self.network.encode(conditions)
        if lips is not None:
            encoded = lips.forced(encoded, frames)
        surface = ray_bundle.metadata.get("surface")
        out = self._march_head(ray_bundle.origins, ray_bundle.directions, encoded, counts, surface)
        out["rgb"] = self._lit(out["rgb"], conditions, counts)
        if lips is not None:
            out["articulation_error"] = lips.error(self.network, self.config.articulation_batch)
        return out

    def _conditions(self, metadata: dict[str, Tensor]) -> tuple[Tensor, list[FrameCondition], list[int]]:
        """Returns the frames [C], the conditions and the numbers of rays that follow each other with one condition."""
        _, track = self._recording()
        beyond, groups = metadata.get("beyond_face"), 2 * metadata["frame"].cpu().numpy().ravel()
        if beyond is not None:
            groups = groups + beyond.cpu().numpy().ravel()
        starts = np.flatnonzero(np.diff(groups, prepend=-1))
        counts, groups = np.diff(starts, append=len(groups)).tolist(), groups[starts]
        frames = groups // 2
        conditions = [track[i] for i in frames.tolist()]
        for k in np.flatnonzero(groups % 2).tolist() if len(self.labels) > 1 else []:
            if torch.rand(()) < self.config.swapped_labels:
                other = self.labels[int(torch.randint(len(self.labels), ()))]
                conditions[k] = replace(conditions[k], emotion=other)
        return send(frames, self.device), conditions, counts

    def _lit(self, colour: Tensor, conditions: list[FrameCondition], counts: list[int]) -> Tensor:
        """Returns the colours [R, 3] of rays of C frames, the first frame's first, in the light of their takes."""
        if not self.config.take_light:
            return colour
        lights = self.network.light[[condition.take for condition in conditions]]
        return colour * torch.cat([light.expand(n, 3) for light, n in zip(lights, counts, strict=True)])

    def _march_head(
        self,
        origins: Tensor,
        directions: Tensor,
        encoded: EncodedCondition,
        counts: list[int],
        surface: Tensor | None = None,
        jitter: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Renders training rays of C frames, [R,3] each -> rgb [R,3] (premultiplied), alpha [R,1], ambient [R,1].

        counts: rays of each frame, in order. surface: see `depth_error`, [R,3]. jitter: [R]; drawn where None.
        """
        c, network = self.config, self.network
        if jitter is None and self.training:
            jitter = torch.rand(len(origins), device=origins.device)
        count = self.most_samples(self.step) if self.training else c.max_samples
        samples = network.occupancy.march(origins, directions, network.box, c.step_size, count, jitter=jitter)
        view = spherical_harmonics(directions)[samples.ray_indices]
        ray_counts, counts = counts, samples.ray_starts[np.cumsum([0, *counts])].diff().tolist()
        sigma, rgb, ambient, logits = network.head(samples.positions, view, encoded, counts)
        result = composite(sigma, rgb, ambient.abs().sum(-1, keepdim=True), samples, c.step_size, c.backend)
        out = {
            "rgb": result.rgb,
            "alpha": result.accumulation[:, None],
            "ambient": result.extra_sums,
            "saturation": logits.square().sum() / max(1, logits.numel()),
        }
        if c.lambda_distortion:
            out["distortion"] = distortion(result.weights, samples, c.step_size)
        if surface is not None:
            out["depth_error"] = depth_error(result, samples, surface)
            if self.looks_at_tone(self.step):
                skin, weights = surface[:, 2] > 0, result.weights.detach()
                labels = torch.from_numpy(self.labels).to(encoded.emotion)
                error = tone.tone_error(network.head, samples, weights, skin, encoded, ray_counts, labels)
                out["tone_error"] = tone.EVERY * error
        return out

    def most_samples(self, step: int) -> int:
        """Returns how many samples a ray of a training step has at most."""
        c = self.config
        return c.max_samples_start if step < c.carving_steps else c.max_samples

    def looks_at_tone(self, step: int) -> bool:
        """Returns whether a step of the head or lip stage compares the tone of skin under two labels."""
        c = self.config
        wanted = c.lambda_tone and c.smooth_shading and c.use_emotion and len(self.labels) > 1
        return bool(wanted) and step % tone.EVERY == 0

    def progress(self, step: int) -> float:
        """Returns how far a step is through the head and lip stages, 0 to 1."""
        schedule = self.config.schedule
        return min(step / max(1, schedule.head + schedule.lips), 1.0)

    def get_loss_dict(self, outputs, batch, metrics_dict=None) -> dict[str, Float[Tensor, ""]]:
        c = self.config
        if "torso_alpha" in outputs:
            return torso_losses(c, outputs, batch)
        return head_losses(c, outputs, batch, c.audio_compression, self.progress(self.step), self.perceptual)

    def perceptual(self) -> PerceptualLoss:
        """Returns the lip patch's loss, built when first asked for. No property: the viewer reads all of those."""
        if not self._perceptual:
            # A training that went on from a checkpoint builds it at another step, and must draw the same all the same.
            with torch.random.fork_rng(devices=()):
                self._perceptual.append(PerceptualLoss().to(self.device))
            print(f"perceptual loss: {self._perceptual[0].name}")
        return self._perceptual[0]

    def get_metrics_dict(self, outputs, batch) -> dict[str, Float[Tensor, ""]]:
        if "torso_alpha" in outputs:
            return {}
        rgb = over_torso(outputs, batch)
        return {"psnr": -10 * torch.log10(mse(rgb.detach(), batch["image"]).clamp_min(1e-10))}

    def get_image_metrics_and_images(
        self, outputs, batch
    ) -> tuple[dict[str, float], dict[str, Float[Tensor, "h w 3"]]]:
        truth = batch["image"].to(outputs["rgb"].device)[..., :3]
        error = (outputs["rgb"] - truth).square().mean()
        measures = [grey(outputs[key]) for key in ("depth", "ambient")]
        panel = torch.cat([truth, outputs["rgb"], outputs["head"], outputs["torso"], *measures], 1)
        # The name is nerfstudio's own, under which its writers show it: truth, render, head, torso, depth, |a_l|.
        return {"psnr": float(-10 * torch.log10(error.clamp_min(1e-10)))}, {"img": panel}

    def set_stage(self, step: int) -> None:
        """Sets the step of the training, and freezes what its stage does not train."""
        self.step = step
        frozen = self.config.schedule.stage(step) == "torso"
        network = self.network
        if network.head.grid.params.requires_grad == frozen:
            for module in (network.head, network.audio_encoder, network.articulation_head, network.codes):
                if module is not None:
                    module.requires_grad_(not frozen)

    def know_shoulders(self) -> None:
        """Has the recording's own frames move their shoulders as the portrait says."""
        motion = self.portrait.motion.torso
        if self.track is not None and motion is not None:
            self.track.torso = dict(zip(self.portrait.frames.tolist(), motion, strict=True))

    def _before_step(self, step: int) -> None:
        self.set_stage(step)
        self.occupancy.before_step(step)

    def get_training_callbacks(self, training_callback_attributes: TrainingCallbackAttributes):
        if self.config.visual_hull:
            carve(self.network, self._recording()[0])
        if self.lips is not None:
            self.lips.fit_linear(self.network, self.config.lip_prior)
        if self.config.take_light:
            self.network.fit_light(take_light(self._recording()[0], self.portrait.reference_take))
        if self.network.follows_shoulders and self.portrait.motion.torso is None:
            frames = self.portrait.frames.tolist()
            reference = frames[self.portrait.motion.typical_frame]
            self.network.fit_torso(torso_motion(self._recording()[0], frames, reference))
            self.know_shoulders()
        return [
            TrainingCallback([TrainingCallbackLocation.BEFORE_TRAIN_ITERATION], self._before_step),
            TrainingCallback(
                [TrainingCallbackLocation.AFTER_TRAIN_ITERATION], self._report, update_every_num_iters=250
            ),
        ]

    def _report(self, step: int) -> None:
        report_spread(self.network, self.lips, self._recording()[1], step)

    def get_param_groups(self) -> dict[str, list[nn.Parameter]]:
        """Returns the parameters by their kind, each of which has a learning rate of its own."""
        return parameter_groups(self.network)


def _drop_name(model: nn.Module, state: dict, prefix: str, _) -> None:
    """Leaves out of checkpoints that the network is a part of nerfstudio's model."""
    for key in [key for key in state if key.startswith(prefix + NETWORK)]:
        state[prefix + key.removeprefix(prefix + NETWORK)] = state.pop(key)


def _add_name(model: nn.Module, state: dict, prefix: str, *_) -> None:
    own = {name for name, _ in model.named_parameters(recurse=False)}
    for key in [key for key in state if key.startswith(prefix) and key.removeprefix(prefix) not in own]:
        state[prefix + NETWORK + key.removeprefix(prefix)] = state.pop(key)


def _know_shoulders(model: nn.Module, _) -> None:
    """Tells a model that was loaded what its checkpoint knows of the shoulders."""
    if isinstance(model, AedNerfModel):
        model.know_shoulders()


def grey(image: Float[Tensor, "h w 1"]) -> Float[Tensor, "h w 3"]:
    """Returns a measure [H,W,1] as a grey picture [H,W,3]: its largest value is white."""
    return (image / image.max().clamp_min(1e-6)).expand(-1, -1, 3)
