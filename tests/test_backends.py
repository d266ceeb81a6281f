"""What a choice of backend means, and that all backends compute the same as plain torch.

Every implementation is held against the torch one in float32, closely, and in float64, as closely as float32 allows.
Triton's kernels run in its interpreter, chosen before Triton is imported: in a process of its own, where
Numba's have two threads.
"""

import importlib.util
import math
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from aed_nerfstudio.backends import Backends, has_bfloat16, interpreted, resolve, unavailable
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.evaluation.dispatched import Dispatched
from aed_nerfstudio.fields.grid_layout import HashGridLayout
from aed_nerfstudio.fields.grid_tcnn import encoding_config, level_scales
from aed_nerfstudio.fields.hash_grid import encode, encode_torch
from aed_nerfstudio.fields.head_field import EncodedCondition, HeadField, spherical_harmonics
from aed_nerfstudio.rendering.compositing import composite, composite_torch
from aed_nerfstudio.rendering.ray_marching import PackedSamples, march_rays
from aed_nerfstudio.rendering.room_marching import march_into_rooms
from tests.interpreter import quick

NO_GPU = None if torch.cuda.is_available() else "needs a CUDA device"
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")
not_interpreted = pytest.mark.skipif(interpreted(), reason="Triton's interpreter is on")


def runs(*pairs: tuple[str, str]):
    """Parameters (backend, device) of a test, each skipped where it cannot run."""
    marked = []
    for name, kind in pairs:
        reason = (NO_GPU if kind == "cuda" else None) or unavailable(name, kind)
        marks = [pytest.mark.skipif(reason is not None, reason=str(reason)), *[pytest.mark.gpu] * (kind == "cuda")]
        marked.append(pytest.param(name, kind, marks=marks, id=f"{name}-{kind}"))
    return pytest.mark.parametrize(("backend", "device"), marked)


@pytest.fixture(scope="module", autouse=True)
def quick_interpreter():
    with quick():
        yield


# ---- what a choice means


def test_auto_and_forced_on_the_cpu():
    assert resolve("auto", "cpu") == resolve("numba", torch.device("cpu")) == Backends("numba", "numba", "numba")
    assert resolve("torch", "cpu") == resolve("torch", "cuda:0") == Backends("torch", "torch", "torch")
    assert str(resolve("auto", "cpu")) == "grids numba, marching numba, compositing numba"


def test_auto_on_a_gpu_takes_what_there_is():
    grids, marching, compositing = resolve("auto", "cuda")
    assert grids in ("tcnn", "triton", "torch") and unavailable(grids, "cuda") is None
    assert marching == compositing == ("triton" if unavailable("triton", "cuda") is None else "torch")


@pytest.mark.parametrize(
    ("choice", "device", "mend"),
    [
        ("numba", "cuda", "use auto, triton or torch"),
        ("tcnn", "cpu", "use auto"),
        pytest.param("triton", "cpu", "TRITON_INTERPRET=1", marks=[needs_triton, not_interpreted]),
        ("fast", "cpu", "must be one of auto, torch, numba, triton, tcnn"),
    ],
)
def test_what_cannot_be_had_names_the_mend(choice, device, mend):
    with pytest.raises(InputError, match=f"^backend {choice}: .*{mend}"):
        resolve(choice, device)


@pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason="reads /proc/cpuinfo")
def test_bfloat16_is_for_processors_that_have_it():
    flags = Path("/proc/cpuinfo").read_text().split()
    assert has_bfloat16("cpu") == ("avx512_bf16" in flags or "amx_bf16" in flags)


def test_tiny_cuda_nn_that_is_missing_or_does_not_load_is_an_error():
    """Its import raises an EnvironmentError on a machine without a GPU, and an ImportError where it is missing."""
    if unavailable("tcnn", "cuda") is None:
        pytest.skip("tiny-cuda-nn is installed")
    with pytest.raises(InputError, match="tinycudann cannot be imported .*use auto"):
        resolve("tcnn", "cuda")


@needs_triton
@not_interpreted
def test_triton_without_a_compiler_says_so(monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    assert "C compiler" in unavailable("triton", "cuda")


# ---- grids

LEVELS = 5 if interpreted() else 16  # between the same ends: whole and hashed levels are among them either way
LAYOUTS = [
    HashGridLayout(2, n_levels=LEVELS),
    HashGridLayout(3, n_levels=LEVELS),
    HashGridLayout(3, n_levels=4, log2_size=10, top_resolution=128),
]
grid_runs = runs(
    *(("torch", "cpu"), ("numba", "cpu"), ("triton", "cpu"), ("torch", "cuda"), ("triton", "cuda"), ("tcnn", "cuda"))
)


def points_for(layout: HashGridLayout, count: int = 300) -> torch.Tensor:
    """Random points after some at borders, and outside of [0, 1]."""
    x = torch.rand(count, layout.n_dims, generator=torch.Generator().manual_seed(0))
    x[0], x[1] = 0.0, 1.0
    x[2, 0], x[3] = 1.0, 0.5
    x[4], x[5, 0], x[6, 1] = -3.0, 1.7, -0.1
    return x


def encoded(function, x: torch.Tensor, table: torch.Tensor) -> list[torch.Tensor]:
    """Features, and the gradients of coordinates and table for a random gradient of the features."""
    x, table = x.clone().requires_grad_(), table.clone().requires_grad_()
    features = function(x, table)
    upstream = torch.randn(features.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    features.backward(upstream.to(features))
    return [a.cpu() for a in (features.detach(), x.grad, table.grad)]


def random_table(layout: HashGridLayout) -> torch.Tensor:
    return torch.randn(layout.n_entries, 2, generator=torch.Generator().manual_seed(1))


@grid_runs
@pytest.mark.parametrize("layout", LAYOUTS, ids=["2d", "3d", "small"])
def test_grid_is_the_reference(layout, backend, device):
    x, table = points_for(layout), random_table(layout)
    got = encoded(lambda x, table: encode(x, table, layout, backend), x.to(device), table.to(device))
    assert got[1][4].abs().max() == 0 and got[1][5, 0] == 0 and got[1][5, 1] != 0  # as torch's clamp

    def reference(x, table):
        return encode_torch(x, table, layout)

    if backend != "tcnn":  # which rounds positions in another way
        want = encoded(reference, x, table)
        for a, b, rtol, share in zip(got, want, (1e-5, 1e-4, 1e-4), (1e-6, 1e-6, 1e-5), strict=True):
            torch.testing.assert_close(a, b, rtol=rtol, atol=share * b.abs().max().item())

    # float32 places a point to some 1e-4 of a finest cell, and tiny-cuda-nn's scales to a thousandth: so far do
    # features go astray, in units of the entries.
    want = encoded(reference, x.double(), table.double())
    # At a cell's border the coordinates' gradient jumps, and roundings decide which side a point is on.
    place = x.double()[:, None] * torch.from_numpy(layout.scales)[:, None] + 0.5
    clear = ((place - place.round()).abs() > 2e-3).flatten(1).all(1)
    assert clear.sum() > 0.6 * len(x)
    got[1], want[1] = got[1][clear], want[1][clear]
    share = 1e-2 if backend == "tcnn" else 1e-4
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=0, atol=share * b.abs().max().item())


@runs(("numba", "cpu"), ("triton", "cpu"), ("triton", "cuda"))
def test_coordinates_of_some_points_have_gradients(backend, device):
    """Those asked for have theirs, the others none; features and the table's gradient are as ever."""
    layout = LAYOUTS[2]
    x, table = points_for(layout).to(device), random_table(layout).to(device)
    rows = torch.arange(5, len(x), 7, device=device)  # the first of them lies outside
    some = encoded(lambda x, table: encode(x, table, layout, backend, rows), x, table)
    every = encoded(lambda x, table: encode(x, table, layout, backend), x, table)
    asked = torch.zeros(len(x), dtype=torch.bool).index_fill_(0, rows.cpu(), True)
    assert every[1][~asked].any() and every[1][asked].any()
    every[1][~asked] = 0
    for a, b in zip(some, every, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6 * b.abs().max().item())


@runs(("triton", "cpu"), ("triton", "cuda"))
def test_grid_in_half_precision(backend, device):
    """Under autocast the table and the features are float16, as the rounded table's; gradients stay float32."""
    layout = LAYOUTS[2]
    x, table = points_for(layout).to(device), random_table(layout).to(device)
    with torch.autocast(device, torch.float16):
        got = encoded(lambda x, table: encode(x, table, layout, backend), x, table)
    want = encoded(lambda x, table: encode_torch(x, table, layout), x, table.half().float())
    assert [a.dtype for a in got] == [torch.float16, torch.float32, torch.float32]
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a.float(), b, rtol=0, atol=1e-3 * b.abs().max().item())


def test_reference_has_the_right_gradients():
    layout = HashGridLayout(3, n_levels=2, log2_size=4, base_resolution=2, top_resolution=4)
    x = torch.tensor([[0.3, 0.6, 0.8], [0.12, 0.7, 0.4]], dtype=torch.float64, requires_grad=True)
    table = random_table(layout).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, table: encode_torch(x, table, layout), (x, table))


@grid_runs
def test_grid_at_the_edges(backend, device):
    layout = LAYOUTS[2]
    table = random_table(layout).to(device).requires_grad_()
    none = encode(torch.empty(0, 3, device=device, requires_grad=True), table, layout, backend)
    assert none.shape == (0, 8)
    none.sum().backward()
    assert table.grad.abs().max() == 0
    x = torch.full((2, 3), 0.3, device=device)
    x[0, 0] = float("nan")
    features = encode(x, table, layout, backend)
    assert features[0].isnan().all() and features[1].isfinite().all()
    # Only the table asks for a gradient, or only the coordinates do.
    encode(x[1:], table, layout, backend).sum().backward()
    x = x[1:].clone().requires_grad_()
    encode(x, table.detach(), layout, backend).sum().backward()
    assert table.grad.abs().max() > 0 and x.grad.abs().max() > 0


@runs(("triton", "cpu"))
@pytest.mark.parametrize("dims", [2, 3])
def test_grid_gradient_adds_once_for_all_points_of_a_cell(dims, backend, device, monkeypatch):
    """The worst case, all points in one cell, and another with few points a cell: what is counted is additions to each
    number of the table, which have to wait for each other on a GPU."""
    from triton.runtime.interpreter import InterpreterBuilder

    from aed_nerfstudio.fields.grid_triton import backward_table

    layout, added = HashGridLayout(dims, n_levels=2, log2_size=10, top_resolution=64), []
    add = InterpreterBuilder.create_atomic_rmw

    def counted(self, kind, pointers, values, mask, *more):
        added.append(pointers.data[np.broadcast_to(mask.data, pointers.data.shape)])
        return add(self, kind, pointers, values, mask, *more)

    monkeypatch.setattr(InterpreterBuilder, "create_atomic_rmw", counted)
    table, count = random_table(layout), 600
    width, corners = backward_table.configs[0].kwargs["width"], 2**dims
    blocks = -(-count // width)
    assert blocks == 2
    spread = torch.rand(count, dims, generator=torch.Generator().manual_seed(3))
    cell = (30 - 0.5 + 0.2 + 0.6 * spread) / float(layout.scales[1])  # the same one, on both levels
    few = torch.where(torch.arange(count)[:, None] % 3 == 0, cell, spread.round(decimals=1))
    for x in (cell, few):
        added.clear()
        got = encoded(lambda x, table: encode(x, table, layout, backend), x.to(device), table.to(device))[2]
        want = encoded(lambda x, table: encode_torch(x, table, layout), x, table)[2]
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5 * want.abs().max().item())
        # One addition a block, cell and corner of each of the two features.
        cells = [(part * float(scale) + 0.5).floor() for part in x.split(width) for scale in layout.scales]
        additions = 2 * corners * sum(len(part.unique(dim=0)) for part in cells)
        numbers, times = np.unique(np.concatenate(added), return_counts=True)
        assert times.sum() == additions < 0.7 * 2 * corners * layout.n_levels * count
        if x is cell:
            assert additions == 2 * corners * layout.n_levels * blocks
            assert (times == blocks).all() and len(numbers) == (want != 0).sum()


PRESETS = [
    HashGridLayout(dims, levels, log2_size=size, top_resolution=top)
    for dims, levels, size, top in [(2, 16, 16, 2048), (3, 16, 16, 2048), (2, 16, 14, 512), (3, 16, 14, 512)]
] + [HashGridLayout(3, n_levels=8, log2_size=size, top_resolution=128) for size in (14, 15)]


@pytest.mark.parametrize("layout", PRESETS, ids=str)
def test_tiny_cuda_nn_gets_our_layout(layout):
    """Its resolutions and table sizes, as it computes them from its configuration, are ours for every preset."""
    config = encoding_config(layout)
    scales = level_scales(np.float32(config["per_level_scale"]), layout)
    resolutions = np.ceil(scales).astype(np.int64) + 1
    dense = ~layout.hashed
    assert (resolutions[dense] == layout.resolutions[dense]).all()
    assert (resolutions[layout.hashed] ** layout.n_dims > 2**layout.log2_size).all()
    np.testing.assert_allclose(scales, layout.scales, atol=2e-3)


def looked_up_as_tiny_cuda_nn_does(x: np.ndarray, params: np.ndarray, layout: HashGridLayout) -> np.ndarray:
    """Features [N, 2L] of points [N, D] from a flat vector of parameters, by the rules of tiny-cuda-nn's sources, as
    docs/backends.md lists them: common_device.h (hash, index, scale, resolution) and encodings/grid.h (offsets)."""
    config, primes = encoding_config(layout), (1, 2654435761, 805459861)
    features, offset, dims = [], 0, x.shape[1]
    for level in range(config["n_levels"]):
        log2_growth = np.log2(np.float32(config["per_level_scale"]))
        scale = np.exp2(np.float32(level) * log2_growth) * np.float32(config["base_resolution"]) - np.float32(1)
        resolution = int(np.ceil(scale)) + 1
        size = min(-(-(resolution**dims) // 8) * 8, 1 << config["log2_hashmap_size"])
        position = x.astype(np.float64) * float(scale) + 0.5  # fmaf rounds once
        lower = np.floor(position).astype(np.int64)
        fraction, value = position - lower, np.zeros((len(x), 2))
        for corner in range(1 << dims):
            upper = [(corner >> axis) & 1 for axis in range(dims)]
            weight = np.prod([f if u else 1 - f for f, u in zip(fraction.T, upper, strict=True)], axis=0)
            vertex = [lower[:, axis] + upper[axis] for axis in range(dims)]
            index = sum(v * resolution**axis for axis, v in enumerate(vertex))
            if size < resolution**dims:
                index = np.bitwise_xor.reduce(
                    [v * p & 0xFFFFFFFF for v, p in zip(vertex, primes, strict=False)], axis=0
                )
            row = 2 * (offset + index % size)
            value += weight[:, None] * np.stack([params[row], params[row + 1]], -1)
        features.append(value)
        offset += size
    assert 2 * offset == len(params)  # as the wrapper checks it of the module
    return np.concatenate(features, -1)


@pytest.mark.parametrize("layout", PRESETS, ids=str)
def test_parameters_laid_out_by_tiny_cuda_nn_s_rules_give_our_values(layout):
    x = points_for(layout, 200).clamp(0, 1)
    table = random_table(layout)
    want = encode_torch(x, table, layout).double()
    got = looked_up_as_tiny_cuda_nn_does(x.numpy(), table.flatten().numpy(), layout)
    # Its finest scale is smaller by up to two thousandths of a cell, see `test_tiny_cuda_nn_gets_our_layout`.
    torch.testing.assert_close(torch.from_numpy(got), want, rtol=0, atol=1e-2 * want.abs().max().item())


# ---- networks

OURS = {"articulation_dim": 4, "expression_grid": True}
FIELDS = {
    "aed-nerf": {**OURS, "smooth_shading": True},
    "aed-nerf-paper": {"eye_dim": 0},
    "aed-nerf-tiny": {**OURS, "appearance_dim": 3},
}


@runs(("triton", "cpu"), ("triton", "cuda"))
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("preset", FIELDS)
def test_networks_in_one_kernel_are_those_of_torch(preset, half, backend, device, monkeypatch):
    """Densities, colours and a_l; in bfloat16 as near to float32's as torch's bfloat16 is."""
    monkeypatch.setattr(HeadField, "in_bfloat16", lambda field, device: field.bfloat16)  # whatever this processor has
    torch.manual_seed(0)
    options = FIELDS[preset]
    field = HeadField(**options, log2_size=10, top_resolution=64, backend="torch").to(device)
    for name, values in field.named_parameters():
        torch.nn.init.uniform_(values, -1, 1) if name.endswith("params") else values.data.mul_(2)
    sizes = 64, 8, options.get("eye_dim", 1), options.get("articulation_dim", 0), options.get("appearance_dim", 0)
    encoded = EncodedCondition(*(torch.randn(1, size, device=device) for size in sizes))

    def rms(a: torch.Tensor, b: torch.Tensor) -> float:
        return float((a - b).square().mean().sqrt())

    for count in (333,) if half else (0, 1, 333):
        x = torch.rand(count, 3, device=device) * 2 - 1
        view = spherical_harmonics(torch.nn.functional.normalize(torch.randn(count, 3, device=device), dim=-1))
        with torch.no_grad():
            exact = field(x, view, encoded, [count])
            field.bfloat16 = half
            want = field(x, view, encoded, [count])
            with Dispatched() as counts:
                got = field._by_triton(x, view, encoded)
            field.bfloat16 = False
        # The condition's products alone.
        assert counts.operations["mm"] == (4 if field.expression_grid is not None else 3)
        for a, b, c in zip(got, want, exact, strict=True):
            assert a.shape == b.shape and a.dtype == torch.float32
            if not half:
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
            else:  # Triton's interpreter cuts numbers off where a GPU rounds them
                assert 0 < rms(a, c) < 1.6 * rms(b, c) < 0.2 * rms(c, c.mean(0))


@runs(("triton", "cpu"), ("triton", "cuda"))
def test_networks_with_gradients_or_of_several_frames_are_torch_s(backend, device):
    torch.manual_seed(0)
    field = HeadField(log2_size=10, backend=backend).to(device)
    encoded = EncodedCondition(*(torch.randn(2, size, device=device) for size in (64, 8, 1, 0, 0)))
    x, view = torch.rand(9, 3, device=device), torch.rand(9, 16, device=device)
    with Dispatched() as counts:
        several = field(x, view, encoded, [4, 5])
    assert counts.operations["relu_"]
    (gradient,) = torch.autograd.grad(several[0].sum(), field.compress.layers[0].weight)
    assert gradient.abs().max() > 0
    second = EncodedCondition(*(part[1:] for part in encoded))
    with torch.no_grad(), Dispatched() as counts:
        alone = field(x[4:], view[4:], second, [5])
    assert not counts.operations["relu_"]
    for a, b in zip(several, alone, strict=True):
        torch.testing.assert_close(a[4:], b, rtol=1e-4, atol=1e-5)


# ---- marching

STEP = 0.03 if interpreted() else 0.013  # half a cell, or a fifth


def random_rays(count: int = 250 if interpreted() else 400) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    origins = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1) * 2.5
    targets = torch.rand(count, 3, generator=generator) * 2.4 - 1.2
    directions = torch.nn.functional.normalize(targets - origins, dim=-1)
    # Along an axis, along two, without a direction, and without a place.
    odd = torch.tensor([[0.1, 0.1, 2.0], [0.1, 0.2, 2.0], [0.0, 0.0, 0.0], [math.nan, 0.0, 2.0], [0.0, math.inf, 2.0]])
    towards = torch.tensor([[0.0, 0.0, -1.0], [-0.1, 0.0, -0.99], [0.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 0.0, -1.0]])
    origins, directions = torch.cat([origins, odd]), torch.cat([directions, towards])
    return origins, directions, torch.rand(len(origins), generator=generator)


@runs(("numba", "cpu"), ("triton", "cpu"), ("torch", "cuda"), ("triton", "cuda"))
@pytest.mark.parametrize("max_samples", [0, 1, 16, 1000])
@pytest.mark.parametrize("filled", [0.0, 0.1, 1.0])
def test_marching_gives_identical_samples(max_samples, filled, backend, device):
    origins, directions, jitter = random_rays()
    occupancy = torch.rand(32, 32, 32, generator=torch.Generator().manual_seed(1)) < filled
    box = torch.tensor([-0.8, -0.7, -0.9, 0.9, 0.8, 0.7])
    given = (origins, directions, occupancy, box)
    want = march_rays(*given, STEP, max_samples, jitter=jitter, backend="torch")
    there = [a.to(device) for a in given]
    got = march_rays(*there, STEP, max_samples, jitter=jitter.to(device), backend=backend)
    for name, value in vars(want).items():
        assert torch.equal(getattr(got, name).cpu(), value), name
    assert (got.ray_starts.diff() <= max_samples).all()
    assert len(got) > 100 if filled and max_samples else filled or len(got) == 0


@runs(("numba", "cpu"), ("triton", "cpu"), ("triton", "cuda"))
def test_marching_into_rooms_gives_identical_samples(backend, device):
    origins, directions, jitter = random_rays()
    occupancy = torch.rand(32, 32, 32, generator=torch.Generator().manual_seed(1)) < 0.1
    box = torch.tensor([-0.8, -0.7, -0.9, 0.9, 0.8, 0.7])
    want = march_rays(origins, directions, occupancy, box, STEP, 16, jitter=jitter, backend="torch")
    groups = torch.arange(len(origins)) % 3
    there = [a.to(device) for a in (groups, origins, directions, occupancy, box)]
    found = march_into_rooms((3000, 3000, 7), *there, STEP, 16, jitter=jitter.to(device), backend=backend)
    counts = want.ray_starts.diff()
    assert found.wanted.tolist() == [int(counts[groups == group].sum()) for group in range(3)]
    whole = [(ray, int(count)) for ray, count in enumerate(counts) if groups[ray] < 2]  # the last room is too small
    for ray, count in whole:
        begin, end = found.samples.ray_starts[found.places[ray] :][:2].tolist()
        assert end - begin == count
        assert torch.equal(found.samples.t[begin:end].cpu(), want.t[want.ray_indices == ray])
        assert torch.equal(found.samples.positions[begin:end].cpu(), want.positions[want.ray_indices == ray])
    assert found.real[6000:].all() and not found.real[sum(count for _, count in whole) :][:6000].all()


# ---- compositing

LONGEST = 20 if interpreted() else 40  # samples of a ray, one after the other


def packed(counts: list[int]) -> PackedSamples:
    """Samples of rays with so many each."""
    counts = torch.tensor(counts, dtype=torch.long)
    n = int(counts.sum())
    return PackedSamples(
        positions=torch.zeros(n, 3),
        t=torch.rand(n, generator=torch.Generator().manual_seed(3)) + 1,
        ray_indices=torch.repeat_interleave(torch.arange(len(counts)), counts),
        ray_starts=torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)]),
    )


def composited(function, samples: PackedSamples, leaves: list[torch.Tensor]) -> list[torch.Tensor]:
    """All outputs, and the gradients of the leaves for random gradients of the outputs."""
    leaves = [a.clone().requires_grad_() for a in leaves]
    out = function(*leaves, samples, 0.02)
    assert not out.depth.requires_grad
    generator, loss = torch.Generator().manual_seed(9), 0.0
    for value in (out.rgb, out.accumulation, out.extra_sums, out.weights):
        loss = loss + (value * torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value)).sum()
    loss.backward()
    return [a.detach().cpu() for a in (*out, *(leaf.grad for leaf in leaves))]


@runs(("numba", "cpu"), ("triton", "cpu"), ("torch", "cuda"), ("triton", "cuda"))
@pytest.mark.parametrize("n_extras", [0, 1, 3])
@pytest.mark.parametrize(
    "counts", [[0, 5, 16, 0, 1, LONGEST, 0], [3] * 150, [0, 0], []], ids=["mixed", "many", "none", "0"]
)
def test_compositing_is_the_reference(counts, n_extras, backend, device):
    samples = packed(counts)
    generator = torch.Generator().manual_seed(0)
    n = len(samples)
    leaves = [torch.rand(n, generator=generator) * 60, torch.rand(n, 3, generator=generator)]
    leaves.append(torch.randn(n, n_extras, generator=generator))
    leaves[0][:2] = torch.tensor([0.0, 1e6])[:n]  # empty and opaque
    there = PackedSamples(*(a.to(device) for a in vars(samples).values()))
    got = composited(lambda *a: composite(*a, backend), there, [a.to(device) for a in leaves])
    for dtype in (torch.float32, torch.float64):
        want = composited(composite_torch, samples, [a.to(dtype) for a in leaves])
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a, b.float(), rtol=1e-4, atol=1e-5)


def test_compositing_reference_has_the_right_gradients():
    samples = packed([0, 3, 1])
    leaves = [torch.rand(4, *shape, dtype=torch.float64, requires_grad=True) for shape in ((), (3,), (1,))]

    def outputs(*leaves):
        out = composite_torch(*leaves, samples, 0.5)
        return out.rgb, out.accumulation, out.extra_sums, out.weights

    assert torch.autograd.gradcheck(outputs, leaves)


# ---- Triton without a GPU, Numba in threads


@pytest.mark.slow
@needs_triton
@not_interpreted
def test_triton_s_kernels_in_the_interpreter_and_numba_s_in_two_threads():
    """The comparisons above once more, in a process that interprets Triton's kernels."""
    command = [sys.executable, "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [
            *command,
            "-k",
            "(triton-cpu or numba-cpu) and (grid or networks or marching or compositing)",
            str(Path(__file__)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TRITON_INTERPRET": "1", "NUMBA_NUM_THREADS": "2"},
        cwd=Path(__file__).parents[1],
        timeout=600,
        check=False,
    )
    assert run.returncode == 0 and " passed" in run.stdout and "skipped" not in run.stdout, run.stdout[-4000:]


@needs_triton
@not_interpreted
@pytest.mark.parametrize("capability", [75, 80, 89, 90])
def test_triton_kernels_compile_for_a_gpu(capability, monkeypatch, tmp_path):
    """Down to machine code; that needs no GPU, and the interpreter takes much that the compiler does not."""
    import triton.language as tl
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from aed_nerfstudio.fields import grid_triton, head_triton
    from aed_nerfstudio.rendering import compositing_triton, ray_marching_triton

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    grids = [grid_triton.forward_features, grid_triton.backward_table, grid_triton.backward_x]
    kernels = [(k.fn, {"n_dims": dims, "width": 128}) for k in grids for dims in (2, 3)]
    for kernel in (compositing_triton.composite_forward, compositing_triton.composite_backward):
        kernels.append((kernel, {"n_extras": 1, "width": 128}))
    kernels += [(ray_marching_triton.march, {"size": 128, "width": 128}), (ray_marching_triton.pack, {"width": 128})]
    sizes = {"n_levels": 16, "n_view": 16, "hidden": 64, "width": 64}
    networks = [({"n_moved": 16, "shaded": True, "kind": tl.bfloat16}, 80, 90)]
    networks += [({"n_moved": 0, "shaded": False, "kind": tl.float32}, 80, 80)]  # slow to compile
    kernels += [
        (head_triton.head_networks.fn, {**sizes, **options})
        for options, first, last in networks
        if first <= capability <= last
    ]
    scalars = {
        "n_points": "i32",
        "n_levels": "i32",
        "n_rays": "i32",
        "step": "fp32",
        "near": "fp32",
        "max_samples": "i32",
    }
    integers = {"resolutions": "*i32", "begins": "*i64", "sizes": "*i32", "hashed": "*i32", "ray_starts": "*i64"}
    integers |= {"occupancy": "*u8", "counts": "*i64", "ray_indices": "*i64"}
    for kernel, constants in kernels:
        kinds = scalars | integers | {"layer": "*bf16" if constants.get("kind") == tl.bfloat16 else "*fp32"}
        kinds |= {name: "constexpr" for name in constants}
        signature = {name: kinds.get(name, "*fp32") for name in kernel.arg_names}
        source = ASTSource(kernel, signature, constexprs=constants)
        options = {"num_warps": 4, "enable_fp_fusion": False}
        assert compile(source, target=GPUTarget("cuda", capability, 32), options=options).asm["cubin"]
