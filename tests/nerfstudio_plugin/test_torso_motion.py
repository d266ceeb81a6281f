"""A training measures how the shoulders move, and the torso is told."""

import numpy as np
import pytest
import torch

from aed_nerfstudio.dataset.torso_motion import MOTION_DIM
from tests.nerfstudio_plugin.small_trainer import small_trainer


@pytest.fixture(scope="module")
def trainer(data, tmp_path_factory):
    return small_trainer(data, tmp_path_factory.mktemp("shoulders"), 120)


def test_a_training_knows_the_shoulders_of_its_own_frames_only(trainer):
    model = trainer.pipeline.model
    motion, train = model.portrait.motion, model.train_frames
    assert motion.torso.shape == (len(train), MOTION_DIM) and np.ptp(motion.torso[:, 0]) > 0.01
    assert np.abs(motion.torso[motion.typical_frame]).max() < 0.01  # but for what smooths it
    for number, frame in enumerate(train):
        np.testing.assert_array_equal(model.track[frame].torso, motion.torso[number])
    assert all(model.track[frame].torso is None for frame in model.dataset.split("val"))
    # The actor's shoulders are moved by its head, so that its pose tells most of them.
    told = np.stack([motion.torso_with(pose) for pose in motion.poses])
    assert np.square(told - motion.torso)[:, 0].mean() < 0.5 * motion.torso[:, 0].var()


def test_the_torso_learns_from_them(trainer):
    pipeline, follow = trainer.pipeline, trainer.pipeline.model.network.torso_field().follow
    pipeline.model.set_stage(110)
    _, losses, _ = pipeline.get_train_loss_dict(110)
    sum(losses.values()).backward()
    assert all(weight.grad.abs().sum() > 0 for weight in follow.parameters())
    pipeline.model.zero_grad()


def test_a_loaded_model_knows_them_too(trainer):
    model = trainer.pipeline.model
    state, frame = model.state_dict(), model.train_frames[3]
    known, model.track.torso = model.track.torso, {}
    model.load_state_dict(state)
    np.testing.assert_array_equal(model.track[frame].torso, known[frame])
    assert torch.equal(model.network.torso_mean, state["torso_mean"])
