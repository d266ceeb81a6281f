"""The actor's landmarks lie on its surface: their depths are what the camera's are."""

from dataclasses import replace

import numpy as np
import pytest

from aed_nerfstudio.dataset.face_depth import LIPS_TRUST, USUAL_OFFSET, USUAL_SCALE, FaceDepth
from aed_nerfstudio.dataset.schema import Dataset, read_dataset
from aed_nerfstudio.face.face_mesh import INNER_LIPS, NOSE_TIP, OVAL, STABLE


@pytest.fixture(scope="module")
def recorded(data):
    return read_dataset(data)


class Told(Dataset):
    """A dataset whose landmarks say their depths as another person's would."""

    offset, scale = 0.0, 1.0

    def landmarks(self, clip):
        marks = super().landmarks(clip)
        poses = np.array([frame.camera_to_world for frame in self.frames if frame.clip == clip])
        away = np.einsum("fi,fi->f", poses[:, :3, 2], poses[:, :3, 3])[:, None]
        marks[..., 2] = (marks[..., 2] - self.offset * self.camera.fl_x / away) / self.scale
        return marks


def told(recorded, offset, scale, **changes):
    found = Told(**{**vars(recorded), **changes})
    found.offset, found.scale = offset, scale
    return found


@pytest.mark.parametrize(("offset", "scale"), [(0.0, 1.0), (-0.34, 0.6), (-0.2, 0.8)])
def test_a_turning_head_tells_the_two_numbers_of_a_person(recorded, offset, scale):
    found = FaceDepth.of(told(recorded, offset, scale))
    assert found.offset == pytest.approx(offset, abs=0.03) and found.scale == pytest.approx(scale, abs=0.05)
    true = FaceDepth.of(recorded)
    np.testing.assert_allclose(found.landmarks[:, STABLE], true.landmarks[:, STABLE], atol=0.02)


class Still(Dataset):
    """A dataset of a head that only trembles."""

    def landmarks(self, clip):
        marks = super().landmarks("neutral_strong")[:1].repeat(self.clip(clip).count, 0)
        return marks + np.random.default_rng(0).normal(0, 0.1, marks.shape).astype(np.float32)


def test_a_head_that_never_turns_is_taken_for_a_usual_one(recorded):
    frames = [replace(frame, camera_to_world=recorded.frames[0].camera_to_world) for frame in recorded.frames]
    found = FaceDepth.of(Still(**{**vars(recorded), "frames": frames}))
    assert found.offset == pytest.approx(USUAL_OFFSET, abs=0.05) and found.scale == pytest.approx(USUAL_SCALE, abs=0.1)


def test_rays_end_on_the_face(recorded):
    found, camera = FaceDepth.of(recorded), recorded.camera
    for k in (0, 40, 79):
        marks = recorded.landmarks(recorded.frames[k].clip)[recorded.frames[k].index].astype(float)
        pose = np.array(recorded.frames[k].camera_to_world)
        depth = pose[:3, 2] @ pose[:3, 3] * (1 + marks[:, 2] / camera.fl_x)
        place = np.column_stack([(marks[:, 0] - camera.cx), (marks[:, 1] - camera.cy)]) / camera.fl_x
        want = depth * np.sqrt(1 + np.square(place).sum(axis=1))
        inner = np.setdiff1d(STABLE, OVAL)
        x, y = marks[inner, :2].astype(int).T
        seen = found.distances(k, x, y)
        off = np.abs(seen - want[inner])
        assert np.isfinite(off).mean() > 0.9 and np.nanquantile(off, 0.9) < 0.06 and np.nanmedian(off) < 0.01
        assert np.nanargmin(seen) in np.flatnonzero(np.abs(x - marks[NOSE_TIP, 0]) < 4)
        assert np.isnan(found.distances(k, np.array([0, 63, 32]), np.array([0, 63, 2]))).all()


def test_an_open_mouth_has_no_surface(recorded):
    found = FaceDepth.of(recorded)
    opened = [np.ptp(marks[INNER_LIPS, 1]) for marks in found.landmarks]
    k = int(np.argmax(opened))
    assert opened[k] > 3
    x, y = found.landmarks[k, INNER_LIPS, :2].mean(axis=0).astype(int)
    assert np.isnan(found.distances(k, np.array([x]), np.array([y])))
    assert np.isfinite(found.distances(k, np.array([x]), np.array([y - 8])))


def test_lips_are_trusted_less_and_move_like_eyes_and_brows(recorded):
    found = FaceDepth.of(recorded)
    k = int(np.argmin([np.ptp(marks[INNER_LIPS, 1]) for marks in found.landmarks]))

    def at(*numbers: int) -> np.ndarray:
        return found.surface(k, *found.landmarks[k, list(numbers), :2].astype(int).T)

    skin, lips, moving = at(50, 280, 151), at(37, 267, 84, 314), at(105, 334, 159, 386)
    assert np.isfinite(np.concatenate([skin, lips, moving])).all()
    assert (skin[:, 1:] == (1, 1)).all()
    assert (lips[:, 1:] == (np.float32(LIPS_TRUST), 0)).all() and (moving[:, 1:] == (1, 0)).all()
    beside = found.surface(k, np.array([0]), np.array([0]))[0]
    assert np.isnan(beside[0]) and beside[2] == 0


def test_frames_and_folders_without_depths(recorded):
    frames = [replace(frame, usable=k != 3) for k, frame in enumerate(recorded.frames)]
    found = FaceDepth.of(told(recorded, 0.0, 1.0, frames=frames))
    assert np.isnan(found.distances(3, np.array([32]), np.array([32])))
    assert np.isfinite(found.distances(4, np.array([32]), np.array([32])))

    class Flat(Dataset):
        def landmarks(self, clip):
            return super().landmarks(clip) * np.array([1, 1, 0], np.float32)

    assert FaceDepth.of(Flat(**vars(recorded))) is None
