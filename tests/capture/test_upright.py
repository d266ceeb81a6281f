"""A face that lies on its side or upside down is found, one that is only tilted is not; on the actor."""

from __future__ import annotations

import numpy as np
import pytest

from aed_nerfstudio.capture.run import ProcessOptions, process_videos
from aed_nerfstudio.capture.upright import LOOKED_AT, FewPictures, roll, turn_command, turned
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.face_finder import FaceFinder
from aed_nerfstudio.media.video_writer import VideoWriter
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.scene import HeadPose, Scene


@pytest.fixture(scope="module", params=[0, 5])
def scene(request) -> Scene:
    return Scene(Actor(request.param), 256, 3)


def _pictures(scene: Scene, pitch: float = 0.0, tilt: float = 0.0) -> list[np.ndarray]:
    poses = [HeadPose(yaw=6 * k, pitch=pitch, roll=tilt) for k in (-1, 0, 1)]
    return [scene.render({"jawOpen": 0.3}, pose, landmarks=False).image for pose in poses]


def _turned(pictures: list[np.ndarray]) -> int | None:
    """With the landmarks that are found in the pictures as they are."""
    with FaceFinder() as finder:
        landmarks = [finder.landmarks(picture) for picture in pictures]
    return turned(pictures, landmarks)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_face_that_lies_is_found(scene, quarters):
    assert _turned([np.ascontiguousarray(np.rot90(picture, -quarters)) for picture in _pictures(scene)]) == quarters


def test_a_picture_that_is_mirrored_upside_down_is_found(scene):
    assert _turned([np.ascontiguousarray(picture[::-1]) for picture in _pictures(scene)]) == 2


@pytest.mark.parametrize(("pitch", "tilt"), [(0, 0), (30, 0), (-30, 0), (0, 30), (0, -30)])
def test_a_tilted_head_stands_upright(scene, pitch, tilt):
    assert not _turned(_pictures(scene, pitch, tilt))


def test_without_a_face_nothing_is_said():
    assert turned([np.full((96, 96, 3), 90, np.uint8)] * 3, [np.full((478, 3), np.nan, np.float32)] * 3) is None


def test_the_turn_has_its_sign():
    points = np.zeros((478, 3))
    for chin, degrees in (((0, 1), 0), ((-1, 0), 90), ((1, 0), -90)):
        points[152, :2] = chin
        assert roll(points) == pytest.approx(degrees)
    assert "transpose=2" in turn_command(1) and "transpose=1" in turn_command(-1)


@pytest.mark.parametrize("count", [1, 5, 300])
def test_a_few_evenly_spread_pictures_are_kept(count):
    few = FewPictures()
    frames = [np.full(1, k) for k in range(count)]
    assert list(few.watch(frames)) == frames
    assert min(count, LOOKED_AT) <= len(few.kept) <= 2 * LOOKED_AT and all(few.kept[k][0] == k for k in few.kept)
    assert max(few.kept) >= 0.8 * (count - 1)


def test_a_video_that_is_upside_down_is_refused_with_its_mend(tmp_path):
    path = tmp_path / "lying.mp4"
    pictures = _pictures(Scene(Actor(4), 256, 3))
    with VideoWriter(path, 25, (256, 256)) as writer:
        for k in range(60):
            writer.write(np.ascontiguousarray(pictures[k // 20][::-1]))
    with pytest.raises(InputError, match=r"lying.mp4: the face lies upside down; turn the video with .*hflip,vflip"):
        process_videos([path], tmp_path / "out", ProcessOptions(96, front_end="none"), progress=False)
