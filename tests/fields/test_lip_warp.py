"""Points that the lip shape moves before they are looked up."""

import pytest
import torch

from aed_nerfstudio.fields.head_field import EncodedCondition, HeadField, spherical_harmonics
from aed_nerfstudio.fields.lip_warp import REACH, LipWarp


@pytest.fixture
def points():
    return 1.8 * torch.rand(300, 3, generator=torch.Generator().manual_seed(0)) - 0.9


@pytest.fixture
def warp():
    warp = LipWarp(2)
    with torch.no_grad():
        warp.shifts[0, 1, :, :, 16:] = 0.05  # the first number lifts one half, whose third or first axis is late
        warp.shifts[1, 2] = 0.02  # the second one moves all
    return warp


def test_at_first_nothing_moves(points):
    lips = torch.randn(2, 4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(LipWarp(4)(points, lips, [100, 200]), points)


def test_shifts_are_linear_in_the_lips_and_bounded(points, warp):
    lips = torch.tensor([[0.0, 1.0], [0.0, -2.0], [0.0, 500.0]])
    moved = warp(points, lips, [100, 100, 100]) - points
    assert not moved[:, :2].any()
    torch.testing.assert_close(moved[:100, 2], torch.full((100,), 0.02), rtol=0.01, atol=0)
    torch.testing.assert_close(moved[100:200, 2], torch.full((100,), -0.04), rtol=0.02, atol=0)
    torch.testing.assert_close(moved[200:, 2], torch.full((100,), REACH))


def test_a_place_has_its_own_shift(points, warp):
    moved = warp(points, torch.tensor([[1.0, 0.0]]), [300]) - points
    right, left = points[:, 0] > 0.05, points[:, 0] < -0.05
    torch.testing.assert_close(moved[right, 1], torch.full((int(right.sum()),), 0.05), rtol=0.03, atol=0)
    assert not moved[left].any() and not moved[:, [0, 2]].any()


def test_a_field_is_looked_up_where_points_went(points):
    """What one place shows with shut lips, another shows with open ones."""
    torch.manual_seed(0)
    field = HeadField(emotion_dim=0, eye_dim=0, articulation_dim=1, lip_warp=True)
    plain = field.density.layers[0].weight
    with torch.no_grad():
        field.grid.params.uniform_(-1, 1)
        field.warp.shifts[0, 1] = 0.03
        field.compress.layers[0].weight.zero_()
        plain[:, -1] = 0  # the networks themselves do not hear the lips
    view = spherical_harmonics(torch.tensor([[0.0, 0.0, -1.0]])).expand(300, -1)
    nothing = torch.zeros(1, 0)
    told = lambda lips: EncodedCondition(torch.zeros(1, 64), nothing, nothing, torch.tensor([[lips]]), nothing)  # noqa: E731
    shift = torch.tensor([0.0, REACH * torch.tanh(torch.tensor(0.03 / REACH)), 0.0])
    open_, shut = field(points, view, told(1.0), [300]), field(points + shift, view, told(0.0), [300])
    torch.testing.assert_close(open_[0], shut[0], rtol=1e-3, atol=1e-4)
    assert (open_[0] - field(points, view, told(0.0), [300])[0]).abs().max() > 1e-2
    open_[0].sum().backward()
    assert field.warp.shifts.grad.any()
