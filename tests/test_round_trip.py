"""The whole way: train, resume, eval, render; nerfstudio's commands once in a process that is not the tests'."""

import json
import shutil

import av
import numpy as np
import pytest
import torch
from nerfstudio.scripts.render import DatasetRender
from PIL import Image

from aed_nerfstudio.avatar.avatar import Avatar, to_uint8
from aed_nerfstudio.commands.main import main
from aed_nerfstudio.dataset.schema import read_dataset, read_image
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.evaluation.metrics import check
from aed_nerfstudio.media.audio_io import read_audio, write_wav
from aed_nerfstudio.media.captions import BAND
from aed_nerfstudio.media.provenance import SYNTHETIC_NOTE
from aed_nerfstudio.media.video_reader import read_frames
from aed_nerfstudio.synthetic.record import unseen_speech
from tests.conftest import SIZE, STEPS, note

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ns-render needs the ffmpeg program for this")


def checkpoints(run) -> list[str]:
    return sorted(path.name for path in (run / "nerfstudio_models").glob("*.ckpt"))


def test_actor_dataset_reads(data):
    dataset = read_dataset(data)
    assert {clip.emotion for clip in dataset.clips} == {"neutral", "happy"}
    assert all(clip.count == 40 for clip in dataset.clips)
    assert dataset.camera.w == dataset.camera.h == SIZE
    assert dataset.split("train") and dataset.split("val")


def test_training_leaves_a_checkpoint(run):
    assert checkpoints(run) == [f"step-{STEPS - 1:09d}.ckpt"]
    assert (run / "config.yml").is_file()


def test_training_reports_the_audio_branch(run):
    (line,) = [text for text in (run / "printed.txt").read_text().splitlines() if "spread over audio frames" in text]
    assert "a_l" in line and "held-out audio, r" in line and "WARNING" not in line


def test_training_resumes(run, data, tmp_path, trained):
    printed = trained(data, tmp_path, "--load-dir", run / "nerfstudio_models", "--max-num-iterations", STEPS + 5)
    assert checkpoints(tmp_path / "actor" / "aed-nerf-tiny" / "t") == [f"step-{STEPS + 4:09d}.ckpt"]
    assert f"going on after step {STEPS - 1}" in printed


def test_the_same_seed_gives_the_same_weights(run, data, tmp_path, trained):
    trained(data, tmp_path)
    name = f"step-{STEPS - 1:09d}.ckpt"
    first, second = (
        torch.load(folder / "nerfstudio_models" / name, weights_only=True)["pipeline"]
        for folder in (run, tmp_path / "actor" / "aed-nerf-tiny" / "t")
    )
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert equal(value, second[key]), key


def equal(one: object, other: object) -> bool:
    """To the last bit, also of what is nested."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(value, other[key]) for key, value in one.items())
    return torch.equal(one, other) if torch.is_tensor(one) else one == other


def test_a_training_that_explodes_stops_and_keeps_its_checkpoint(data, tmp_path, trained):
    options = ["--steps-per-save", 2, "--optimizers.mlps.optimizer.lr", "1e30"]
    printed = trained(data, tmp_path, *options, fails=True)
    last = printed.strip().splitlines()[-1]
    assert "Traceback" not in printed and last.startswith("error: step ") and "head stage" in last
    for name in checkpoints(tmp_path / "actor" / "aed-nerf-tiny" / "t"):
        state = torch.load(tmp_path / "actor" / "aed-nerf-tiny" / "t" / "nerfstudio_models" / name, weights_only=True)
        tensors = [value for value in state["pipeline"].values() if torch.is_tensor(value)]
        assert all(value.isfinite().all() for value in tensors if value.is_floating_point())


def test_training_names_a_missing_dataset(tmp_path, trained):
    printed = trained(tmp_path / "nothing", tmp_path, fails=True)
    assert "Traceback" not in printed
    last = printed.strip().splitlines()[-1]
    assert last.startswith("error: ") and "nothing/dataset.json" in last and "aed process" in last


@pytest.fixture(scope="module")
def nerfstudios(run, command, tmp_path_factory):
    """What `ns-eval` and `ns-render dataset` write, in processes of their own."""
    folder = tmp_path_factory.mktemp("nerfstudio")
    evaluate = ("--load-config", run / "config.yml", "--output-path", folder / "metrics.json")
    evaluate += ("--render-output-path", folder / "pictures")
    render = ("dataset", "--load-config", run / "config.yml", "--split", "val", "--output-path", folder / "rendered")
    render += ("--rendered-output-names", "rgb", "gt-rgb", "--image-format", "png")
    command("ns-eval", *evaluate)
    command("ns-render", *render)
    return folder


@pytest.mark.slow
def test_nerfstudio_evaluates(nerfstudios):
    written = list((nerfstudios / "pictures").iterdir())
    assert written and all(note(path) == SYNTHETIC_NOTE for path in written)
    results = json.loads((nerfstudios / "metrics.json").read_text())["results"]
    pictures = [read_image(path).astype(int) for path in written]  # recorded, rendered, and others beside them
    errors = [np.square(picture[:, :SIZE] - picture[:, SIZE : 2 * SIZE]).mean() / 255**2 for picture in pictures]
    assert results["psnr"] == pytest.approx(np.mean(-10 * np.log10(errors)), abs=0.3)


def test_evaluates(run, data, tmp_path, in_process):
    write_wav(tmp_path / "speech.wav", unseen_speech(0.6))
    printed = in_process(
        *("aed", "eval", "--load-config", run / "config.yml", "--output", tmp_path / "out"),
        *("--audio", tmp_path / "speech.wav", "--emotion", "happy", "--intensity", "strong", "--frames", 4),
    )
    assert "| ours, full |" in printed
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    check(metrics)
    assert metrics["frames"]["held_out"] == 4
    ours, nearest = metrics["self_driven"]["full"], metrics["baselines"]["nearest_pose"]
    with_torso = metrics["self_driven"]["ground_truth_torso"]
    with_shoulders = metrics["self_driven"]["recorded_shoulders"]
    for row in (ours, nearest, with_torso, with_shoulders, metrics["baselines"]["mean_frame"]):
        assert (row["lpips"] is None) != (row["st_lpips"] is None)
        assert "--syncnet" in row["not_measured"]["sync_c"]
    # Thirty steps do not beat a training frame, which is another one; the recorded torso is nearer than ours.
    perceptual = "st_lpips" if ours["lpips"] is None else "lpips"
    for better, worse in ((nearest, with_torso), (with_torso, ours)):
        assert better["psnr"] > worse["psnr"] and better["ssim"] > worse["ssim"]
        assert better[perceptual] < worse[perceptual]
    assert nearest["frames_without_face"] < 4 and nearest["lmd_px"] > 0 and nearest["ssim"] < 0.999
    assert metrics["ground_truth"]["not_measured"]["psnr"]
    assert metrics["cross_driven"]["frames"] == 15 == len(list(read_frames(tmp_path / "out" / "spoken.mp4")))
    assert len(read_audio(tmp_path / "out" / "spoken.mp4")) > 0.5 * 16000
    # Even thirty steps put the face between the ears and the camera.
    assert metrics["depth"]["frames"] == 4 and metrics["depth"]["error_mm"] < 150
    page = (tmp_path / "out" / "index.html").read_text()
    for name in ("side-by-side.mp4", "spoken.mp4", "sheet.png", "mouth.png", "depth.png", "emotions.png"):
        assert f'src="{name}"' in page and (tmp_path / "out" / name).is_file()
    beside = list(read_frames(tmp_path / "out" / "side-by-side.mp4"))
    assert len(beside) == 4 and beside[0].shape == (SIZE + BAND, 2 * SIZE, 3)
    assert len(read_audio(tmp_path / "out" / "side-by-side.mp4")) > 3 * 640
    assert read_image(tmp_path / "out" / "sheet.png").shape == (3 * (SIZE + BAND), 2 * SIZE, 3)  # a frame of each label
    assert read_image(tmp_path / "out" / "emotions.png").shape == (3 * (SIZE + BAND), 5 * SIZE, 3)
    for name in ("sheet.png", "depth.png", "emotions.png", "side-by-side.mp4", "spoken.mp4"):
        assert note(tmp_path / "out" / name) == SYNTHETIC_NOTE


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--frames", 2), "at least 3"),
        (("--syncnet", "missing.model"), "missing.model"),
        (("--audio", "missing.wav"), "missing.wav"),
    ],
)
def test_evaluation_names_what_it_cannot_use(run, tmp_path, more, named, capsys):
    with pytest.raises(SystemExit):
        main(["eval", "--load-config", str(run / "config.yml"), "--output", str(tmp_path / "out"), *map(str, more)])
    error = capsys.readouterr().err
    assert error.startswith("error: ") and named in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_renders_the_dataset(nerfstudios, data):
    folder = nerfstudios / "rendered"
    images = [path for path in folder.rglob("*") if path.suffix in (".jpg", ".png")]
    ours = [path for path in images if path.relative_to(folder).parts[1] == "rgb"]
    assert len(images) / 2 == len(ours) == len(read_dataset(data).split("val"))
    assert all(note(path) == (SYNTHETIC_NOTE if path in ours else None) for path in images)


@pytest.mark.parametrize(("factor", "side"), [(2.0, 32), (0.5, 128)])
def test_renders_the_dataset_smaller_and_larger(run, data, tmp_path, factor, side, track):
    names = ["rgb", "gt-rgb"]
    places = {"load_config": run / "config.yml", "output_path": tmp_path, "data": data}
    DatasetRender(
        **places, image_format="png", downscale_factor=factor, split="val", rendered_output_names=names
    ).main()
    dataset, avatar = read_dataset(data), Avatar.load(run / "config.yml", device="cpu")
    for index in dataset.split("val")[:2]:
        file = dataset.path("images", dataset.frames[index])
        name = file.relative_to(data / "images").with_suffix(".png")
        ours, recorded = (read_image(tmp_path / "val" / kind / name).astype(int) for kind in names)
        assert ours.shape == recorded.shape == (side, side, 3)
        picture = Image.open(file).resize((side, side), Image.Resampling.BILINEAR)
        assert np.abs(recorded - np.asarray(picture)).max() <= 1
        own = avatar.images(track[index], side)["rgb"]
        assert np.abs(ours - to_uint8(own)).max() <= 1


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), 5.0])
def test_a_size_that_no_picture_has_is_one_line(run, tmp_path, factor):
    with pytest.raises(InputError, match="--downscale-factor must be from 0.015625 to 4.0, not"):
        DatasetRender(run / "config.yml", output_path=tmp_path, downscale_factor=factor, split="val").main()


@needs_ffmpeg
@pytest.mark.parametrize("kind", ["interpolate", "spiral", "camera-path"])
def test_renders_nerfstudios_paths(run, data, tmp_path, kind, in_process):
    output = tmp_path / "path.mp4"
    more = []
    if kind == "spiral":
        more = ["--seconds", "0.2"]
    if kind == "interpolate":
        more = ["--interpolation-steps", "2"]
    if kind == "camera-path":
        poses = [frame.camera_to_world for frame in read_dataset(data).frames[:3]]
        camera = [
            {"camera_to_world": np.array(pose).flatten().tolist(), "fov": 27.0, "aspect": 1.0, "render_time": k / 2}
            for k, pose in enumerate(poses)
        ]
        path = {"camera_type": "perspective", "render_height": 48, "render_width": 48, "seconds": 0.12}
        (tmp_path / "path.json").write_text(json.dumps({**path, "fps": 25, "camera_path": camera}))
        more = ["--camera-path-filename", tmp_path / "path.json"]
    in_process("ns-render", kind, "--load-config", run / "config.yml", "--output-path", output, *more)
    assert np.std(next(iter(read_frames(output)))) > 1
    assert note(output) == SYNTHETIC_NOTE


@pytest.mark.parametrize("moved", [False, True])
def test_speaks(run, tmp_path, moved, in_process):
    if moved:  # a run copied from another machine
        run = shutil.copytree(run, tmp_path / "elsewhere" / "actor" / "aed-nerf-tiny" / "t")
    samples = unseen_speech(0.6)
    write_wav(tmp_path / "speech.wav", samples)
    output = tmp_path / "speech.mp4"
    printed = in_process(
        *("aed", "render", "--load-config", run / "config.yml", "--audio", tmp_path / "speech.wav"),
        *("--output", output, "--emotion", "happy", "--intensity", "1", "--size", 48),
    )
    assert output.name in printed
    frame = 16000 // 25  # in samples
    with av.open(str(output)) as container:
        assert container.streams.audio
        assert container.streams.video[0].width == container.streams.video[0].height == 48
    frames = list(read_frames(output))
    assert abs(len(frames) * frame - len(samples)) <= frame
    assert np.std(frames[0]) > 1
    heard = read_audio(output)
    assert abs(len(heard) - len(samples)) <= frame
    count = min(len(heard), len(samples))
    assert np.corrcoef(heard[:count], samples[:count])[0, 1] > 0.9  # in step with the picture


@pytest.mark.parametrize("emotion", ["bored", "sad"])  # no word of this dataset; a word of it without frames
def test_an_emotion_that_was_not_recorded_is_one_line(run, tmp_path, in_process, emotion):
    write_wav(tmp_path / "speech.wav", unseen_speech(0.2))
    printed = in_process(
        *("aed", "render", "--load-config", run / "config.yml", "--audio", tmp_path / "speech.wav"),
        *("--output", tmp_path / "speech.mp4", "--emotion", emotion),
        fails=True,
    )
    assert "Traceback" not in printed
    assert printed.strip().splitlines()[-1].startswith("error: ") and "happy" in printed
