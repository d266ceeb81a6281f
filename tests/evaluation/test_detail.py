"""Sharpness and steadiness of the actor's frames, and of what was done to them."""

import cv2
import numpy as np
import pytest

from aed_nerfstudio.evaluation.detail import SHARPNESS, STEADINESS, Detail, gradient, luminance
from aed_nerfstudio.evaluation.regions import REGIONS, regions
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import perform
from aed_nerfstudio.synthetic.record import unseen_speech
from aed_nerfstudio.synthetic.scene import Scene

FOLLOWS = np.array([False, True, True, True, False, True, True, True])
"""Two takes."""


@pytest.fixture(scope="module")
def acted():
    """The frames of a take that speaks and moves, and the regions in them."""
    scene, take = Scene(Actor(0), 128), perform(unseen_speech(2.0), 50)
    frames = [scene.render(take.units[k], take.poses[k]) for k in range(20, 28)]
    return [frame.image for frame in frames], [regions(frame.landmarks, frame.parsing) for frame in frames]


def detail_of(images, masks, follows=FOLLOWS) -> Detail:
    found = Detail(masks.__getitem__, follows)
    assert sum(1 for _ in found.watching(images)) == len(images)
    return found


def over_recorded(acted, change, follows=FOLLOWS) -> tuple[np.ndarray, np.ndarray]:
    """Sharpness and steadiness of the frames that change(image, k) makes of the recorded ones, [regions] each."""
    images, masks = acted
    changed = [np.clip(change(image, k), 0, 255).astype(np.uint8) for k, image in enumerate(images)]
    found = detail_of(changed, masks, follows).over(detail_of(images, masks, follows))
    return np.array([found[name] for name in SHARPNESS]), np.array([found[name] for name in STEADINESS])


def brighter(image, by):
    return image.astype(int) + by


def test_the_gradient_is_in_grey_levels_a_pixel():
    ramp = np.tile(np.arange(0, 60, 3, dtype=np.uint8)[:, None, None], (1, 20, 3))
    assert luminance(ramp)[5] == pytest.approx(15)
    assert gradient(luminance(ramp))[1:-1, 1:-1] == pytest.approx(3)
    assert gradient(luminance(ramp.transpose(1, 0, 2)))[1:-1, 1:-1] == pytest.approx(3)


def test_the_gradient_is_the_same_wherever_a_picture_lies_in_memory(acted):
    bright = luminance(acted[0][0])
    room = np.empty(bright.size + 16, np.float32)
    for start in range(16):
        moved = room[start : start + bright.size].reshape(bright.shape)
        moved[:] = bright
        assert np.array_equal(gradient(moved), gradient(bright))


def test_the_same_sequence_is_as_sharp_and_as_steady(acted):
    for values in over_recorded(acted, lambda image, k: image):
        assert (values == 1).all()


def test_blur_shows_in_both_figures(acted):
    sharpness, steadiness = over_recorded(acted, lambda image, k: cv2.GaussianBlur(image, (0, 0), 2.0))
    assert (sharpness < 0.75).all() and (steadiness < 0.9).all()


def test_flicker_is_as_sharp_but_not_steady(acted):
    sharpness, steadiness = over_recorded(acted, lambda image, k: brighter(image, 8 * (-1) ** k))
    assert sharpness == pytest.approx(1, abs=0.03) and (steadiness > 1.5).all()


def test_a_picture_that_trembles_is_not_steady(acted):
    sharpness, steadiness = over_recorded(acted, lambda image, k: np.roll(image, k % 2, axis=(0, 1)))
    assert sharpness == pytest.approx(1, abs=0.15) and (steadiness > 1.2).all()


def test_a_still_picture_does_not_change(acted):
    _, steadiness = over_recorded(acted, lambda image, k: acted[0][0])
    assert (steadiness == 0).all()


def test_changes_of_brightness_count_four_times():
    grey = np.full((16, 16, 3), 100, np.uint8)
    masks = [dict.fromkeys(REGIONS, np.ones((16, 16), np.uint8))] * 3
    found = detail_of([grey + 5, grey - 5, grey + 5], masks, np.array([False, True, True])).means()
    assert [found[name] for name in STEADINESS] == pytest.approx([20] * len(REGIONS), rel=1e-4)
    assert [found[name] for name in SHARPNESS] == pytest.approx([0] * len(REGIONS), abs=1e-4)


def test_the_border_of_a_take_does_not_count(acted):
    def later(image, k):
        return brighter(image, -20 * (k >= 4))

    assert over_recorded(acted, later)[1] == pytest.approx(1, abs=0.03)
    joined = np.array([False, *[True] * 7])
    assert (over_recorded(acted, later, joined)[1] > 1.15).all()
    images, masks = acted
    known = np.isfinite(detail_of(images, masks).values[1]).all(axis=1)
    assert known.tolist() == [False, True, True, False] * 2


def test_what_is_not_there_has_no_figure(acted):
    images, masks = acted
    without = [{**mask, "torso": np.zeros_like(mask["torso"])} for mask in masks]
    found = detail_of(images, without)
    for figures in (found.means(), found.over(found)):
        assert [name for name, value in figures.items() if np.isnan(value)] == ["sharpness_torso", "steadiness_torso"]
    pairs = detail_of(images, masks, np.array([False, True] * 4)).means()
    assert all(np.isnan(pairs[name]) for name in STEADINESS) and all(pairs[name] > 0 for name in SHARPNESS)
