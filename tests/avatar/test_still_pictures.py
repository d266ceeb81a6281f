"""Pictures of a still camera are the same with and without what is kept of the ones before."""

import copy
import dataclasses

import pytest
import torch
from nerfstudio.cameras.cameras import Cameras

from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.fields.lip_warp import LipWarp
from aed_nerfstudio.rendering.still_view import StillView


@pytest.fixture(scope="module")
def avatar(run):
    return Avatar.load(run / "config.yml")


def camera(avatar, track, side: int = 48, closer: float = 1.0) -> Cameras:
    pose = torch.from_numpy(track.poses[:1]).clone()
    pose[..., 3] *= closer
    recorded = avatar.portrait.camera
    focal = recorded.fl_x * side / recorded.w
    return Cameras(pose, fx=focal, fy=focal, cx=side / 2, cy=side / 2, width=side, height=side)


def conditions(avatar, track, count: int = 4):
    """Other emotions and eyes, every fourth time also other audio, in one pose."""
    vocabulary = avatar.vocabulary
    emotions = [vocabulary.encode("neutral"), vocabulary.encode("happy", "strong")]
    for i in range(count):
        yield dataclasses.replace(
            track[5 * (i // 4)], head_pose=track.poses[0], emotion=emotions[i % 2], eye_openness=1 - i / count
        )


def afresh(avatar, *arguments, **options) -> dict[str, torch.Tensor]:
    """A picture for which nothing is kept."""
    renderer = avatar.renderer
    kept, renderer.culled.still = renderer.culled.still, StillView(budget=0)
    try:
        return renderer.render(*arguments, **options)
    finally:
        renderer.culled.still = kept


def assert_same(one, other) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_lips_that_move_points_are_seen_to_move(avatar, track, monkeypatch):
    """Of a point that goes elsewhere nothing is kept."""
    renderer, warp = avatar.renderer, LipWarp(avatar.network.articulation_head.out_features).to(avatar.device)
    torch.nn.init.normal_(warp.shifts, std=0.05, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(avatar.network.head, "warp", warp)
    renderer.culled.still = StillView()
    view, pictures = camera(avatar, track), []
    for condition in conditions(avatar, track, 8):
        pictures.append(renderer.render(view, condition))
        assert_same(pictures[-1], afresh(avatar, view, condition))
    with torch.no_grad():
        warp.shifts.mul_(2)
    assert_same(renderer.render(view, condition), afresh(avatar, view, condition))
    assert not torch.equal(renderer.render(view, condition)["rgb"], pictures[-1]["rgb"])


def test_the_same_pictures(avatar, track):
    renderer, pictures = avatar.renderer, []
    renderer.culled.still = StillView()
    for view in (camera(avatar, track), camera(avatar, track, 40), camera(avatar, track, closer=0.9)):
        for condition in conditions(avatar, track, 10):
            picture = renderer.render(view, condition)
            assert_same(picture, afresh(avatar, view, condition))
            pictures.append(picture["rgb"])
    assert renderer.culled.still.size > 0
    assert all(not torch.equal(a, b) for a, b in zip(pictures[:-1], pictures[1:], strict=True) if a.shape == b.shape)


def test_what_decides_them_is_noticed(avatar, track):
    network, renderer = avatar.network, avatar.renderer
    saved = copy.deepcopy(network.state_dict())
    (condition,) = conditions(avatar, track, 1)
    view = camera(avatar, track)

    def train_grid():
        network.head.grid.params.mul_(3)

    def train_ears():
        network.head.compress[0].weight.mul_(3)

    def train_lips():
        network.head.audio_grid.params.add_(1)

    def train_torso():
        next(network.torso.parameters()).mul_(3)

    def empty_occupancy():
        network.occupancy.binaries[..., :64].fill_(False)

    def new_occupancy():
        network.occupancy.binaries = torch.zeros_like(network.occupancy.binaries)

    def load():
        network.load_state_dict(saved)

    renderer.culled.still = StillView()
    with torch.no_grad():
        for change in (train_grid, train_ears, train_lips, train_torso, empty_occupancy, new_occupancy, load):
            before = [renderer.render(view, condition) for _ in range(3)][-1]
            change()
            after = renderer.render(view, condition)
            assert not torch.equal(before["rgb"], after["rgb"]), change.__name__
            assert_same(after, afresh(avatar, view, condition))


def test_background_torso_and_pose_are_noticed(avatar, track):
    renderer = avatar.renderer
    (condition,) = conditions(avatar, track, 1)
    turned = dataclasses.replace(condition, head_pose=track.poses[20])
    view, red, blue = camera(avatar, track), torch.zeros(1, 1, 3), torch.zeros(1, 1, 3)
    red[..., 0] = blue[..., 2] = 1
    renderer.culled.still = StillView()
    seen = []
    for options in ({}, {"background": red}, {"background": blue}, {"show_torso": False}):
        for driven in (condition, turned):
            pictures = [renderer.render(view, driven, **options) for _ in range(3)]
            for picture in pictures:
                assert_same(picture, afresh(avatar, view, driven, **options))
            seen.append(pictures[-1]["rgb"])
    different = [not torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i]]
    assert sum(different) >= len(different) - 1  # without a torso the pose changes nothing


def test_videos_with_head_motion_keep_nothing(avatar, track):
    avatar.renderer.culled.still = StillView()
    for frame in (0, 3, 6, 9):
        avatar.images(track[frame], 40)
    # But what all frames share: the background in the picture.
    assert avatar.renderer.culled.still.size <= 3 * avatar.network.background.nelement() * 4
