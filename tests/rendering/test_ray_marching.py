import pytest
import torch

from aed_nerfstudio.rendering.ray_marching import march_rays

BOX = torch.tensor([-0.8, -0.7, -0.9, 0.9, 0.8, 0.7])


def assert_identical(a, b):
    for name in ("ray_starts", "ray_indices", "t", "positions"):
        assert torch.equal(getattr(a, name).cpu(), getattr(b, name).cpu()), name


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_samples_of_one_ray(backend):
    origins, directions = torch.tensor([[0.0, 0.0, -3.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    occupancy = torch.zeros(4, 4, 4, dtype=torch.uint8)
    occupancy[2, 2, 1] = 1  # z in [-0.5, 0)
    box = torch.tensor([-1.0, -1.0, -1.0, 1.0, 1.0, 1.0])
    samples = march_rays(origins, directions, occupancy, box, 0.25, 16, jitter=torch.tensor([0.5]), backend=backend)
    torch.testing.assert_close(samples.t, torch.tensor([2.625, 2.875]))
    torch.testing.assert_close(samples.positions, torch.tensor([[0.0, 0.0, -0.375], [0.0, 0.0, -0.125]]))
    assert samples.ray_starts.tolist() == [0, 2] and samples.ray_indices.tolist() == [0, 0]
    far = march_rays(origins, directions, occupancy, box, 0.25, 16, near=2.8, backend=backend)
    assert (far.t >= 2.8).all() and len(far) == 1


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_rays_without_samples(backend):
    nan = float("nan")
    origins = torch.tensor([[0.0, 0, -3], [0, 0, 3], [5, 0, -3], [0, 0, 0], [nan, 0, -3], [nan] * 3, [0, 0, -3]])
    directions = torch.tensor([[0.0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 0], [0, 0, 1], [0, 0, 1], [nan, 0, 1]])
    occupancy = torch.ones(8, 8, 8, dtype=torch.bool)
    samples = march_rays(origins, directions, occupancy, BOX, 0.1, 8, backend=backend)
    # Through the box, away from it, past it, no direction, NaNs.
    assert samples.ray_starts.diff().tolist() == [8, 0, 0, 0, 0, 0, 0]
    none = march_rays(torch.empty(0, 3), torch.empty(0, 3), occupancy, BOX, 0.1, 8, backend=backend)
    assert none.n_rays == 0 and len(none) == 0 and none.positions.shape == (0, 3)


def test_box_outside_the_grid_and_ray_from_inside():
    box = torch.tensor([-3.0, -3.0, -3.0, 3.0, 3.0, 3.0])
    occupancy = torch.ones(8, 8, 8, dtype=torch.bool)
    origins, directions = torch.zeros(1, 3), torch.tensor([[-1.0, 0.0, 0.0]])
    samples = march_rays(origins, directions, occupancy, box, 0.1, 100)
    assert samples.positions.abs().max() <= 1.0 and 9 <= len(samples) <= 10
    assert_identical(samples, march_rays(origins, directions, occupancy, box, 0.1, 100, backend="torch"))


def test_rejects(unchecked_shapes):
    occupancy = torch.ones(8, 8, 8, dtype=torch.bool)
    rays = torch.zeros(2, 3)
    for arguments in (
        (rays, rays[:1], occupancy, BOX, 0.1, 8),
        (rays, rays, occupancy[:4], BOX, 0.1, 8),
        (rays, rays, occupancy, BOX, 0.0, 8),
        (rays, rays, occupancy, BOX, 0.1, 8, 0.05, torch.zeros(3)),
        (rays, rays, occupancy, BOX, 0.1, 8, 0.05, None, "cuda"),
    ):
        with pytest.raises(ValueError):
            march_rays(*arguments)
