"""What the options of `aed render` do to the file that it writes."""

import hashlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from aed_nerfstudio.audio.features import speech_wavs
from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.commands.render import Render
from aed_nerfstudio.dataset.schema import read_image
from aed_nerfstudio.driving.emotion_track import EmotionTrack, Keyframe
from aed_nerfstudio.driving.lip_smoothing import LipSmoothing
from aed_nerfstudio.driving.track import DrivingTrack
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import read_audio, write_wav
from aed_nerfstudio.media.backgrounds import open_background
from aed_nerfstudio.media.captions import BAND
from aed_nerfstudio.media.provenance import SYNTHETIC_NOTE
from aed_nerfstudio.media.video_reader import read_frames
from aed_nerfstudio.synthetic.record import record_dataset
from tests.forks import forked

RATE = 16000
SECONDS = 0.48
"""Of the sound: 12 frames."""


@pytest.fixture(scope="module")
def avatar(run):
    return Avatar.load(run / "config.yml")


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    voice = read_audio(speech_wavs()["beckett.wav"])
    write_wav(path, voice[2 * RATE : round((2 + SECONDS) * RATE)])
    return path


@pytest.fixture(scope="module")
def usual(avatar, speech):
    """The frames of that sound, for nothing asked."""
    return list(avatar.render(avatar.track(read_audio(speech), avatar.vocabulary.encode())))


@pytest.fixture
def render(run, speech, tmp_path):
    """Renders with options and returns the file's path."""

    def rendered(name="talk.mp4", **options):
        # On by default, but there are tests of it alone, and the others are compared with frames that are not smoothed.
        options = {"lip_smoothing": False, **options}
        options = {"load_config": run / "config.yml", "audio": speech, **options}
        Render(output=tmp_path / name, **options).main()
        return tmp_path / name

    return rendered


def facts(path):
    """Codec, pixel format, frames a second, frames, size and tags of a video, and whether it has sound."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        tags = {key.lower(): value for key, value in container.metadata.items()}
        rate = video.average_rate or video.guessed_rate
        kind = video.codec_context.name, video.codec_context.pix_fmt, float(rate)
        count = sum(packet.size > 0 for packet in container.demux(video))
        return (*kind, count, (video.width, video.height), tags, bool(container.streams.audio))


def frames(path):
    return np.stack(list(read_frames(path, facts(path)[2]))).astype(int)


def test_the_file_says_what_it_is(render, run, speech, tmp_path):
    keyframes = [{"time": 0, "emotion": {"neutral": 1.0}}, {"time": 0.2, "emotion": {"happy": 1.0}, "intensity": 1.0}]
    (tmp_path / "track.json").write_text(json.dumps(keyframes))
    path = render(emotion_track=tmp_path / "track.json")
    tags = facts(path)[5]
    assert tags["comment"] == SYNTHETIC_NOTE
    assert tags["model"] == f"{'/'.join(run.parts[-3:])}, step 29"
    assert tags["audio_sha256"] == hashlib.sha256(speech.read_bytes()).hexdigest()
    assert json.loads(tags["emotion_track"]) == keyframes


def test_the_emotion_follows_its_track(render, avatar, speech, tmp_path):
    (tmp_path / "track.csv").write_text("time,emotion,intensity\n0,neutral,\n0.16,neutral,\n0.32,happy,strong\n")
    samples = read_audio(speech)
    folder = render("talk", emotion_track=tmp_path / "track.csv", pose="still", format="png")  # a codec would hide it
    found = np.stack([read_image(path) for path in sorted(folder.glob("*.png"))]).astype(int)
    calm, glad = (
        np.stack(list(avatar.render(avatar.track(samples, avatar.vocabulary.encode(e), "still")))).astype(int)
        for e in ("neutral", "happy")
    )
    assert np.abs(found[:5] - calm[:5]).max() <= 1 and np.abs(found[9:] - glad[9:]).max() <= 1
    closer = [np.abs(f - c).mean() < np.abs(f - g).mean() for f, c, g in zip(found, calm, glad, strict=True)]
    assert all(closer[:5]) and not any(closer[8:])


def test_grid(render, avatar, speech):
    asked = {"grid": "neutral,happy,happy:0.5+neutral:0.5", "pose": "still"}
    path = render(**asked)
    assert facts(path)[3:5] == (12, (3 * 64, 64 + BAND))
    assert list(json.loads(facts(path)[5]["emotion_track"])) == ["neutral", "happy", "happy:0.5+neutral:0.5"]
    folder = render("talk", format="png", **asked)  # a codec would hide it
    whole = np.stack([read_image(path) for path in sorted(folder.glob("*.png"))]).astype(int)
    assert np.abs(frames(path) - whole)[:, :64].mean() < 3
    left, middle, right = np.split(whole[:, :64], 3, axis=2)
    happy = avatar.track(read_audio(speech), avatar.vocabulary.encode("happy"), "still")
    (alone,) = avatar.render(happy, frames=range(3, 4))
    assert np.abs(middle[3] - alone).max() <= 1
    far = np.abs(left - middle).mean()
    assert 0 < np.abs(left - right).mean() < far and np.abs(middle - right).mean() < far


@pytest.mark.parametrize("fps, count", [(30, 14), (12.5, 6), (50, 24)])
def test_frame_rates_keep_time(render, usual, fps, count):
    path = render(fps=fps)
    assert facts(path)[2:4] == (fps, count)
    assert read_audio(path).size == pytest.approx(SECONDS * RATE, abs=1100)  # AAC comes in 1024 samples
    found = frames(path)
    if fps == 50:
        assert max(np.abs(found[2 * k] - usual[k]).mean() for k in range(12)) < 3
    if fps == 12.5:
        assert max(np.abs(found[k] - usual[2 * k]).mean() for k in range(6)) < 3


def test_a_part_is_as_in_the_whole(render):
    whole, part = render("whole.mkv", lip_smoothing=True), render("part.mkv", frames="5:9", lip_smoothing=True)
    assert facts(part)[3] == 4
    assert np.abs(frames(whole)[5:9] - frames(part)).mean() < 2
    heard, all_of_it = read_audio(part), read_audio(whole)
    assert heard.size == pytest.approx(4 * 640, abs=1100)
    middle = slice(1000, 2000)
    assert np.corrcoef(heard[middle], all_of_it[5 * 640 :][middle])[0, 1] > 0.95


def test_lip_smoothing_is_that_of_the_encoded_audio(avatar, speech):
    track = avatar.track(read_audio(speech), avatar.vocabulary.encode("happy"), "still")
    smoothed, plain = (list(avatar.render(track, smooth_lips=smooth)) for smooth in (True, False))
    smoothing = LipSmoothing()
    for condition, frame in zip(track, smoothed, strict=True):
        encoded = smoothing(avatar.network.encode([condition]))
        expected = avatar.images(condition, encoded=encoded)["rgb"].numpy()
        assert np.abs(frame / 255 - expected).max() < 0.003
    assert (smoothed[0] == plain[0]).all() and any((a != b).any() for a, b in zip(smoothed, plain, strict=True))
    (late,) = avatar.render(track, smooth_lips=True, frames=range(10, 11))
    np.testing.assert_array_equal(late, smoothed[10])


def test_frames_in_steps_are_as_in_the_whole(avatar, render, speech):
    behind = open_background(str(render("behind.mp4", frames=":4", size=32)))
    track = avatar.track(read_audio(speech), avatar.vocabulary.encode("happy"), "still")
    look = {"size": 32, "smooth_lips": True, "background": behind}
    whole = list(avatar.render(track, **look))
    for part in (range(1, 12, 3), range(2, 30, 28), range(4, 4)):
        found = list(avatar.render(track, frames=part, **look))
        assert len(found) == len(part)
        for number, frame in zip(part, found, strict=True):
            np.testing.assert_array_equal(frame, whole[number])


def test_smoothed_lips_feel_what_was_before_them_at_any_rate_and_step(avatar, speech, unchecked_shapes):
    """Where frames lie further apart than lips feel, those between them are not all looked at; by the checks of types
    neither."""
    samples = np.tile(read_audio(speech), 2)
    track = avatar.track(samples, avatar.vocabulary.encode("happy"), "still", fps=100)
    smoothing = LipSmoothing(100)
    mean = [smoothing(avatar.network.encode([condition])) for condition in track]
    asked = []

    class Watched(DrivingTrack):
        def __getitem__(self, index):
            asked.append(index)
            return super().__getitem__(index)

    watched = Watched(track.features, track.emotion, track.poses, track.eye_openness, track.fps)
    found = list(avatar.render(watched, 16, smooth_lips=True, frames=range(5, len(track), 80)))
    assert asked == [*range(6), *range(21, 86)] and len(found) == 2
    expected = avatar.images(track[85], 16, avatar._original(16, 16), encoded=mean[85])["rgb"]
    assert np.abs(found[1] / 255 - expected.numpy()).max() < 0.003


REFUSED = {
    "backwards": range(5, 0, -1),
    "before the first": range(-1, 3),
    "beyond the last": range(10, 13),
    "a step beyond the last": range(0, 20, 9),
}


@pytest.mark.parametrize("part", REFUSED.values(), ids=REFUSED)
def test_frames_that_there_are_not(avatar, speech, tmp_path, part):
    samples = read_audio(speech)
    track = avatar.track(samples, avatar.vocabulary.encode())
    with pytest.raises(InputError, match=rf"^frames {part.start}:{part.stop}.*: (the step )?must be"):
        next(avatar.render(track, frames=part))
    with pytest.raises(InputError, match=rf"^frames {part.start}:{part.stop}"):
        avatar.write_video(tmp_path / "a.mp4", track, samples, frames=part)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", [range(0, 9, 2), range(3, 3)])
def test_a_video_has_all_frames_between_its_first_and_its_last(avatar, speech, tmp_path, part):
    samples = read_audio(speech)
    with pytest.raises(InputError, match="in steps of 1"):
        avatar.write_video(tmp_path / "a.mp4", avatar.track(samples, avatar.vocabulary.encode()), samples, frames=part)
    assert not list(tmp_path.iterdir())


def cut_out_of(avatar, speech, emotion=None):
    """Frame 6 without a background: premultiplied colour and alpha."""
    track = avatar.track(read_audio(speech), avatar.vocabulary.encode(emotion))
    layers = avatar.images(track[6])
    return layers["foreground"].numpy(), layers["alpha"].numpy()


def test_backgrounds_are_behind_the_avatar(render, avatar, speech, tmp_path):
    colours, alpha = cut_out_of(avatar, speech)
    Image.fromarray(np.full((30, 50, 3), (0, 0, 250), np.uint8)).save(tmp_path / "blue.png")
    for background, colour in (("#00ff00", (0, 255, 0)), (str(tmp_path / "blue.png"), (0, 0, 250))):
        found = frames(render(background=background))[6]
        expected = 255 * colours + (1 - alpha) * colour
        assert np.abs(found - expected).mean() < 4  # H.264 halves the colour's resolution


def test_a_video_behind_the_avatar_runs(render, avatar, speech):
    original = render("original.mp4")
    found = frames(render("before.mp4", background=str(original)))
    colour, alpha = cut_out_of(avatar, speech)
    expected = 255 * colour + (1 - alpha) * frames(original)[6]
    assert np.abs(found[6] - expected).mean() < 4


def test_transparent_png_files_hold_the_layers(render, avatar, speech):
    folder = render("frames", background="transparent", emotion="happy")
    pictures = sorted(folder.glob("*.png"))
    assert len(pictures) == 12
    with Image.open(pictures[6]) as image:
        assert image.mode == "RGBA" and "step 29" in image.text["model"]
        found = np.array(image) / 255
    colour, alpha = cut_out_of(avatar, speech, "happy")
    np.testing.assert_allclose(found[..., 3:], alpha, atol=0.003)
    # Straight alpha: multiplied again, it is the model's premultiplied foreground.
    np.testing.assert_allclose(found[..., :3] * found[..., 3:], colour, atol=0.006)
    assert np.ptp(alpha) > 0.3
    assert read_audio(folder / "audio.wav").size == 12 * 640


@pytest.mark.parametrize("name, expected", [("a.webm", "vp9"), ("a.mov", "prores")])
def test_transparent_videos(render, avatar, speech, name, expected):
    path = render(name, background="transparent")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == expected
        if expected == "vp9":
            assert stream.metadata["alpha_mode"] == "1"
            decoder = av.codec.CodecContext.create("libvpx-vp9", "r")
            pictures = [f for p in container.demux(stream) for f in decoder.decode(p if p.size else None)]
        else:
            pictures = list(container.decode(stream))
    assert len(pictures) == 12 and pictures[0].format.name.startswith("yuva")
    _, alpha = cut_out_of(avatar, speech)
    assert np.abs(pictures[6].to_ndarray(format="rgba")[..., 3] / 255 - alpha[..., 0]).mean() < 0.03


@pytest.mark.parametrize(
    "name, form, expected",
    [
        ("a.mov", None, ("h264", "yuv420p")),
        ("a.mkv", None, ("h264", "yuv420p")),
        ("a.webm", None, ("vp9", "yuv420p")),
        ("a.mov", "prores", ("prores", "yuv422p10le")),
    ],
)
def test_formats(render, name, form, expected):
    path = render(name, format=form, frames=":3", size=32)
    found = facts(path)
    assert found[:2] == expected and found[3:5] == (3, (32, 32)) and found[6]
    assert found[5]["comment"] == SYNTHETIC_NOTE and "audio_sha256" in found[5]


def test_label(render):
    plain, named, default = (
        frames(render(f"{k}.mkv", frames="0:2", label=label, size=96))
        for k, label in enumerate((None, ("Made", "up"), ()))
    )
    for marked in (named, default):
        assert np.abs(marked - plain)[:, 80:, 60:].mean() > 10 and np.abs(marked - plain)[:, :60, :40].mean() < 1
    assert np.abs(named - default)[:, 80:].mean() > 3


def test_poses_of_a_file_are_smoothed_and_mirrored(avatar, render, data, speech):
    own = render("own.mkv", pose=str(data / "transforms.json"))
    assert facts(own)[3] == 12
    poses = np.tile(np.eye(3, 4, dtype=np.float32), (5, 1, 1))
    poses[:, :, 3] = [[0.02 * k, 0, 4] for k in range(5)]
    track = avatar.track(read_audio(speech), avatar.vocabulary.encode(), poses)
    x = np.array([condition.head_pose[0, 3] for condition in track])
    np.testing.assert_allclose(x[:5], x[8:3:-1], atol=1e-6)
    np.testing.assert_allclose(x[:4], x[8:12], atol=1e-6)
    assert x[2] == pytest.approx(0.04, abs=1e-3) and 0 < x[0] < 0.03


@pytest.fixture
def camera_path(track, tmp_path):
    """A path of one second from before the face to its side, 72 by 48."""
    start = np.vstack([track[0].head_pose, [0, 0, 0, 1]])
    views = []
    for k in range(10):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_rotvec([0, 0.05 * k, 0]).as_matrix()
        views.append({"camera_to_world": (pose @ start).flatten().tolist(), "fov": 30.0, "aspect": 1.5})
    path = {"camera_type": "perspective", "render_height": 48, "render_width": 72, "fps": 10, "seconds": 1.0,
            "camera_path": views}  # fmt: skip
    (tmp_path / "path.json").write_text(json.dumps(path))
    return tmp_path / "path.json"


def test_a_camera_path_is_seen_as_in_the_viewer(avatar, render, camera_path, speech):
    from nerfstudio.cameras.camera_paths import get_path_from_json

    folder = render("frames", camera_path=camera_path, fps=10)  # at the path's own rate: camera k at frame k
    found = [np.asarray(Image.open(path)).astype(int) for path in sorted(folder.glob("*.png"))]
    assert len(found) == 5 and found[0].shape == (48, 72, 3)
    cameras = get_path_from_json(json.loads(camera_path.read_text()))
    cameras.height, cameras.width = (torch.full_like(cameras.height, side) for side in (48, 72))
    track = avatar.track(read_audio(speech), avatar.vocabulary.encode(), fps=10)
    first, last = (255 * avatar.images(track[k], camera=cameras[k : k + 1])["rgb"].numpy() for k in (0, 4))
    assert np.abs(found[0] - first).max() < 1 and np.abs(found[4] - last).max() < 1
    assert np.abs(first - last).mean() > 0.5
    assert frames(render("larger.mp4", camera_path=camera_path, size=144, frames="0:2")).shape == (2, 96, 144, 3)


def test_speech_of_another_language(render, tmp_path):
    """Beside the English that the front end and the avatar know; `speech` is of another speaker already."""
    path = tmp_path / "german.wav"
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    subprocess.run(["espeak-ng", "-v", "de", "-w", str(path), "Guten Tag, wie geht es Ihnen?"], check=True)
    video = render(audio=path, frames="0:30", size=32)
    assert facts(video)[3] == 30 and np.abs(read_audio(video)).max() > 0.1


def test_an_avatar_of_another_front_end_speaks(speech, trained, tmp_path):
    data = tmp_path / "data"
    labels = {"emotions": ("neutral",), "intensities": ("medium",)}
    record_dataset(data, size=48, clip_seconds=1.0, front_end="log-mel", progress=False, **labels)
    trained(data, tmp_path / "runs", "--max-num-iterations", 5)
    config = tmp_path / "runs" / "actor" / "aed-nerf-tiny" / "t" / "config.yml"
    avatar = Avatar.load(config)
    features = avatar.features(read_audio(speech))
    assert avatar.portrait.front_end == "log-mel" and features.shape == (24, 80)
    Render(load_config=config, audio=speech, output=tmp_path / "talk.mp4").main()
    assert facts(tmp_path / "talk.mp4")[3] == 12
    samples = read_audio(speech)
    spoken, silent = (avatar.track(x, avatar.vocabulary.encode(), "still") for x in (samples, np.zeros_like(samples)))
    lips = [np.array([avatar.network.encode([c]).articulation[0].tolist() for c in t]) for t in (spoken, silent)]
    assert np.abs(lips[0] - lips[1]).max() > 0.01 and lips[0].std(axis=0).max() > 2 * lips[1][4:-4].std(axis=0).max()


def interrupted(command, when):
    """Runs a command on a terminal, presses Ctrl-C when it has printed something, and returns all that it prints."""
    terminal, inside = pty.openpty()
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "TERM": "xterm"}  # progress is for terminals that can
    process = subprocess.Popen(command, stdout=inside, stderr=inside, env=environment)
    os.close(inside)
    printed, pressed = b"", False
    while True:
        try:
            printed += os.read(terminal, 4096)
        except OSError:  # it has ended
            break
        if not pressed and re.search(when, printed):
            process.send_signal(signal.SIGINT)
            pressed = True
    os.close(terminal)
    assert process.wait(timeout=60) == 130, printed
    return printed.decode()


@pytest.mark.slow
def test_an_interrupted_render_plays_and_goes_on(run, speech, tmp_path, in_process):
    """By a real Ctrl-C to a real process."""
    long = tmp_path / "long.wav"
    write_wav(long, np.tile(read_audio(speech), 8))  # 96 frames
    output = tmp_path / "long.mp4"
    words = ["render", "--load-config", run / "config.yml", "--audio", long, "--output", output]
    words += ["--size", "48", "--emotion", "happy"]
    printed = interrupted(forked("aed", *words), when=rb"([5-9]|\d\d)/96")
    assert "--resume" in printed and "Traceback" not in printed, printed
    stopped = facts(output)[3]
    assert 0 < stopped < 96
    assert read_audio(output).size == pytest.approx(640 * stopped, abs=1100)
    again = ("aed", *words, "--resume")
    assert "was begun with fps 25" in in_process(*again, "--intensity", "1", "--fps", "30", fails=True)
    in_process(*again)
    assert facts(output)[3] == 96 and read_audio(output).size == pytest.approx(640 * 96, abs=1100)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize(
    "options, fault",
    [
        ({"size": 5000}, "size must be at most 4096"),
        ({"size": 8}, "size must be at least 16"),
        ({"fps": 0.5}, "fps must be from 1 to 240"),
        ({"emotion": "happy:a"}, "happy:a: is no emotion"),
        ({"grid": "happy"}, "--grid happy: give two or more"),
        ({"grid": "happy,bored"}, "unknown emotion bored"),
        ({"grid": "happy,neutral", "emotion": "happy"}, "only one of --emotion and --grid"),
        ({"emotion_track": Path("a.json"), "intensity": "1"}, "--intensity"),
        ({"emotion_track": Path("lost.json")}, "lost.json: no such file"),
        ({"pose": "lost.npy"}, "lost.npy: no such file"),
        ({"camera_path": Path("lost.json")}, "lost.json is missing"),
        ({"camera_path": Path("lost.json"), "pose": "still"}, "--pose still"),
        ({"background": "bluish"}, "bluish: is no colour"),
        ({"background": "transparent"}, "mp4 cannot be transparent"),
        ({"frames": "9:3"}, "--frames 9:3: must be A:B"),
        ({"frames": "100:"}, "below the 12 frames"),
        ({"frames": "3"}, "--frames 3: must be A:B"),
        ({"format": "webm"}, "must end in .webm"),
        ({"name": "talk.avi"}, "cannot write this kind of file"),
        ({"c2pa_key": Path("key.pem")}, "give it with --c2pa"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_said_in_one_line(render, tmp_path, options, fault):
    with pytest.raises(InputError, match=fault):
        render(**options)
    assert not list(tmp_path.iterdir())


def test_unreadable_sound_and_an_output_that_cannot_be_written(render, tmp_path, speech):
    (tmp_path / "noise.wav").write_bytes(b"no sound")
    with pytest.raises(InputError, match=r"noise\.wav"):
        render(audio=tmp_path / "noise.wav")
    with pytest.raises(InputError, match=r"noise\.wav: cannot be made"):
        render("noise.wav/talk.mp4")


def test_python_users_have_the_same(avatar, speech, tmp_path):
    samples, vocabulary = read_audio(speech), avatar.vocabulary
    keyframes = Keyframe(0.0, {"neutral": 1.0}, None), Keyframe(0.4, {"happy": 1.0}, 1.0)
    growing = avatar.track(samples, EmotionTrack(vocabulary, keyframes), "still", fps=20)
    happy = avatar.track(samples, vocabulary.encode("happy"), "still", fps=20)
    path, green = tmp_path / "a.mkv", open_background("green")
    avatar.write_video(path, {"growing": growing, "happy": happy}, samples, 48, background=green, mark="test")
    assert facts(path)[2:5] == (20, 10, (96, 48 + BAND))
    stream = (condition for condition in growing)  # as one without an end would be
    first = next(avatar.render(stream, 32, background=open_background("transparent")))
    assert first.shape == (32, 32, 4)
