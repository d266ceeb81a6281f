"""The whole way through the real commands, each in its own process: actor -> train -> resume -> eval -> render."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from aed_nerfstudio.dataset.schema import read_dataset
from aed_nerfstudio.media.audio_io import read_audio, write_wav
from aed_nerfstudio.media.video_reader import read_frames
from aed_nerfstudio.synthetic.record import record_dataset, unseen_speech

BIN = Path(sys.executable).parent
STEPS = 30
SIZE = 64


def call(*arguments, fails: bool = False) -> str:
    """Runs an installed command and gives back all that it printed."""
    command = [str(BIN / arguments[0]), *map(str, arguments[1:])]
    environment = {**os.environ, "COLUMNS": "200", "PYTHONWARNINGS": "ignore"}
    run = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, timeout=300, check=False
    )
    assert (run.returncode != 0) == fails, f"{' '.join(command)}\n{run.stdout[-4000:]}"
    return run.stdout


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("actor") / "data"
    record_dataset(
        root, size=SIZE, clip_seconds=0.8, emotions=("neutral", "happy"), intensities=("strong",), progress=False
    )
    return root


def train(data, output, *more) -> None:
    call(
        *("ns-train", "aed-nerf-tiny", "--data", data, "--output-dir", output, "--experiment-name", "actor"),
        *("--timestamp", "t", "--vis", "tensorboard", "--max-num-iterations", STEPS, *more),
    )


@pytest.fixture(scope="session")
def run(data, tmp_path_factory):
    """A trained run's folder."""
    output = tmp_path_factory.mktemp("runs")
    train(data, output)
    return output / "actor" / "aed-nerf-tiny" / "t"


def checkpoints(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "nerfstudio_models").glob("*.ckpt"))


def test_actor_dataset_reads(data):
    dataset = read_dataset(data)
    assert {clip.emotion for clip in dataset.clips} == {"neutral", "happy"}
    assert all(clip.count == 20 for clip in dataset.clips)
    assert dataset.camera.w == dataset.camera.h == SIZE
    assert dataset.split("train") and dataset.split("val")


def test_training_leaves_a_checkpoint(run):
    assert checkpoints(run) == [f"step-{STEPS - 1:09d}.ckpt"]
    assert (run / "config.yml").is_file()


def test_training_resumes(run, data, tmp_path):
    train(data, tmp_path, "--load-dir", run / "nerfstudio_models")
    resumed = tmp_path / "actor" / "aed-nerf-tiny" / "t"
    (name,) = checkpoints(resumed)
    assert int(name[5:14]) > STEPS - 1  # it went on from where the first run stopped


def test_evaluates(run, tmp_path):
    call("ns-eval", "--load-config", run / "config.yml", "--output-path", tmp_path / "metrics.json")
    results = json.loads((tmp_path / "metrics.json").read_text())["results"]
    assert np.isfinite(results["psnr"]) and results["psnr"] > 5


def test_renders_the_dataset(run, data, tmp_path):
    call(
        *("ns-render", "dataset", "--load-config", run / "config.yml", "--split", "val", "--output-path", tmp_path),
        *("--rendered-output-names", "rgb"),
    )
    images = [path for path in tmp_path.rglob("*") if path.suffix in (".jpg", ".png")]
    assert len(images) == len(read_dataset(data).split("val"))


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ns-render needs the ffmpeg program for this")
def test_renders_nerfstudios_camera_paths(run, tmp_path):
    output = tmp_path / "path.mp4"
    call("ns-render", "interpolate", "--load-config", run / "config.yml", "--output-path", output)
    assert output.is_file()


@pytest.mark.parametrize("moved", [False, True])
def test_speaks(run, tmp_path, moved):
    if moved:  # a run copied from another machine
        run = shutil.copytree(run, tmp_path / "elsewhere" / "actor" / "aed-nerf-tiny" / "t")
    samples = unseen_speech(0.6)
    write_wav(tmp_path / "speech.wav", samples)
    output = tmp_path / "speech.mp4"
    printed = call(
        *("aed", "render", "--load-config", run / "config.yml", "--audio", tmp_path / "speech.wav"),
        *("--output", output, "--emotion", "happy", "--intensity", "0.5", "--size", 48),
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


def test_unknown_emotion_is_one_line(run, tmp_path):
    write_wav(tmp_path / "speech.wav", unseen_speech(0.2))
    printed = call(
        *("aed", "render", "--load-config", run / "config.yml", "--audio", tmp_path / "speech.wav"),
        *("--output", tmp_path / "speech.mp4", "--emotion", "bored"),
        fails=True,
    )
    assert "Traceback" not in printed
    assert printed.strip().splitlines()[-1].startswith("error: ") and "happy" in printed
