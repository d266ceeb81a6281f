"""Takes of another camera: found by head and room, cropped so that one camera fits all, or refused with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from aed_nerfstudio.capture.landmarks import head_crop, to_crop
from aed_nerfstudio.capture.take_cameras import beyond, by_camera, common_crops, compared, measure_heads, scene
from aed_nerfstudio.capture.takes import Take, crop_takes
from aed_nerfstudio.capture.tracking import THUMBNAIL, VideoTrack
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import head_motion
from aed_nerfstudio.synthetic.scene import Scene

SIZE, FRAMES = 96, 12


@dataclass
class _Camera:
    """Shows `zoom` times as large, `moved` by shares of the width, in another `room`, light and colour by `gain`; the
    person sits aside by `aside` dm."""

    zoom: float = 1.0
    moved: tuple[float, float] = (0.0, 0.0)
    room: int = 0
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    aside: float = 0.0
    motion: int = 1


def _track(camera: _Camera) -> VideoTrack:
    """What tracking finds in a take of the actor, landmarks being the true ones."""
    scene = Scene(Actor(0), round(SIZE * camera.zoom), camera.room)
    left, top = (round((scene.size - SIZE) / 2 - share * SIZE) for share in camera.moved)
    marks, thumbnails = [], []
    for pose in head_motion(FRAMES, camera.motion):
        pose.shift = (pose.shift[0] + camera.aside, *pose.shift[1:])
        drawn = scene.render({}, pose)
        wide = np.pad(drawn.image, ((SIZE, SIZE), (SIZE, SIZE), (0, 0)), "edge")
        seen = wide[SIZE + top :, SIZE + left :][:SIZE, :SIZE] * np.array(camera.gain)
        small = cv2.resize(np.clip(seen, 0, 255).astype(np.uint8), THUMBNAIL, interpolation=cv2.INTER_AREA)
        thumbnails.append(small)
        marks.append(drawn.landmarks - [left, top, 0])
    return VideoTrack(np.array(marks, np.float32), np.zeros(FRAMES, bool), np.array(thumbnails), (SIZE, SIZE))


@pytest.fixture(scope="module")
def usual() -> VideoTrack:
    return _track(_Camera())


def _cropped(*tracks: VideoTrack) -> tuple[list[Take], list[str]]:
    names, warnings = "abcd"[: len(tracks)], []
    takes = [Take(name, k, 0, FRAMES) for k, name in enumerate(names)]
    crop_takes(takes, list(tracks), [Path(f"{name}.mp4") for name in names], SIZE, warnings)
    return takes, warnings


@pytest.mark.parametrize("camera", [
    _Camera(motion=2),
    _Camera(motion=2, gain=(1.15, 1.0, 0.85)),
    _Camera(motion=2, aside=0.8),
    _Camera(motion=2, room=7),
], ids=["other motion", "other light", "sits aside", "other room"])  # fmt: skip
def test_one_camera_that_stood_still_keeps_its_crop(usual, camera):
    track = _track(camera)
    takes, warnings = _cropped(usual, track)
    shared = head_crop(np.concatenate([usual.landmarks, track.landmarks]), SIZE, SIZE)
    assert [take.crop for take in takes] == [shared, shared] and not warnings
    assert [take.as_dict()["zoom"] for take in takes] == [1, 1]


@pytest.mark.parametrize("camera", [
    _Camera(1.25, (0.1, 0.0), room=7, gain=(1.1, 1.0, 0.85), motion=2),
    _Camera(1.25, (0.1, 0.0), motion=2),
    _Camera(1.4, (0.0, 0.05), room=3, motion=2),
], ids=["other day", "same room", "closer"])  # fmt: skip
def test_zoom_and_place_of_another_camera_are_found(usual, camera):
    """The crops undo them: what is left is by how much the heads were held elsewhere."""
    track = _track(camera)
    takes, warnings = _cropped(usual, track)
    sides = [take.crop[2] for take in takes]
    assert sides[1] / sides[0] == pytest.approx(camera.zoom, rel=0.03)
    assert takes[1].zoom == pytest.approx(camera.zoom, rel=0.04) and takes[0].zoom == 1
    corner = (
        np.array(takes[1].crop[:2]) + (SIZE * camera.zoom - SIZE) / 2 - np.array(camera.moved) * SIZE
    ) / camera.zoom
    assert np.abs(corner - takes[0].crop[:2]).max() < 0.03 * SIZE
    assert max(beyond(take.crop, (SIZE, SIZE)) for take in takes) < 0.03
    views = [scene(VideoTrack(to_crop(t.landmarks, take.crop, SIZE), t.others, t.thumbnails, t.size), 0, FRAMES)
             for t, take in zip((usual, track), takes, strict=True)]  # fmt: skip
    measure_heads(views)
    zoom, moved = compared(*views)
    assert zoom == pytest.approx(1, abs=0.02) and np.abs(moved).max() < 0.02
    assert len(warnings) == 1 and "b: filmed by another camera or elsewhere: the head is 1." in warnings[0]


def test_takes_are_put_together_by_their_cameras(usual):
    other = _Camera(1.3, room=5)
    tracks = [usual, _track(other), _track(_Camera(motion=3)), _track(_Camera(1.3, room=5, motion=4))]
    views = [scene(track, 0, FRAMES) for track in tracks]
    measure_heads(views)
    assert by_camera(views) == [[0, 2], [1, 3]]
    first, second = common_crops([[views[0], views[2]], [views[1], views[3]]])
    assert second[2] / first[2] == pytest.approx(1.3, rel=0.03)


def test_a_size_of_its_own_is_a_camera_of_its_own(usual):
    doubled = VideoTrack(usual.landmarks * 2, usual.others, usual.thumbnails, (2 * SIZE, 2 * SIZE))
    takes, warnings = _cropped(usual, doubled)
    assert takes[1].crop == pytest.approx([2 * v for v in takes[0].crop], abs=2)
    assert takes[1].zoom == pytest.approx(1, abs=0.01) and len(warnings) == 1


def test_a_head_at_the_border_is_refused(usual):
    with pytest.raises(InputError, match=r"b.mp4: the head is so near to the border.* is missing; film it with"):
        _cropped(usual, _track(_Camera(1.3, (0.35, 0.0), room=7)))
