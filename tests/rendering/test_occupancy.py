import pytest
import torch

from aed_nerfstudio.rendering.occupancy import HeadOccupancy, dilate, surface_shell, visual_hull

BOX = torch.tensor([-1.0, -1.0, -1.0, 1.0, 1.0, 1.0])


def ball(positions):
    return 100.0 * (positions.norm(dim=-1) < 0.4).float()


def test_dilation_grows_by_one_cell():
    cells = torch.zeros(1, 6, 6, 6, dtype=torch.bool)
    cells[0, 2, 3, 3] = cells[0, 5, 5, 5] = True
    grown = dilate(cells)
    want = torch.nn.functional.max_pool3d(cells.float()[None], 3, 1, 1)[0] > 0
    assert torch.equal(grown, want) and grown.sum() == 27 + 8
    assert cells.sum() == 2


def test_starts_occupied_and_learns_a_ball():
    occupancy = HeadOccupancy(resolution=32)
    assert occupancy.binaries.all()
    assert occupancy.update(0, ball)
    centres = (occupancy.grid_coords.float() + 0.5) / 16 - 1
    occupied = occupancy.binaries[0].reshape(-1)
    assert occupied[centres.norm(dim=-1) < 0.4].all()
    assert not occupied[centres.norm(dim=-1) > 0.4 + 0.25].any()

    origins, directions = torch.tensor([[0.0, 0, -3], [0.9, 0.9, -3]]), torch.tensor([[0.0, 0, 1], [0, 0, 1]])
    samples = occupancy.march(origins, directions, BOX, 0.05, 64)
    assert samples.ray_starts[1] > 10 and samples.ray_starts[2] == samples.ray_starts[1]


def test_threshold_is_the_smaller_of_mean_and_cap():
    dense = HeadOccupancy(resolution=8)
    dense.update(0, lambda x: torch.where(x[:, 0] < 0, 20.0, 1000.0))
    assert dense.binaries.all()  # the mean is 510, but 20 exceeds the cap
    dense.update(0, lambda x: torch.zeros(len(x)), decay=0.0)
    assert not dense.binaries.any()


def test_tightening_keeps_what_any_condition_fills_and_drops_the_margin():
    occupancy = HeadOccupancy(resolution=32)
    occupancy.update(0, ball)
    before = occupancy.binaries.clone()

    def shifted(by):
        return lambda positions: ball(positions - torch.tensor([by, 0.0, 0.0]))

    occupancy.tighten([shifted(0.1 * (number % 3 - 1)) for number in range(24)])  # each with all octants
    centres = (torch.nonzero(torch.ones(32, 32, 32)) + 0.5) / 16 - 1
    octants = torch.cartesian_prod(*[torch.tensor([-0.25, 0.25])] * 3) / 16
    points = centres[:, None] + octants
    filled = torch.stack([shifted(by)(points.reshape(-1, 3)) for by in (-0.1, 0.0, 0.1)]).amax(0).view(-1, 8).amax(-1)
    assert torch.equal(occupancy.binaries[0].reshape(-1), (filled > 0) & before[0].reshape(-1))
    assert occupancy.binaries.sum() < 0.9 * before.sum()


def test_tightening_forgets_what_is_too_thin():
    occupancy = HeadOccupancy(resolution=8)
    occupancy.tighten([lambda x: torch.where(x[:, 0] < 0, 0.9, 1.1)])
    assert occupancy.binaries[0, 4:].all() and not occupancy.binaries[0, :4].any()


def test_schedule_decay_and_partial_updates():
    occupancy = HeadOccupancy(resolution=16)
    assert not occupancy.update(5, ball)
    assert occupancy.update(0, ball) and occupancy.occs.max() == 100
    evaluated = []

    def empty(positions):
        evaluated.append(len(positions))
        return torch.zeros(len(positions), 1)

    assert occupancy.update(512, empty)
    assert sum(evaluated) < 16**3
    torch.testing.assert_close(occupancy.occs.max(), torch.tensor(95.0), rtol=0, atol=5.0)


def test_carved_cells_are_never_evaluated_nor_occupied():
    occupancy = HeadOccupancy(resolution=16)
    keep = torch.zeros(16, 16, 16, dtype=torch.bool)
    keep[:8] = True
    occupancy.carve(keep)
    assert torch.equal(occupancy.binaries[0], keep)
    seen = []

    def dense(positions):
        seen.append(positions)
        return torch.full((len(positions),), 50.0)

    occupancy.update(0, dense)
    occupancy.update(0, ball)
    assert torch.cat(seen)[:, 0].max() <= 0 and len(torch.cat(seen)) == 8 * 16 * 16
    assert occupancy.binaries[0, :8].any() and not occupancy.binaries[0, 8:].any()


def test_visual_hull_of_a_ball():
    """Seen from six sides by cameras far away, a ball's hull is the ball, and little more."""
    focal, size, distance = 128.0, 64, 4.0
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    radius = focal * 0.5 / (distance**2 - 0.25) ** 0.5
    mask = (x - 32) ** 2 + (y - 32) ** 2 < radius**2
    poses = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            back = torch.zeros(3)
            back[axis] = sign
            right = torch.roll(back, 1)
            poses.append(torch.stack([right, torch.linalg.cross(back, right), back, distance * back], 1))
    hull = visual_hull(mask.expand(6, -1, -1), torch.stack(poses), focal, (32.0, 32.0), 32, share=1.0)
    axis = (torch.arange(32) + 0.5) / 16 - 1
    r = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).norm(dim=0)
    assert hull[r < 0.45].all() and not hull[r > 0.66].any()
    more = visual_hull(mask.expand(24, -1, -1), torch.stack(4 * poses), focal, (32.0, 32.0), 32, share=1.0)
    assert torch.equal(more, hull)


def test_visual_hull_forgives_single_bad_masks():
    masks = torch.ones(10, 8, 8, dtype=torch.bool)
    masks[3] = False
    pose = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4]]).expand(10, -1, -1)
    assert visual_hull(masks, pose, 4.0, (4.0, 4.0), 4).all()
    assert not visual_hull(masks, pose, 4.0, (4.0, 4.0), 4, share=1.0).any()


def test_the_shell_about_a_wall():
    """A wall at a distance of 4 in the left half of the picture; nothing is known of the right half."""
    distances = torch.full((3, 64, 64), float("nan"))
    y, x = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    wall = 4 * (1 + ((x - 32) / 64) ** 2 + ((y - 32) / 64) ** 2).sqrt()
    distances[:, :, :32] = wall[:, :32]
    pose = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4]]).expand(3, -1, -1)
    kept = surface_shell(distances, pose, 64.0, (32.0, 32.0), 32, before=0.2, behind=0.5)
    depth = (torch.arange(32) + 0.5) / 16 - 1
    near = (depth < 0.2) & (depth > -0.5)
    assert kept[16:].all()
    assert torch.equal(kept[:16].all(0).all(0), near) and torch.equal(kept[:16].any(0).any(0), near)


def test_sampling_points_to_march_on_the_cpu():
    with pytest.raises(NotImplementedError, match="march"):
        HeadOccupancy(resolution=8).sampling(torch.zeros(1, 3), torch.ones(1, 3))


def test_state_survives_a_checkpoint():
    occupancy, restored = HeadOccupancy(resolution=8), HeadOccupancy(resolution=8)
    occupancy.update(0, ball)
    restored.load_state_dict(occupancy.state_dict())
    assert torch.equal(restored.binaries, occupancy.binaries) and torch.equal(restored.occs, occupancy.occs)


@pytest.mark.gpu
def test_gpu_update_and_march():
    occupancy = HeadOccupancy(resolution=32).cuda()
    occupancy.update(0, ball)
    samples = occupancy.march(torch.tensor([[0.0, 0, -3]]).cuda(), torch.tensor([[0.0, 0, 1]]).cuda(), BOX, 0.05, 64)
    assert len(samples) > 10 and samples.positions.is_cuda
