"""Pictures of a still camera are the same with and without what is kept of the ones before."""

import copy
import dataclasses

import pytest
import torch
from nerfstudio.cameras.cameras import Cameras

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.rendering.still_view import StillView


@pytest.fixture(scope="module")
def avatar(run):
    return Avatar.load(run / "config.yml")


def camera(model, side: int = 48, closer: float = 1.0) -> Cameras:
    pose = torch.from_numpy(model.track.poses[:1]).clone()
    pose[..., 3] *= closer
    recorded = model.dataset.camera
    focal = recorded.fl_x * side / recorded.w
    return Cameras(pose, fx=focal, fy=focal, cx=side / 2, cy=side / 2, width=side, height=side)


def conditions(model, count: int = 4):
    """Other emotions and eyes, every fourth time also other audio, in one pose."""
    track, vocabulary = model.track, model.vocabulary
    emotions = [vocabulary.encode("neutral"), vocabulary.encode("happy", "strong")]
    for i in range(count):
        yield dataclasses.replace(
            track[5 * (i // 4)], head_pose=track.poses[0], emotion=emotions[i % 2], eye_openness=1 - i / count
        )


def afresh(model, *arguments, **options) -> dict[str, torch.Tensor]:
    """A picture for which nothing is kept."""
    kept, model.renderer.still = model.renderer.still, StillView(budget=0)
    try:
        return model.render_condition(*arguments, **options)
    finally:
        model.renderer.still = kept


def assert_same(one, other) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_the_same_pictures(avatar):
    model, pictures = avatar.model, []
    model.renderer.still = StillView()
    for view in (camera(model), camera(model, 40), camera(model, closer=0.9)):
        for condition in conditions(model, 10):
            picture = model.render_condition(view, condition)
            assert_same(picture, afresh(model, view, condition))
            pictures.append(picture["rgb"])
    assert model.renderer.still.size > 0
    assert all(not torch.equal(a, b) for a, b in zip(pictures[:-1], pictures[1:], strict=True) if a.shape == b.shape)


def test_what_decides_them_is_noticed(avatar):
    model = avatar.model
    saved = copy.deepcopy(model.state_dict())
    (condition,) = conditions(model, 1)
    view = camera(model)

    def train_grid():
        model.head.grid.params.mul_(3)

    def train_ears():
        model.head.compress[0].weight.mul_(3)

    def train_lips():
        model.head.audio_grid.params.add_(1)

    def train_torso():
        next(model.torso.parameters()).mul_(3)

    def empty_occupancy():
        model.occupancy.binaries[..., :64].fill_(False)

    def new_occupancy():
        model.occupancy.binaries = torch.zeros_like(model.occupancy.binaries)

    def load():
        model.load_state_dict(saved)

    model.renderer.still = StillView()
    with torch.no_grad():
        for change in (train_grid, train_ears, train_lips, train_torso, empty_occupancy, new_occupancy, load):
            before = [model.render_condition(view, condition) for _ in range(3)][-1]
            change()
            after = model.render_condition(view, condition)
            assert not torch.equal(before["rgb"], after["rgb"]), change.__name__
            assert_same(after, afresh(model, view, condition))


def test_background_torso_and_pose_are_noticed(avatar):
    model = avatar.model
    (condition,) = conditions(model, 1)
    turned = dataclasses.replace(condition, head_pose=model.track.poses[20])
    view, red, blue = camera(model), torch.zeros(1, 1, 3), torch.zeros(1, 1, 3)
    red[..., 0] = blue[..., 2] = 1
    model.renderer.still = StillView()
    seen = []
    for options in ({}, {"background": red}, {"background": blue}, {"show_torso": False}):
        for driven in (condition, turned):
            pictures = [model.render_condition(view, driven, **options) for _ in range(3)]
            for picture in pictures:
                assert_same(picture, afresh(model, view, driven, **options))
            seen.append(pictures[-1]["rgb"])
    different = [not torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i]]
    assert sum(different) >= len(different) - 1  # without a torso the pose changes nothing


def test_videos_with_head_motion_keep_nothing(avatar):
    avatar.model.renderer.still = StillView()
    for frame in (0, 3, 6, 9):
        avatar.images(avatar.model.track[frame], 40)
    # But what all frames share: the background in the picture.
    assert avatar.model.renderer.still.size <= 3 * avatar.model.background.nelement() * 4
