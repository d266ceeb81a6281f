"""Where regions are in frames of the actor, whose parsing and landmarks are known."""

import cv2
import numpy as np
import pytest

from aed_nerfstudio.dataset.schema import HEAD, TORSO
from aed_nerfstudio.evaluation.regions import OUTLINE, REGIONS, regions
from aed_nerfstudio.face.face_68 import from_68, to_68
from aed_nerfstudio.face.face_mesh import CHIN, IRISES, NOSE_TIP
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import HeadPose
from aed_nerfstudio.synthetic.scene import Scene


@pytest.fixture(scope="module")
def face():
    return Scene(Actor(0), 192).render({"jawOpen": 0.4}, HeadPose())


@pytest.fixture(scope="module")
def found(face):
    return regions(face.landmarks, face.parsing)


def inside(mask, point) -> bool:
    return bool(mask[round(float(point[1])), round(float(point[0]))])


def test_every_region_is_a_part_of_the_frame(found):
    assert set(found) == set(REGIONS)
    for mask in found.values():
        assert set(np.unique(mask)) == {0, 1} and mask.mean() < 0.3


def test_the_face_is_of_the_head_and_has_eyes_and_mouth_in_it(face, found):
    assert (face.parsing[found["face"] > 0] == HEAD).mean() > 0.98
    for name in ("eyes", "mouth"):
        assert found["face"][found[name] > 0].mean() > 0.98
    assert not (found["eyes"] & found["mouth"]).any()
    points = face.landmarks
    for iris, *corners in IRISES:
        assert all(inside(found["eyes"], points[k]) for k in (iris, *corners))
    for k in (0, 13, 14, 17, 61, 291):
        assert inside(found["mouth"], points[k])
    for k in (CHIN, NOSE_TIP):
        assert not inside(found["mouth"], points[k]) and not inside(found["eyes"], points[k])


def test_the_torsos_outline_is_a_band_along_its_border(face, found):
    torso = (face.parsing == TORSO).astype(np.uint8)
    width = np.linalg.norm(face.landmarks[234, :2] - face.landmarks[454, :2])
    deep = cv2.distanceTransform(torso, cv2.DIST_C, 3) + cv2.distanceTransform(1 - torso, cv2.DIST_C, 3)
    assert ((deep <= round(OUTLINE * width)) == (found["torso"] > 0)).all()
    assert 0.3 < torso[found["torso"] > 0].mean() < 0.7
    assert not regions(face.landmarks, np.full_like(face.parsing, HEAD))["torso"].any()


def test_landmarks_that_come_from_68_points_have_the_same_regions(face, found):
    others = regions(from_68(to_68(face.landmarks)), face.parsing)
    for name, mask in found.items():
        assert (mask & others[name]).sum() > 0.85 * (mask | others[name]).sum()
