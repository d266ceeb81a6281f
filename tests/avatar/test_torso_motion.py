"""An avatar whose torso follows the motion of the shoulders, and one of before there was any."""

import numpy as np
import pytest
import torch

from aed_nerfstudio.avatar.avatar_file import read_avatar, write_avatar
from aed_nerfstudio.avatar.network import Network, NetworkSettings
from aed_nerfstudio.avatar.portrait import Portrait
from aed_nerfstudio.dataset.schema import Camera
from aed_nerfstudio.dataset.torso_motion import MOTION_DIM
from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.driving.head_motion import HeadMotion
from aed_nerfstudio.nerfstudio_plugin.parameter_groups import parameter_groups
from tests.driving.test_head_motion import seen_from

FRAMES = 40
SMALL = {"log2_size": 8, "top_resolution": 32}


@pytest.fixture(scope="module")
def motion() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.05, (FRAMES, MOTION_DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    turns = 10 * np.sin(np.arange(FRAMES) / 5)
    head = HeadMotion(
        np.stack([seen_from(turn) for turn in turns]),
        np.ones(FRAMES, np.float32),
        np.zeros(FRAMES, np.int32),
        ("neutral medium",),
    )
    return Portrait(
        EmotionVocabulary(recorded=(("neutral", "medium"),)),
        Camera(80.0, 80.0, 16.0, 16.0, 32, 32),
        np.zeros((32, 32, 3), np.uint8),
        head,
        np.arange(FRAMES, dtype=np.int32),
        FRAMES,
        "mel",
        4,
        ("a",),
    )


def network(portrait: Portrait, torso_motion: bool) -> Network:
    torch.manual_seed(0)
    return Network(NetworkSettings(torso_motion=torso_motion, **SMALL), portrait).eval()


@pytest.fixture
def following(portrait, motion) -> Network:
    found = network(portrait, True)
    found.fit_torso(motion)
    return found


def test_the_torso_is_told_pose_and_motion(following, portrait, motion):
    pose = portrait.motion.poses[3]
    told = following.torso_input(pose, motion[3])
    assert told.shape == (6 + MOTION_DIM,)
    wanted = (motion[3] - motion.mean(0)) / (motion.std(0) + 1e-3)
    np.testing.assert_allclose(told[6:], wanted, atol=1e-5)
    regressed = following.torso_input(pose, following.portrait.motion.torso_with(pose))
    assert torch.equal(following.torso_input(pose), regressed)
    unmeasured = network(portrait, True).torso_input(pose)  # before the training began
    assert unmeasured.shape == told.shape and not unmeasured[6:].any()
    points = torch.rand(20, 2) * 2 - 1
    field = following.torso_field()
    torch.nn.init.uniform_(field.grid.params, -1, 1)
    assert not torch.equal(field(points, told)[1], field(points, regressed)[1])


def test_without_it_nothing_is_new(following, portrait, motion):
    usual = network(portrait, False)
    pose = portrait.motion.poses[3]
    assert usual.torso_input(pose, motion[3]).shape == (6,)
    own, more = usual.state_dict(), following.state_dict()
    later = {name for name in more if name.startswith(("torso_mean", "torso_scale", "torso.follow."))}
    assert {*more} - {*own} == later
    assert all(torch.equal(own[name], more[name]) for name in own if torch.is_tensor(own[name]))  # the same draws
    assert "torso" not in usual.get_extra_state()["portrait"]["arrays"]
    assert "torso_motion" in parameter_groups(following) and "torso_motion" not in parameter_groups(usual)
    groups = parameter_groups(usual)["torso_mlps"], parameter_groups(following)["torso_mlps"]
    assert len(groups[0]) == len(groups[1])  # a checkpoint's optimizers fit both


def test_a_checkpoint_of_before_is_gone_on_from(following, portrait):
    old = network(portrait, False)
    torch.nn.init.normal_(old.torso_field().grid.params)
    new = network(portrait, True)
    new.load_state_dict(old.state_dict())
    assert torch.equal(new.torso_field().grid.params, old.torso_field().grid.params)
    assert new.portrait.motion.torso is None


def test_a_checkpoint_remembers_the_motion(following, portrait, motion):
    again = network(portrait, True)
    again.load_state_dict(following.state_dict())
    np.testing.assert_array_equal(again.portrait.motion.torso, motion)
    pose = portrait.motion.poses[7]
    assert torch.equal(again.torso_input(pose), following.torso_input(pose))


def test_a_damaged_motion_is_refused(following, motion, unchecked_shapes):
    stored = following.get_extra_state()["portrait"]
    arrays = {name: value.numpy() for name, value in stored["arrays"].items()}
    np.testing.assert_array_equal(Portrait.restore(stored["facts"], arrays).motion.torso, motion)
    for wrong in (motion[1:], motion[:, :2], np.full_like(motion, np.nan)):
        with pytest.raises(ValueError, match="motion of the shoulders"):
            Portrait.restore(stored["facts"], {**arrays, "torso": wrong})


@pytest.mark.parametrize("kind", ["following", "usual"])
def test_an_avatar_file_has_all_that_its_avatar_needs(kind, following, portrait, tmp_path):
    shown = following if kind == "following" else network(portrait, False)
    write_avatar(tmp_path / "a.avatar", shown, "a", 1)
    again = read_avatar(tmp_path / "a.avatar")[0].cpu()
    pose = portrait.motion.poses[7]
    assert torch.equal(again.torso_input(pose), shown.torso_input(pose))
    assert (again.portrait.motion.torso is None) == (kind == "usual")
