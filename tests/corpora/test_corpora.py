"""MEAD's folders and tables of takes: what is chosen, what is missing and said, and the dataset that comes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aed_nerfstudio.capture.sources import ProcessOptions
from aed_nerfstudio.corpora.corpus import CorpusTake, evenly, run_plan
from aed_nerfstudio.corpora.corpus_tables import plan_table
from aed_nerfstudio.corpora.mead import plan_mead
from aed_nerfstudio.dataset.schema import read_dataset
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.media.audio_io import read_audio, write_wav
from aed_nerfstudio.media.video_writer import VideoWriter
from aed_nerfstudio.synthetic.record import record_video

TONE = 0.3 * np.sin(np.arange(16000 * 3) * 0.2).astype(np.float32)


def _video(path: Path, seconds: float = 2.4, sound: bool = True, size: int = 64) -> Path:
    """A grey video."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps=25, size=(size, size), audio=TONE if sound else None) as writer:
        for _ in range(round(25 * seconds)):
            writer.write(np.full((size, size, 3), 90, np.uint8))
    return path


def _take(root: Path, name: str, **more: object) -> Path:
    return _video(root / "video" / "front" / f"{name}.mp4", **more)


@pytest.fixture(scope="module")
def mead(tmp_path_factory) -> Path:
    """A corpus of two actors; M001's folder has all that can go wrong with a take."""
    root = tmp_path_factory.mktemp("mead")
    actor = root / "M001"
    for k in (1, 2, 10):
        _take(actor, f"fear/level_3/{k:03d}")
    _take(actor, "happy/level_1/001", seconds=1.2)
    _take(actor, "happy/level_1/002", sound=False)
    _take(actor, "happy/level_1/003", sound=False)
    (actor / "audio" / "happy" / "level_1").mkdir(parents=True)
    write_wav(actor / "audio" / "happy" / "level_1" / "003.m4a", TONE)  # FFmpeg looks into files, not at their names
    _take(actor, "neutral/level_1/001")
    (actor / "video" / "front" / "neutral" / "level_1" / "002.mp4").write_bytes(b"no video")
    (actor / "video" / "front" / "neutral" / "level_1" / "._001.mp4").write_bytes(b"what a Mac leaves behind")
    _take(actor, "very bored/level_2/001", size=80)
    (actor / "video" / "left_30").mkdir()
    _video(root / "W002" / "W002_front_angry_level3_001.mp4", sound=False)
    _video(root / "W002" / "W002_front_neutral_level1_001.mp4", sound=False)
    _video(root / "W002" / "W002_left_30_neutral_level1_001.mp4", sound=False)
    _video(root / "W002" / "holiday.mp4", sound=False)
    return root


def test_mead_takes_by_label(mead):
    plan = plan_mead(mead, "M001", seconds=4)
    chosen = [(take.emotion, take.intensity, take.path.stem) for take in plan.takes]
    assert chosen == [("neutral", "weak", "001"), ("fearful", "strong", "001"), ("fearful", "strong", "010"),
                      ("happy", "weak", "003"), ("very_bored", "medium", "001")]  # fmt: skip
    assert plan.takes[3].sound == mead / "M001" / "audio" / "happy" / "level_1" / "003.m4a"
    assert plan.takes[0].sound is None  # the video's own
    assert plan.found[("fearful", "strong")] == 3 and plan.seconds[("fearful", "strong")] == pytest.approx(4.8)
    assert plan == plan_mead(mead / "M001", seconds=4)  # the actor's folder itself

    problems = "\n".join(plan.problems)
    for words in ("happy/level_1/001.mp4: only 1.2 s", "happy/level_1/002.mp4: without sound; left out",
                  "neutral/level_1/002.mp4: not a readable video", "several sizes (64x64, 80x80)"):  # fmt: skip
        assert words in problems
    assert len(plan.problems) == 4
    assert {"fearful weak", "sad strong"} <= set(plan.missing) and "neutral medium" not in plan.missing
    assert plan.short == ["neutral weak", "fearful strong", "happy weak", "very_bored medium"]
    assert "- no takes: angry weak," in plan.table and "fearful     strong           3       2      4.8" in plan.table


def test_mead_choices(mead):
    plan = plan_mead(mead, "M001", emotions=["fear", "neutral"], levels=[3])
    assert list(plan.found) == [("neutral", "weak"), ("fearful", "strong")] and len(plan.takes) == 4
    assert plan_mead(mead, "M001", emotions=["fearful"]).takes == plan.takes[1:]
    silent = [t for t in plan_mead(mead, "M001", allow_silent=True).takes if t.silent]
    assert [take.path.name for take in silent] == ["002.mp4"]
    assert not any(take.silent or take.sound for take in plan_mead(mead, "M001", sound=False).takes)


def test_mead_file_names(mead):
    plan = plan_mead(mead, "W002", sound=False)
    assert [take.label for take in plan.takes] == [("neutral", "weak"), ("angry", "strong")]
    assert "holiday.mp4: its name says no label" in plan.problems[0]
    assert len(plan_mead(mead, "W002", view="left_30", sound=False).takes) == 1
    with pytest.raises(InputError, match="no take has sound .*give --audio-features none"):
        plan_mead(mead, "W002", allow_silent=True)


@pytest.mark.parametrize(
    "actor, options, words",
    [
        (None, {}, "choose --actor of M001, W002"),
        ("M002", {}, "no actor M002; choose --actor of M001, W002"),
        ("M001", {"view": "top"}, "no view top; choose --view of front, left_30"),
        ("W002", {"view": "top"}, "no view top; choose --view of front, left_30"),
        ("M001", {"emotions": ["glee"]}, "unknown emotion 'glee'; choose of neutral, .*very_bored"),
        ("M001", {"levels": [4]}, "unknown level 4; choose of 1, 2, 3"),
        ("M001", {"seconds": 0}, "seconds must be positive"),
        ("M001", {"emotions": ["sad"]}, "there is none of these emotions"),
        ("M001/audio", {}, "holds no takes; expected video/front/EMOTION/level_N/TAKE.mp4"),
    ],
)
def test_mead_refusals(mead, actor, options, words):
    with pytest.raises(InputError, match=words) as caught:
        plan_mead(mead, actor, **options)
    assert "\n" not in str(caught.value)


def test_dry_run_prints_the_table_and_writes_nothing(mead, tmp_path, in_process):
    printed = in_process("aed", "process-mead", mead, "--actor", "M001", "--output", tmp_path / "out", "--dry-run")
    assert plan_mead(mead, "M001").table in printed and not list(tmp_path.iterdir())


def test_mead_still_packed(tmp_path):
    (tmp_path / "M003").mkdir()
    (tmp_path / "M003" / "video.tar").touch()
    with pytest.raises(InputError, match="video.tar .*unpack it first"):
        plan_mead(tmp_path / "M003")


def test_takes_are_spread_and_just_enough():
    takes = [CorpusTake(Path(f"{k}.mp4"), "sad", "weak", seconds=4.0) for k in range(60)]
    chosen = evenly(takes, 100)
    places = [takes.index(take) for take in chosen]
    assert len(chosen) == 25 and len(set(places)) == 25 and set(np.diff(places)) <= {2, 3}
    assert evenly(takes[:20], 100) == takes[:20]


def _table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "takes.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_table(tmp_path):
    _video(tmp_path / "a, b.mp4")
    _video(tmp_path / "größe.mp4", sound=False)
    write_wav(tmp_path / "voice.wav", TONE)
    text = 'path,emotion,intensity,audio,who\r\n"a, b.mp4",happy,strong,,x\r\n\r\ngröße.mp4,sad,weak,voice.wav,x\r\n'
    plan = plan_table(_table(tmp_path, text, "utf-8-sig"))
    assert [(take.path.name, *take.label) for take in plan.takes] == [
        ("a, b.mp4", "happy", "strong"), ("größe.mp4", "sad", "weak")]  # fmt: skip
    assert [take.sound for take in plan.takes] == [None, tmp_path / "voice.wav"] and not plan.missing
    # A spreadsheet's semicolons; a sound file that is named is used even beside a video's own sound.
    plan = plan_table(_table(tmp_path, "intensity;emotion;audio;path\nweak;sad;voice.wav;a, b.mp4\n"))
    assert plan.takes[0].sound == tmp_path / "voice.wav"


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "is empty; begin with the line path,emotion,intensity"),
        ("a.mp4,happy,weak\n", "line 1: no column path, emotion, intensity; begin with"),
        ("path,emotion\na.mp4,happy\n", "line 1: no column intensity"),
        ("path,emotion,intensity,path\n", "line 1: the column path is there twice"),
        ("path,emotion,intensity\n", "holds no takes"),
        ("path,emotion,intensity\n\nno.mp4,happy,weak\n", "line 3: .*no.mp4: no such file"),
        ("path,emotion,intensity\na.mp4,so happy,weak\n", "line 2: emotion 'so happy' is no label"),
        ("path,emotion,intensity\na.mp4,happy,huge\n", "line 2: unknown intensity 'huge'; choose one of weak"),
        ("path,emotion,intensity\na.mp4,happy,weak\na.mp4,sad,weak\n", "line 3: .*a.mp4 is in line 2 already"),
        ("path,emotion,intensity\na.mp4,happy\n", "line 2: 2 values; give path,emotion,intensity"),
        ('path,emotion,intensity\n"a.mp4,happy,weak\n', "line 2: no CSV .*check the quotes"),
        ("path,emotion,intensity\na.mp4,h\xe4ppy,weak\n", "line 2: is not UTF-8 text"),
    ],
)
def test_table_refusals(tmp_path, text, words):
    _video(tmp_path / "a.mp4")
    with pytest.raises(InputError, match=words) as caught:
        plan_table(_table(tmp_path, text, "latin-1"))
    assert "takes.csv" in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match="missing.csv: no such file"):
        plan_table(tmp_path / "missing.csv")


def test_takes_become_one_dataset_without_the_unusable_one(tmp_path):
    for number, emotion in enumerate(("angry", "neutral")):
        path = tmp_path / "M001" / "video" / "front" / emotion / "level_1" / "001.mp4"
        path.parent.mkdir(parents=True)
        record_video(path, seconds=2.2, size=96, emotion=emotion, intensity="weak", seed=number)
    _take(tmp_path / "M001", "happy/level_1/001", size=96)  # nobody in it
    _take(tmp_path / "M001", "happy/level_1/002", size=96)
    mute = tmp_path / "M001" / "video" / "front" / "angry" / "level_1" / "002.mp4"
    mute.write_bytes(path.read_bytes())
    plan = plan_mead(tmp_path)
    silent = tuple(CorpusTake(mute, *t.label, silent=True) if t.path == mute else t for t in plan.takes)
    plan = type(plan)(plan.name, silent, plan.found)
    output, options = tmp_path / "out", ProcessOptions(size=96, front_end="log-mel")
    dataset, left_out = run_plan(plan, output, options, progress=False)
    assert [(clip.emotion, clip.intensity) for clip in dataset.clips] == [("neutral", "weak"), *[("angry", "weak")] * 2]
    assert len(left_out) == 2 and all("no face found in" in text and "happy" in text for text in left_out)
    assert read_dataset(output).camera == dataset.camera
    loud = [np.abs(read_audio(output / "audio" / f"{clip.name}.wav")).max() > 0.01 for clip in dataset.clips]
    assert loud == [True, True, False]
    written = (output / "dataset.json").stat().st_mtime_ns
    assert run_plan(plan, output, options, progress=False)[1] == left_out  # known, and not looked at again
    assert (output / "dataset.json").stat().st_mtime_ns == written
