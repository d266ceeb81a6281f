import torch

from aed_nerfstudio.fields.audio_encoder import AudioEncoder
from aed_nerfstudio.fields.head_field import HeadField, spherical_harmonics
from aed_nerfstudio.fields.mlp import truncated_exp
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


def test_head_field_reacts_to_all_it_is_given():
    torch.manual_seed(0)
    field = HeadField(emotion_dim=8, articulation_dim=4)
    torch.nn.init.uniform_(field.audio_grid.params, -1, 1)
    given = [torch.randn(64), torch.randn(8), torch.ones(1), torch.randn(4)]
    for value in given:
        value.requires_grad_(True)
    x, d = torch.rand(10, 3) * 2 - 1, torch.nn.functional.normalize(torch.randn(10, 3), dim=-1)
    sigma, rgb, ambient, _ = field(x, spherical_harmonics(d), *given)
    assert sigma.shape == (10,) and rgb.shape == (10, 3) and ambient.abs().max() <= 1
    (sigma.sum() + rgb.sum()).backward()
    assert all(value.grad.abs().max() > 0 for value in given)
    torch.testing.assert_close(field.density_at(x, *given), sigma)


def test_torso_field_moves_with_the_pose():
    torch.manual_seed(0)
    field = TorsoField()
    points = torch.rand(5, 2) * 2 - 1
    pose = torch.eye(3, 4)
    alpha, colour = field(points, pose)
    moved = field(points, pose + 0.1)[1]
    assert alpha.shape == (5, 1) and colour.shape == (5, 3)
    assert (moved - colour).abs().max() > 0
