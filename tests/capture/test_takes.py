"""Cuts, flashes and other scenes in the actor's videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aed_nerfstudio.capture.takes import Take, crop_takes, split_takes
from aed_nerfstudio.capture.tracking import VideoTrack, find_cuts, track_video
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.video_writer import VideoWriter
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import HeadPose, head_motion
from aed_nerfstudio.synthetic.scene import Scene

SIZE = 128


def _frames(seed: int, count: int) -> list[np.ndarray]:
    """Someone in some room: the seed chooses both."""
    scene = Scene(Actor(seed), SIZE, seed)
    scene.background[:] = np.clip(scene.background.astype(int) - 25 * seed, 0, 255)
    return [scene.render({"jawOpen": 0.2 + 0.2 * np.sin(k)}, pose, landmarks=False).image
            for k, pose in enumerate(head_motion(count, seed))]  # fmt: skip


@pytest.fixture(scope="module")
def rooms():
    return _frames(0, 70), _frames(5, 30)


def _track(folder: Path, frames: list[np.ndarray]) -> VideoTrack:
    with VideoWriter(folder / "a.mp4", 25, (frames[0].shape[1], frames[0].shape[0])) as writer:
        for frame in frames:
            writer.write(frame)
    return track_video(folder / "a.mp4", [], lambda frames: frames)


def test_steady_take_with_a_fast_nod_and_a_flash_is_not_cut(tmp_path):
    scene = Scene(Actor(0), SIZE)
    nod = [scene.render({}, HeadPose(pitch=8 * np.sin(2 * np.pi * 2 * k / 25)), landmarks=False).image
           for k in range(60)]  # fmt: skip
    nod[30] = np.full_like(nod[30], 255)
    track = _track(tmp_path, nod)
    assert find_cuts(track) == ([], [(30, 31)])
    warnings = []
    assert [take.count for take in split_takes(tmp_path / "a.mp4", 0, "a", track, warnings)] == [60]
    assert len(warnings) == 1 and "0:01.2-0:01.2 shows something else" in warnings[0]
    assert np.isnan(track.landmarks[30]).all()


def test_jump_cut_splits_and_other_scene_is_left_out(tmp_path, rooms):
    first, other = rooms
    scene = Scene(Actor(0), SIZE)
    turned = [scene.render({}, HeadPose(yaw=-14, pitch=4, shift=(0.25, 0, 0)), landmarks=False).image] * 60
    track = _track(tmp_path, first + other + turned)
    assert find_cuts(track) == ([70, 100], [])
    warnings = []
    takes = split_takes(tmp_path / "a.mp4", 0, "a", track, warnings)
    assert [(t.name, t.first, t.count) for t in takes] == [("a.1", 0, 70), ("a.2", 100, 60)]
    assert any("0:02.8-0:04.0 shows another scene and is left out" in text for text in warnings)
    assert any("split into 2 clips" in text for text in warnings)


def test_nothing_but_short_pieces_is_refused(tmp_path, rooms):
    first, other = rooms
    track = _track(tmp_path, first[:30] + other + first[30:60])
    with pytest.raises(InputError, match="a.mp4: is cut at 0:01.2, 0:02.4; .*uncut"):
        split_takes(tmp_path / "a.mp4", 0, "a", track, [])


def _still(x: float, y: float, count: int = 60) -> VideoTrack:
    """A face 200 pixels high in a picture of 800 x 600."""
    rng = np.random.default_rng(0)
    points = np.tile(rng.uniform(0, 200, (478, 3)), (count, 1, 1)) + [x, y, 0]
    pictures = np.zeros((count, 18, 32, 3), np.uint8)
    return VideoTrack(points.astype(np.float32), np.zeros(count, bool), pictures, (800, 600))


def test_videos_of_one_size_share_their_crop_unless_the_head_is_elsewhere():
    videos = [Path("a.mp4"), Path("b.mp4")]
    takes = [Take("a", 0, 0, 60), Take("b", 1, 0, 60)]
    warnings: list[str] = []
    crop_takes(takes, [_still(280, 150), _still(300, 160)], videos, 256, warnings)
    assert takes[0].crop == takes[1].crop and not warnings
    crop_takes(takes, [_still(100, 150), _still(550, 160)], videos, 256, warnings)
    assert takes[0].crop[2] == takes[1].crop[2] and takes[0].crop[0] < takes[1].crop[0]
    assert "background cannot fit" in warnings[0]
