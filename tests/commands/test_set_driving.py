"""`aed set-driving` and nerfstudio's own ns-render: what is rendered is what the config says, frame by frame."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from nerfstudio.cameras.camera_paths import get_interpolated_camera_path, get_path_from_json, get_spiral_path
from nerfstudio.cameras.cameras import Cameras, CameraType
from nerfstudio.scripts.render import DatasetRender, RenderCameraPath, RenderInterpolated, SpiralRender
from nerfstudio.utils.eval_utils import eval_setup
from nerfstudio.viewer.utils import CameraState, get_camera
from PIL import Image
from scipy.spatial.transform import Rotation

from aed_nerfstudio.avatar.avatar import Avatar, to_uint8
from aed_nerfstudio.commands.set_driving import SetDriving
from aed_nerfstudio.dataset.schema import read_image, write_image
from aed_nerfstudio.driving.track import DrivingTrack
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.loading import read_run
from aed_nerfstudio.media.audio_io import write_wav
from aed_nerfstudio.media.video_reader import probe
from aed_nerfstudio.nerfstudio_plugin.camera_driver import SILENT_FRAMES
from aed_nerfstudio.synthetic.record import unseen_speech

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="ns-render needs the ffmpeg program for paths, even for images"
)
FRAMES = 8
GREEN = (0, 177, 64)


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "speech.wav"
    write_wav(path, unseen_speech(1.0)[-FRAMES * 640 :])
    return path


@pytest.fixture(scope="module")
def driven(run, speech) -> Path:
    """A copy of the run's config that speaks, happily, before green, frame after frame."""
    SetDriving(
        load_config=run / "config.yml", name="speaks", audio=speech, emotion="happy", background="#00b140"
    ).main()
    return run / "speaks.yml"


@pytest.fixture(scope="module")
def timed(driven) -> Path:
    """The same, following the cameras' times."""
    SetDriving(load_config=driven, name="timed", clock="times").main()
    return driven.with_name("timed.yml")


@pytest.fixture(scope="module")
def model(timed):
    return eval_setup(timed)[1].model


@pytest.fixture
def start(model):
    """As if the model had been loaded just now."""
    model.camera_driver.played = 0
    return model


def backdrop(model) -> torch.Tensor:
    """What its config says is behind the avatar, [H, W, 3]."""
    camera = Cameras(torch.eye(4)[None, :3], 64.0, 64.0, 32.0, 32.0)
    return model.camera_driver.background_for(camera, model.device)


def path_file(folder: Path, poses: list, times: list[float] | None, size: int = 40) -> Path:
    """A camera path as the viewer's Render tab saves it."""
    cameras = [
        {"camera_to_world": np.vstack([pose, [0, 0, 0, 1]]).flatten().tolist(), "fov": 27.0, "aspect": 1.0}
        | ({} if times is None else {"render_time": times[k]})
        for k, pose in enumerate(poses)
    ]
    about = {"camera_type": "perspective", "render_height": size, "render_width": size, "fps": 25}
    path = folder / "path.json"
    path.write_text(json.dumps({**about, "seconds": len(poses) / 25, "camera_path": cameras}))
    return path


def rendered(folder: Path) -> list[np.ndarray]:
    return [read_image(path) for path in sorted(folder.rglob("*.png"))]


def assert_same(found: np.ndarray, expected: torch.Tensor) -> None:
    """Equal up to rounding: nerfstudio's writer and ours round otherwise."""
    assert np.abs(found.astype(int) - to_uint8(expected)).max() <= 1


@needs_ffmpeg
def test_a_camera_path_follows_its_times_as_the_viewer_does(timed, start, tmp_path):
    poses = [start.track[k].head_pose for k in (2, 9, 16)]
    path = path_file(tmp_path, poses, [0.0, 0.45, 1.02])  # the viewer's splines overshoot
    RenderCameraPath(timed, tmp_path / "out.mp4", "png", camera_path_filename=path, output_format="images").main()
    images = rendered(tmp_path / "out")
    assert len(images) == 3
    for image, pose, time, frame in zip(images, poses, [0.0, 0.45, 1.02], [0, 3, FRAMES - 1], strict=True):
        state = CameraState(np.deg2rad(27.0), 1.0, torch.from_numpy(pose), CameraType.PERSPECTIVE, time)
        seen = get_camera(state, 40)  # nerfstudio's camera of what a browser shows
        assert_same(image, start.get_outputs_for_camera(seen)["rgb"])
        condition = start.camera_driver.condition(seen)
        assert np.array_equal(condition.audio, start.camera_driver.track[frame].audio)
        np.testing.assert_allclose(condition.head_pose, pose, atol=1e-6)
        assert np.array_equal(condition.emotion, start.portrait.vocabulary.encode("happy"))
    assert (to_uint8(backdrop(start)) == GREEN).all()


@needs_ffmpeg
def test_a_still_camera_path_speaks_and_then_is_silent(driven, start, tmp_path):
    pose = start.track[5].head_pose
    path = path_file(tmp_path, [pose] * (FRAMES + 3), [0.0] * (FRAMES + 3))  # the viewer's, where no time is set
    RenderCameraPath(driven, tmp_path / "out.mp4", camera_path_filename=path).main()
    about = probe(tmp_path / "out.mp4")
    assert (about.width, about.height) == (40, 40) and round(about.duration * about.fps) == FRAMES + 3

    start.camera_driver.config = replace(start.camera_driver.config, clock="frames")
    camera = get_path_from_json(json.loads(path.read_text()))[:1]
    conditions = [start.camera_driver.condition(camera) for _ in range(FRAMES + 30)]
    start.camera_driver.config = replace(start.camera_driver.config, clock="times")
    spoken = start.camera_driver.track
    for frame in (0, 1, FRAMES - 1):
        assert np.array_equal(conditions[frame].audio, spoken[frame].audio)
    silence = conditions[-1].audio
    assert np.array_equal(silence, spoken[FRAMES + SILENT_FRAMES // 2].audio)
    # Nothing but silence in it: as after a second of nothing.
    alone = np.ptp(silence.reshape(-1, silence.shape[-1]), axis=0)
    talking = np.ptp(conditions[4].audio.reshape(-1, silence.shape[-1]), axis=0)
    assert np.median(alone) < 0.7 * np.median(talking)
    assert np.ptp([condition.eye_openness for condition in conditions[FRAMES:]]) > 0.3  # it goes on blinking


@needs_ffmpeg
def test_interpolation_has_no_times_and_advances_a_frame_a_picture(driven, start, tmp_path):
    RenderInterpolated(driven, tmp_path / "out.mp4", "png", interpolation_steps=2, output_format="images").main()
    images = rendered(tmp_path / "out")
    pipeline = eval_setup(driven)[1]
    cameras = get_interpolated_camera_path(pipeline.datamanager.eval_dataset.cameras, steps=2, order_poses=False)
    assert cameras.times is None and len(images) == len(cameras) > 3
    for k in range(4):
        condition = start.camera_driver.condition(cameras[k : k + 1])
        assert np.array_equal(condition.audio, start.camera_driver.track[k].audio)
        assert_same(images[k], start.renderer.render(cameras[k : k + 1], condition, backdrop(start))["rgb"])


@needs_ffmpeg
@pytest.mark.parametrize("config", ["driven", "timed"])
def test_a_spiral_as_long_as_the_sound_speaks_all_of_it(config, start, tmp_path, request):
    path = request.getfixturevalue(config)
    SpiralRender(path, tmp_path / "out.mp4", "png", seconds=FRAMES / 25, frame_rate=25, output_format="images").main()
    images = rendered(tmp_path / "out")
    camera, _ = eval_setup(path)[1].datamanager.eval_dataloader.get_camera(image_idx=0)
    cameras = get_spiral_path(camera, steps=FRAMES, radius=0.1)
    assert len(images) == len(cameras) == FRAMES
    for k in range(FRAMES):  # both clocks give the sound's frames one by one
        condition = start.camera_driver.condition(cameras[k : k + 1])
        assert np.array_equal(condition.audio, start.camera_driver.track[k].audio)
        assert_same(images[k], start.renderer.render(cameras[k : k + 1], condition, backdrop(start))["rgb"])


def test_the_dataset_speaks_with_its_own_head_motion(driven, start, tmp_path):
    DatasetRender(driven, tmp_path, "png", split="val", rendered_output_names=["rgb", "rgba"]).main()
    frames = start.dataset.split("val")
    assert len(rendered(tmp_path / "val/rgb")) == len(frames) < FRAMES
    for k, frame in enumerate(frames):
        own, spoken = start.track[frame], start.camera_driver.track[k]
        shown = replace(own, audio=spoken.audio, emotion=start.portrait.vocabulary.encode("happy"))
        camera = start.dataset.camera
        view = Cameras(torch.from_numpy(own.head_pose)[None], camera.fl_x, camera.fl_y, camera.cx, camera.cy, 64, 64)
        layers = start.renderer.render(view, shown, backdrop(start))
        file = start.dataset.path("images", start.dataset.frames[frame]).relative_to(start.dataset.root / "images")
        assert_same(read_image(tmp_path / "val/rgb" / file.with_suffix(".png")), layers["rgb"])
        rgba = np.asarray(Image.open(tmp_path / "val/rgba" / file.with_suffix(".png")), np.float32) / 255
        assert np.abs(rgba[..., 3:] * rgba[..., :3] - layers["foreground"].numpy()).max() < 0.02


def test_the_runs_own_config_shows_the_datasets_frames_as_they_are(run, start):
    plain = eval_setup(run / "config.yml")[1].model
    camera = Cameras(torch.eye(4)[None, :3], 64.0, 64.0, 32.0, 32.0, metadata={"frame": torch.tensor([[7]])})
    assert np.array_equal(plain.camera_driver.condition(camera).audio, plain.track[7].audio)
    assert np.array_equal(plain.camera_driver.condition(camera).emotion, plain.track[7].emotion)
    # Without a frame, a time or a sound: the recording from its start, and again after its end.
    for k in range(len(plain.track) + 2):
        condition = plain.camera_driver.condition(camera := Cameras(torch.eye(4)[None, :3], 64.0, 64.0, 32.0, 32.0))
        assert np.array_equal(condition.audio, plain.track[k % len(plain.track)].audio)
        assert np.array_equal(condition.emotion, plain.portrait.vocabulary.encode())


def test_other_frame_rates_keep_the_sounds_speed(start):
    camera = Cameras(torch.eye(4)[None, :3], 64.0, 64.0, 32.0, 32.0)
    start.camera_driver.config = replace(start.camera_driver.config, fps=50.0)
    audio = [start.camera_driver.condition(camera).audio for _ in range(6)]
    start.camera_driver.config = replace(start.camera_driver.config, fps=25.0)
    track = start.camera_driver.track
    assert isinstance(track, DrivingTrack)
    assert all(np.array_equal(audio[k], track[k // 2].audio) for k in range(6))


def test_the_torso_stays_with_a_head_that_the_camera_sees_from_elsewhere(model):
    condition, camera = model.track[5], model.portrait.camera
    view = lambda pose: Cameras(  # noqa: E731
        torch.from_numpy(pose.astype(np.float32))[None], camera.fl_x, camera.fl_y, camera.cx, camera.cy, 64, 64
    )
    pose = condition.head_pose
    usual = model.renderer.render(view(pose), condition)
    quarter = np.concatenate([pose[:, :3] @ Rotation.from_euler("z", 90, degrees=True).as_matrix(), pose[:, 3:]], 1)
    rolled = model.renderer.render(view(quarter), condition)
    for name in ("foreground", "alpha"):
        turned = torch.rot90(usual[name], -1)
        followed, stayed = ((rolled[name] - other).abs()[2:-2, 2:-2].mean() for other in (turned, usual[name]))
        print(name, followed, stayed)
        assert followed < 0.01 and followed < stayed / 3


def test_the_copy_works_from_elsewhere_and_changes_only_what_is_given(driven, timed, run, tmp_path, monkeypatch):
    models = (
        yaml.load(path.read_text(), Loader=yaml.Loader).pipeline.model for path in (run / "config.yml", driven, timed)
    )
    original, copy, again = models
    assert original.driving.audio is None and not original.driving.drive_frames
    assert copy.driving.clock == "frames" and copy.driving.audio.is_absolute()
    assert replace(again, driving=replace(again.driving, clock="frames")) == copy
    assert replace(copy.driving, **{name: getattr(original.driving, name) for name in (
        "audio", "emotion", "background", "clock", "drive_frames")}) == original.driving  # fmt: skip
    assert replace(copy, driving=original.driving) == original
    monkeypatch.chdir(tmp_path)
    eval_setup(driven)
    # What is rendered by aed render needs nothing of it.
    assert read_run(driven).config.pipeline.model.driving.audio is None
    assert Avatar.load(driven).step == 29


def test_says_how_to_render_with_sound(run, speech, capsys):
    SetDriving(load_config=run / "config.yml", name="b-c", audio=speech, fps=24).main()
    printed = capsys.readouterr().out
    assert f"--load-config {run.resolve() / 'b-c.yml'} --seconds 0.32 --frame-rate 24" in printed
    assert f"ffmpeg -i silent.mp4 -i {speech}" in printed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"audio": Path("gone.wav")}, "gone.wav: no such file"),
        ({"emotion": "bored"}, "unknown emotion bored"),
        ({"emotion": "sad"}, "no frame shows sad"),
        ({"background": "gone.png"}, "gone.png: is no colour"),
        ({"background": "transparent"}, "output rgba"),
        ({"fps": 0.0}, "fps must be from 1 to 240"),
        ({"audio_features_file": Path("a.npy")}, "features of which sound"),
        ({"name": "config"}, "cannot be the copy's name"),
        ({"name": "../x"}, "cannot be the copy's name"),
    ],
)
def test_what_cannot_be_shown_writes_nothing(run, options, words):
    before = sorted(run.iterdir())
    with pytest.raises(InputError, match=words):
        SetDriving(load_config=run / "config.yml", **{"name": "refused", **options}).main()
    assert sorted(run.iterdir()) == before


def test_pictures_and_sound_of_a_training_are_checked_before_it_begins(data, tmp_path, trained):
    write_image(tmp_path / "wall.png", np.full((20, 50, 3), 90, np.uint8))
    driving = "--pipeline.model.driving"
    options = [f"{driving}.background", tmp_path / "wall.png", f"{driving}.audio", tmp_path / "gone.wav"]
    printed = trained(data, tmp_path, *options, fails=True)
    assert "Traceback" not in printed and "gone.wav: no such file" in printed.splitlines()[-1]
