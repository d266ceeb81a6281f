"""nerfstudio's pipeline with one stage schedule for model, datamanager and learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.models.base_model import Model
from nerfstudio.pipelines.base_pipeline import VanillaPipeline, VanillaPipelineConfig
from torch.nn.parallel import DistributedDataParallel

from aed_nerfstudio.errors import report_plainly
from aed_nerfstudio.face.face_mesh import SPEAKING
from aed_nerfstudio.media.provenance import tag_renders_of_nerfstudio
from aed_nerfstudio.nerfstudio_plugin.checkpoints import fitting, named_features
from aed_nerfstudio.nerfstudio_plugin.datamanager import AedDataManager, AedDataManagerConfig
from aed_nerfstudio.nerfstudio_plugin.limits import check_numbers
from aed_nerfstudio.nerfstudio_plugin.lip_response import fit_response
from aed_nerfstudio.nerfstudio_plugin.loss_watch import LossWatch
from aed_nerfstudio.nerfstudio_plugin.mean_weights import MeanWeights
from aed_nerfstudio.nerfstudio_plugin.model import AedNerfModel, AedNerfModelConfig
from aed_nerfstudio.nerfstudio_plugin.occupancy_schedule import carve_face
from aed_nerfstudio.nerfstudio_plugin.processes import averaged, broadcast
from aed_nerfstudio.nerfstudio_plugin.random_state import random_state, restore_random_state
from aed_nerfstudio.viewer.control_panel import ControlPanel
from aed_nerfstudio.viewer.speech import Recordings
from aed_nerfstudio.viewer.start_view import StartView
from aed_nerfstudio.viewer.uploads import Limits


@dataclass
class AedPipelineConfig(VanillaPipelineConfig):
    """AED-NeRF's pipeline."""

    _target: type = field(default_factory=lambda: AedPipeline)
    datamanager: AedDataManagerConfig = field(default_factory=AedDataManagerConfig)
    model: AedNerfModelConfig = field(default_factory=AedNerfModelConfig)
    final_lr_share: float = 1.0
    """Learning rates fall exponentially to this share of their start, once through head and lips and once through the
    torso; 1 keeps them, as the paper does. (RAD-NeRF: 0.1.)"""
    ema_decay: float = 0.0
    """Decay a step of a running mean of the weights, which replaces them at the end of the lip stage and of the torso
    stage; 0: none. (RAD-NeRF: 0.95 every 1000 steps.)"""
    upload_megabytes: float = 64
    """MiB of a file that a browser may upload to the viewer."""
    upload_minutes: float = 10
    """Of sound that a browser may upload to the viewer."""


class AedPipeline(VanillaPipeline):
    """Hands the model's stage schedule to the datamanager, and lets the learning rates follow it.

    nerfstudio's own schedulers know nothing of stages, and leave NumPy scalars in checkpoints, which torch >= 2.6
    refuses to load.
    """

    config: AedPipelineConfig
    datamanager: AedDataManager

    def __init__(
        self, config: AedPipelineConfig, device: str, world_size: int = 1, local_rank: int = 0, **kwargs
    ) -> None:
        report_plainly()
        check_numbers(config, "pipeline.")
        tag_renders_of_nerfstudio()
        config.datamanager.schedule = config.model.schedule
        config.datamanager.face_depth = max(config.model.lambda_depth, config.model.lambda_tone) > 0
        config.datamanager.beyond_face = config.model.swapped_labels > 0
        super().__init__(config, device, local_rank=local_rank, **kwargs)
        self.world_size = world_size
        if world_size > 1:
            # As nerfstudio does it for CUDA. A stage leaves parameters unused; of the buffers only the occupancy grid
            # changes, which the model itself shares.
            wrapped = DistributedDataParallel(
                self._model,
                device_ids=[local_rank] if torch.device(device).type == "cuda" else None,
                find_unused_parameters=True,
                broadcast_buffers=False,
            )
            self._model = cast(Model, wrapped)  # as nerfstudio does
        # Found by the viewer, which walks the pipeline's attributes.
        self.start_view = StartView.of(self.model.portrait)
        uploads = Limits(config.upload_megabytes, config.upload_minutes)
        self.control_panel = ControlPanel(self.model, Recordings(self.datamanager.dataset), uploads)

    @property
    def model(self) -> AedNerfModel:
        """Returns the model, without the wrapper that several processes put around it."""
        return cast(AedNerfModel, super().model)

    def load_pipeline(self, loaded_state: dict, step: int) -> None:
        with fitting(step):
            super().load_pipeline(named_features(loaded_state), step)

    def state_dict(self, *args, **kwargs) -> dict[str, Any]:
        # Without the wrapper's name: a checkpoint does not depend on how many processes made it.
        state = super().state_dict(*args, **kwargs)
        if self.world_size == 1:
            return state
        return {key.replace("_model.module.", "_model.", 1): value for key, value in state.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool | None = None) -> None:
        # nerfstudio passes over weights that are missing or left over, unless it is told to be strict.
        super().load_state_dict(state_dict, strict=True)

    def training_state(self) -> dict[str, dict]:
        """Returns what a training goes on from beside weights and optimizers: plain values and tensors."""
        return {
            "watch": self.watch.state(),
            "mean_weights": {} if self.mean_weights is None else self.mean_weights.mean,
            "random": random_state(self.datamanager.generator),
        }

    def restore_training(self, state: dict[str, dict], draws: bool) -> None:
        """Goes on from a `training_state`, after `get_training_callbacks`; `draws`: with what it would have drawn."""
        self.watch.restore(state["watch"])
        if self.mean_weights is not None:
            self.mean_weights.restore(state["mean_weights"])
        if draws:
            restore_random_state(state["random"], self.datamanager.generator)

    def get_train_loss_dict(self, step: int):
        outputs, losses, metrics = super().get_train_loss_dict(step)
        losses, metrics = averaged(losses), averaged(metrics)
        with torch.no_grad():
            self.watch.note(step, torch.stack([*losses.values()]).sum(dtype=torch.float64))
        return outputs, losses, metrics

    def get_training_callbacks(self, attributes: TrainingCallbackAttributes) -> list[TrainingCallback]:
        trainer, optimizers = attributes.trainer, attributes.optimizers
        if trainer is None or optimizers is None:
            raise ValueError("a training needs a trainer and its optimizers")
        self.watch = LossWatch(self.config.model.schedule, trainer.checkpoint_dir)

        def guard(step: int) -> None:
            if step % trainer.config.steps_per_save == 0 or step >= trainer.config.max_num_iterations - 1:
                # Before the trainer writes a checkpoint.
                self.watch.read()
                self.watch.check_weights(step, self.model)

        def set_rates(step: int) -> None:
            factor = self.config.final_lr_share ** self.config.model.schedule.progress(step)
            for name, optimizer in optimizers.optimizers.items():
                for group in optimizer.param_groups:
                    group["lr"] = optimizers.config[name]["optimizer"].lr * factor

        decay = TrainingCallback([TrainingCallbackLocation.BEFORE_TRAIN_ITERATION], set_rates)
        after = [TrainingCallbackLocation.AFTER_TRAIN_ITERATION]
        callbacks = [decay, TrainingCallback(after, guard)]
        self.mean_weights = None
        if self.config.ema_decay:
            self.mean_weights = MeanWeights(self.model.network, self.config.ema_decay, self.config.model.schedule)
            callbacks.append(TrainingCallback(after, self.mean_weights.update))
        callbacks.append(TrainingCallback(after, self._measure_lips))
        inherited = super().get_training_callbacks(attributes)
        network, depth = self.model.network, self.datamanager.face_depth
        if depth is not None and self.config.model.lambda_depth:
            carve_face(network, self.datamanager.dataset, depth)
        if depth is not None and network.head.warp is not None:
            network.head.warp.confine(torch.from_numpy(depth.shape[SPEAKING]).to(network.device), network.box)
        broadcast(value for value in self.model.state_dict().values() if torch.is_tensor(value))  # what was fitted
        return [*callbacks, *inherited]

    def _measure_lips(self, step: int) -> None:
        c = self.config.model
        if not c.schedule.ends(step) or c.schedule.stage(step) == "torso":
            return
        if self.model.lips is not None:
            self.model.lips.fit_gain(self.model.network, c.lip_prior)
        if c.response_frames:
            fit_response(self.model, c.response_frames)
