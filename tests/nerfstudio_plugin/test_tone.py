"""Another label leaves skin in its tone, which only directions change."""

import pytest
import torch

from aed_nerfstudio.fields.head_field import EncodedCondition, HeadField
from aed_nerfstudio.nerfstudio_plugin import tone
from aed_nerfstudio.rendering.ray_marching import PackedSamples
from tests.nerfstudio_plugin.small_trainer import set_up, small_config

LABELS = torch.eye(3)


def test_means_of_cells_are_compared():
    one, other = torch.zeros(4, 3), torch.zeros(4, 3)
    one[0], one[1], other[2] = 1.0, -1.0, 2.0  # the first two make up for each other in their cell
    weights, cells = torch.tensor([1.0, 1.0, 2.0, 1.0]), torch.tensor([0, 0, 1, 1])
    want = 3 * (4 / 3) ** 2 / 5
    assert tone.mean_difference(one, other, weights, cells, int(cells.max()) + 1) == pytest.approx(want)


@pytest.fixture
def scene():
    """A field of random grids, and two frames of eight rays, every ray with two samples."""
    torch.manual_seed(0)
    head = HeadField(emotion_dim=3, smooth_shading=True, expression_grid=True, log2_size=8)
    for grid in (head.grid, head.audio_grid):
        torch.nn.init.uniform_(grid.params, -1, 1)
    torch.nn.init.uniform_(head.expression_grid.params, -1, 1)
    rays = torch.arange(32) // 2
    samples = PackedSamples(torch.rand(32, 3) * 2 - 1, torch.zeros(32), rays, torch.arange(0, 33, 2))
    encoded = EncodedCondition(torch.randn(2, 64), LABELS[:2], torch.ones(2, 1), torch.zeros(2, 0), torch.zeros(2, 0))
    return head, samples, encoded


def test_it_is_learned_by_all_but_the_shading(scene):
    head, samples, encoded = scene
    skin = torch.arange(16) % 2 == 0
    optimizer = torch.optim.Adam(head.parameters(), 1e-3)

    def error() -> torch.Tensor:
        return torch.stack(
            [tone.tone_error(head, samples, torch.ones(32), skin, encoded, [8, 8], LABELS) for _ in range(20)]
        ).mean()

    before = error()
    before.backward()
    assert head.colour.layers[0].weight.grad.abs().max() > 0
    assert all(weight.grad is None for weight in head.shading.parameters())
    for _ in range(10):
        optimizer.zero_grad()
        error().backward()
        optimizer.step()
    assert error() < 0.5 * before


def test_only_skin_is_looked_at(scene, monkeypatch):
    head, samples, encoded = scene
    seen = []
    tones = head.tones
    monkeypatch.setattr(head, "tones", lambda positions, *rest: seen.append(positions) or tones(positions, *rest))
    nowhere = torch.zeros(16, dtype=torch.bool)
    assert tone.tone_error(head, samples, torch.ones(32), nowhere, encoded, [8, 8], LABELS) == 0 and not seen
    skin = nowhere.clone()
    skin[[9, 12]] = True
    tone.tone_error(head, samples, torch.ones(32), skin, encoded, [8, 8], LABELS)
    assert torch.equal(seen[0][:4], samples.positions[[18, 19, 24, 25]]) and torch.equal(seen[0][:4], seen[0][4:])


def test_a_training_looks_at_it_every_few_steps(data, tmp_path):
    config = small_config(data, tmp_path, tone.EVERY + 1)
    config.pipeline.model.smooth_shading = True
    pipeline = set_up(config).pipeline
    losses = []
    for step in range(tone.EVERY + 1):
        pipeline.model.set_stage(step)
        losses.append(pipeline.get_train_loss_dict(step)[1])
    assert ["tone" in found for found in losses] == [True, *[False] * (tone.EVERY - 1), True]
    assert losses[0]["tone"] >= 0 and losses[-1]["tone"].isfinite()
