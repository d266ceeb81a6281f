"""The MLP: conditions, and memory in bfloat16."""

import ctypes
import sys

import pytest
import torch

from aed_nerfstudio.fields.mlp import MLP


@pytest.mark.parametrize("rows", [(700, 533), (1, 0), (0, 0)])
@pytest.mark.parametrize("bfloat16", [False, True])
def test_conditions_are_as_if_they_were_part_of_the_input(rows, bfloat16):
    torch.manual_seed(0)
    network, x, given = MLP(12, 32, 5, 3), torch.randn(sum(rows), 8), torch.randn(2, 4)
    expected = network(torch.cat([x, given.repeat_interleave(torch.tensor(rows), 0)], -1))
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        result = network.conditioned([x[:, :3], x[:, 3:]], given, list(rows))
    torch.testing.assert_close(result.float(), expected, atol=3e-2 if bfloat16 else 1e-6, rtol=0)
    ours = torch.autograd.grad(result.float().sum(), network.parameters())
    for mine, theirs in zip(ours, torch.autograd.grad(expected.sum(), network.parameters()), strict=True):
        assert (mine - theirs).norm() <= (2e-2 if bfloat16 else 1e-5) * theirs.norm()


class _MallInfo(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = [(f"field{i}", ctypes.c_size_t) for i in range(10)]


def in_use() -> int:
    """Bytes that are allocated and not freed."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _MallInfo
    return mallinfo().field7


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="asks glibc, 2.33 or later"
)
def test_memory_does_not_grow_with_the_numbers_of_rows():
    network = MLP(96, 64, 65, 3)

    def step(rows: int) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            network.conditioned([torch.zeros(rows, 80)], torch.zeros(1, 16), [rows]).sum().backward()
        network.zero_grad()

    for rows in (1023, 991, 959):
        step(rows)
    before = in_use()
    for rows in range(960, 1020):
        step(rows)
    assert in_use() - before < 20 << 20  # 260 MiB where each number of rows has kernels of its own
