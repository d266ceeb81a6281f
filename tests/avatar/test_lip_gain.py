"""How far the lips of an avatar move: as far as its person's, and as is asked for."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.avatar.avatar_file import read_avatar, write_avatar
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.fields.linear_lips import LATER
from tests.avatar.test_avatar_file import rewritten

RATE = 16000


@pytest.fixture(scope="module")
def avatar(run):
    return Avatar.load(run / "config.yml")


@pytest.fixture
def track(avatar):
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    return avatar.track(noise, avatar.vocabulary.encode("happy"), "still", lip_gain=1.5)


def test_what_is_read_is_widened_in_pictures_alone(avatar, track):
    network = avatar.network
    conditions = list(track)
    lips = network.linear_lips
    assert lips.fitted and (lips.gain >= 1).all() and lips.reach > 0
    read = network.encode_audio([condition.audio for condition in conditions])[2]
    torch.testing.assert_close(network.encode(conditions).articulation, lips.widened(1.5 * read))
    still = network.encode([replace(condition, lip_gain=0.0) for condition in conditions])
    assert not still.articulation.any()
    try:
        torch.testing.assert_close(network.train().encode(conditions).articulation, read)
    finally:
        network.eval()


def test_it_is_seen(avatar, track):
    shown, still = (avatar.images(replace(track[9], lip_gain=gain))["rgb"] for gain in (2.0, 0.0))
    assert (shown - still).abs().max() > 1e-3


def test_lips_beyond_bounds_are_refused(avatar):
    sound = np.ones(RATE, np.float32)
    with pytest.raises(InputError, match="lip_gain must be from 0 to 2, not 3"):
        avatar.track(sound, avatar.vocabulary.encode(), lip_gain=3.0)


def test_a_file_of_before_there_was_a_gain_reads_as_it_did(avatar, track, tmp_path):
    path = tmp_path / "now.avatar"
    write_avatar(path, avatar.network, "a", 1)

    def older(facts, tensors, told):
        for name in LATER:
            del tensors[f"linear_lips.{name}"]

    network = read_avatar(rewritten(path, tmp_path, older))[0].cpu().eval()
    read = network.encode_audio([track[9].audio])[2]
    torch.testing.assert_close(network.encode([track[9]]).articulation, 1.5 * read)
