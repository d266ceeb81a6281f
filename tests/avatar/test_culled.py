"""Pictures that leave out what does not show are the pictures that leave out nothing."""

from contextlib import contextmanager

import pytest
import torch

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.avatar.renderers.culled import OPAQUE

SIDE = 48


@pytest.fixture(scope="module")
def avatar(run):
    avatar = Avatar.load(run / "config.yml")
    avatar.model.config.max_samples = 24
    return avatar


def whole_head(avatar, condition):
    """The head by the way of the training: every ray of the picture, and all samples of each."""
    model = avatar.model
    bundle = avatar.recorded_view(condition, SIDE).generate_rays(camera_indices=0, keep_shape=True)
    with torch.no_grad():
        out = model.march_head(
            bundle.origins.reshape(-1, 3), bundle.directions.reshape(-1, 3), model.encode([condition]), [SIDE * SIDE]
        )
    return {"head": out["rgb"], "accumulation": out["alpha"], "ambient": out["ambient"]}


@contextmanager
def density(avatar, weight: float):
    """A head that is fog throughout for 0, and the denser the larger: what comes before the last layer is positive."""
    last = avatar.model.head.density[-1].weight
    saved = last.detach().clone()
    with torch.no_grad():
        last[0] = weight
    try:
        yield
    finally:
        with torch.no_grad():
            last.copy_(saved)


@pytest.mark.parametrize("weight", [0.0, 0.2, 20.0])
def test_the_same_head(avatar, weight):
    model, condition = avatar.model, avatar.model.track[3]
    box = torch.zeros_like(model.occupancy.binaries)
    box[0, 40:90, 30:90, 40:80] = True  # a head in the middle, so that most rays see nothing
    everything, model.occupancy.binaries = model.occupancy.binaries, box
    try:
        with density(avatar, weight):
            images, truth = avatar.images(condition, SIDE), whole_head(avatar, condition)
    finally:
        model.occupancy.binaries = everything
    for name in ("head", "accumulation"):
        difference = (images[name].reshape(truth[name].shape) - truth[name]).abs().max()
        assert difference < OPAQUE + 4e-3, (name, difference)  # the latter: bfloat16
    assert 0 < (truth["accumulation"] > 0).float().mean() < 0.6


def test_nothing_is_evaluated_behind_an_opaque_head(avatar):
    model, condition = avatar.model, avatar.model.track[3]
    with density(avatar, 0.0):
        avatar.images(condition, SIDE)
    fog = model.renderer.evaluated
    with density(avatar, 100.0):
        avatar.images(condition, SIDE)
    assert 0 < model.renderer.evaluated < fog / 3


def test_an_empty_head_costs_nothing(avatar):
    model = avatar.model
    everything, model.occupancy.binaries = model.occupancy.binaries, torch.zeros_like(model.occupancy.binaries)
    try:
        images = avatar.images(model.track[3], SIDE)
    finally:
        model.occupancy.binaries = everything
    assert model.renderer.evaluated == 0 and images["accumulation"].max() == 0
    assert torch.equal(images["rgb"], images["torso"].clamp(0, 1))


@pytest.mark.parametrize("corner", [(0, 0, 0), (100, 60, 100), (64, 120, 10)])
def test_single_cells_are_found_wherever_they_are(avatar, corner):
    """Rays are cast in the tiles that cells project to: no ray of the picture that meets one may be left out."""
    model, condition = avatar.model, avatar.model.track[3]
    everything = model.occupancy.binaries
    model.occupancy.binaries = torch.zeros_like(everything)
    model.occupancy.binaries[(0, *corner)] = True
    camera = avatar.recorded_view(condition, 3 * SIDE)
    bundle = camera.generate_rays(camera_indices=0)
    origins, directions = bundle.origins.reshape(-1, 3), bundle.directions.reshape(-1, 3)
    try:
        # Samples close together, that no ray steps over the cell.
        box, model.box = model.box, torch.tensor([-1.0, -1, -1, 1, 1, 1])
        step, model.config.step_size = model.config.step_size, 1e-3
        want = model.occupancy.march(origins, directions, model.box, model.config.step_size, 1).ray_starts.diff()
        pixels = model.renderer.hits(camera)[0]
    finally:
        model.occupancy.binaries, model.box, model.config.step_size = everything, box, step
    assert torch.equal(pixels, torch.nonzero(want)[:, 0])
    assert 0 < len(pixels) < 100
