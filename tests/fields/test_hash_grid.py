import numpy as np
import pytest
import torch

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.fields.grid_layout import HashGridLayout
from aed_nerfstudio.fields.hash_grid import HashGrid


def test_layout_3d_matches_instant_ngp():
    layout = HashGridLayout(3)
    assert layout.resolutions[:4].tolist() == [16, 23, 31, 43]
    # 23^3 = 12167 and 31^3 = 29791 are rounded up to multiples of 8; 43^3 exceeds 2^16 and is hashed.
    assert np.diff(layout.offsets).tolist() == [4096, 12168, 29792] + [65536] * 13
    assert layout.n_entries == 898024
    assert layout.hashed.tolist() == [False] * 3 + [True] * 13
    assert layout.resolutions[-1] == 2048 and layout.scales[-1] == np.float32(2047)


def test_layout_2d():
    layout = HashGridLayout(2)
    entries = np.diff(layout.offsets)
    assert entries[0] == 256 and entries[1] == 536  # 23^2 = 529
    assert (entries % 8 == 0).all() and entries.max() == 65536
    assert (layout.hashed == (layout.resolutions.astype(np.int64) ** 2 > 65536)).all()
    assert layout.hashed.any() and not layout.hashed.all()


@pytest.mark.parametrize("arguments", [{"n_dims": 4}, {"n_dims": 3, "n_levels": 0}, {"n_dims": 3, "top_resolution": 8}])
def test_layout_rejects(arguments):
    with pytest.raises(ValueError):
        HashGridLayout(**arguments)


def test_dense_level_interpolates_stored_entries():
    layout = HashGridLayout(2, n_levels=1, base_resolution=16, top_resolution=16)
    table = torch.arange(layout.n_entries * 2, dtype=torch.float32).view(-1, 2)
    # Vertex (3, 5): x * 15 + 0.5 = vertex.
    x = (torch.tensor([[3.0, 5.0]]) - 0.5) / 15
    for backend in ("numba", "torch"):
        grid = HashGrid(layout, backend)
        grid.params.data.copy_(table.view(-1))
        torch.testing.assert_close(grid(x), table[3 + 16 * 5][None], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("layout", [HashGridLayout(2), HashGridLayout(3)])
@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_edges(layout, backend):
    grid = HashGrid(layout, backend)
    assert grid(torch.empty(0, layout.n_dims)).shape == (0, 32)
    inside = torch.tensor([[0.0] * layout.n_dims, [1.0] * layout.n_dims])
    torch.testing.assert_close(grid(inside), grid(inside + torch.tensor([[-0.4], [0.4]])))
    with_nan = torch.full((2, layout.n_dims), 0.3)
    with_nan[0, 0] = float("nan")
    assert grid(with_nan)[0].isnan().all() and grid(with_nan)[1].isfinite().all()
    with pytest.raises(ValueError):
        grid(torch.rand(4, 5))


def test_parameters():
    grid = HashGrid(HashGridLayout(3))
    assert grid.params.shape == (898024 * 2,) and grid.params.abs().max() <= 1e-4 and grid.n_outputs == 32
    # Without a gradient for x, only the table gets one.
    grid(torch.rand(10, 3)).sum().backward()
    assert grid.params.grad.abs().sum() > 0


def test_kernels_have_two_features_an_entry():
    layout = HashGridLayout(3, n_features=4)
    with pytest.raises(ValueError, match="use torch"):
        HashGrid(layout)(torch.rand(4, 3))
    assert HashGrid(layout, "torch")(torch.rand(4, 3)).shape == (4, 64)


def test_unknown_backend(unchecked_shapes):
    with pytest.raises(InputError, match="must be one of auto, torch"):
        HashGrid(HashGridLayout(2), "cuda")(torch.rand(4, 2))
