"""The step from chin to neck of the computer-made actor, and of what was done to it."""

import numpy as np
import pytest

from aed_nerfstudio.dataset.chin_line import colour_step, seam_places
from aed_nerfstudio.dataset.schema import HEAD, NECK
from aed_nerfstudio.evaluation.seam import Seam
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import perform
from aed_nerfstudio.synthetic.record import unseen_speech
from aed_nerfstudio.synthetic.scene import Scene


@pytest.fixture(scope="module")
def frames():
    scene, take = Scene(Actor(0), 128), perform(unseen_speech(2.0), 50)
    return [scene.render(take.units[k], take.poses[k]) for k in (20, 25, 30)]


def test_it_lies_between_chin_and_neck(frames):
    for frame in frames:
        inside, outside = seam_places(frame.landmarks, frame.parsing)
        assert len(inside) >= 8
        for places, label in ((inside, HEAD), (outside, NECK)):
            x, y = np.floor(places).astype(int).T
            assert (frame.parsing[y, x] == label).all()
        assert (outside[:, 1] > inside[:, 1]).mean() > 0.7  # the neck is below


def test_no_neck_no_seam(frames):
    bare = np.where(frames[0].parsing == NECK, 0, frames[0].parsing)
    places = seam_places(frames[0].landmarks, bare)
    assert len(places[0]) == 0 and np.isnan(colour_step(frames[0].image, places))
    seam = Seam(lambda k: places, 1)
    assert list(seam.watching([frames[0].image]))[0] is frames[0].image
    assert np.isnan(seam.mean()) and np.isnan(seam.over(seam))


def test_a_step_is_in_delta_e():
    places = np.array([[5.5, 5.5], [20.5, 6.5]]), np.array([[5.5, 30.5], [20.5, 36.5]])
    image = np.full((40, 40, 3), 119, np.uint8)  # L* 50
    assert colour_step(image, places) == pytest.approx(0, abs=1e-3)
    image[20:] = 94  # L* 40
    assert colour_step(image, places) == pytest.approx(10, abs=0.3)


def test_a_cut_under_the_chin_shows(frames):
    places = [seam_places(frame.landmarks, frame.parsing) for frame in frames]
    recorded, cut, same = (Seam(places.__getitem__, len(frames)) for _ in range(3))
    images = [frame.image for frame in frames]
    greyed = [np.where((f.parsing == NECK)[..., None], 90, f.image).astype(np.uint8) for f in frames]
    for seam, shown in ((recorded, images), (same, images), (cut, greyed)):
        assert sum(1 for _ in seam.watching(shown)) == len(frames)
    assert same.over(recorded) == 1 and cut.over(recorded) > 1.5 and recorded.mean() > 0
