"""Odd recordings, a full disk, and processes killed at any moment."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from aed_nerfstudio.capture.run import ProcessOptions, process_videos
from aed_nerfstudio.dataset.schema import FPS, read_dataset
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import read_audio
from aed_nerfstudio.media.video_writer import VideoWriter
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import head_motion
from aed_nerfstudio.synthetic.scene import Scene
from tests.forks import forked

SIZE = 96
SECONDS = 2.0
OPTIONS = ProcessOptions(SIZE, front_end="log-mel")
RATE = 16000


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    scene = Scene(Actor(4), 160, 11)
    return [scene.render({"jawOpen": 0.3 + 0.3 * np.sin(k)}, pose, landmarks=False).image
            for k, pose in enumerate(head_motion(round(SECONDS * 60), 3))]  # fmt: skip


def _noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def _write(path: Path, pictures: list[np.ndarray], fps: float, sound: np.ndarray | None) -> Path:
    height, width = pictures[0].shape[:2]
    with VideoWriter(path, fps, (width, height), audio=sound, sample_rate=RATE) as writer:
        for picture in pictures[: round(SECONDS * fps)]:
            writer.write(picture)
    return path


def _turned(path: Path, picture: np.ndarray) -> None:
    """Gives a file a phone's portrait flag: it is shown a quarter turn clockwise."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    matrix = [0, 1 << 16, 0, -(1 << 16), 0, 0, picture.shape[0] << 16, 0, 1 << 30]
    data[at : at + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in matrix)
    path.write_bytes(data)


def test_turned_phone_video_of_60_frames_a_second_in_an_odd_place(tmp_path, pictures):
    folder = tmp_path / "mes vidéos – 視頻 №1"
    folder.mkdir()
    wide = [np.pad(p, ((0, 0), (60, 0), (0, 0)), mode="edge") for p in pictures]
    lying = [np.ascontiguousarray(np.rot90(p)) for p in wide]
    path = _write(folder / "mon visage (1).mp4", lying, 60, _noise(SECONDS))
    _turned(path, lying[0])
    dataset = process_videos([path], folder / "sortie été", OPTIONS, progress=False)
    assert dataset.clips[0].count == round(SECONDS * FPS) and sum(f.usable for f in dataset.frames) > 42
    marks = dataset.landmarks(dataset.clips[0].name)[10]
    assert marks[152, 1] > marks[10, 1] + 20, "the chin is below the forehead"
    assert read_dataset(folder / "sortie été").clips[0].source == "mon visage (1).mp4"


def test_fifteen_frames_a_second_are_said(tmp_path, pictures):
    path = _write(tmp_path / "a.mp4", pictures[::4], 15, _noise(SECONDS))
    dataset = process_videos([path], tmp_path / "out", OPTIONS, progress=False)
    assert dataset.clips[0].count == round(SECONDS * FPS)
    assert any("15 frames a second" in text for text in dataset.warnings)


def test_sound_shorter_than_the_picture_longer_or_from_elsewhere(tmp_path, pictures):
    path = _write(tmp_path / "a.mp4", pictures[::2], 25, None)
    from aed_nerfstudio.media.audio_io import write_wav

    for name, seconds in (("short", 1.0), ("long", 9.0)):
        write_wav(tmp_path / f"{name}.wav", _noise(seconds), RATE)
        options = ProcessOptions(SIZE, front_end="log-mel", sound=[tmp_path / f"{name}.wav"])
        dataset = process_videos([path], tmp_path / name, options, progress=False)
        samples = read_audio(tmp_path / name / "audio" / "a.wav")
        assert len(samples) == round(SECONDS * FPS) * RATE // FPS
        assert any("sound ends 1.0 s before the picture" in text for text in dataset.warnings) == (name == "short")
    assert np.abs(samples - _noise(9.0)[: len(samples)]).max() < 1e-3
    shifted = ProcessOptions(SIZE, front_end="log-mel", sound=[tmp_path / "long.wav"], audio_shift=0.3)
    process_videos([path], tmp_path / "shifted", shifted, progress=False)
    moved = read_audio(tmp_path / "shifted" / "audio" / "a.wav")
    assert np.allclose(moved, _noise(9.0)[4800:][: len(moved)], atol=1e-3)


def test_ready_features(tmp_path, pictures):
    path = _write(tmp_path / "a.mp4", pictures[::2], 25, _noise(SECONDS))
    features = np.random.default_rng(0).normal(size=(2 * round(SECONDS * FPS), 29)).astype(np.float32)
    np.save(tmp_path / "ds.npy", features)
    options = ProcessOptions(SIZE, front_end="file/deepspeech", features=[tmp_path / "ds.npy"])
    dataset = process_videos([path], tmp_path / "out", options, progress=False)
    assert np.array_equal(dataset.features("a"), features) and dataset.front_end == "file/deepspeech"
    with pytest.raises(InputError, match="go together"):
        process_videos([path], tmp_path / "other", ProcessOptions(front_end="file"), progress=False)


def test_what_was_made_of_good_videos_survives_a_bad_one(tmp_path, pictures):
    good = _write(tmp_path / "good.mp4", pictures[::2], 25, _noise(SECONDS))
    bad = _write(tmp_path / "bad.mp4", [np.full_like(p, 90) for p in pictures], 25, _noise(SECONDS))
    with pytest.raises(InputError, match="no face found in .*bad.mp4"):
        process_videos([good, bad], tmp_path / "out", OPTIONS, progress=False)
    track = tmp_path / "out" / ".work" / "track" / "good.npz"
    before = track.stat().st_mtime_ns
    process_videos([good], tmp_path / "out", OPTIONS, progress=False)
    assert not track.exists() and len(read_dataset(tmp_path / "out").clips) == 1
    assert before  # the first video's landmarks were there to be used


RUNNER = """
import json, os, resource, signal, sys, tempfile, time
from pathlib import Path
from aed_nerfstudio.capture.run import ProcessOptions, process_videos
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.face.engine import has_solutions, load_mediapipe

def process(video, output, limit, step):
    left = step

    def hook(event, _):
        nonlocal left
        if event in ("os.rename", "os.remove"):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    sys.addaudithook(hook)
    try:
        process_videos([Path(video)], Path(output), ProcessOptions(96, front_end="log-mel"), progress=False)
    except InputError as error:
        sys.exit(str(error))
    sys.exit()

if has_solutions():
    load_mediapipe()
for line in sys.stdin:
    seconds, *arguments = json.loads(line)
    with tempfile.TemporaryFile() as said:
        child = os.fork()  # nothing has begun threads yet
        if not child:
            os.setsid()
            for stream in (1, 2):
                os.dup2(said.fileno(), stream)
            process(*arguments)
        end = time.monotonic() + seconds
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > end:
                os.killpg(child, signal.SIGKILL)
            time.sleep(0.01)
        said.seek(0)
        print(json.dumps([os.waitstatus_to_exitcode(ended[1]), said.read().decode()]), flush=True)
"""


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """Processes a video in a process of its own, whose exit code and words it returns: no file may pass `limit` bytes,
    and it is killed after `seconds`, or just before the file number `step` is renamed or removed. The processes are
    forks of one that has loaded the package."""
    program = tmp_path_factory.mktemp("runner") / "runner.py"
    program.write_text(RUNNER)
    with subprocess.Popen(forked(program), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as runner:

        def run(video: Path, output: Path, limit: int = 0, seconds: float = 300, step: int = 0) -> tuple[int, str]:
            print(json.dumps([seconds, str(video), str(output), limit, step]), file=runner.stdin, flush=True)
            return tuple(json.loads(runner.stdout.readline()))

        yield run
        runner.stdin.close()


def _contents(folder: Path) -> dict[str, str]:
    """A digest of every file, recorded times left out."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        if path.name in ("report.json", ".stages.json"):
            value = json.loads(data)
            value.pop("seconds", None)
            for entry in value.get("done", {}).values():
                entry.pop("seconds")
            data = json.dumps(value).encode()
        found[str(path.relative_to(folder))] = hashlib.sha256(data).hexdigest()
    return found


@pytest.mark.slow
@pytest.mark.hostile
def test_full_disk_and_kills_leave_what_the_next_run_finishes(tmp_path, pictures, process):
    """A write that fails is said; after it and after kills the folder ends as that of an undisturbed run."""
    video = _write(tmp_path / "a.mp4", pictures[::2], 25, _noise(SECONDS))
    start = time.monotonic()
    assert process(video, tmp_path / "whole")[0] == 0
    whole = time.monotonic() - start
    wanted = _contents(tmp_path / "whole")
    output = tmp_path / "out"
    code, printed = process(video, output, limit=100_000)
    assert code == 1 and re.search(r"out/\S+: cannot be written .*; choose another place", printed)
    assert not (output / "dataset.json").exists()
    for step in (1, 30, 90):
        assert process(video, output, step=step)[0] == -signal.SIGKILL
    process(video, output, seconds=0.8 * whole)
    assert process(video, output)[0] == 0
    assert _contents(output) == wanted


@pytest.mark.hostile
def test_what_could_not_be_finished_is_finished_by_the_next_run(tmp_path, pictures):
    """Where the last files cannot be written, all stages before them stay good."""
    video = _write(tmp_path / "a.mp4", pictures[::2], 25, _noise(SECONDS))
    output = tmp_path / "out"
    in_the_way = output / "transforms.json"
    in_the_way.mkdir(parents=True)
    (output / ".stages.json").write_text('{"done": {}, "begun": {}}')
    for _ in range(2):
        with pytest.raises(InputError, match="transforms.json: is a folder"):
            process_videos([video], output, OPTIONS, progress=False)
    made = json.loads((output / ".stages.json").read_text())["done"]
    in_the_way.rmdir()
    dataset = process_videos([video], output, OPTIONS, progress=False)
    assert dataset.report["seconds"]["track"] == made["track:a"]["seconds"]  # not made again
    told = json.loads((output / "report.json").read_text())["clips"]["a"]
    assert read_dataset(output).feature_dim == dataset.features("a").shape[1]
    assert told.keys() == {"audio_shift_seconds", "crop", "view"}
