"""All weights of an avatar, and what they make of a `FrameCondition` before anything is rendered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from aed_nerfstudio.avatar.checkpoint_portrait import told_by_checkpoints, with_checkpoint
from aed_nerfstudio.avatar.portrait import Portrait
from aed_nerfstudio.backends import Backend, resolve
from aed_nerfstudio.bounds import Between
from aed_nerfstudio.dataset.torso_motion import MOTION_DIM
from aed_nerfstudio.driving.head_pose import pose_vector
from aed_nerfstudio.driving.track import FrameCondition
from aed_nerfstudio.fields.audio_encoder import AudioEncoder
from aed_nerfstudio.fields.head_field import EncodedCondition, HeadField
from aed_nerfstudio.fields.linear_lips import LinearLips
from aed_nerfstudio.fields.torso_field import TorsoField
from aed_nerfstudio.rendering.occupancy import HeadOccupancy
from aed_nerfstudio.rendering.transfer import send

LIP_DISTANCES = 4
"""Numbers of a lip shape."""


@dataclass
class NetworkSettings:
    """What decides the shape of an avatar's networks and how pictures are made of them."""

    use_emotion: bool = True
    """False: the paper's ablation without emotion (Fig. 9)."""
    use_eye: bool = True
    """Eye openness as an input (RAD-NeRF; the paper is silent)."""
    lid_gain: float = 0.0
    """The field is told how far the eyes are closed, times this, in place of how far they are open (0, as in RAD-NeRF):
    eyes are open nearly always, and an input that hardly varies teaches little."""
    audio_compression: bool = True
    """False: a_h enters the density network as it is, not through a_l and its grid (ablation)."""
    appearance_dim: int = 0
    """Size of a code of every training frame that enters the colour network (RAD-NeRF: 4) and takes up what differs
    between recordings: light, exposure. Their mean stands in at inference; 0: none."""
    take_light: bool = False
    """Every take's brightness and colour over those of one neutral take are measured on the skin, and taken out of what
    is learned. Not in the paper, which names lighting as its limit."""
    torso_motion: bool = False
    """The torso follows the measured motion of the shoulders as well as the head's pose, which alone does not tell
    where they are. Not in the paper."""
    articulation: bool = False
    """Supervise four lip distances at the audio encoder and give them to the density network. Not in the paper: without
    it the audio branch dies in short trainings, which PSNR does not show."""
    linear_lips: bool = False
    """The lip shape is the mean of the audio encoder's reading and of a ridge regression from the frame's window."""
    expression_grid: bool = False
    """A 3-D grid blended by emotion, eyes and lip shape beside the spatial one. Not in the paper."""
    smooth_shading: bool = False
    """Directions brighten and tint colours smoothly, whatever the expression. Not in the paper, where they enter the
    colour network, which learns an expression together with the directions of the take that it was recorded in."""
    lip_warp: bool = False
    """The lip shape moves the points that are looked up, by a smooth field, so that a mouth opens by moving and not by
    blending pictures of a shut and an open one. Not in the paper; lips come out sharper and nearer to the recorded
    ones (docs/experiments.md), so that `aed-nerf` has it."""
    log2_size: int = 16
    top_resolution: int = 2048
    step_size: float = 2 * math.sqrt(3) / 128
    """World units between samples (RAD-NeRF)."""
    max_samples: int = 16
    """Occupied samples of a ray, counted from the camera."""
    aabb: tuple[float, float, float, float, float, float] = (-0.8, -1.0, -0.8, 0.8, 1.0, 0.8)
    """Box of the head, world units."""
    bfloat16: bool = False
    """MLPs in bfloat16, where the processor has it."""
    backend: Backend = "auto"
    """What computes grids, ray marching and compositing (docs/backends.md). auto: the fastest that this machine has;
    torch: plain PyTorch, anywhere; numba: CPU; triton and tcnn (tiny-cuda-nn): GPU. One that cannot be had is an error,
    and a checkpoint fits all of them."""
    eval_num_rays_per_chunk: int = 65536


BOUNDS = {
    "eval_num_rays_per_chunk": Between(1, 1 << 22),
    "appearance_dim": Between(0, 1024),
    "lid_gain": Between(0, 100),
    "log2_size": Between(4, 26),
    "top_resolution": Between(16, 1 << 16),
    "step_size": Between(1e-4, 1),
    "max_samples": Between(1, 1024),
    "aabb": Between(-100, 100),
}
"""Of the settings that are numbers."""


class Network(nn.Module):
    """The networks of one avatar.

    Args:
        settings: kept, and read anew for every picture.
        portrait: of the avatar.
        has_torso: whether there is a torso field.
        made_of: what the portrait was made of, as errors name it.
    """

    feature_mean: Float[Tensor, " dim"]
    """[dim]."""
    feature_scale: Float[Tensor, " dim"]
    """[dim]: 1 / deviation."""
    pose_mean: Float[Tensor, " 6"]
    """[6]."""
    pose_scale: Float[Tensor, " 6"]
    """[6]: 1 / deviation."""
    torso_mean: Float[Tensor, " motion_dim"]
    """[M]: of the shoulders' motion."""
    torso_scale: Float[Tensor, " motion_dim"]
    """[M]: 1 / deviation."""
    box: Float[Tensor, " 6"]
    """[6]: of the head, world units."""
    background: Float[Tensor, "h w 3"]
    """[H, W, 3] in 0..1: the recording's."""
    light: Float[Tensor, "takes 3"]
    """[T, 3]: what red, green and blue of the person are multiplied by in each take."""
    trained_codes: Int64[Tensor, " f"]
    """[F]: numbers of the training frames."""

    def __init__(
        self, settings: NetworkSettings, portrait: Portrait, has_torso: bool = True, made_of: str = "the dataset"
    ) -> None:
        super().__init__()
        self.settings, self.portrait, self.made_of = settings, portrait, made_of
        s, dim = settings, portrait.feature_dim
        # Front ends have constant offsets far above their variation; unnormalised they drown the speech.
        self.register_buffer("feature_mean", torch.zeros(dim))
        self.register_buffer("feature_scale", torch.ones(dim))
        turns = pose_vector(portrait.motion.poses)
        self.register_buffer("pose_mean", torch.from_numpy(turns.mean(0)))
        self.register_buffer("pose_scale", torch.from_numpy(1 / (turns.std(0) + 1e-3)))
        lips = LIP_DISTANCES if s.articulation else 0
        self.audio_encoder = AudioEncoder(dim)
        self.articulation_head = nn.Linear(64, lips) if lips else None
        self.linear_lips = LinearLips(dim, lips) if s.articulation and s.linear_lips else None
        self.head = HeadField(
            emotion_dim=portrait.vocabulary.dim if s.use_emotion else 0,
            eye_dim=int(s.use_eye),
            articulation_dim=lips,
            appearance_dim=s.appearance_dim,
            audio_compression=s.audio_compression,
            log2_size=s.log2_size,
            top_resolution=s.top_resolution,
            bfloat16=s.bfloat16,
            expression_grid=s.expression_grid,
            smooth_shading=s.smooth_shading,
            lip_warp=s.lip_warp,
            backend=s.backend,
        )
        self.codes = nn.Embedding(portrait.frame_count, s.appearance_dim) if s.appearance_dim else None
        if self.codes is not None:
            nn.init.normal_(self.codes.weight, std=0.1)
            self.register_buffer("trained_codes", torch.from_numpy(portrait.frames).long(), persistent=False)
        if s.take_light:
            self.register_buffer("light", torch.ones(len(portrait.takes), 3))
        motion_dim = MOTION_DIM if s.torso_motion and has_torso else 0
        self.torso = TorsoField(s.log2_size, s.top_resolution, s.backend, motion_dim) if has_torso else None
        if motion_dim:
            self.register_buffer("torso_mean", torch.zeros(motion_dim))
            self.register_buffer("torso_scale", torch.ones(motion_dim))
        self.occupancy = HeadOccupancy(128, s.backend)
        self.register_buffer("box", torch.tensor(s.aabb), persistent=False)
        self.register_buffer("background", torch.from_numpy(portrait.background).float() / 255)
        self._announced: set[torch.device] = set()

    @property
    def device(self) -> torch.device:
        """Returns where the weights are."""
        return self.feature_mean.device

    def _apply(self, fn, recurse: bool = True):
        # What all of `to`, `cuda` and a parent's `to` go through: here the network learns its device.
        super()._apply(fn, recurse)
        if self.device not in self._announced:
            print(f"backend: {resolve(self.settings.backend, self.device)}")
            self._announced.add(self.device)
        return self

    def use_backend(self, name: Backend) -> None:
        """Changes what computes grids, marching and compositing, of a network that is on its device already.

        Raises:
            InputError: the device does not have it.
        """
        resolve(name, self.device)
        self.settings.backend = name
        for module in self.modules():
            if hasattr(module, "backend"):
                module.backend = name  # pyright: ignore[reportArgumentType]  torch's stub knows tensors only

    def fit_features(self, features: Float[np.ndarray, "n dim"]) -> None:
        """Takes mean and deviation of audio features [N, dim] for those that its inputs are standardised by."""
        self.feature_mean.copy_(torch.from_numpy(features.mean(0)))
        self.feature_scale.copy_(torch.from_numpy(1 / (features.std(0) + 1e-3)))

    def fit_light(self, light: Float[np.ndarray, "takes 3"]) -> None:
        """Takes every take's light, [T, 3], for what the person's colours are multiplied by in it."""
        self.light.copy_(torch.from_numpy(light))
        takes = self.portrait.takes
        odd = [
            f"{takes[k]} {np.round(light[k], 2).tolist()}" for k in range(len(takes)) if not np.allclose(light[k], 1)
        ]
        if odd:
            usual = takes[self.portrait.reference_take]
            print(f"light of the takes, red, green and blue over that of {usual}: {', '.join(odd)}")

    @property
    def follows_shoulders(self) -> bool:
        """Returns whether the torso is told the motion of the shoulders."""
        return self.torso is not None and self.torso.follow is not None

    def fit_torso(self, motion: Float[np.ndarray, "f m"]) -> None:
        """Takes the motion of the shoulders in the training frames, [F, M], for the one that they were recorded with,
        and for what the torso's input is standardised by."""
        self.portrait = self.portrait.moving(motion)
        self.torso_mean.copy_(torch.from_numpy(motion.mean(0)))
        self.torso_scale.copy_(torch.from_numpy(1 / (motion.std(0) + 1e-3)))

    def _load_from_state_dict(self, state_dict, prefix, *rest) -> None:
        if self.follows_shoulders:
            # Checkpoints of before the torso followed the shoulders; a training that goes on measures them.
            names = ("torso_mean", "torso_scale", "torso.follow.")
            for name, value in self.state_dict().items():
                if name.startswith(names):
                    state_dict.setdefault(f"{prefix}{name}", value.clone())
        if self.settings.take_light:
            # Checkpoints of before there was a light of takes have none; a training that goes on measures it.
            state_dict.setdefault(f"{prefix}light", self.light.clone())
        if self.head.warp is not None:
            # Checkpoints of before the lips moved points: at first they move none.
            for name, value in self.head.warp.state_dict().items():
                state_dict.setdefault(f"{prefix}head.warp.{name}", value.clone())
        super()._load_from_state_dict(state_dict, prefix, *rest)

    # ---- what a checkpoint says of its avatar

    def get_extra_state(self) -> dict:
        """Returns what is stored in checkpoints beside the weights: the portrait."""
        return told_by_checkpoints(self.portrait)

    def set_extra_state(self, state: Mapping) -> None:
        """Takes over where a checkpoint's avatar comes from, and how its shoulders moved.

        Raises:
            InputError: it was trained on other audio features than these; its `front_end` may be None: unknown.
        """
        self.portrait = with_checkpoint(self.portrait, state, self.follows_shoulders, self.made_of)

    # ---- conditions

    def standardised(self, audio: Float[Tensor, "*n dim"]) -> Float[Tensor, "*n dim"]:
        """Returns audio features [..., dim] in units of their deviation; padding stays zero."""
        silent = (audio == 0).all(-1, keepdim=True)
        return torch.where(silent, 0.0, (audio - self.feature_mean) * self.feature_scale)

    def encode_audio(
        self, windows: Sequence[Float[np.ndarray, "8 16 dim"]]
    ) -> tuple[Float[Tensor, "b 64"], Float[Tensor, "b lips"], Float[Tensor, "b lips"]]:
        """Encodes the audio of B conditions, [8, 16, dim] each.

        Returns: a_h [B, 64], the lip shape that the audio encoder reads from it [B, 4] and the one to use [B, 4]; both
        lip shapes are [B, 0] without articulation.
        """
        return self.hear(self.standardised(send(np.stack(windows), self.device)))

    def hear(
        self, audio: Float[Tensor, "b 8 16 dim"]
    ) -> tuple[Float[Tensor, "b 64"], Float[Tensor, "b lips"], Float[Tensor, "b lips"]]:
        """Encodes windows [B, 8, 16, dim] that are standardised already, as `encode_audio` does."""
        a_h = self.audio_encoder(audio)
        if self.articulation_head is None:
            return a_h, a_h[:, :0], a_h[:, :0]
        lips = self.articulation_head(a_h)
        # Window 4 of the eight is the frame's own.
        return a_h, lips, lips if self.linear_lips is None else (lips + self.linear_lips(audio[:, 4])) / 2

    def encode(self, conditions: Sequence[FrameCondition]) -> EncodedCondition:
        """Returns what the head field takes of C conditions."""
        numbers = self.condition_numbers(conditions)
        code = None if self.codes is None else self._codes_of(self.codes.weight, conditions)
        return self.encoded([send(array, self.device) for array in numbers], code)

    def condition_numbers(self, conditions: Sequence[FrameCondition]) -> list[np.ndarray]:
        """Returns all that C conditions say of the head: audio [C, 8, 16, dim], emotion [C, E], how far the eyes are
        open [C, 1], as the field is told it, and by what lip shapes are multiplied [C, 1], float32."""
        eye = self.eye_input(np.array([[condition.eye_openness] for condition in conditions], np.float32))
        gain = np.array([[condition.lip_gain] for condition in conditions], np.float32)
        audio, emotion = ([getattr(one, name) for one in conditions] for name in ("audio", "emotion"))
        return [np.stack(audio), np.stack(emotion), eye, gain]

    def encoded(self, numbers: Sequence[Float[Tensor, "c ..."]], code: Float[Tensor, "c k"] | None) -> EncodedCondition:
        """Returns what the head field takes of what `condition_numbers` says of C conditions, without waiting for the
        device.

        code: appearance codes [C, K]; None where there are none.
        """
        audio, emotion, eye, lip_gain = numbers
        a_h, _, articulation = self.hear(self.standardised(audio))
        if not self.training:  # speech that was learned from is read as far as it was
            asked = articulation * lip_gain
            articulation = asked if self.linear_lips is None else self.linear_lips.widened(asked)
        return self.condition(a_h, emotion, eye, articulation, code)

    def condition(
        self, a_h: Tensor, emotion: Tensor, eye: Tensor, articulation: Tensor, code: Tensor | None
    ) -> EncodedCondition:
        """Returns what the head field takes, without the inputs that it has not; code: None where there are none."""
        nothing = a_h[:, :0]
        return EncodedCondition(
            audio=a_h,
            emotion=emotion if self.settings.use_emotion else nothing,
            eye=eye if self.settings.use_eye else nothing,
            articulation=articulation,
            code=nothing if code is None else code,
        )

    def eye_input(self, openness: Float[np.ndarray, "c 1"]) -> Float[np.ndarray, "c 1"]:
        """Returns how far eyes are open [C, 1] as the field is told it."""
        gain = self.settings.lid_gain
        return gain * (1 - openness) if gain else openness

    def _codes_of(self, weight: Tensor, conditions: Sequence[FrameCondition]) -> Tensor:
        """Returns appearance codes [C, K]: in training the frames' own; else the mean, for held-out ones were never
        trained."""
        if self.training:
            return weight[[condition.appearance for condition in conditions]]
        return self.usual_code(weight).expand(len(conditions), -1)

    def usual_code(self, weight: Float[Tensor, "f k"]) -> Float[Tensor, "1 k"]:
        """Returns the mean of the training frames' appearance codes [F, K], [1, K]."""
        return weight[self.trained_codes].mean(0, keepdim=True)

    def light_of(self, condition: FrameCondition) -> Float[Tensor, " 3"] | None:
        """Returns what red, green and blue of the person are multiplied by, [3]; None for nothing."""
        if condition.take is None or not self.settings.take_light:
            return None
        return self.light[condition.take]

    def torso_input(
        self, head_pose: Float[np.ndarray, "3 4"], torso: Float[np.ndarray, " m"] | None = None
    ) -> Float[Tensor, " c"]:
        """Returns a head pose [3, 4] and a motion of the shoulders [M] as the torso field takes them, [6] or [6 + M].

        torso: None: what the pose tells of it; the mean motion where none was measured.
        """
        return self.torso_moved_by(send(self.torso_numbers(head_pose, torso), self.device))

    def torso_numbers(
        self, head_pose: Float[np.ndarray, "3 4"], torso: Float[np.ndarray, " m"] | None = None
    ) -> Float[np.ndarray, " c"]:
        """Returns a head pose [3, 4] as [6], and behind it the motion of the shoulders [M] where the torso is told
        one, float32."""
        pose = pose_vector(head_pose)
        if self.follows_shoulders and torso is None:
            torso = self.portrait.motion.torso_with(head_pose)
        return pose if torso is None or not self.follows_shoulders else np.concatenate([pose, torso], dtype=np.float32)

    def torso_moved_by(self, numbers: Float[Tensor, " c"]) -> Float[Tensor, " d"]:
        """Returns what `torso_numbers` says as the torso field takes it."""
        pose, motion = numbers[:6], numbers[6:]
        pose = (pose - self.pose_mean) * self.pose_scale
        if not self.follows_shoulders:
            return pose
        motion = motion if len(motion) else self.torso_mean
        return torch.cat([pose, (motion - self.torso_mean) * self.torso_scale])

    def torso_weights(self) -> tuple[Tensor, ...]:
        """Returns all that decides how the torso looks under a pose and a motion; ValueError where there is none."""
        own = (*self.torso_field().parameters(), self.pose_mean, self.pose_scale)
        return (*own, self.torso_mean, self.torso_scale) if self.follows_shoulders else own

    def torso_field(self) -> TorsoField:
        """Returns the torso field.

        Raises:
            ValueError: the avatar has none.
        """
        if self.torso is None:
            raise ValueError("this avatar has no torso")
        return self.torso
