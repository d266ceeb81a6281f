"""Blur, covered mouths and covered eyes, found on the actor: in single frames, and in all of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from aed_nerfstudio.capture.quality import (
    BLURRED,
    DETAILED,
    ClipView,
    clip_view,
    eyes_covered,
    face_detail,
    measure_frame,
    mouth_covered,
    relative_sharpness,
    seen_open,
)
from aed_nerfstudio.dataset.schema import FPS
from aed_nerfstudio.face.face_finder import FaceFinder
from aed_nerfstudio.face.face_mesh import mouth_opening
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import perform
from aed_nerfstudio.synthetic.record import unseen_speech
from aed_nerfstudio.synthetic.scene import Scene

FRAMES = 80
SIZE = 256
HIDDEN = slice(40, 52)


def _hand(image: np.ndarray, centre: np.ndarray, size: float, colour: np.ndarray) -> np.ndarray:
    """Four fingers and a back of a hand in the skin's colour."""
    out = image.copy()
    for k in range(4):
        place = centre + size * np.array([0.35 * (k - 1.5), -0.25])
        cv2.ellipse(out, place.astype(int).tolist(), (int(0.16 * size), int(0.6 * size)), 8, 0, 360,
                    (colour * (1 - 0.12 * (k % 2))).tolist(), -1, cv2.LINE_AA)  # fmt: skip
    cv2.ellipse(out, (centre + [0, 0.45 * size]).astype(int).tolist(), (int(0.8 * size), int(0.5 * size)), 0, 0, 360,
                (0.9 * colour).tolist(), -1, cv2.LINE_AA)  # fmt: skip
    return out


@pytest.fixture(scope="module", params=[0, 4])
def take(request):
    scene = Scene(Actor(request.param), SIZE, 3)
    acted = perform(unseen_speech(FRAMES / FPS), FRAMES, "happy", "strong", seed=5)
    drawn = [scene.render(units, pose) for units, pose in zip(acted.units, acted.poses, strict=True)]
    return [d.image for d in drawn], [d.landmarks for d in drawn], scene.actor.palette[0]


def _measured(images, marks) -> dict[str, np.ndarray]:
    """What `measure_frame` says of all frames, by name."""
    measures = [vars(measure_frame(image, points)) for image, points in zip(images, marks, strict=True)]
    return {name: np.array([m[name] for m in measures]) for name in measures[0]}


def _mouth_covered(measures: dict[str, np.ndarray]) -> np.ndarray:
    usable = np.ones(len(measures["lips"]), bool)
    return mouth_covered(measures["lips"], usable, seen_open(measures["inside"], measures["opening"], usable))


def _view(images, marks) -> ClipView:
    return clip_view(_measured(images, marks), np.ones(len(images), bool))


def test_talking_and_blinking_cover_nothing(take):
    measures = _measured(*take[:2])
    usable = np.ones(FRAMES, bool)
    assert not _mouth_covered(measures).any() and not eyes_covered(measures["patch"], usable).any()
    assert clip_view(measures, usable) == ClipView(1.0, "open", True)
    assert clip_view(measures, ~usable) is None


def test_a_hand_over_the_mouth_is_found(take):
    images, marks, skin = take
    images = list(images)
    for k in range(*HIDDEN.indices(FRAMES)):
        images[k] = _hand(images[k], marks[k][13, :2], 0.45 * np.ptp(marks[k][:, 0]), skin)
    found = _mouth_covered(_measured(images, marks))
    assert found[HIDDEN].all() and not np.delete(found, HIDDEN).any()


def test_something_dark_over_the_eyes_is_found(take):
    images, marks, _ = take
    images = [image.copy() for image in images]
    for k in range(*HIDDEN.indices(FRAMES)):
        a, b = marks[k][127, :2], marks[k][356, :2]
        width = int(0.2 * np.linalg.norm(b - a))
        cv2.line(images[k], a.astype(int).tolist(), b.astype(int).tolist(), (20, 20, 20), width)
    found = eyes_covered(_measured(images, marks)["patch"], np.ones(FRAMES, bool))
    assert found[HIDDEN].all() and not np.delete(found, HIDDEN).any()


def test_blur_is_relative_to_the_clip(take):
    images, marks, _ = take
    usable = np.ones(FRAMES, bool)
    usable[3] = False
    images = [cv2.GaussianBlur(image, (0, 0), 2) if k in (10, 11) else image for k, image in enumerate(images)]
    sharpness = np.array([measure_frame(image, m).sharpness for image, m in zip(images, marks, strict=True)])
    shares = relative_sharpness(sharpness, usable)
    assert (np.flatnonzero(shares < BLURRED) == [10, 11]).all() and shares[3] == 1


SOME = range(0, FRAMES, 8)


def _shown(images) -> tuple[list, list]:
    """The pictures in which a face is found, and its landmarks: what MediaPipe makes up over a cover."""
    with FaceFinder() as finder:
        found = [(image, finder.landmarks(image)) for image in images]
    return [image for image, _ in found], [points for _, points in found]


def _below_the_nose(image: np.ndarray, points: np.ndarray, colour) -> np.ndarray:
    """A cover from the nose to the chin; colour: RGB, or a picture."""
    out = image.copy()
    (left, top), (right, bottom) = points[[205, 425], :2].astype(int) + [[-8, -4], [8, 0]]
    bottom = int(points[152, 1])
    part = out[top:bottom, left:right]
    part[:] = colour if np.ndim(colour) == 1 else np.asarray(colour)[: part.shape[0], : part.shape[1]]
    return out


COVERS = {
    "white": (255, 255, 255),
    "red": (190, 40, 45),
    "skin": None,
    "checked": np.kron(np.indices((40, 40)).sum(0) % 2, np.ones((6, 6)))[..., None] * [180, 160, 60] + 40,
    "shaded": np.linspace(210, 150, 256)[:, None, None] + np.random.default_rng(0).normal(0, 4, (256, 256, 1)),
}


@pytest.mark.parametrize("name", COVERS)
def test_a_mouth_that_is_covered_all_the_time_is_unseen(take, name):
    images, marks, skin = take
    colour = skin if COVERS[name] is None else COVERS[name]
    covered = [_below_the_nose(images[k], marks[k], colour) for k in SOME]
    assert _view(*_shown(covered)).mouth == "unseen"


def test_a_hand_held_there_all_the_time_is_unseen_too(take):
    images, marks, skin = take
    covered = [_hand(images[k], marks[k][13, :2], 0.5 * np.ptp(marks[k][:, 0]), skin) for k in SOME]
    assert _view(*_shown(covered)).mouth == "unseen"


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image // 3,
        lambda image: cv2.GaussianBlur(image, (0, 0), 1.2),
        lambda image: cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB),
        lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 15])[1], 1),
    ],
    ids=["dark", "soft", "grey", "compressed"],
)
def test_a_mouth_in_poor_pictures_is_seen(take, change):
    images, marks, _ = take
    assert _view([change(images[k]) for k in SOME], [marks[k] for k in SOME]).mouth == "open"


def test_lips_that_never_part_are_seen_as_closed(take):
    images, marks, _ = take
    shut = [k for k in range(FRAMES) if mouth_opening(marks[k]) < 0.02 * np.ptp(marks[k][:, 1])][:12]
    assert len(shut) > 5 and _view([images[k] for k in shut], [marks[k] for k in shut]).mouth == "closed"


def test_most_frames_may_be_covered(take):
    images, marks, skin = take
    images = [_hand(image, points[13, :2], 0.45 * np.ptp(points[:, 0]), skin) if k % 5 else image
              for k, (image, points) in enumerate(zip(images, marks, strict=True))]  # fmt: skip
    found = _mouth_covered(_measured(images, marks))
    assert found[np.arange(FRAMES) % 5 > 0].mean() > 0.95 and not found[::5].any()


@pytest.mark.parametrize("colour", [(15, 15, 18), (70, 45, 30), (245, 245, 245)])
def test_eyes_that_are_covered_all_the_time_are_unseen(take, colour):
    images, marks, _ = take
    images = [images[k].copy() for k in SOME]
    for image, points in zip(images, [marks[k] for k in SOME], strict=True):
        for iris in (468, 473):
            cv2.circle(image, points[iris, :2].astype(int).tolist(), int(0.17 * np.ptp(points[:, 0])), colour, -1)
    found = _view(images, [marks[k] for k in SOME])
    assert not found.eyes and found.mouth == "open"


@pytest.mark.parametrize(("sigma", "low", "high"), [(0.0, 1.0, 1.0), (2.0, 0.25, DETAILED[0]), (5.0, 0.0, DETAILED[1])])
def test_blur_that_never_ends_is_measured(take, sigma, low, high):
    images, marks, _ = take
    soft = [cv2.GaussianBlur(images[k], (0, 0), sigma) if sigma else images[k] for k in SOME]
    assert low <= _view(soft, [marks[k] for k in SOME]).detail <= high


def test_a_small_face_that_is_enlarged_is_soft(take):
    image, points = take[0][0], take[1][0]
    small = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (512, 512), interpolation=cv2.INTER_CUBIC)
    assert face_detail(small, points / 4) == 1 and face_detail(large, points * 2) < DETAILED[0]
