import pytest
import torch

from aed_nerfstudio.fields.audio_encoder import AudioEncoder
from aed_nerfstudio.fields.expression_grid import ExpressionGrid
from aed_nerfstudio.fields.grid_layout import HashGridLayout
from aed_nerfstudio.fields.hash_grid import encode_torch
from aed_nerfstudio.fields.head_field import SHADED, EncodedCondition, HeadField, spherical_harmonics
from aed_nerfstudio.fields.mlp import MLP, truncated_exp
from aed_nerfstudio.fields.torso_field import TorsoField


def test_the_encoder_passes_variation_at_the_start():
    torch.manual_seed(0)
    encoder = AudioEncoder(40)
    codes = encoder(torch.randn(50, 8, 16, 40))
    assert codes.shape == (50, 64)
    assert codes.std(0).mean() > 0.1


def test_the_encoder_takes_one_window_too():
    encoder = AudioEncoder(40)
    audio = torch.randn(8, 16, 40)
    torch.testing.assert_close(encoder(audio), encoder(audio[None])[0], atol=1e-5, rtol=1e-4)


def test_spherical_harmonics_are_orthonormal():
    torch.manual_seed(0)
    d = torch.nn.functional.normalize(torch.randn(200_000, 3), dim=-1)
    gram = spherical_harmonics(d).T @ spherical_harmonics(d) / len(d) * 4 * torch.pi
    torch.testing.assert_close(gram, torch.eye(16), atol=0.05, rtol=0)


def test_density_cannot_overflow_half_precision():
    x = torch.tensor([1000.0, -1000.0], requires_grad=True)
    y = truncated_exp(x)
    y.sum().backward()
    assert y.half().isfinite().all() and x.grad.isfinite().all()


@pytest.mark.parametrize(
    "options", [{}, {"expression_grid": True}, {"audio_compression": False}, {"smooth_shading": True}], ids=str
)
def test_head_field_reacts_to_all_it_is_given(options):
    torch.manual_seed(0)
    field = HeadField(emotion_dim=8, articulation_dim=4, appearance_dim=3, **options)
    if field.audio_compression:
        torch.nn.init.uniform_(field.audio_grid.params, -1, 1)
    given = [torch.randn(2, 64), torch.randn(2, 8), torch.ones(2, 1), torch.randn(2, 4), torch.randn(2, 3)]
    for value in given:
        value.requires_grad_(True)
    x, d = torch.rand(10, 3) * 2 - 1, torch.nn.functional.normalize(torch.randn(10, 3), dim=-1)
    view = spherical_harmonics(d)
    encoded = EncodedCondition(*given)
    sigma, rgb, ambient, _ = field(x, view, encoded, [3, 7])
    assert sigma.shape == (10,) and rgb.shape == (10, 3)
    if field.audio_compression:  # however loud, it stays in its grid
        loud = field(x, view, encoded._replace(audio=1e4 * encoded.audio), [3, 7])[2].abs()
        assert ambient.abs().max() < 0.9 < loud.min() and loud.max() <= 1
    (sigma.sum() + rgb.sum()).backward()
    assert all((value.grad.abs().amax(1) > 0).all() for value in given)
    # Frames do not mix: the second one's samples are what they are without the first.
    second = EncodedCondition(*(value[1:] for value in given))
    torch.testing.assert_close(field.density_at(x[3:], second), sigma[3:])
    torch.testing.assert_close(field(x[3:], view[3:], second, [7])[1], rgb[3:])


def test_a_smooth_shading_is_that_of_every_expression():
    torch.manual_seed(0)
    field = HeadField(emotion_dim=8, appearance_dim=3, smooth_shading=True)
    for grid in (field.grid, field.audio_grid):
        torch.nn.init.uniform_(grid.params, -1, 1)
    neutral = EncodedCondition(*(torch.randn(1, size) for size in (64, 8, 1, 0, 3)))
    x = torch.rand(20, 3) * 2 - 1
    views = spherical_harmonics(torch.nn.functional.normalize(torch.randn(2, 20, 3), dim=-1).view(-1, 3)).view(
        2, 20, 16
    )

    def shaded(encoded: EncodedCondition) -> torch.Tensor:
        first, second = (field(x, view, encoded, [20])[1].logit() for view in views)
        return second - first

    other = EncodedCondition(*(torch.randn_like(values) for values in neutral))
    difference = field(x, views[0], other, [20])[1] - field(x, views[0], neutral, [20])[1]
    assert difference.abs().mean() > 0.01 and shaded(neutral).abs().mean() > 0.01
    torch.testing.assert_close(shaded(other), shaded(neutral), atol=1e-4, rtol=1e-3)
    near = (x + 1e-3).clamp(max=1)  # a hair's breadth away, where the fine levels say something else
    assert (field.spatial_features(near) - field.spatial_features(x)).abs().max() > 0.5
    moved = field.shading(torch.cat([views[0], field.spatial_features(near)[:, :SHADED]], -1))
    here = field.shading(torch.cat([views[0], field.spatial_features(x)[:, :SHADED]], -1))
    assert (moved - here).abs().max() < 0.05


def test_conditioned_is_the_network_of_the_joined_input():
    torch.manual_seed(0)
    net = MLP(5 + 3, 16, 4, 3)
    x, condition, counts = torch.randn(9, 5), torch.randn(3, 3, requires_grad=True), [2, 0, 7]
    joined = net(torch.cat([x, condition[[0, 0, 2, 2, 2, 2, 2, 2, 2]]], -1))
    ours = net.conditioned([x], condition, counts)
    torch.testing.assert_close(ours, joined)
    weight = torch.randn_like(ours)
    expected = torch.autograd.grad((joined * weight).sum(), condition)
    torch.testing.assert_close(torch.autograd.grad((ours * weight).sum(), condition), expected)


def test_expression_grid_blends_its_tables():
    torch.manual_seed(0)
    layout = HashGridLayout(3, n_levels=4, log2_size=10, top_resolution=32)
    grid = ExpressionGrid(layout, 3)
    torch.nn.init.normal_(grid.params)
    x, coefficients = torch.rand(12, 3), torch.randn(2, 3, requires_grad=True)
    ours = grid(x, grid.blend(coefficients), [5, 7])
    each = torch.stack([encode_torch(x, table.view(-1, 2), layout) for table in grid.params])
    rows = coefficients[[0] * 5 + [1] * 7]
    reference = torch.einsum("nk,knf->nf", rows, each)
    torch.testing.assert_close(ours, reference, atol=1e-5, rtol=1e-4)
    weight = torch.randn_like(ours)
    inputs = (coefficients, grid.params)
    expected = torch.autograd.grad((reference * weight).sum(), inputs)
    torch.testing.assert_close(torch.autograd.grad((ours * weight).sum(), inputs), expected, atol=1e-4, rtol=1e-4)


def test_torso_field_moves_with_the_pose():
    torch.manual_seed(0)
    field = TorsoField()
    points = torch.rand(5, 2) * 2 - 1
    torch.nn.init.uniform_(field.grid.params, -1, 1)
    pose = torch.zeros(6)
    alpha, colour = field(points, pose)
    moved = field(points, pose + 0.1)[1]
    assert alpha.shape == (5, 1) and colour.shape == (5, 3)
    assert (moved - colour).abs().max() > 0


def test_a_torso_in_several_poses_at_once():
    torch.manual_seed(0)
    field = TorsoField(motion_dim=3)
    torch.nn.init.uniform_(field.grid.params, -1, 1)
    points, conditions = torch.rand(12, 2) * 2 - 1, torch.randn(3, 9)
    counts = [5, 1, 6]
    single = [field(part, by) for part, by in zip(points.split(counts), conditions, strict=True)]
    for together, parts in zip(field(points, conditions, counts), zip(*single, strict=True), strict=True):
        torch.testing.assert_close(together, torch.cat(parts))


def lattice(field: TorsoField, side: int) -> float:
    """How rough a torso is between the middles of the pixels of a plain picture that it learnt."""
    torch.manual_seed(0)

    def grid(count: int) -> torch.Tensor:
        middles = (torch.arange(count) + 0.5) * (2 / count) - 1
        return torch.stack(torch.meshgrid(middles, middles, indexing="xy"), -1).reshape(-1, 2)

    points, pose = grid(side), torch.zeros(6)
    optimizer = torch.optim.Adam(field.parameters(), 1e-2, eps=1e-15)
    for _ in range(100):
        alpha, colour = field(points, pose)
        error = (alpha * colour - 0.5).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert error < 1e-4
    with torch.no_grad():
        alpha, colour = field(grid(3 * side), pose)
    shown = (alpha * colour).view(3 * side, 3 * side, 3)[6:-6, 6:-6]
    return float(sum(shown.diff(n=2, dim=axis).square().mean() for axis in (0, 1)))


def test_a_torso_that_keeps_to_its_pixels_is_no_lattice():
    side, fields = 20, []
    for _ in range(2):
        torch.manual_seed(0)
        fields.append(TorsoField(log2_size=12, top_resolution=512))
    fields[1].keep_to(side)
    before = fields[1].grid.params.detach().clone()
    wild, calm = (lattice(field, side) for field in fields)
    assert calm < 0.6 * wild
    layout, trained = fields[1].grid.layout, fields[1].grid.params.detach()
    first = 2 * int(layout.offsets[(layout.scales * 0.8 <= side).sum()])
    assert 0 < first < len(trained) and not trained[first:].any(), "finer levels are silent"
    assert not torch.equal(trained[:first], before[:first])
