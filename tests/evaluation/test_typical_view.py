"""Pictures of the actor in any pose, seen from that of another, are the pictures that were drawn there."""

import numpy as np
import pytest

from aed_nerfstudio.avatar.portrait import Portrait
from aed_nerfstudio.dataset.schema import Dataset, read_dataset
from aed_nerfstudio.evaluation.image_metrics import psnr
from aed_nerfstudio.evaluation.typical_view import TypicalView
from aed_nerfstudio.synthetic.scene import HeadPose
from aed_nerfstudio.synthetic.truth import Truth


class Flat(Dataset):
    """A dataset whose landmarks have no depths, as RAD-NeRF's folders."""

    def landmarks(self, clip):
        return super().landmarks(clip) * [1, 1, 0]


@pytest.fixture(scope="module")
def recorded(data):
    return read_dataset(data)


def test_a_turned_face_is_seen_from_the_typical_pose(recorded):
    motion, truth = Portrait.of(recorded).motion, Truth(recorded)
    view = TypicalView.of(recorded, motion)
    frame = recorded.frames[0]
    there = truth.scene.pose_of(np.vstack([motion.typical_pose, [0, 0, 0, 1]]))
    drawn = truth.render(frame, "happy", "strong", pose=there)
    turned = HeadPose(there.yaw + 6, there.pitch + 15, there.roll, there.shift)
    other = truth.render(frame, "happy", "strong", pose=turned)
    (shown,) = view([other.image], [other.camera_to_world[:3]])
    assert psnr(shown, drawn.image, drawn.face_box) > psnr(other.image, drawn.image, drawn.face_box) + 3
    assert view.turns(np.ones((2, 3), np.float32)) == pytest.approx(0)


def test_a_picture_from_there_stays_as_it_is(recorded):
    motion = Portrait.of(recorded).motion
    image = recorded.image(recorded.frames[0])
    (shown,) = TypicalView.of(recorded, motion)([image], [motion.typical_pose])
    assert np.abs(shown.astype(int) - image).max() <= 2


def test_without_depths_pictures_stay_as_they_are(recorded):
    view = TypicalView.of(Flat(**vars(recorded)), Portrait.of(recorded).motion)
    image = recorded.image(recorded.frames[0])
    (shown,) = view([image], [np.eye(4)[:3]])
    assert shown is image
    assert view.turns(np.ones((2, 3), np.float32)) == pytest.approx(1)
