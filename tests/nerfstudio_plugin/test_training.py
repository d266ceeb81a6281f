"""Batches, learning rates, stages and the watch over the audio branch, on the actor's dataset."""

import copy
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from aed_nerfstudio.method_configs.aed_nerf import aed_nerf_tiny
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.engine.callbacks import TrainingCallbackAttributes, TrainingCallbackLocation
from nerfstudio.engine.optimizers import Optimizers

from aed_nerfstudio.dataset.schema import read_image
from aed_nerfstudio.face import engine
from aed_nerfstudio.face.face_mesh import EYE_OUTLINES
from aed_nerfstudio.nerfstudio_plugin.datamanager import MOST_OFTEN
from aed_nerfstudio.nerfstudio_plugin.lip_response import fit_response
from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule


@pytest.fixture(scope="module")
def config(data):
    config = copy.deepcopy(aed_nerf_tiny.config)
    config.pipeline.datamanager.data = data
    config.pipeline.datamanager.train_num_rays_per_batch = 256
    config.pipeline.datamanager.face_patches = 0.0  # has a test of its own
    config.pipeline.model.schedule = StageSchedule(10, 10, 10)
    return config


@pytest.fixture(scope="module")
def pipeline(config):
    torch.manual_seed(0)
    return config.pipeline.setup(device="cpu").train()


@pytest.fixture
def attributes(config, pipeline, tmp_path):
    """What nerfstudio's trainer hands to `get_training_callbacks`."""
    trainer = SimpleNamespace(checkpoint_dir=tmp_path, config=config)
    optimizers = Optimizers(config.optimizers, pipeline.get_param_groups())
    return TrainingCallbackAttributes(optimizers=optimizers, grad_scaler=None, pipeline=pipeline, trainer=trainer)


def test_the_torso_is_no_finer_than_the_recording(pipeline):
    grid, width = pipeline.model.network.torso.grid, pipeline.datamanager.dataset.camera.w
    silent = [
        not grid.params[2 * a : 2 * b].any() for a, b in zip(grid.layout.offsets, grid.layout.offsets[1:], strict=False)
    ]
    assert silent == [bool(0.8 * scale > width) for scale in grid.layout.scales] and len({*silent}) == 2


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


def test_learning_rates_fall_within_their_stages(config, pipeline, attributes):
    before = [
        callback
        for callback in pipeline.get_training_callbacks(attributes)
        if TrainingCallbackLocation.BEFORE_TRAIN_ITERATION in callback.where_to_run
    ]
    rates = {}
    for step in (0, 10, 19, 20, 29):
        for callback in before:
            callback.run_callback(step)
        rates[step] = attributes.optimizers.optimizers["mlps"].param_groups[0]["lr"]
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
        assert all(p.grad is None for p in model.network.head.parameters())
        assert model.network.torso.grid.params.grad.abs().sum() > 0
    finally:
        model._before_step(0)
    assert all(p.requires_grad for p in model.network.head.parameters())


def test_every_label_is_drawn_equally_often(config, data):
    datamanager = copy.deepcopy(config.pipeline.datamanager).setup(device="cpu")
    dataset = datamanager.dataset
    few = dataset.split("train")[: len(dataset.split("train")) // 2 + 5]  # all neutral frames and five happy ones
    datamanager.train_indices = few
    datamanager.chances = datamanager._chances()
    happy = np.array([dataset.frames[i].clip.startswith("happy") for i in few])
    assert happy.sum() == 5
    assert datamanager.chances[happy].sum() == pytest.approx(0.5) == datamanager.chances[~happy].sum()
    datamanager.config.balance_labels = False
    assert np.ptp(datamanager._chances()) == 0


def drawn_from(config, **changes):
    """A data manager with other options, as a training has it."""
    changed = copy.deepcopy(config.pipeline.datamanager)
    changed.schedule = config.pipeline.model.schedule  # as the pipeline does
    for name, value in changes.items():
        setattr(changed, name, value)
    return changed.setup(device="cpu")


def test_closed_eyes_are_drawn_more_often(config):
    datamanager = drawn_from(config, blinks=0.0)
    usual, numbers = datamanager.chances.copy(), datamanager.train_indices
    dataset = copy.copy(datamanager.dataset)
    dataset.frames = [replace(frame, eye_openness=1.0) for frame in dataset.frames]
    shut = numbers[4:6]
    for index in shut:
        dataset.frames[index] = replace(dataset.frames[index], eye_openness=0.3)
    datamanager.train_dataparser_outputs.metadata["dataset"] = dataset
    closed = np.isin(numbers, shut)
    before = usual[closed].sum()
    for blinks, share in ((0.0, before), (2 * before, 2 * before), (0.9, MOST_OFTEN * before)):
        datamanager.config.blinks = blinks
        chances = datamanager._chances()
        assert chances.sum() == pytest.approx(1) and chances[closed].sum() == pytest.approx(share)
        np.testing.assert_allclose(chances[~closed] / usual[~closed], (1 - share) / (1 - before))
    dataset.frames = [replace(frame, eye_openness=1.0) for frame in dataset.frames]
    np.testing.assert_allclose(datamanager._chances(), usual)  # nobody blinks


def test_some_rays_are_drawn_from_the_eyes(config):
    datamanager = drawn_from(config, lips_share=0.0, face_share=0.0, eyes_share=0.75)
    dataset = datamanager.dataset
    camera, marks = dataset.camera, {clip.name: dataset.landmarks(clip.name) for clip in dataset.clips}
    bundle, _ = datamanager.next_train(0)
    inside = []
    for number, pixel in zip(bundle.metadata["frame"][:, 0].tolist(), bundle.metadata["pixel"], strict=True):
        frame = dataset.frames[number]
        eyes = marks[frame.clip][frame.index][np.concatenate(EYE_OUTLINES), :2]
        xy = (pixel.numpy() + 1) / 2 * [camera.w, camera.h]
        margin = 0.2 * np.ptp(eyes[:, 0]) + 1
        inside.append(bool((xy > eyes.min(0) - margin).all() and (xy < eyes.max(0) + margin).all()))
    assert len(inside) == 256 and 0.75 <= np.mean(inside) < 0.95


def test_some_patches_lie_elsewhere_on_the_face(config):
    datamanager = drawn_from(config, face_patches=1.0)
    dataset, places = datamanager.dataset, {}
    for step in (10, 11):
        found = []
        for _ in range(20):
            bundle, batch = datamanager.next_train(step)
            number, side = bundle.metadata["frame"][0, 0].item(), batch["patch"]
            assert len(batch["image"]) == side**2
            left, top, right, bottom = dataset.frames[number].lips_box
            middle = (bundle.metadata["pixel"].mean(0).numpy() + 1) / 2 * [dataset.camera.w, dataset.camera.h]
            found.append(np.abs(middle - [(left + right) / 2, (top + bottom) / 2]).max())
        places[step] = np.array(found)
    assert places[10].max() < 2 and places[11].max() > 8
    for share, shown in ((0.0, 0), (0.4, 2), (1.0, 5)):
        datamanager = drawn_from(config, face_patches=share)
        assert sum("patch" in datamanager.next_train(step)[1] for step in range(11, 20, 2)) == shown


ABLATIONS = {
    "emotion": {"use_emotion": False},
    "eye": {"use_eye": False},
    "compression": {"audio_compression": False},
    "lips": {"schedule": StageSchedule(10, 10, 10, use_lips=False)},
    "torso": {"schedule": StageSchedule(10, 10, 10, use_torso=False)},
    "codes": {"appearance_dim": 4},
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_train_and_render(config, name):
    changed = copy.deepcopy(config.pipeline)
    for key, value in ABLATIONS[name].items():
        setattr(changed.model, key, value)
    pipeline = changed.setup(device="cpu").train()
    model, frame = pipeline.model, pipeline.datamanager.dataset.split("val")[0]
    groups = {group: sum(p.numel() for p in params) for group, params in pipeline.get_param_groups().items()}
    assert ("torso_grid" in groups) == (name != "torso") and ("codes" in groups) == (name == "codes")
    assert sum(groups.values()) == sum(p.numel() for p in model.parameters())  # every weight is trained
    for step in (1, 10, 20):
        model._before_step(step)
        bundle, batch = pipeline.datamanager.next_train(step)
        assert ("patch" in batch) == (step == 10 and name != "lips")
        outputs = model(bundle)
        assert ("torso_rgb" in outputs) == (step == 20 and name != "torso")
        losses = model.get_loss_dict(outputs, batch)
        assert ("ambient" in losses) == ("torso_rgb" not in outputs and name != "compression")
        model.zero_grad()
        sum(losses.values()).backward()
        if name == "codes" and step < 20:
            touched = model.network.codes.weight.grad.abs().sum(1) > 0
            assert set(touched.nonzero()[:, 0].tolist()) == set(bundle.metadata["frame"].flatten().tolist())
    camera = pipeline.datamanager.eval_dataset.cameras[0:1]
    condition = model.track[frame]
    image = model.renderer.render(camera, condition)["rgb"]
    assert image.shape == (64, 64, 3) and image.isfinite().all()
    if name == "emotion":
        vocabulary = model.portrait.vocabulary
        other = vocabulary.encode("happy", "strong")
        condition.emotion = other if condition.emotion is not other else vocabulary.encode("neutral")
        assert torch.equal(model.renderer.render(camera, condition)["rgb"], image)


def test_the_audio_loss_ramps_up(config, pipeline):
    model = pipeline.model
    bundle, batch = pipeline.datamanager.next_train(1)
    outputs = model(bundle)
    model.config.audio_ramp = True
    try:
        values = []
        for step in (0, 10, 20):
            model.step = step
            values.append(model.get_loss_dict(outputs, batch)["ambient"].item())
    finally:
        model.config.audio_ramp, model.step = False, 0
    full = model.get_loss_dict(outputs, batch)["ambient"].item()
    assert values[0] == 0 and values[2] == full and values[1] == pytest.approx(full / 2)


def test_the_panel_shows_all_layers(pipeline):
    camera, batch = pipeline.datamanager.next_eval_image(0)
    outputs = pipeline.model.eval().get_outputs_for_camera(camera)
    pipeline.model.train()
    metrics, images = pipeline.model.get_image_metrics_and_images(outputs, batch)
    assert images["img"].shape == (64, 6 * 64, 3)  # truth, render, head, torso, depth, |a_l|
    truth, ours = images["img"].split(64, dim=1)[:2]
    assert torch.equal(truth, batch["image"][..., :3]) and torch.equal(ours, outputs["rgb"])
    assert metrics["psnr"] == pytest.approx(-10 * np.log10((ours - truth).square().mean()))
    assert pipeline.model.get_image_metrics_and_images({**outputs, "rgb": truth}, batch)[0]["psnr"] == 100


def test_the_hull_holds_the_head(pipeline, attributes):
    model = pipeline.model
    pipeline.get_training_callbacks(attributes)  # training begins
    allowed = model.network.occupancy.allowed
    share = allowed.float().mean()
    assert 0.02 < share < 0.6
    centre = allowed.shape[-1] // 2
    inside, before = (int((z + 1) * centre) for z in (0.3, 0.7))  # behind the nose's bridge, and in front of it
    assert allowed[0, centre, centre, inside] and not allowed[0, centre, centre, before]


def test_training_teaches_the_encoder_the_lips(pipeline):
    """The audio branch lives: a hundred steps on the lip shapes alone, and they are read from the training audio."""
    network, lips = pipeline.model.network, pipeline.model.lips
    encoder = [*network.audio_encoder.parameters(), *network.articulation_head.parameters()]
    saved = copy.deepcopy(network.state_dict())
    optimizer = torch.optim.Adam(encoder, lr=2e-3)
    first = np.mean([lips.error(network, 8).item() for _ in range(5)])
    for _ in range(100):
        optimizer.zero_grad()
        lips.error(network, 8).backward()
        optimizer.step()
    last = np.mean([lips.error(network, 8).item() for _ in range(5)])
    assert last < 0.5 * first
    heard = network.encode_audio([lips.track[i].audio for i in lips.held_out])[2][:, 0].detach()
    true = lips.lip_shapes[lips.held_out, 0].clone()
    for opening, r in ((heard, 1), (1 - heard, -1), (true, np.corrcoef(heard, true)[0, 1])):
        lips.lip_shapes[lips.held_out, 0] = opening
        assert lips.correlation(network) == pytest.approx(r, abs=1e-4)
    held_out, lips.held_out = lips.held_out, lips.train_frames
    try:
        assert lips.correlation(network) > 0.5
    finally:
        lips.held_out = held_out
    network.load_state_dict(saved)


def test_how_far_lips_follow_is_measured_as_they_are_done(pipeline, attributes, capsys, monkeypatch):
    """In the last step of the lips; here the head is not there yet, so that no face is found, and nothing changes."""
    network, schedule = pipeline.model.network, pipeline.config.model.schedule
    monkeypatch.setattr(pipeline.config.model, "response_frames", 12)
    measure = next(c for c in pipeline.get_training_callbacks(attributes) if c.func == pipeline._measure_lips)
    capsys.readouterr()
    for step in range(schedule.total):
        measure.run_callback_at_location(step, TrainingCallbackLocation.AFTER_TRAIN_ITERATION)
    assert capsys.readouterr().out == "how far the lips follow was not measured: 0 of 12 renders show a face\n"
    assert (network.linear_lips.response == 1).all() and network.training


def test_without_mediapipe_lips_are_not_measured(pipeline, capsys, monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    engine.version.cache_clear()
    try:
        fit_response(pipeline.model, 12)
    finally:
        engine.version.cache_clear()
    assert "how far the lips follow was not measured: No package metadata was found for mediapipe" in (
        capsys.readouterr().out
    )
    assert pipeline.model.network.training


def test_lips_that_cannot_be_measured_leave_the_training_as_it_was(pipeline, capsys, monkeypatch):
    """Also where it fails half-way, at a picture that is gone since."""
    dataset = pipeline.model.dataset
    lost = replace(dataset, frames=[replace(frame, index=frame.index + 9000) for frame in dataset.frames])
    monkeypatch.setattr(pipeline.model, "dataset", lost)
    fit_response(pipeline.model, 12)
    assert "how far the lips follow was not measured: " + str(dataset.root) in capsys.readouterr().out
    assert pipeline.model.network.training


def test_a_dead_audio_branch_is_reported(pipeline, capsys):
    model = pipeline.model
    saved = copy.deepcopy(model.state_dict())
    model._report(250)
    assert "WARNING" not in capsys.readouterr().out
    network = model.network
    readers = network.audio_encoder.project[-1], network.articulation_head, network.linear_lips
    for weight in (reader.weight for reader in readers):
        torch.nn.init.zeros_(weight)
    model._report(500)
    assert "WARNING: the audio branch is dead" in capsys.readouterr().out
    model.load_state_dict(saved)
