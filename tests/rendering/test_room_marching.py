"""Marching into rooms of a fixed size: the samples of the usual march, and what is left of a room."""

import pytest
import torch

from aed_nerfstudio.rendering.compositing import composite
from aed_nerfstudio.rendering.ray_marching import march_rays
from aed_nerfstudio.rendering.room_marching import march_into_rooms

BOX, STEP, MOST = torch.tensor([-0.9, -1.0, -0.9, 0.9, 1.0, 0.9]), 0.05, 12
GROUPS = torch.tensor([0, 1, 1, 3]).repeat(30)  # one of the four has no rays


@pytest.fixture(scope="module")
def scene():
    torch.manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(120, 3), dim=-1)
    directions[::7] = 0.0  # hit nothing
    return 2.5 * -directions, directions, torch.rand(16, 16, 16) < 0.4, torch.rand(120)


def marched(scene, rooms):
    origins, directions, occupied, jitter = scene
    return march_into_rooms(rooms, GROUPS, origins, directions, occupied, BOX, STEP, MOST, jitter=jitter)


def test_the_samples_are_those_of_the_usual_march(scene):
    origins, directions, occupied, jitter = scene
    want = march_rays(origins, directions, occupied, BOX, STEP, MOST, jitter=jitter)
    counts = want.ray_starts.diff()
    found = marched(scene, (500, 700, 3, 400))
    assert found.wanted.tolist() == [int(counts[group == GROUPS].sum()) for group in range(4)]
    assert found.samples.ray_starts[[0, -1]].tolist() == [0, 1603]
    assert int(found.real.sum()) == len(want) and not found.samples.positions[~found.real].any()
    for ray in range(120):
        begin, end = found.samples.ray_starts[found.places[ray] :][:2].tolist()
        mine = slice(*want.ray_starts[ray : ray + 2].tolist())
        assert torch.equal(found.samples.t[begin:end], want.t[mine])
        assert torch.equal(found.samples.positions[begin:end], want.positions[mine])
        assert found.rays[begin:end].eq(ray).all() and found.real[begin:end].all()
    # Each group lies in its own room.
    begins = torch.tensor([0, 500, 1200, 1203, 1603])
    rooms = torch.bucketize(torch.arange(1603), begins[1:], right=True)
    assert torch.equal(GROUPS[found.rays[found.real]], rooms[found.real])


def test_rays_add_up_to_the_same(scene):
    origins, directions, occupied, jitter = scene
    want = march_rays(origins, directions, occupied, BOX, STEP, MOST, jitter=jitter)
    found = marched(scene, (500, 700, 3, 400))
    field = lambda positions: (3 * positions[:, 0].exp(), positions.sigmoid(), positions[:, :1])  # noqa: E731
    whole = composite(*field(want.positions), want, STEP)
    sigma, rgb, extra = field(found.samples.positions)
    mine = composite(torch.where(found.real, sigma, 0.0), rgb, extra, found.samples, STEP)
    for name in ("rgb", "accumulation", "depth", "extra_sums"):
        torch.testing.assert_close(getattr(mine, name)[found.places], getattr(whole, name))
    values = torch.arange(120.0)[:, None]
    assert torch.equal(found.in_order(values, -1.0)[found.places], values)
    assert found.in_order(values, -1.0).eq(-1).sum() == 4


def test_what_has_no_room_is_counted(scene):
    whole, found = marched(scene, (500, 700, 3, 400)), marched(scene, (500, 11, 3, 400))
    assert torch.equal(found.wanted, whole.wanted) and whole.wanted[1] > 11
    assert len(found.samples) == 914 and found.real[500:511].all()
    assert torch.equal(found.samples.t[500:511], whole.samples.t[500:511])  # the group's first
    assert torch.equal(found.samples.t[514:], whole.samples.t[1203:])  # the next ones are whole


def test_the_torch_backend_cannot(scene):
    origins, directions, occupied, _ = scene
    with pytest.raises(ValueError, match="asks the device"):
        march_into_rooms((9,), GROUPS * 0, origins, directions, occupied, BOX, STEP, MOST, backend="torch")
