"""Faces, landmarks and masks of the actor, with whichever MediaPipe is installed."""

from __future__ import annotations

import numpy as np
import pytest

from aed_nerfstudio.capture.landmarks import FaceTracker
from aed_nerfstudio.dataset.schema import BACKGROUND
from aed_nerfstudio.face.engine import engine_name, has_solutions, version
from aed_nerfstudio.face.face_finder import FaceFinder, _read_landmarks
from aed_nerfstudio.face.person_mask import PersonMask
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import HeadPose
from aed_nerfstudio.synthetic.scene import Scene

SIZE = 320
BLACK = np.zeros((180, 240, 3), np.uint8)


@pytest.fixture(scope="module")
def frames():
    """The actor who turns the head and opens the mouth."""
    scene = Scene(Actor(0), SIZE)
    return [scene.render({"jawOpen": 0.1 * k}, HeadPose(3.0 * k - 6, 2.0 * k - 4)) for k in range(5)]


def test_the_engine_is_named():
    assert engine_name().startswith(f"mediapipe {version()} face ") and "mesh" in engine_name() or not has_solutions()


@pytest.mark.parametrize("still", [True, False])
def test_landmarks_lie_on_the_face(frames, still):
    with FaceFinder(still) as finder:
        found = np.stack([finder.landmarks(frame.image) for frame in frames])
    truth = np.stack([frame.landmarks for frame in frames])
    assert found.dtype == np.float32 and found.shape == truth.shape == (5, 478, 3)
    assert np.linalg.norm(found[..., :2] - truth[..., :2], axis=-1).mean() < 0.006 * SIZE
    opening, true_opening = (x[:, 14, 1] - x[:, 13, 1] for x in (found, truth))
    assert np.corrcoef(opening, true_opening)[0, 1] > 0.85


def test_no_face(frames):
    with FaceFinder() as finder:
        assert finder.find(BLACK) == []
        assert finder.landmarks(BLACK).shape == (478, 3) and np.isnan(finder.landmarks(BLACK)).all()
        assert np.isfinite(finder.landmarks(frames[0].image)).all()


@pytest.mark.skipif(not has_solutions(), reason="needs MediaPipe 0.10.9's solutions")
def test_landmarks_are_those_of_mediapipes_own_messages(frames):
    from mediapipe.python.solutions.face_mesh import FaceMesh

    with FaceMesh(static_image_mode=True, refine_landmarks=True) as mesh, FaceFinder() as finder:
        (face,) = mesh.process(frames[1].image).multi_face_landmarks
        assert np.array_equal(
            finder.landmarks(frames[1].image), SIZE * np.float32([[p.x, p.y, p.z] for p in face.landmark])
        )
        with pytest.raises(ValueError, match="0.10.9"):
            _read_landmarks(face.SerializeToString()[:-17])
        face.landmark[7].visibility = 0.5
        with pytest.raises(ValueError):
            _read_landmarks(face.SerializeToString())


def test_several_faces(frames):
    both = np.concatenate([frames[1].image, frames[3].image], axis=1)
    with FaceFinder(max_faces=3) as finder:
        found = sorted(finder.find(both), key=lambda face: face[:, 0].mean())
    assert len(found) == 2
    for face, frame, left in zip(found, (frames[1], frames[3]), (0, SIZE), strict=True):
        assert np.linalg.norm(face[:, :2] - frame.landmarks[:, :2] - [left, 0], axis=-1).mean() < 0.015 * SIZE
    with FaceFinder() as finder:
        assert len(finder.find(both)) == 1


def test_a_small_face_is_followed_through_a_large_frame(frames):
    found, truth = [], []
    with FaceTracker() as tracker:
        for k, frame in enumerate([*frames, *frames[::-1]]):
            large = np.full((560, 900, 3), 90, np.uint8)
            left, top = 300 + 4 * k, 100 + 3 * k
            large[top : top + SIZE, left : left + SIZE] = frame.image
            found.append(tracker.track(large))
            truth.append(frame.landmarks[:, :2] + [left, top])
            assert not tracker.others
    assert not any(face is None for face in found)
    assert np.linalg.norm(np.stack(found)[..., :2] - truth, axis=-1).mean() < 0.006 * SIZE


def test_finders_live_beside_each_other_and_in_other_threads(frames):
    from concurrent.futures import ThreadPoolExecutor

    def look(_: int) -> np.ndarray:
        with FaceFinder() as finder:
            return finder.landmarks(frames[0].image)

    with ThreadPoolExecutor(3) as pool, FaceFinder() as finder:
        others = list(pool.map(look, range(3)))
        assert all(np.array_equal(other, finder.landmarks(frames[0].image)) for other in others)


def test_the_mask_is_the_person(frames):
    with PersonMask() as model:
        mask = model.probability(frames[2].image)
        nobody = model.probability(np.full((96, 96, 3), 128, np.uint8))
    assert mask.shape == (SIZE, SIZE) and mask.dtype == np.float32 and 0 <= mask.min() <= mask.max() <= 1
    person, truth = mask > 0.5, frames[2].parsing != BACKGROUND
    assert (person & truth).sum() / (person | truth).sum() > 0.9
    assert nobody.mean() < 0.5


def test_starting_is_quiet(frames, capfd):
    with FaceFinder() as finder, PersonMask() as model:
        finder.landmarks(frames[0].image)
        model.probability(frames[0].image)
    assert has_solutions() or capfd.readouterr().err == ""
