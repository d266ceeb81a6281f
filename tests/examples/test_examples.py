"""Every script in examples/ runs and does what it says."""

import ast
import importlib.util
import json
import runpy
from pathlib import Path

import av
import numpy as np
import pytest

from aed_nerfstudio.audio.features import FRONT_ENDS
from aed_nerfstudio.avatar.avatar import Avatar
from aed_nerfstudio.dataset.schema import read_dataset
from aed_nerfstudio.media.audio_io import read_audio
from aed_nerfstudio.synthetic.record import unseen_speech

SCRIPTS = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.py"))


@pytest.fixture(autouse=True)
def front_ends():
    """Those that a script registers are gone afterwards."""
    known = dict(FRONT_ENDS)
    yield
    FRONT_ENDS.clear()
    FRONT_ENDS.update(known)


def script(number: int) -> dict:
    """What a script defines."""
    return runpy.run_path(str(SCRIPTS[number - 1]))


def video(path: Path) -> tuple[int, dict[str, str]]:
    """Number of frames and tags of a video, which has sound as well."""
    with av.open(str(path)) as container:
        assert container.streams.audio
        return sum(1 for _ in container.decode(video=0)), dict(container.metadata)


def test_they_are_numbered():
    assert [path.name[:3] for path in SCRIPTS] == [f"{n:02d}_" for n in range(1, len(SCRIPTS) + 1)]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_help(path, monkeypatch, capsys):
    if "livekit" in path.stem and importlib.util.find_spec("livekit") is None:
        pytest.skip("needs livekit-agents, which has an environment of its own")
    monkeypatch.setattr("sys.argv", [path.name, "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name="__main__")
    printed = capsys.readouterr().out
    assert not end.value.code
    options = [a.arg for f in ast.walk(ast.parse(path.read_text())) if isinstance(f, ast.FunctionDef)
               and f.name == "main" for a in f.args.args]  # fmt: skip
    assert options and all(f"--{option.replace('_', '-')}" in printed for option in options)


@pytest.mark.slow
def test_training(data, tmp_path, capfd):
    script(1)["main"](data=data, output=tmp_path, steps=10)
    config = tmp_path / "actor" / "aed-nerf-tiny" / "example" / "config.yml"
    assert str(config) in capfd.readouterr().out
    assert Avatar.load(config).step == 9


def test_emotion_curve(run, tmp_path):
    script(2)["main"](avatar=run / "config.yml", output=tmp_path / "curve.mp4")
    frames, tags = video(tmp_path / "curve.mp4")
    assert frames == 50
    curve = json.loads(tags["emotion_track"])
    assert [(point["time"], *point["emotion"]) for point in curve] == [(0, "neutral"), (1, "happy"), (2, "neutral")]


@pytest.mark.skipif(not hasattr(Avatar, "save"), reason="avatars cannot be packed yet")
@pytest.mark.parametrize("half, told", [(True, "PSNR"), (False, "the same")])
def test_packing(run, tmp_path, capsys, half, told):
    script(3)["main"](avatar=run / "config.yml", output=tmp_path / "actor.avatar", half=half)
    assert told in capsys.readouterr().out
    assert (tmp_path / "actor.avatar").stat().st_size > 100_000


def test_frame_by_frame(run, tmp_path):
    example = script(4)
    avatar, speech = Avatar.load(run / "config.yml"), unseen_speech(1.0)
    speech[: len(speech) // 2] = 0
    categories = avatar.vocabulary.categories
    shown = np.stack([c.emotion[: len(categories)] for c in example["conditions"](avatar, speech, "happy")])
    happy = shown[:, categories.index("happy")]
    assert happy[:12].max() == 0 < happy[13:].max() <= 1
    np.testing.assert_allclose(shown.sum(axis=1), 1, rtol=1e-6)

    example["main"](avatar=run / "config.yml", output=tmp_path / "loudness.mp4")
    frames, tags = video(tmp_path / "loudness.mp4")
    assert frames == 50 and "synthetic" in tags["comment"]


@pytest.mark.slow
def test_front_end_of_its_own(tmp_path):
    example = script(5)
    speech = unseen_speech(1.0)
    features = example["FRONT_END"].extract(speech)
    assert features.shape == (50, 2) and features[:, 0].std() > 0.5

    example["main"](output=tmp_path, steps=10)
    assert read_dataset(tmp_path / "data").front_end == example["FRONT_END"].name
    assert video(tmp_path / "speech.mp4")[0] == 50
    assert len(read_audio(tmp_path / "speech.mp4")) > 30_000
