"""Pictures that leave out what does not show are the pictures that leave out nothing."""

import pytest
import torch

from aed_nerfstudio.avatar import Avatar
from aed_nerfstudio.model.renderer import OPAQUE

SIDE = 48


@pytest.fixture(scope="module")
def avatar(run):
    avatar = Avatar.load(run / "config.yml")
    avatar.model.config.max_samples = 24
    return avatar


def whole_head(avatar, condition):
    """The head by the way of the training: every ray of the picture, and all samples of each."""
    model = avatar.model
    bundle = avatar._recorded_view(condition, SIDE).generate_rays(camera_indices=0, keep_shape=True)
    with torch.no_grad():
        out = model.march_head(
            bundle.origins.reshape(-1, 3), bundle.directions.reshape(-1, 3), model.encode([condition]), [SIDE * SIDE]
        )
    return {"head": out["rgb"], "accumulation": out["alpha"], "ambient": out["ambient"]}


@pytest.mark.parametrize("density", [1.0, 40.0])
def test_the_same_head(avatar, density):
    model, condition = avatar.model, avatar.model.track[3]
    saved = {name: value.clone() for name, value in model.state_dict().items() if "density.4" in name}
    assert saved
    box = torch.zeros_like(model.occupancy.binaries)
    box[0, 40:90, 30:90, 40:80] = True  # a head in the middle, so that most rays see nothing
    everything, model.occupancy.binaries = model.occupancy.binaries, box
    x_g = torch.zeros(1, 3)
    with torch.no_grad():
        before = model.head.density_at(x_g, **model.encode([condition]))
        model.head.density[-1].weight[0] *= 1 + torch.log(torch.tensor(density)) / before.log().abs().clamp_min(0.05)
    try:
        images = avatar.images(condition, SIDE)
        truth = whole_head(avatar, condition)
    finally:
        model.occupancy.binaries = everything
        model.load_state_dict({**model.state_dict(), **saved})
    for name in ("head", "accumulation"):
        difference = (images[name].reshape(truth[name].shape) - truth[name]).abs().max()
        assert difference < OPAQUE + 4e-3, (name, difference)  # the latter: bfloat16
    assert 0 < (truth["accumulation"] > 0).float().mean() < 0.6


def test_nothing_is_evaluated_behind_an_opaque_head(avatar):
    model, condition = avatar.model, avatar.model.track[3]
    avatar.images(condition, SIDE)
    fog = model.renderer.evaluated
    saved = model.head.density[-1].weight.detach().clone()
    with torch.no_grad():
        x = torch.rand(512, 3) * 2 - 1
        thin = model.head.density_at(x, **model.encode([condition])).log()
        # Dense wherever it is not empty, whatever the sign of the untrained logarithm.
        model.head.density[-1].weight[0] *= torch.sign(thin.mean()) * 200 / thin.abs().mean()
        avatar.images(condition, SIDE)
        model.head.density[-1].weight.copy_(saved)
    assert model.renderer.evaluated <= fog / 3


def test_an_empty_head_costs_nothing(avatar):
    model = avatar.model
    everything, model.occupancy.binaries = model.occupancy.binaries, torch.zeros_like(model.occupancy.binaries)
    try:
        images = avatar.images(model.track[3], SIDE)
    finally:
        model.occupancy.binaries = everything
    assert model.renderer.evaluated == 0 and images["accumulation"].max() == 0
    assert torch.equal(images["rgb"], images["torso"].clamp(0, 1))
