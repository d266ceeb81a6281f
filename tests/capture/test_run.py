"""Videos to datasets: every bad input gives one clear error, poses and whole runs agree with the truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aed_nerfstudio.capture.description import remove_older
from aed_nerfstudio.capture.landmarks import cut, eye_openness, head_crop, smooth_landmarks
from aed_nerfstudio.capture.run import ProcessOptions, process_videos
from aed_nerfstudio.capture.stages import Stages
from aed_nerfstudio.commands.main import main
from aed_nerfstudio.dataset.schema import HEAD, TORSO, Dataset, read_dataset, read_image
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.face_mesh import EYES, OUTER_LIPS, mouth_opening
from aed_nerfstudio.media.video_writer import VideoWriter
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import HeadPose, head_motion
from aed_nerfstudio.synthetic.record import record_video
from aed_nerfstudio.synthetic.scene import Scene

TONE = 0.3 * np.sin(np.arange(16000 * 4) * 0.2).astype(np.float32)


def _plain_video(path: Path, seconds: float, sound: bool = True) -> Path:
    """A moving gradient without any face."""
    path.parent.mkdir(exist_ok=True)
    ramp = np.arange(64, dtype=np.uint8)
    with VideoWriter(path, fps=25, size=(64, 64), audio=TONE if sound else None, sample_rate=16000) as writer:
        for k in range(round(25 * seconds)):
            writer.write(np.dstack([np.roll(np.tile(ramp, (64, 1)), k, axis=1)] * 3))
    return path


def _fails(videos: list[Path], output: Path, words: str, **options: object) -> None:
    with pytest.raises(InputError, match=words) as caught:
        process_videos(videos, output, ProcessOptions(64, front_end="log-mel", **options), progress=False)
    assert "\n" not in str(caught.value)
    assert not (output / "dataset.json").exists()


def test_missing_file(tmp_path):
    _fails([tmp_path / "no.mp4"], tmp_path / "out", "no.mp4: no such file")
    assert not (tmp_path / "out").exists()


def test_no_video(tmp_path):
    (tmp_path / "a.mp4").write_text("hello")
    _fails([tmp_path / "a.mp4"], tmp_path / "out", "a.mp4")


def test_too_short(tmp_path):
    _fails([_plain_video(tmp_path / "a.mp4", 1.0)], tmp_path / "out", "a.mp4: only 1.0 s long; give at least 2 s")


def test_no_sound(tmp_path):
    video = _plain_video(tmp_path / "a.mp4", 2.5, sound=False)
    _fails([video], tmp_path / "out", "a.mp4: holds no audio; .*sound track")


def test_no_face_leaves_nothing(tmp_path):
    _fails([_plain_video(tmp_path / "a.mp4", 2.5)], tmp_path / "out", "no face found in .*a.mp4; give a video")
    assert not (tmp_path / "out").exists()


def test_truncated_file(tmp_path):
    video = _plain_video(tmp_path / "a.mp4", 2.5)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 3])
    _fails([video], tmp_path / "out", "a.mp4")


def test_output_that_cannot_be_used(tmp_path):
    video = _plain_video(tmp_path / "a.mp4", 2.5)
    _fails([video], _plain_video(tmp_path / "b.mp4", 0.5), "b.mp4: is a file; choose a folder")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "diary.txt").write_text("mine")
    _fails([video], tmp_path / "full", "holds other files")
    assert (tmp_path / "full" / "diary.txt").exists()
    _fails([video], video / "below", "lies in .*a.mp4, which the same command reads")


def test_options(tmp_path):
    video = _plain_video(tmp_path / "a.mp4", 2.5)
    _fails([], tmp_path / "out", "no video given")
    _fails([video, video], tmp_path / "out", "twice")
    _fails([video], tmp_path / "out", "unknown intensity 'huge'; choose one of weak", intensities=["huge"])
    _fails([video], tmp_path / "out", "emotion has 2 values for 1 videos; give one each", emotions=["happy", "sad"])
    with pytest.raises(InputError, match="size must be at least 64"):
        process_videos([video], tmp_path / "out", ProcessOptions(size=7))


def test_crop_keeps_head_crops_and_pads_at_borders():
    points = np.zeros((5, 478, 3), np.float32)
    points[:, 0, :2], points[:, 1:, :2] = (150, 150), (350, 400)
    assert head_crop(points, 512, 512) == (0, 0, 512)
    side = 250 / 0.53  # the face is 250 pixels high, around (250, 275)
    assert head_crop(points, 1920, 1080) == (round(250 - side / 2), round(275 - 0.53 * side), round(side))
    assert head_crop(points - [200, 100, 0], 1920, 1080) == (0, 0, round(side))  # not beyond the frame
    image = np.full((50, 80, 3), 9, np.uint8)
    assert cut(image, (-10, -10, 70), 32).shape == (32, 32, 3)
    assert (cut(image, (-10, -10, 70), 32) == 9).all()


def test_eyes_and_smoothing():
    points = np.random.default_rng(0).normal(100, 1, (40, 478, 3)).astype(np.float32)
    for eye in EYES:
        points[:, eye] = [[0, 0, 0], [10, 0, 0], [3, 2, 0], [3, -2, 0], [7, 2, 0], [7, -2, 0]]
    points[7, [e[i] for e in EYES for i in (2, 3, 4, 5)], 1] = 0  # a blink
    points[9] = np.nan
    openness = eye_openness(points)
    assert openness[7] < 0.01 and openness[3] == pytest.approx(1) and np.isfinite(openness).all()
    calm = smooth_landmarks(points)
    assert np.isnan(calm[9]).all() and np.isfinite(np.delete(calm, 9, axis=0)).all()
    assert (calm[:9, OUTER_LIPS] == points[:9, OUTER_LIPS]).all()
    assert calm[:9, 10].std() < points[:9, 10].std()


@pytest.fixture(scope="module")
def actor_frames():
    """Two seconds of the actor, 144 pixels, mouth moving: uint8 [50] x [144, 144, 3]."""
    scene, frames = Scene(Actor(0), 144), []
    for k in range(50):
        units = {"jawOpen": 0.3 + 0.3 * np.sin(k)}
        frames.append(scene.render(units, HeadPose(yaw=8 * np.sin(k / 8)), landmarks=False).image)
    return frames


def _process(frames: list[np.ndarray], sound: np.ndarray, root: Path, capsys) -> tuple[Dataset, str]:
    height, width = frames[0].shape[:2]
    with VideoWriter(root / "a.mp4", fps=25, size=(width, height), audio=sound, sample_rate=16000) as writer:
        for frame in frames:
            writer.write(frame)
    dataset = process_videos([root / "a.mp4"], root / "out", ProcessOptions(96, front_end="log-mel"))
    return dataset, capsys.readouterr().err


def test_of_several_faces_the_largest_that_stays_is_taken(tmp_path, actor_frames, capsys):
    other = Scene(Actor(2), 96).render({}, HeadPose(), landmarks=False).image
    frames = []
    for frame in actor_frames:
        canvas = np.full((144, 288, 3), 90, np.uint8)
        canvas[:, :144], canvas[24:120, 170:266] = frame, other
        frames.append(canvas)
    dataset, printed = _process(frames, TONE, tmp_path, capsys)
    assert "several faces in" in printed and any("several faces" in text for text in dataset.warnings)
    picture = read_image(dataset.path("images", dataset.frames[0]))
    assert np.ptp(dataset.landmarks("a")[0, :, 1]) > 0.4 * len(picture)  # the larger one fills the crop
    assert all(frame.flags == ["other_face"] for frame in dataset.frames[5:])
    opening = mouth_opening(dataset.landmarks("a"))
    assert opening.std() > 0.1 * opening.mean()  # the other one's mouth is still


def test_frames_without_the_face_are_left_out_and_counted(tmp_path, actor_frames, capsys):
    frames = list(actor_frames)
    for k in range(20, 30):
        frames[k] = np.full_like(frames[k], 120)
    dataset, printed = _process(frames, np.zeros(32000, np.float32), tmp_path, capsys)
    gone = [not frame.usable for frame in dataset.frames]
    assert all(gone[20:30]) and sum(gone) <= 12
    assert f"in {sum(gone)} of 50 frames; they are left out" in printed
    assert "silent" in printed
    assert not set(np.flatnonzero(gone)) & {*dataset.split("train"), *dataset.split("val")}


def test_every_video_has_its_label_and_may_be_without_sound(tmp_path, actor_frames):
    videos = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for video in videos:
        with VideoWriter(video, fps=25, size=(144, 144)) as writer:
            for frame in actor_frames:
                writer.write(frame)
    options = ProcessOptions(96, ["happy", "surprised"], ["strong"], "none")
    dataset = process_videos(videos, tmp_path / "out", options, progress=False)
    assert [(clip.emotion, clip.intensity) for clip in dataset.clips] == [("happy", "strong"), ("surprised", "strong")]
    assert dataset.categories[-1] == "surprised"
    assert all("focal length" in text for text in dataset.warnings)  # two seconds tell little of it
    assert np.array_equal(dataset.features("b"), np.zeros((100, 1)))


def test_actor_end_to_end(tmp_path):
    truth = record_video(tmp_path / "actor.mp4", seconds=2.4, size=128)
    output, options = tmp_path / "out", ProcessOptions(128, ["happy"], front_end="log-mel")
    process_videos([tmp_path / "actor.mp4"], output, options, progress=False)
    dataset = read_dataset(output)
    assert len(dataset.frames) == 60 and dataset.clips[0].emotion == "happy"
    assert sum(frame.usable for frame in dataset.frames) > 56
    real = truth["camera_to_world"][:60, :3, :3]
    seen = np.array([frame.camera_to_world for frame in dataset.frames])[:, :3, :3]
    relative = Rotation.from_matrix(seen @ seen[0].T).inv() * Rotation.from_matrix(real @ real[0].T)
    assert np.median(np.degrees(relative.magnitude())) < 4
    labels = read_image(dataset.path("parsing", dataset.frames[40]))
    assert all((labels == value).mean() > 0.02 for value in (0, TORSO, HEAD))
    assert json.loads((output / "dataset.json").read_text())["audio"]["front_end"] == "log-mel"
    assert not (output / ".work").exists()

    # A second run makes nothing anew, other options must not cost the user a finished dataset, and a damaged file
    # is mended.
    picture = output / "images" / "actor" / "00000.jpg"
    before = picture.stat().st_mtime_ns
    process_videos([tmp_path / "actor.mp4"], output, options, progress=False)
    assert read_dataset(output).consent == ""
    agreed = replace(options, consent="Anna agreed.")
    for later in (agreed, options):  # it can be added later, and stays
        assert process_videos([tmp_path / "actor.mp4"], output, later, progress=False).consent == "Anna agreed."
    assert read_dataset(output).consent == "Anna agreed."
    with pytest.raises(InputError, match="other videos or options"):
        process_videos([tmp_path / "actor.mp4"], output, replace(options, size=96), progress=False)
    assert picture.stat().st_mtime_ns == before
    whole = picture.read_bytes()
    mine = [output / "thesis.txt", output / "images" / "x.part1.rar", output / "images" / "mine" / "00000.jpg",
            output / "images" / "actor" / "notes.txt", output / "audio" / "song.wav"]  # fmt: skip
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("years")
    stages = output / ".stages.json"
    stages.write_text(stages.read_text().replace('"made"', '"unknown"'))  # as an earlier version wrote it
    picture.write_bytes(whole[:100])
    process_videos([tmp_path / "actor.mp4"], output, options, progress=False)
    assert picture.read_bytes() == whole
    (output / "dataset.json").unlink()
    process_videos([tmp_path / "actor.mp4"], output, options, progress=False)
    assert (output / "dataset.json").exists() and {path.read_text() for path in mine} == {"years"}


@pytest.fixture(scope="module")
def actor_video(tmp_path_factory):
    path = tmp_path_factory.mktemp("actor") / "actor.mp4"
    record_video(path, seconds=2.2, size=96)
    return path


def test_the_command_makes_and_judges_a_dataset(tmp_path, actor_video, capsys):
    command = ["process", str(actor_video), "--output", str(tmp_path / "out"), "--size", "64"]
    command += ["--audio-features", "none", "--emotion", "happy", "--intensity", "strong"]
    main([*command, "--consent", "Nobody is shown."])
    dataset = read_dataset(tmp_path / "out")
    (clip,) = dataset.clips
    assert (clip.count, clip.emotion, clip.intensity) == (55, "happy", "strong")
    assert (dataset.camera.w, dataset.front_end, dataset.consent) == (64, "none", "Nobody is shown.")
    printed = capsys.readouterr().out
    assert "fail: length: 2.2 s are usable" in printed and "out: not usable: length" in printed
    assert "Next: ns-train" not in printed and "No consent" not in printed
    assert (tmp_path / "out" / "inspect" / "inspect.html").exists()
    with pytest.raises(SystemExit) as end:
        main([*command, "--size", "96"])
    assert end.value.code == 1
    assert "out: holds a dataset of other videos or options" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.hostile
@pytest.mark.parametrize("place", [".work", "images", "images/actor", "landmarks/actor.npy"])
def test_nothing_is_written_through_a_link_in_a_strangers_folder(tmp_path, actor_video, place):
    """In one that looks as if it were begun."""
    outside, output = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    (outside / "00000.jpg").write_text("precious")
    link = output / place
    link.parent.mkdir(parents=True)
    link.symlink_to(outside / "00000.jpg" if link.suffix else outside)
    (output / ".stages.json").write_text('{"done": {}, "begun": {}}')
    _fails([actor_video], output, "is a link|left as it is")
    assert [path.name for path in outside.iterdir()] == ["00000.jpg"]
    assert (outside / "00000.jpg").read_text() == "precious" and link.is_symlink()


@pytest.mark.hostile
def test_takes_that_a_strangers_folder_names_remove_nothing_outside(tmp_path):
    outside, output = tmp_path / "outside" / "00000.jpg", tmp_path / "out"
    outside.parent.mkdir()
    outside.write_text("precious")
    output.mkdir()
    for name in (str(outside.parent), "../../outside"):
        (output / ".stages.json").write_text(json.dumps({"done": {}, "begun": {}, "made": [name]}))
        with pytest.raises(InputError, match="outside"):
            remove_older(output, Stages(output).made, {})
    assert outside.read_text() == "precious"


@pytest.mark.hostile
def test_an_output_on_top_of_an_input_is_refused(tmp_path):
    video = _plain_video(tmp_path / "videos" / "a.mp4", 2.5)
    (tmp_path / "link").symlink_to(video.parent)
    _fails([video], video, "is .*a.mp4, which the same command reads")
    for output in (video.parent, tmp_path / "link", tmp_path / "videos" / ".." / "videos"):
        _fails([video], output, "holds .*a.mp4, which the same command reads")
    assert [path.name for path in video.parent.iterdir()] == ["a.mp4"]


@pytest.mark.hostile
def test_a_full_disk(actor_video, small_disk):
    disk = small_disk(96)
    _fails([actor_video], disk / "out", r"out/\S+: cannot be written \(No space left on device\); make room")
    assert not list(disk.rglob("*.aed-part*"))


@pytest.mark.slow
def test_takes_of_two_days_become_one_recording(tmp_path):
    """The second one zoomed by 1.25 and moved by a tenth of the width, in another room and light; poses are as of one
    camera, and everything else is the first one's."""
    true = [_filmed(tmp_path / "a.mp4", 1), _filmed(tmp_path / "b.mp4", 2, 1.25, 0.1, 7, (1.1, 1.0, 0.85))]
    dataset = process_videos([tmp_path / "a.mp4", tmp_path / "b.mp4"], tmp_path / "out",
                             ProcessOptions(96, front_end="none"), progress=False)  # fmt: skip
    clips = dataset.report["clips"]
    assert clips["b"]["zoom"] == pytest.approx(1.25, rel=0.04)
    assert clips["b"]["crop"][2] / clips["a"]["crop"][2] == pytest.approx(1.25, rel=0.04)
    assert dataset.tools["cameras"].startswith("cropped into one: b (head 1.2")
    assert "filmed by another camera or elsewhere" in dataset.warnings[0]
    replaced = [name for name, clip in clips.items() if clip.get("background_replaced")]
    assert len(replaced) == 1 and dataset.tools["backgrounds"] == f"replaced in {replaced[0]}"
    usable = [frame for frame in dataset.frames if frame.usable]
    away = [np.median(np.abs(dataset.image(f).astype(float) - dataset.static_background())[dataset.parsing(f) == 0])
            for f in usable]  # fmt: skip
    assert max(away) < 6
    (kept,) = set(clips) - set(replaced)
    assert [path.stem for path in (dataset.root / "backgrounds").iterdir()] == [kept]
    found = Rotation.from_matrix(np.array([f.camera_to_world for f in dataset.frames])[:, :3, :3]).inv()
    real = Rotation.from_matrix(np.concatenate(true)[:, :3, :3]).inv()
    errors = (real * (found * (found.inv() * real).mean()).inv()).magnitude()
    assert np.degrees(np.median(errors)) < 1


def _filmed(path: Path, motion: int, zoom: float = 1.0, moved: float = 0.0, room: int = 0, gain=(1.0, 1.0, 1.0)):
    """Films the actor by a camera that shows 128 pixels of a larger picture; returns the true poses [50, 4, 4]."""
    scene = Scene(Actor(0), round(128 * zoom), room)
    left, top = round((scene.size - 128) / 2 - 128 * moved), (scene.size - 128) // 2
    cameras = []
    with VideoWriter(path, 25, (128, 128)) as writer:
        for k, pose in enumerate(head_motion(50, motion)):
            drawn = scene.render({"jawOpen": 0.2 + 0.2 * np.sin(k)}, pose, landmarks=False)
            writer.write(np.clip(drawn.image[top:, left:][:128, :128] * gain, 0, 255).astype(np.uint8))
            cameras.append(drawn.camera_to_world)
    return np.array(cameras)
