"""Lip priors: learned from people, kept as files without them, and of use for a person with little speech."""

import dataclasses

import numpy as np
import pytest
import torch
from aed_nerfstudio.method_configs.aed_nerf import aed_nerf
from safetensors.numpy import save

from aed_nerfstudio.audio.features import cut_windows, extract_features
from aed_nerfstudio.avatar.network import Network
from aed_nerfstudio.avatar.portrait import Portrait
from aed_nerfstudio.commands.main import main
from aed_nerfstudio.dataset.schema import read_dataset
from aed_nerfstudio.driving.lip_prior import SHAPES, WINDOW, LipPrior, lip_prior, spoken_lip_shapes
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.nerfstudio_plugin.lip_supervision import LipSupervision
from aed_nerfstudio.synthetic.performance import speech_level
from aed_nerfstudio.synthetic.record import unseen_speech


@pytest.fixture(scope="module")
def dataset(data):
    return read_dataset(data)


@pytest.fixture(scope="module")
def prior(dataset):
    return LipPrior.of([dataset])


def test_a_file_holds_what_was_learned(dataset, prior, tmp_path, capsys):
    path = tmp_path / "lips.prior"
    main(["lip-prior", str(dataset.root), str(dataset.root), "--output", str(path)])
    assert f"of 2 people, audio features {dataset.front_end}" in capsys.readouterr().out
    found = LipPrior.load(path)
    assert (found.front_end, found.people) == (dataset.front_end, 2)
    assert found.weight.shape == (SHAPES, WINDOW * dataset.feature_dim)
    prior.save(path)
    found = LipPrior.load(path)
    assert np.array_equal(found.weight, prior.weight.astype(np.float16).astype(np.float32)) and found.people == 1
    assert path.stat().st_size < 2 * found.weight.size + 500
    np.testing.assert_array_equal(lip_prior([path], dataset.front_end, dataset.feature_dim), found.weight)
    np.testing.assert_array_equal(lip_prior([dataset.root], dataset.front_end, dataset.feature_dim), prior.weight)


def test_the_packaged_one_knows_speech_that_it_has_not_heard():
    """Of the same voice; the actor's mouth opens as far as the sound is loud."""
    weight = lip_prior(aed_nerf.config.pipeline.model.lip_prior, "moonshine", 288)
    assert weight is not None
    sound = unseen_speech(8.0)
    features = extract_features(sound, 200)
    windows = cut_windows((features - features.mean(0)) / (features.std(0) + 1e-3))
    opening = windows.reshape(200, -1) @ weight[0]
    level, _ = speech_level(sound, 200)
    assert np.corrcoef(opening, level)[0, 1] > 0.6
    assert lip_prior(aed_nerf.config.pipeline.model.lip_prior, "log-mel", 80) is None
    assert lip_prior((), "moonshine", 288) is None


def test_of_joined_front_ends_it_knows_its_own(prior, dataset):
    dim = dataset.feature_dim
    joined = prior.fitted_to(f"log-mel+{prior.front_end}", 80 + dim).reshape(SHAPES, WINDOW, 80 + dim)
    assert not joined[..., :80].any()
    np.testing.assert_array_equal(joined[..., 80:], prior.weight.reshape(SHAPES, WINDOW, dim))
    assert prior.fitted_to("log-mel", 80) is None
    assert prior.fitted_to(prior.front_end, dim + 1) is None
    assert prior.fitted_to("file/deepspeech", 29) is None


def test_a_training_begins_with_it(dataset, track, tmp_path, capsys):
    settings = aed_nerf.config.pipeline.model
    network = Network(settings, Portrait.of(dataset), False, str(dataset.root))
    network.fit_features(np.concatenate(list(track.features.values())))
    lips = LipSupervision(dataset, track)
    lips.fit_linear(network, settings.lip_prior)
    assert "ridge regression" in capsys.readouterr().out
    begun = network.linear_lips.weight.clone()
    network.linear_lips.fitted.fill_(False)
    lips.fit_linear(network)
    assert "lips of" not in capsys.readouterr().out
    assert (begun - network.linear_lips.weight).abs().max() > 1e-3
    lips.fit_linear(network, [tmp_path / "nothing"])  # it is fitted, and stays so


def test_wrong_ones(dataset, prior, tmp_path):
    path = tmp_path / "lips.prior"
    prior.save(path)
    whole = path.read_bytes()
    facts = {"version": "1", "front_end": "moonshine", "people": "1"}
    for content, said in (
        (b"", "damaged, or no lip prior"),
        (whole[:-7], "damaged, or no lip prior"),
        (b"\xff" * 400, "damaged, or no lip prior"),
        (save({"weight": np.zeros((4, 32), np.float16)}), "damaged, or no lip prior"),
        (save({"weight": np.zeros((4, 32), np.float16)}, {**facts, "version": "2"}), "of version 2, not 1; update"),
        (save({"weight": np.zeros((4, 33), np.float16)}, facts), r"its numbers are float16 \[4, 33\]"),
        (save({"weight": np.full((4, 32), np.nan, np.float16)}, facts), "its numbers are"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"lips.prior: .*{said}"):
            LipPrior.load(path)
    with pytest.raises(InputError, match="no such file"):
        lip_prior([tmp_path / "none.prior"], "moonshine", 288)
    prior.save(path)
    with pytest.raises(InputError, match="a lip prior of audio features .* and the avatar has log-mel"):
        lip_prior([path], "log-mel", 80)
    with pytest.raises(InputError, match="give folders"):
        LipPrior.of([])
    other = dataclasses.replace(dataset, front_end="log-mel", feature_dim=80)
    with pytest.raises(InputError, match="process all with the same"):
        LipPrior.of([dataset, other])
    with pytest.raises(InputError, match="has no sound"):
        LipPrior.of([dataclasses.replace(dataset, front_end="none", feature_dim=1)])


def test_shapes_are_those_of_speech(dataset):
    """Each label's training frames around zero, together in units of their deviation."""
    shapes, train = spoken_lip_shapes(dataset), np.array(dataset.split("train"))
    labels = np.array(dataset.labels)
    for label in np.unique(labels):
        assert np.abs(shapes[train[labels[train] == label]].mean(0)).max() < 0.05
    np.testing.assert_allclose(shapes[train].std(0), 1, atol=0.05)
    assert torch.from_numpy(shapes).abs().max() <= 4
