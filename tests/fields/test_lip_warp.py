"""Points that the lip shape moves before they are looked up."""

import pytest
import torch

from aed_nerfstudio.fields.head_field import EncodedCondition, HeadField, spherical_harmonics
from aed_nerfstudio.fields.lip_warp import FAR, NEAR, REACH, SIDE, LipWarp


@pytest.fixture
def points():
    return 1.8 * torch.rand(300, 3, generator=torch.Generator().manual_seed(0)) - 0.9


@pytest.fixture
def warp():
    warp = LipWarp(2)
    with torch.no_grad():
        warp.shifts[0, 1, :, :, SIDE // 2 :] = 0.05  # the first number lifts the half whose first axis is late
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
    right, left = points[:, 0] > 1 / (SIDE - 1), points[:, 0] < -1 / (SIDE - 1)  # beyond the vertices next to zero
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


def test_only_what_is_near_to_the_mouth_moves():
    marks = torch.tensor([[0.1, -0.3, 0.3], [-0.1, -0.3, 0.3]])
    warp, box = LipWarp(1), torch.tensor([-0.8, -1.0, -0.8, 0.8, 1.0, 0.8])
    with torch.no_grad():
        warp.shifts[:, 1] = 0.02
    warp.confine(marks, box)
    there = torch.rand(200_000, 3, generator=torch.Generator().manual_seed(0)) * (box[3:] - box[:3]) + box[:3]
    moved = warp(2 * (there - box[:3]) / (box[3:] - box[:3]) - 1, torch.ones(1, 1), [len(there)])
    shift = moved - (2 * (there - box[:3]) / (box[3:] - box[:3]) - 1)
    away = torch.cdist(there, marks).min(-1).values
    cell = float(((marks.amax(0) - marks.amin(0) + 2 * FAR) / (SIDE - 1)).norm())
    assert not shift[:, [0, 2]].any() and not shift[away > FAR + cell].any()
    assert shift[away < 0.02, 1].min() > 0.02 * (FAR - 0.02 - cell) / (FAR - NEAR) and (away < 0.02).sum() > 2
    assert shift[:, 1].max() < 0.0201 and shift[(away > NEAR + cell) & (away < FAR), 1].max() < 0.02


def test_only_those_that_move_pay(points):
    """Of three frames, one of which has no point near to the mouth: pictures and gradients as if all were moved."""
    torch.manual_seed(0)
    field = HeadField(emotion_dim=0, eye_dim=0, articulation_dim=2, expression_grid=True, lip_warp=True)
    field.warp.confine(torch.tensor([[0.3, -0.3, 0.3]]), torch.tensor([-1.0, -1.0, -1.0, 1.0, 1.0, 1.0]))
    with torch.no_grad():
        for values in (field.warp.shifts, field.grid.params, field.expression_grid.params):
            values.normal_(std=0.05)
    near, far = points * 0.2 + torch.tensor([0.3, -0.3, 0.3]), points[points[:, 0] < -0.1]
    points, counts = torch.cat([near[:100], far[:50], near[100:150], far[50:100]]), [100, 50, 100]
    view = spherical_harmonics(torch.tensor([[0.0, 0.0, -1.0]])).expand(len(points), -1)
    nothing, lips = torch.zeros(3, 0), torch.randn(3, 2)
    encoded = EncodedCondition(torch.zeros(3, 64), nothing, nothing, lips, nothing)
    _, rows = field.moved(points, lips, counts)
    assert 0 < len(rows) < len(points)

    def learnt() -> list[torch.Tensor]:
        field.zero_grad()
        density, colour, _, _ = field(points, view, encoded, counts)
        (density.sum() + colour.square().sum()).backward()
        return [density.detach(), colour.detach(), *(p.grad for p in field.parameters() if p.grad is not None)]

    some = learnt()
    field.moved = lambda positions, lips, counts: (field.warp(positions, lips, counts), None)  # as on a GPU
    for a, b in zip(some, learnt(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))
