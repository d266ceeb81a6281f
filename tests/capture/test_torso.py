"""The torso layer: no head in it, the neck goes on without a seam, edges are as transparent as in the picture."""

from __future__ import annotations

import numpy as np

from aed_nerfstudio.capture.background import Background
from aed_nerfstudio.capture.torso import torso_layer
from aed_nerfstudio.dataset.schema import HEAD, NECK, TORSO
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import HeadPose
from aed_nerfstudio.synthetic.scene import Scene

SIZE = 100


def _figure() -> tuple[np.ndarray, np.ndarray]:
    """A picture and its labels: blue room, brown cloth and neck, pale head."""
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[75:, 10:90], labels[10:60, 30:70], labels[60:75, 38:62] = TORSO, HEAD, NECK
    image = np.full((SIZE, SIZE, 3), (0, 0, 255), np.uint8)
    image[labels > 0] = (200, 150, 120)
    image[labels == HEAD] = (240, 220, 210)
    return image, labels


def test_neck_goes_on_under_the_head():
    rgba = torso_layer(*_figure())
    assert rgba.dtype == np.uint8 and rgba.shape == (SIZE, SIZE, 4)
    assert (rgba[80:, 20:80, 3] == 255).all() and (rgba[62:74, 42:58, 3] == 255).all()
    assert (rgba[52:59, 45:55, 3] == 255).all(), "the neck goes on under the head"
    assert (rgba[:40, :, 3] == 0).all() and (rgba[:70, :25, 3] == 0).all(), "and nowhere else"
    assert np.abs(rgba[52:72, 45:55, :3].astype(int) - (200, 150, 120)).max() < 45, "with its own colour"
    assert (rgba[rgba[..., 3] == 0] == 0).all()


def test_no_seam_below_the_chin():
    """The darkest of the chin's shadow is not carried along, nor does a line show where the made up part begins."""
    image, labels = _figure()
    image[60:62, 38:62] = (60, 40, 35)  # the chin's blur and shadow
    column = torso_layer(image, labels)[50:74, 50, :3].astype(int).sum(axis=1)
    assert np.abs(np.diff(column)).max() < 30 and column.min() > 330


def test_a_collar_that_hides_the_neck_goes_on_as_well():
    image, labels = _figure()
    labels[labels == NECK] = TORSO
    rgba = torso_layer(image, labels)
    assert (rgba[52:59, 45:55, 3] == 255).all()


def test_a_collar_between_leaves_no_gap():
    """A collar's ear stands before the neck, lower than the jaw elsewhere, and is taken for cloth."""
    image, labels = _figure()
    labels[60:64, 44:50], labels[64:75, 44:50] = HEAD, TORSO
    rgba = torso_layer(image, labels)
    assert (rgba[54:60, 41:59, 3] > 250).all()


def test_a_collar_beside_the_jaw_is_as_it_is_seen():
    """Up to the head's edge, and a little behind it; the neck is its own from below the chin's shadow on."""
    image, labels = _figure()
    labels[56:75, 28:40] = labels[56:75, 60:72] = TORSO
    labels[20:60, 30:70] = HEAD
    image[labels == TORSO] = (240, 240, 250)
    image[62:70, 41:59] = (150, 100, 80)  # a shadow on the neck
    rgba = torso_layer(image, labels)
    for side in (slice(31, 39), slice(61, 69)):
        assert (rgba[61:75, side] == (240, 240, 250, 255)).all()
        assert np.abs(rgba[59, side, :3].astype(int) - (240, 240, 250)).max() < 70
        assert (rgba[60, side, 3] == 255).all(), "it does not end where the head begins"
    assert (rgba[63:69, 43:57, :3] == (150, 100, 80)).all()


def test_a_tie_taken_for_neck_colours_nothing():
    image, labels = _figure()
    labels[75:90, 42:58] = NECK
    image[70:90, 42:58] = (190, 40, 60)
    made_up = torso_layer(image, labels)[52:58, 45:55, :3].astype(float)
    assert (made_up[..., 1] > 0.65 * made_up[..., 0]).all(), "skin's hue, not the tie's"


def test_the_made_up_neck_begins_as_the_neck_and_ends_as_lit_skin():
    """The neck is yellower than the chin, and as much as is seen of it is enough to tell."""
    image, labels = _figure()
    image[labels == NECK] = (200, 150, 105)
    image[labels == HEAD] = (240, 190, 165)
    made_up = torso_layer(image, labels)[48:60, 46:54, :3].astype(float)
    shade = made_up / made_up.sum(axis=-1, keepdims=True)
    neck, chin = (np.array(colour) / sum(colour) for colour in ((200, 150, 105), (240, 190, 165)))
    lowest, highest = shade[-1].mean(axis=0), shade[0].mean(axis=0)
    assert np.abs(lowest - neck).max() < 0.3 * np.abs(chin - neck).max(), "no step at the chin's line"
    assert np.abs(highest - chin).max() < 0.5 * np.abs(chin - neck).max()
    assert made_up.min(axis=(0, 1))[0] > 0.88 * 200, "not in the dark"


def test_the_made_up_neck_has_no_corners():
    rgba = torso_layer(*_figure())
    rows = (rgba[:60, 36:64, 3] > 127).argmax(axis=0)[2:-2]
    middle = rows[len(rows) // 2]
    assert rows[:2].min() > middle and rows[-2:].min() > middle


def test_slivers_beside_the_head_are_no_body():
    image, labels = _figure()
    labels[30:50, 70] = TORSO
    assert (torso_layer(image, labels)[25:52, 66:74, 3] == 0).all()


def test_nobody():
    image, labels = _figure()
    assert not torso_layer(image, np.zeros_like(labels)).any()
    assert not torso_layer(image, np.where(labels == HEAD, HEAD, 0).astype(np.uint8)).any()


def test_against_the_actor():
    scene = Scene(Actor(4), 192, 11)
    background = Background(scene.background, np.ones((192, 192), bool), np.ones((192, 192), np.float16),
                            np.full((2, 192, 192), 255, np.uint8), (96.0, 96.0), 0.0)  # fmt: skip
    for pose in (HeadPose(), HeadPose(9, -5, 3)):
        drawn = scene.render({"jawOpen": 0.3}, pose)
        rgba = torso_layer(drawn.image, drawn.parsing, background)
        outside = drawn.parsing != HEAD
        wrong = ((rgba[..., 3].astype(float) - drawn.torso[..., 3]) ** 2)[outside].mean()
        hard = ((255.0 * np.isin(drawn.parsing, (TORSO, NECK)) - drawn.torso[..., 3]) ** 2)[outside].mean()
        assert wrong < 0.85 * hard, "softer than the labels, and rightly so"
        # Over the known background it is the picture again.
        share = rgba[..., 3:] / 255
        shown = rgba[..., :3] * share + scene.background * (1 - share)
        assert np.abs(shown - drawn.image)[outside].mean() < 1.5
        # And where the head was lifted away, the neck's colours, not the face's or the room's.
        gone = (drawn.parsing == HEAD) & (rgba[..., 3] == 255)
        assert gone.sum() > 300
        neck = drawn.image[drawn.parsing == NECK].mean(axis=0)
        assert np.abs(rgba[gone][:, :3].mean(axis=0) - neck).max() < 45
        assert np.array_equal(rgba, torso_layer(drawn.image, drawn.parsing, background))
