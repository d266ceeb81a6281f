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
    avatar.network.settings.max_samples = 24
    return avatar


def whole_head(avatar, condition):
    """The head by the way of the training: every ray of the picture, and all samples of each."""
    network = avatar.network
    model = network.settings.setup(scene_box=None, num_train_data=1, metadata={"network": network}).eval()
    bundle = avatar.recorded_view(condition, SIDE).generate_rays(camera_indices=0, keep_shape=True)
    with torch.no_grad():
        out = model._march_head(
            bundle.origins.reshape(-1, 3), bundle.directions.reshape(-1, 3), network.encode([condition]), [SIDE * SIDE]
        )
    return {"head": out["rgb"], "accumulation": out["alpha"], "ambient": out["ambient"]}


@contextmanager
def density(avatar, weight: float):
    """A head that is fog throughout for 0, and the denser the larger: what comes before the last layer is positive."""
    last = avatar.network.head.density[-1].weight
    saved = last.detach().clone()
    with torch.no_grad():
        last[0] = weight
    try:
        yield
    finally:
        with torch.no_grad():
            last.copy_(saved)


@pytest.mark.parametrize("weight", [0.0, 0.2, 20.0])
def test_the_same_head(avatar, track, weight):
    network, condition = avatar.network, track[3]
    box = torch.zeros_like(network.occupancy.binaries)
    box[0, 40:90, 30:90, 40:80] = True  # a head in the middle, so that most rays see nothing
    everything, network.occupancy.binaries = network.occupancy.binaries, box
    try:
        with density(avatar, weight):
            images, truth = avatar.images(condition, SIDE), whole_head(avatar, condition)
    finally:
        network.occupancy.binaries = everything
    for name in ("head", "accumulation"):
        difference = (images[name].reshape(truth[name].shape) - truth[name]).abs().max()
        assert difference < OPAQUE + 4e-3, (name, difference)  # the latter: bfloat16
    assert 0 < (truth["accumulation"] > 0).float().mean() < 0.6


def test_nothing_is_evaluated_behind_an_opaque_head(avatar, track):
    condition = track[3]
    with density(avatar, 0.0):
        avatar.images(condition, SIDE)
    fog = avatar.renderer.evaluated
    with density(avatar, 100.0):
        avatar.images(condition, SIDE)
    assert 0 < avatar.renderer.evaluated < fog / 3


def test_an_empty_head_costs_nothing(avatar, track):
    network = avatar.network
    everything, network.occupancy.binaries = network.occupancy.binaries, torch.zeros_like(network.occupancy.binaries)
    try:
        images = avatar.images(track[3], SIDE)
    finally:
        network.occupancy.binaries = everything
    assert avatar.renderer.evaluated == 0 and images["accumulation"].max() == 0
    assert torch.equal(images["rgb"], images["torso"].clamp(0, 1))


@pytest.mark.parametrize("corner", [(0, 0, 0), (100, 60, 100), (64, 120, 10)])
def test_single_cells_are_found_wherever_they_are(avatar, track, corner):
    """Rays are cast in the tiles that cells project to: no ray of the picture that meets one may be left out."""
    network, condition = avatar.network, track[3]
    everything = network.occupancy.binaries
    network.occupancy.binaries = torch.zeros_like(everything)
    network.occupancy.binaries[(0, *corner)] = True
    camera = avatar.recorded_view(condition, 3 * SIDE)
    bundle = camera.generate_rays(camera_indices=0)
    origins, directions = bundle.origins.reshape(-1, 3), bundle.directions.reshape(-1, 3)
    try:
        # Samples close together, that no ray steps over the cell.
        box, network.box = network.box, torch.tensor([-1.0, -1, -1, 1, 1, 1])
        step, network.settings.step_size = network.settings.step_size, 1e-3
        want = network.occupancy.march(origins, directions, network.box, 1e-3, 1).ray_starts.diff()
        pixels = avatar.renderer.culled.hits(camera)[0]
    finally:
        network.occupancy.binaries, network.box, network.settings.step_size = everything, box, step
    assert torch.equal(pixels, torch.nonzero(want)[:, 0])
    assert 0 < len(pixels) < 100
