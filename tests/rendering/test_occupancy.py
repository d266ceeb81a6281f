import pytest
import torch

from aed_nerfstudio.rendering.occupancy import HeadOccupancy, dilate

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


def test_sampling_points_to_march_on_the_cpu():
    with pytest.raises(NotImplementedError, match="march"):
        HeadOccupancy(resolution=8).sampling(torch.zeros(1, 3), torch.ones(1, 3))


def test_state_survives_a_checkpoint():
    occupancy, restored = HeadOccupancy(resolution=8), HeadOccupancy(resolution=8)
    occupancy.update(0, ball)
    restored.load_state_dict(occupancy.state_dict())
    assert torch.equal(restored.binaries, occupancy.binaries) and torch.equal(restored.occs, occupancy.occs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_update_and_march():
    occupancy = HeadOccupancy(resolution=32).cuda()
    occupancy.update(0, ball)
    samples = occupancy.march(torch.tensor([[0.0, 0, -3]]).cuda(), torch.tensor([[0.0, 0, 1]]).cuda(), BOX, 0.05, 64)
    assert len(samples) > 10 and samples.positions.is_cuda
