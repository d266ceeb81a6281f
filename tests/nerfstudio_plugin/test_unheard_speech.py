"""Stretches whose sound nothing is learned from, and the lips' gain that is set by them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from aed_nerfstudio.method_configs.aed_nerf import aed_nerf, aed_nerf_paper, aed_nerf_tiny
from torch.testing import assert_close

from aed_nerfstudio.avatar.network import Network
from aed_nerfstudio.avatar.portrait import Portrait
from aed_nerfstudio.dataset.schema import read_dataset
from aed_nerfstudio.fields.linear_lips import MOST_GAIN
from aed_nerfstudio.nerfstudio_plugin import lip_supervision
from aed_nerfstudio.nerfstudio_plugin.lip_supervision import MOST_RATIO, STRETCH, LipSupervision, stretches


@pytest.fixture(scope="module")
def dataset(data):
    return read_dataset(data)


@pytest.fixture
def lips(dataset, track, monkeypatch):
    """Of a recording of seconds."""
    monkeypatch.setattr(lip_supervision, "STRETCH", 8)
    monkeypatch.setattr(lip_supervision, "EDGE", 1)
    return LipSupervision(dataset, track, 0.4)


@pytest.fixture
def network(dataset, track):
    network = Network(aed_nerf.config.pipeline.model, Portrait.of(dataset), False, str(dataset.root))
    network.fit_features(np.concatenate(list(track.features.values())))
    return network


def test_stretches_are_spread_evenly():
    frames = list(range(100, 2100))
    found = stretches(frames, 0.1)
    assert found.shape == (4, STRETCH) and (np.diff(found) == 1).all()
    gaps = np.diff([100, *found[:, 0], 2100 - STRETCH])
    assert gaps.max() - gaps.min() <= 1
    assert len(stretches(frames[:900], 0.1)) == len(stretches(frames, 0)) == 0


def test_their_sound_teaches_nothing(lips, network):
    left_out, heard = lips.stretches.ravel().tolist(), lips.heard_frames
    assert len(left_out) >= 16 and sorted([*left_out, *heard]) == sorted(lips.train_frames)
    frames = [left_out[3], heard[3]]
    conditions = [lips.track[i] for i in frames]
    encoded = lips.forced(network.encode(conditions), torch.tensor(frames))
    true = lips.lip_shapes[frames]
    assert torch.equal(encoded.articulation[0], true[0]) and not torch.equal(encoded.articulation[1], true[1])
    weight = network.audio_encoder.project[0].weight
    (of_unheard,) = torch.autograd.grad(encoded.audio[0].square().sum(), weight, retain_graph=True)
    (of_heard,) = torch.autograd.grad(encoded.audio[1].square().sum(), weight)
    assert not of_unheard.any() and of_heard.any()


def test_nor_does_it_where_lips_are_to_be_told(lips, network, monkeypatch):
    asked, encode = [], network.encode_audio
    monkeypatch.setattr(network, "encode_audio", lambda windows: asked.extend(windows) or encode(windows))
    for _ in range(20):
        lips.error(network, 16)
    heard = np.stack([lips.track[i].audio for i in lips.heard_frames])
    assert len(asked) == 320 and all((heard == window).all((1, 2, 3)).any() for window in asked)


def test_the_gain_is_that_of_both_readings(lips, network, capsys):
    """An encoder that says nothing halves what the regression reads."""
    lips.fit_linear(network)
    gain = network.linear_lips.gain.clone()
    with torch.no_grad():
        network.articulation_head.weight.zero_()
    network.linear_lips.reach.fill_(torch.inf)
    lips.fit_gain(network)
    # Fitted twice, and the last bit of such sums depends on where in memory they are.
    assert_close(network.linear_lips.gain, (gain * MOST_RATIO).clamp(1, MOST_GAIN), rtol=1e-6, atol=0)
    assert "over those of the regression alone: 0.50 0.50 0.50 0.50" in capsys.readouterr().out


def test_asked_again_it_is_the_same(lips, network):
    """As when a training that has ended goes on."""
    lips.fit_linear(network)
    lips.fit_gain(network)
    gain = network.linear_lips.gain.clone()
    lips.fit_gain(network)
    assert torch.equal(network.linear_lips.gain, gain)


def test_without_stretches_it_stays_the_regression_s(dataset, track, network):
    lips = LipSupervision(dataset, track, 0.1)
    assert not len(lips.stretches) and lips.heard_frames == lips.train_frames
    lips.fit_linear(network)
    gain = network.linear_lips.gain.clone()
    lips.fit_gain(network)
    assert torch.equal(network.linear_lips.gain, gain)


def test_without_sound_every_mouth_is_told(dataset, track, network, monkeypatch):
    """Half of them, as with sound, would leave all that were seen to a mouth that is told nothing."""
    monkeypatch.setattr(lip_supervision, "STRETCH", 8)
    frames = list(range(0, len(track), 2))
    encoded = network.encode([track[i] for i in frames])
    for front_end, share in (("none", 1.0), (dataset.front_end, 0.5)):
        lips = LipSupervision(replace(dataset, front_end=front_end), track, 0.4 * (share == 1), 0.5)
        assert not len(lips.stretches)
        told = lips.forced(encoded, torch.tensor(frames)).articulation
        true = (told == lips.lip_shapes[frames]).all(1).float().mean().item()
        assert lips.truth == share and true == pytest.approx(share, abs=0.3 * (share < 1))


def test_presets():
    shares = [preset.config.pipeline.model.unheard_share for preset in (aed_nerf, aed_nerf_tiny, aed_nerf_paper)]
    assert shares == [0.1, 0, 0]
