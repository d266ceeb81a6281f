"""What the numbers of a training's config may be: checked before there is a run, because `ns-train` takes any."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from aed_nerfstudio.avatar.network import BOUNDS
from aed_nerfstudio.bounds import FRAME_RATE, SEED, Between

_STEPS = Between(0, 10**9)
_SHARE = Between(0, 1)
_RAYS = Between(1, 1 << 22)
_WEIGHT = Between(0, 1e6)
# A learning rate that is too high stops the training with a line of its own.
_OPTIMIZER = {"lr": Between(0, 1e300), "eps": Between(0, 1), "max_norm": _WEIGHT, "weight_decay": _WEIGHT}
LIMITS = {
    "max_num_iterations": Between(1, 10**9),
    **dict.fromkeys(("steps_per_save", "steps_per_eval_batch", "steps_per_eval_image"), _STEPS),
    **dict.fromkeys(("steps_per_eval_all_images", "load_step"), _STEPS),
    "machine.seed": SEED,
    "machine.num_devices": Between(0, 1024),
    "machine.num_machines": Between(1, 10_000),
    "machine.machine_rank": Between(0, 9_999),
    "logging.steps_per_log": Between(1, 10**9),
    "logging.max_buffer_size": Between(1, 10**6),
    "logging.local_writer.max_log_size": Between(0, 10**6),
    **dict.fromkeys(("viewer.websocket_port", "viewer.websocket_port_default"), Between(0, 65_535)),
    "viewer.num_rays_per_chunk": _RAYS,
    "viewer.max_num_display_images": Between(-1, 10**6),
    "viewer.jpeg_quality": Between(0, 100),
    "viewer.camera_frustum_scale": Between(0, 1e6),
    "pipeline.final_lr_share": _SHARE,
    "pipeline.ema_decay": _SHARE,
    "pipeline.upload_megabytes": Between(0, 1e6),
    "pipeline.upload_minutes": Between(0, 1e6),
    "pipeline.datamanager.train_num_rays_per_batch": _RAYS,
    "pipeline.datamanager.eval_num_rays_per_batch": _RAYS,
    "pipeline.datamanager.torso_rays_per_batch": _RAYS,
    "pipeline.datamanager.frames_per_step": Between(1, 4096),
    "pipeline.datamanager.torso_frames_per_step": Between(1, 4096),
    "pipeline.datamanager.lips_share": _SHARE,
    "pipeline.datamanager.face_share": _SHARE,
    "pipeline.datamanager.eyes_share": _SHARE,
    "pipeline.datamanager.blinks": _SHARE,
    "pipeline.datamanager.face_patches": _SHARE,
    "pipeline.datamanager.patch_size_lips": Between(4, 2048, "pixels"),
    "pipeline.datamanager.frames_on_gpu": Between(0, 1e6, "GiB"),
    "pipeline.datamanager.camera_res_scale_factor": Between(1, 1),
    "pipeline.datamanager.patch_size": Between(1, 1),
    **{f"pipeline.{owner}.schedule.{stage}": _STEPS
       for owner in ("model", "datamanager") for stage in ("head", "lips", "torso")},
    **{f"pipeline.model.{name}": bounds for name, bounds in BOUNDS.items()},
    "pipeline.model.articulation_truth": _SHARE,
    "pipeline.model.unheard_share": Between(0, 0.5),
    "pipeline.model.swapped_labels": _SHARE,
    "pipeline.model.articulation_batch": Between(1, 4096),
    "pipeline.model.response_frames": Between(0, 1000),
    "pipeline.model.max_samples_start": Between(1, 1024),
    "pipeline.model.carving_steps": _STEPS,
    "pipeline.model.torso_cells": Between(0, 1024),
    "pipeline.model.occupancy_every": Between(1, 10**9),
    "pipeline.model.occupancy_warmup": _STEPS,
    **dict.fromkeys((f"pipeline.model.lambda_{name}" for name in (
        "lpips", "alpha", "audio", "mask", "torso_mask", "distortion", "depth", "tone", "articulation", "saturation",
    )), _WEIGHT),
    "pipeline.model.driving.fps": FRAME_RATE,
}  # fmt: skip
"""By the dotted names of options; those of the optimizers are `_OPTIMIZER`'s."""
UNUSED = ("pixel_sampler", "collider_params", "loss_coefficients", "schedule.total", "train_num_", "eval_num_images",
          "eval_num_times", "eval_image_indices", "stats_to_track")  # fmt: skip
"""Parts of names of nerfstudio's own numbers that this method reads nowhere."""


def check_numbers(config: object, prefix: str = "") -> None:
    """Checks a config's numbers.

    Args:
        config: of a trainer, or a part of one.
        prefix: the dotted name of that part, such as `pipeline.`.

    Raises:
        InputError: one is out of its bounds or no number (NaN); names the option.
    """
    for name, value in numbers(config, prefix):
        bounds = LIMITS.get(name)
        if bounds is None and name.startswith("optimizers."):
            bounds = _OPTIMIZER.get(name.rpartition(".")[2])
        if bounds is not None:
            bounds.check("--" + name.replace("_", "-"), value)


def numbers(config: object, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yields the dotted names and values of all numbers of a config, those in tuples one by one."""
    if is_dataclass(config) and not isinstance(config, type):
        parts = ((field.name, getattr(config, field.name, None)) for field in fields(config))
    elif isinstance(config, dict):
        parts = config.items()
    else:
        for value in config if isinstance(config, tuple) else (config,):
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                yield prefix[:-1], value
        return
    for name, value in parts:
        yield from numbers(value, f"{prefix}{name}.")
