"""The synthetic actor's recordings: whole, exact, tied to the sound, and the same for the same seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.dataset.schema import HEAD, read_dataset, read_image
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.face_mesh import mouth_opening
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import HeadPose, emotion_units, perform, speech_level
from aed_nerfstudio.synthetic.postures import PITCHES, postures
from aed_nerfstudio.synthetic.record import record_dataset, record_video, training_speech, unseen_speech
from aed_nerfstudio.synthetic.scene import DECIMETRES_PER_UNIT, Scene
from aed_nerfstudio.synthetic.truth import Truth


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("actor") / "data"
    record_dataset(
        root, size=96, clip_seconds=0.6, emotions=["neutral", "happy"], intensities=["strong"], progress=False
    )
    return read_dataset(root)


@pytest.fixture(scope="module")
def scene():
    return Scene(Actor(0), 160)


def test_a_recording_is_a_whole_dataset(dataset):
    assert [c.name for c in dataset.clips] == ["neutral_strong", "happy_strong"]
    assert len(dataset.frames) == 30
    frame = dataset.frames[20]
    image, parsing, torso = (read_image(dataset.path(k, frame)) for k in ("images", "parsing", "torso"))
    assert image.shape == (96, 96, 3) and parsing.shape == (96, 96) and torso.shape == (96, 96, 4)
    assert set(np.unique(parsing)) == {0, 1, 2, 3}
    marks = dataset.landmarks(frame.clip)[frame.index]
    x, y = marks[:, :2].astype(int).T
    assert (parsing[y, x] == HEAD).mean() > 0.95
    for box in (frame.face_box, frame.lips_box):
        assert 0 <= box[0] < box[2] <= 96 and 0 <= box[1] < box[3] <= 96


def test_a_folder_with_something_in_it_is_left_alone(dataset):
    with pytest.raises(InputError, match="already exists"):
        record_dataset(dataset.root)
    assert (dataset.root / "dataset.json").exists()


def test_still_face_landmarks_are_fixed_points_of_the_head_frame(scene):
    index, weight = scene.landmark_map()
    fixed = ((scene.actor.deform({})[index] * weight[..., None]).sum(1) - scene.actor.origin) / DECIMETRES_PER_UNIT
    camera = scene.camera
    for pose in (HeadPose(), HeadPose(12, -6, 4, (0.1, 0.05, -0.1)), HeadPose(-10, 5, -3)):
        drawn = scene.render({}, pose)
        seen = (np.linalg.inv(drawn.camera_to_world) @ np.r_[fixed[168], 1.0])[:3]
        pixel = [camera.cx - camera.fl_x * seen[0] / seen[2], camera.cy + camera.fl_y * seen[1] / seen[2]]
        assert np.linalg.norm(pixel - drawn.landmarks[168, :2]) < 1.0


def test_a_person_looking_left_turns_towards_image_right(scene):
    straight, turned = (scene.render({}, HeadPose(yaw=y)).landmarks for y in (0, 12))
    assert turned[1, 0] > straight[1, 0] + 3
    assert straight[263, 0] > straight[33, 0]  # the person's left eye


def test_the_mouth_opens_with_the_sound(scene):
    frames = 100
    samples = training_speech()[: frames * SAMPLE_RATE // 25]
    take = perform(samples, frames)
    opening = []
    for units, pose in zip(take.units, take.poses, strict=True):
        vertices = scene.pose_vertices(scene.actor.deform(units), pose)
        opening.append(mouth_opening(scene.landmarks(vertices, pose)))
    level, _ = speech_level(samples, frames)
    assert np.corrcoef(opening, level)[0, 1] > 0.85
    assert np.max(opening) > 4 * max(np.min(opening), 0.5)


def test_the_same_seed_gives_the_same_pixels(scene):
    samples = training_speech()[:16000]
    first, again, other = (perform(samples, 10, "sad", "weak", seed=s) for s in (3, 3, 4))
    a = scene.render(first.units[9], first.poses[9])
    b = Scene(Actor(0), 160).render(again.units[9], again.poses[9])
    assert np.array_equal(a.image, b.image) and np.array_equal(a.torso, b.torso)
    assert not np.array_equal(a.image, scene.render(other.units[9], other.poses[9]).image)


def test_neutral_has_no_intensity_and_the_others_have():
    samples = training_speech()[:16000]
    assert perform(samples, 20, "neutral", "weak").units == perform(samples, 20, "neutral", "strong").units
    weak, strong = emotion_units("happy", "weak"), emotion_units("happy", "strong")
    assert all(weak[name] < strong[name] for name in strong)
    with pytest.raises(InputError, match="unknown emotion"):
        perform(samples, 20, "bored")


@pytest.mark.parametrize("identity", [0, 3])  # 3 has a slim neck
def test_the_torso_picture_is_the_frame_but_for_the_head(identity):
    scene = Scene(Actor(identity), 160)
    drawn = scene.render({}, HeadPose(yaw=8))
    alpha = drawn.torso[..., 3:] / 255
    whole = drawn.torso[..., :3] * alpha + scene.background * (1 - alpha)
    apart = ~binary_dilation(drawn.parsing == HEAD, np.ones((3, 3)))
    assert np.abs(whole - drawn.image)[apart].max() < 2
    assert (alpha[drawn.parsing == HEAD] > 0.5).sum() > 100  # the neck goes on behind the head


def test_unseen_speech_is_the_last_ten_seconds():
    assert unseen_speech(2.0).shape == (32000,)
    with pytest.raises(InputError):
        unseen_speech(11)


def test_a_video_comes_with_its_truth(tmp_path):
    truth = record_video(tmp_path / "a.mp4", seconds=0.4, size=96)
    assert (tmp_path / "a.mp4").stat().st_size > 1000
    saved = np.load(tmp_path / "a.npz")
    assert saved["landmarks"].shape == (10, 478, 3) and saved["camera_to_world"].shape == (10, 4, 4)
    assert np.array_equal(saved["mouth_opening"], truth["mouth_opening"])


def test_every_take_has_a_posture_of_its_own():
    emotions = ["neutral", "happy", "sad", "angry", "fearful", "happy", "sad", "angry"]
    held = postures(emotions)
    assert sorted(pose.pitch for pose in held) == sorted(PITCHES)
    assert held[0].pitch == -3 and held == postures(emotions) != postures(emotions, seed=1)
    assert [pose.pitch for pose in postures(["happy"])] == [-2.5]
    many = postures(["neutral", "happy", "sad"] * 5)
    assert len({pose.pitch for pose in many}) == 15
    assert {min(PITCHES), max(PITCHES)} <= {pose.pitch for pose in many}
    assert max(abs(pose.pitch) for pose in many[::3]) < 5


def test_a_head_in_a_posture_hardly_moves():
    posture = HeadPose(3, 19, -2)
    angles = np.array([(p.yaw, p.pitch, p.roll) for p in perform(np.zeros(16000), 100, posture=posture).poses])
    assert 0.5 < np.abs(angles - (3, 19, -2)).max() <= 1


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    root = tmp_path_factory.mktemp("postures") / "data"
    emotions = ["neutral", "fearful", "sad"]
    record_dataset(
        root, size=96, clip_seconds=0.4, emotions=emotions, intensities=["strong"], identity=3, postures=True,
        progress=False,
    )  # fmt: skip
    return read_dataset(root)


def test_the_truth_acts_a_recorded_frame_again(held):
    truth, expected = Truth(held), postures(["neutral", "fearful", "sad"])
    for clip, posture in zip(held.clips, expected, strict=True):
        frame = next(f for f in held.frames if f.clip == clip.name and f.index == 7)
        assert abs(truth.pose(frame).pitch - posture.pitch) < 1
        again = truth.render(frame, clip.emotion, clip.intensity)
        assert np.abs(again.landmarks - held.landmarks(clip.name)[7]).max() < 0.01
        assert np.abs(again.image.astype(int) - held.image(frame)).mean() < 2.5  # JPEG's
        assert again.face_box == frame.face_box
        assert 0.5 < again.face.sum() / again.face[slice(*again.face_box[1::2]), slice(*again.face_box[::2])].size


def test_the_truth_knows_every_emotion_in_every_pose(held):
    truth = Truth(held)
    frame = next(f for f in held.frames if f.clip == "sad_strong")
    sad, fearful = (truth.render(frame, emotion) for emotion in ("sad", "fearful"))
    assert np.array_equal(sad.camera_to_world, fearful.camera_to_world)
    assert np.abs(sad.image.astype(int) - fearful.image)[sad.face].max() > 30
    turned = truth.render(frame, "sad", pose=HeadPose(yaw=12))
    assert turned.landmarks[1, 0] > sad.landmarks[1, 0] + 2
    found = truth.scene.pose_of(turned.camera_to_world)
    assert (found.yaw, found.pitch, found.roll) == pytest.approx((12, 0, 0), abs=1e-6)
    with pytest.raises(InputError, match="unknown emotion"):
        truth.render(frame, "bored")


def test_nobody_else_is_acted_anew(held):
    with pytest.raises(InputError, match="not recorded of the synthetic actor"):
        Truth(replace(held, tools={"parser": "somebody"}))
