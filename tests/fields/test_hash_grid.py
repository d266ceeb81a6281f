import numpy as np
import pytest
import torch

from aed_nerfstudio.fields.hash_grid import HashGrid, HashGridLayout, encode_torch

LAYOUTS = [HashGridLayout(2), HashGridLayout(3), HashGridLayout(3, n_levels=4, log2_size=10, top_resolution=128)]


def encode_with_gradients(encode, x, params, upstream):
    x, params = x.clone().requires_grad_(), params.clone().requires_grad_()
    features = encode(x, params)
    features.backward(upstream.to(features))
    return features.detach(), x.grad, params.grad


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


@pytest.mark.parametrize("layout", LAYOUTS)
def test_numba_matches_torch_with_gradients(layout):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1500, layout.n_dims, generator=generator)
    x[0], x[1] = 0.0, 1.0
    x[2, 0], x[3] = 1.0, 0.5
    x[4], x[5, 0], x[6, 1] = -3.0, 1.7, -0.1
    params = torch.randn(layout.n_entries, 2, generator=generator)
    upstream = torch.randn(len(x), layout.n_outputs, generator=generator)
    grid = HashGrid(layout, backend="numba")

    def numba_encode(x, table):
        return torch.func.functional_call(grid, {"params": table.view(-1)}, (x,))

    got = encode_with_gradients(numba_encode, x, params, upstream)
    want = encode_with_gradients(lambda x, table: encode_torch(x, table, layout), x, params, upstream)
    torch.testing.assert_close(got[0], want[0], rtol=1e-5, atol=1e-5)
    scale = want[1].abs().max().item()
    torch.testing.assert_close(got[1], want[1], rtol=1e-4, atol=1e-6 * scale)
    torch.testing.assert_close(got[2], want[2], rtol=1e-4, atol=1e-4)
    assert got[1][4].abs().max() == 0 and got[1][5, 0] == 0 and got[1][5, 1] != 0


def test_dense_level_interpolates_stored_entries():
    layout = HashGridLayout(2, n_levels=1, base_resolution=16, top_resolution=16)
    table = torch.arange(layout.n_entries * 2, dtype=torch.float32).view(-1, 2)
    # Vertex (3, 5): x * 15 + 0.5 = vertex.
    x = (torch.tensor([[3.0, 5.0]]) - 0.5) / 15
    for backend in ("numba", "torch"):
        grid = HashGrid(layout, backend)
        grid.params.data.copy_(table.view(-1))
        torch.testing.assert_close(grid(x), table[3 + 16 * 5][None], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS[:2])
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


def test_parameters_and_backend():
    grid = HashGrid(HashGridLayout(3))
    assert grid.params.shape == (898024 * 2,) and grid.params.abs().max() <= 1e-4
    assert grid.active_backend == "numba" and grid.n_outputs == 32
    assert HashGrid(HashGridLayout(3, n_features=4)).active_backend == "torch"
    # Without a gradient for x, only the table gets one.
    grid(torch.rand(10, 3)).sum().backward()
    assert grid.params.grad.abs().sum() > 0
    with pytest.raises(ValueError):
        HashGrid(HashGridLayout(3), "cuda")
    with pytest.raises(ValueError):
        HashGrid(HashGridLayout(3), "numba", device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gpu_matches_cpu(layout):
    grid = HashGrid(layout)
    x = torch.rand(1000, layout.n_dims)
    want = grid(x).detach()
    grid.cuda()
    assert grid.active_backend == "torch"
    torch.testing.assert_close(grid(x.cuda()).cpu(), want, rtol=1e-4, atol=1e-7)
