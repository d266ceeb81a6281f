"""A training step's losses by the same work for every step of a kind, none of which waits for the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from aed_nerfstudio.fields.head_field import spherical_harmonics
from aed_nerfstudio.nerfstudio_plugin.device_drawing import DeviceDrawing, Drawn
from aed_nerfstudio.nerfstudio_plugin.losses import Batch, depth_error, distortion, head_losses, torso_losses
from aed_nerfstudio.nerfstudio_plugin.model import AedNerfModel
from aed_nerfstudio.nerfstudio_plugin.resident_frames import ResidentFrames
from aed_nerfstudio.nerfstudio_plugin.tone import EVERY, tone_error_in_rooms
from aed_nerfstudio.rendering.compositing import composite
from aed_nerfstudio.rendering.room_marching import march_into_rooms


@dataclass(frozen=True)
class StepKind:
    """What decides the work of a step, beside its room for samples."""

    shown: str
    """See `StageSchedule.shows`."""
    max_samples: int
    """Of a ray."""
    looks: bool
    """Whether it compares the tone of skin under two labels."""


class FixedStep:
    """Outputs, losses and metrics of training steps; see `AedNerfModel.get_outputs` for the same from packed samples.

    Args:
        model: in training.
        frames: that it learns from.
        drawing: of their rays.
    """

    def __init__(self, model: AedNerfModel, frames: ResidentFrames, drawing: DeviceDrawing) -> None:
        self.model, self.frames, self.drawing = model, frames, drawing

    def kind(self, step: int) -> StepKind:
        """Returns what a step is like."""
        model = self.model
        shown = model.config.schedule.shows(step, self.drawing.data.config.face_patches)
        if shown == "torso":
            return StepKind(shown, 1, False)
        return StepKind(shown, model.most_samples(step), self.frames.surfaces is not None and model.looks_at_tone(step))

    def losses(
        self, kind: StepKind, drawn: Drawn, rooms: tuple[int, ...], progress: Tensor, occupied: Tensor
    ) -> tuple[Batch, Batch, Int64[Tensor, " k"]]:
        """Returns losses and metrics, and how many samples the fullest of each sort of groups has.

        Args:
            rooms: for samples of a group: of those in the face and of those beyond it; or of all; none for the torso.
            progress: see `head_losses`, [].
            occupied: the grid of the occupied cells, bool [1, G, G, G].
        """
        model, c = self.model, self.model.config
        if kind.shown == "torso":
            outputs = self._torso(drawn)
            return torso_losses(c, outputs, drawn.batch), {}, drawn.frames.new_zeros(0)
        outputs, wanted = self._head(kind, drawn, rooms * len(drawn.frames), occupied)
        losses = head_losses(c, outputs, drawn.batch, c.audio_compression, progress, model.perceptual)
        return losses, model.get_metrics_dict(outputs, drawn.batch), wanted.view(-1, len(rooms)).amax(0)

    def _torso(self, drawn: Drawn) -> Batch:
        moved_by = self.frames.moved_by
        if moved_by is None:
            raise ValueError("this avatar has no torso")
        frames, (w, h) = drawn.frames, (self.frames.camera.w, self.frames.camera.h)
        pixels = torch.stack([(drawn.x + 0.5) / w, (drawn.y + 0.5) / h], -1).flatten(0, 1) * 2 - 1
        counts = [drawn.x.shape[1]] * len(frames)
        alpha, colour = self.model.network.torso_field()(pixels, moved_by[frames], counts)
        return {"torso_alpha": alpha, "torso_rgb": self._lit(colour, frames)}

    def _lit(self, colour: Float[Tensor, "r 3"], frames: Int64[Tensor, " f"]) -> Float[Tensor, "r 3"]:
        """Returns the colours of rays of F frames, as many of each, in the light of their takes."""
        if self.frames.light is None:
            return colour
        return (colour.view(len(frames), -1, 3) * self.frames.light[frames][:, None]).flatten(0, 1)

    def _head(
        self, kind: StepKind, drawn: Drawn, rooms: tuple[int, ...], occupied: Tensor
    ) -> tuple[Batch, Int64[Tensor, " g"]]:
        """Returns what `head_losses` takes, and how many samples each group has. rooms: of all groups."""
        model, c, network = self.model, self.model.config, self.model.network
        frames = self.frames
        origins, directions = frames.rays(drawn.frames, drawn.x, drawn.y)
        encoded = frames.encode(drawn.frames, drawn.emotions, drawn.lips_are_true)
        marched = march_into_rooms(
            *(rooms, drawn.groups, origins, directions, occupied[0], network.box, c.step_size, kind.max_samples),
            jitter=drawn.jitter,
            backend=c.backend,
        )
        samples, real = marched.samples, marched.real
        view = spherical_harmonics(directions)[marched.rays]
        sigma, rgb, ambient, logits = network.head(samples.positions, view, encoded, [*rooms])
        sigma = torch.where(real, sigma, 0.0)
        result = composite(sigma, rgb, ambient.abs().sum(-1, keepdim=True), samples, c.step_size, c.backend)
        of_rays = marched.places
        saturation = torch.where(real[:, None], logits.square(), 0.0).sum() / (2 * real.sum()).clamp_min(1)
        out = {
            "rgb": self._lit(result.rgb.index_select(0, of_rays), drawn.frames),
            "alpha": result.accumulation.index_select(0, of_rays)[:, None],
            "ambient": result.extra_sums.index_select(0, of_rays),
            "saturation": saturation,
        }
        if c.lambda_distortion:
            out["distortion"] = distortion(result.weights, samples, c.step_size, n_rays=len(of_rays))
        if frames.surfaces is not None:
            surface = frames.surfaces.at(drawn.frames, drawn.x, drawn.y)
            out["depth_error"] = depth_error(result, samples, marched.in_order(surface, torch.nan))
            if kind.looks:
                skin, weights = surface[:, 2] > 0, result.weights.detach()
                out["tone_error"] = EVERY * tone_error_in_rooms(
                    *(network.head, marched, weights, skin, drawn.groups, encoded, frames.labels, drawn.looks),
                    kind.max_samples,
                )
        if model.lips is not None and frames.lip_shapes is not None:
            _, heard, _ = frames.hear(drawn.listened)
            out["articulation_error"] = torch.nn.functional.mse_loss(heard, frames.lip_shapes[drawn.listened])
        return out, marched.wanted
