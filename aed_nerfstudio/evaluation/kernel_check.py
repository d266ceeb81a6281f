"""Whether every kernel computes here what plain torch does, on small inputs: seconds, once the kernels are compiled.

The tests hold them against the same reference at their borders and in float64; this is for a user's machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from aed_nerfstudio.backends import Backend
from aed_nerfstudio.fields.hash_grid import HashGridLayout, encode
from aed_nerfstudio.fields.head_field import EncodedCondition, HeadField, spherical_harmonics
from aed_nerfstudio.rendering.compositing import composite
from aed_nerfstudio.rendering.ray_marching import PackedSamples, march_rays

STEP = 0.02
"""World units between samples."""
LIMIT = 1e-4
"""Largest difference that is roundings', as a share of the largest value."""
LIMIT_BFLOAT16 = 1e-1
"""Bfloat16 keeps three digits, and a_l's are multiplied by the cells of its grid."""
LIMIT_TCNN = 1e-2
"""tiny-cuda-nn rounds positions and scales in another way."""
CLEAR = 2e-3
"""Cells between a point and the nearest border of one: there the coordinates' gradient jumps, and roundings decide."""


def check_grid(dims: int, backend: Backend, device: str) -> str:
    """Compares the features of a small grid, of dense and hashed levels, and their gradients.

    Returns: what was found, in words.

    Raises:
        ArithmeticError: they are not the reference's.
    """
    layout = HashGridLayout(dims, n_levels=4, log2_size=10, top_resolution=128)
    generator = torch.Generator().manual_seed(dims)
    x = torch.rand(2000, dims, generator=generator)
    place = x[:, None] * torch.from_numpy(layout.scales)[:, None] + 0.5
    x = x[((place - place.round()).abs() > CLEAR).flatten(1).all(1)]
    table = torch.randn(layout.n_entries, layout.n_features, generator=generator)
    upstream = torch.randn(len(x), layout.n_outputs, generator=generator)

    def encoded(backend: Backend, device: str) -> Sequence[Tensor]:
        leaves = [a.to(device).requires_grad_() for a in (x, table)]
        features = encode(leaves[0], leaves[1], layout, backend)
        return features, *torch.autograd.grad(features, leaves, upstream.to(features))

    return _compared(encoded, backend, device, LIMIT_TCNN if backend == "tcnn" else LIMIT)


def check_marching(backend: Backend, device: str) -> str:
    """Compares the samples of rays through a half-full occupancy grid, which every backend finds alike to the last bit.

    Returns, Raises: as `check_grid`.
    """
    origins, directions, occupancy = _rays()
    box = torch.tensor([-0.8, -0.7, -0.9, 0.9, 0.8, 0.7])

    def marched(backend: Backend, device: str) -> PackedSamples:
        there = [a.to(device) for a in (origins, directions, occupancy, box)]
        return march_rays(there[0], there[1], there[2], there[3], STEP, 16, backend=backend)

    want, got = marched("torch", "cpu"), marched(backend, device)
    for name, value in vars(want).items():
        if not torch.equal(getattr(got, name).cpu(), value):
            raise ArithmeticError(f"{len(got)} samples where plain torch has {len(want)}; their {name} differ")
    return f"ok, the same {len(want)} samples"


def check_compositing(backend: Backend, device: str) -> str:
    """Compares all sums over rays of 0 to 40 samples, and their gradients.

    Returns, Raises: as `check_grid`.
    """
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(0, 41, (100,), generator=generator)
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    n = int(starts[-1])
    rays = torch.repeat_interleave(torch.arange(len(counts)), counts)
    t = torch.rand(n, generator=generator) + 1
    leaves = [torch.rand(n, *shape, generator=generator) * scale for shape, scale in (((), 60), ((3,), 1), ((2,), 1))]
    upstream = [torch.randn(shape, generator=generator) for shape in ((100, 3), (100,), (100, 2), (n,))]

    def composited(backend: Backend, device: str) -> Sequence[Tensor]:
        samples = PackedSamples(*(a.to(device) for a in (torch.zeros(n, 3), t, rays, starts)))
        there = [a.to(device).requires_grad_() for a in leaves]
        out = composite(there[0], there[1], there[2], samples, STEP, backend)
        sums = [out.rgb, out.accumulation, out.extra_sums, out.weights]
        return *out, *torch.autograd.grad(sums, there, [a.to(device) for a in upstream])

    return _compared(composited, backend, device, LIMIT)


def check_networks(half: bool, backend: Backend, device: str) -> str:
    """Compares densities, colours and a_l of a field with all that `aed-nerf` has; half: in bfloat16, where the device
    has it, against the reference in float32.

    Returns, Raises: as `check_grid`.
    """
    generator = torch.Generator().manual_seed(0)
    options = {"articulation_dim": 4, "expression_grid": True, "smooth_shading": True}
    field = HeadField(log2_size=10, top_resolution=64, **options)
    with torch.no_grad():
        for name, values in field.named_parameters():
            limit = 1.0 if name.endswith("params") else 2 * values.shape[1] ** -0.5
            values.copy_((torch.rand(values.shape, generator=generator) * 2 - 1) * limit)
    conditions = [torch.randn(1, size, generator=generator) for size in (64, 8, 1, 4, 0)]
    x = torch.rand(1000, 3, generator=generator) * 2 - 1
    view = spherical_harmonics(torch.nn.functional.normalize(x, dim=-1))

    @torch.no_grad()
    def evaluated(backend: Backend, device: str) -> Sequence[Tensor]:
        field.to(device).bfloat16 = half and backend != "torch"  # pyright: ignore[reportAttributeAccessIssue]
        for module in field.modules():
            if hasattr(module, "backend"):
                module.backend = backend  # pyright: ignore[reportArgumentType]
        encoded = EncodedCondition(*(a.to(device) for a in conditions))
        return field(x.to(device), view.to(device), encoded, [len(x)])

    return _compared(evaluated, backend, device, LIMIT_BFLOAT16 if half else LIMIT)


CHECKS: dict[str, Callable[[Backend, str], str]] = {
    "grid encode and gradients, 2-D": lambda backend, device: check_grid(2, backend, device),
    "grid encode and gradients, 3-D": lambda backend, device: check_grid(3, backend, device),
    "marching": check_marching,
    "compositing and gradients": check_compositing,
    "networks in one kernel, float32": lambda backend, device: check_networks(False, backend, device),
    "networks in one kernel, bfloat16": lambda backend, device: check_networks(True, backend, device),
}
"""The operations that have kernels."""


def checks_of(backend: Backend) -> Iterator[str]:
    """Returns the names of the operations that a backend has."""
    left_out = {"triton": (), "tcnn": ("marching", "compositing", "networks")}.get(backend, ("networks",))
    return (name for name in CHECKS if not name.startswith(left_out))


def _rays() -> tuple[Tensor, Tensor, Tensor]:
    """Returns origins and directions [400, 3] of rays towards the grid, and the grid's occupancy [32, 32, 32]."""
    generator = torch.Generator().manual_seed(0)
    origins = torch.nn.functional.normalize(torch.randn(400, 3, generator=generator), dim=-1) * 2.5
    targets = torch.rand(400, 3, generator=generator) * 2 - 1
    directions = torch.nn.functional.normalize(targets - origins, dim=-1)
    return origins, directions, torch.rand(32, 32, 32, generator=generator) < 0.5


def _compared(run: Callable[[Backend, str], Sequence[Tensor]], backend: Backend, device: str, limit: float) -> str:
    """Returns in words how far a run's tensors are from the reference's at most, in units of their largest value.

    Raises:
        ArithmeticError: it is above the limit.
    """
    largest = 0.0
    for got, want in zip(run(backend, device), run("torch", "cpu"), strict=True):
        difference = (got.detach().cpu().float() - want.detach()).abs().max() / want.detach().abs().max()
        if not difference <= limit:  # NaN is not
            raise ArithmeticError(f"differs from plain torch by {difference:.0e} of the largest value")
        largest = max(largest, float(difference))
    return f"ok, largest difference {largest:.0e}"
