"""Batches, learning rates, stages and the watch over the audio branch, on the actor's dataset."""

import copy

import numpy as np
import pytest
import torch
from aed_nerfstudio.method_configs.aed_nerf import aed_nerf_tiny
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.engine.callbacks import TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.engine.optimizers import Optimizers

from aed_nerfstudio.dataset.schema import read_image
from aed_nerfstudio.model.stages import StageSchedule


@pytest.fixture(scope="module")
def config(data):
    config = copy.deepcopy(aed_nerf_tiny.config)
    config.pipeline.datamanager.data = data
    config.pipeline.datamanager.train_num_rays_per_batch = 256
    config.pipeline.model.schedule = StageSchedule(10, 10, 10)
    return config


@pytest.fixture(scope="module")
def pipeline(config):
    torch.manual_seed(0)
    return config.pipeline.setup(device="cpu").train()


def test_rays_are_nerfstudios_and_colours_the_files(pipeline):
    bundle, batch = pipeline.datamanager.next_train(0)
    dataset = pipeline.datamanager.dataset
    frames, counts = torch.unique_consecutive(bundle.metadata["frame"][:, 0], return_counts=True)
    assert len(frames) == 4 and set(counts.tolist()) == {64}
    assert set(frames.tolist()) <= set(dataset.split("train"))
    camera = dataset.camera
    for frame in frames.tolist():
        mine = bundle.metadata["frame"][:, 0] == frame
        xy = (bundle.metadata["pixel"][mine] + 1) / 2 * torch.tensor([camera.w, camera.h])
        pose = torch.tensor(dataset.frames[frame].camera_to_world)[None, :3]
        cameras = Cameras(pose, camera.fl_x, camera.fl_y, camera.cx, camera.cy, camera.w, camera.h)
        rays = cameras.generate_rays(camera_indices=0, coords=xy.flip(-1))
        torch.testing.assert_close(bundle.directions[mine], rays.directions, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(bundle.origins[mine], rays.origins)
        image = read_image(dataset.path("images", dataset.frames[frame]))
        x, y = xy.floor().long().numpy().T
        np.testing.assert_allclose(batch["image"][mine].numpy(), image[y, x] / 255, atol=1e-6)


def test_lips_stage_alternates_with_a_square_patch(pipeline):
    _, patch = pipeline.datamanager.next_train(10)
    _, rays = pipeline.datamanager.next_train(11)
    assert len(patch["image"]) == patch["patch"] ** 2 and patch["patch"] >= 32
    assert "patch" not in rays and len(rays["image"]) == 256


def test_learning_rates_fall_within_their_stages(config, pipeline):
    groups = pipeline.get_param_groups()
    optimizers = Optimizers(config.optimizers, groups)
    attributes = TrainingCallbackAttributes(optimizers=optimizers, grad_scaler=None, pipeline=pipeline, trainer=None)
    before = [
        callback
        for callback in pipeline.get_training_callbacks(attributes)
        if TrainingCallbackLocation.BEFORE_TRAIN_ITERATION in callback.where_to_run
    ]
    rates = {}
    for step in (0, 10, 19, 20, 29):
        for callback in before:
            callback.run_callback(step)
        rates[step] = optimizers.optimizers["mlps"].param_groups[0]["lr"]
    assert rates[0] == config.optimizers["mlps"]["optimizer"].lr == rates[20]
    assert rates[10] == pytest.approx(rates[0] * 0.1**0.5)
    assert rates[0] > rates[10] > rates[19] > 0.1 * rates[0] * 0.99
    assert all(type(value) is float for value in rates.values())  # NumPy scalars would make checkpoints unloadable


def test_the_torso_stage_freezes_the_head_and_does_not_march_it(pipeline):
    model = pipeline.model
    model._before_step(20)
    try:
        bundle, batch = pipeline.datamanager.next_train(20)
        outputs = model(bundle)
        assert set(outputs) == {"torso_alpha", "torso_rgb"}
        sum(model.get_loss_dict(outputs, batch).values()).backward()
        assert all(p.grad is None for p in model.head.parameters())
        assert model.torso.grid.params.grad.abs().sum() > 0
    finally:
        model._before_step(0)
    assert all(p.requires_grad for p in model.head.parameters())


def test_the_hull_holds_the_head(pipeline):
    model = pipeline.model
    model.get_training_callbacks(None)  # training begins
    share = model.occupancy.allowed.float().mean()
    assert 0.02 < share < 0.6
    centre = model.occupancy.allowed.shape[-1] // 2
    assert model.occupancy.allowed[0, centre, centre, centre]


def test_training_teaches_the_encoder_the_lips(pipeline):
    """The audio branch lives: fifty steps on the lip shapes alone, and they are read from the training audio."""
    model = pipeline.model
    encoder = [*model.audio_encoder.parameters(), *model.articulation_head.parameters()]
    saved = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.Adam(encoder, lr=2e-3)
    first = model._articulation_error().item()
    for _ in range(50):
        optimizer.zero_grad()
        model._articulation_error().backward()
        optimizer.step()
    last = np.mean([model._articulation_error().item() for _ in range(5)])
    assert last < 0.5 * first
    assert -1 <= model.lip_correlation() <= 1
    model.load_state_dict(saved)


def test_a_dead_audio_branch_is_reported(pipeline, capsys):
    model = pipeline.model
    saved = copy.deepcopy(model.state_dict())
    model._report(250)
    assert "WARNING" not in capsys.readouterr().out
    for layer in (model.audio_encoder.project[-1].weight, model.articulation_head.weight):
        torch.nn.init.zeros_(layer)
    model._report(500)
    assert "WARNING: the audio branch is dead" in capsys.readouterr().out
    model.load_state_dict(saved)
