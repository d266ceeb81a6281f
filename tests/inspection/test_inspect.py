"""The quality gate on the synthetic actor: good recordings pass, every fault is named with its mend."""

from __future__ import annotations

import copy
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.commands.main import main
from aed_nerfstudio.dataset.schema import HEAD, TORSO, Dataset, read_dataset, read_image, write_dataset, write_image
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.inspection.findings import Finding, Inspection
from aed_nerfstudio.inspection.inspect import inspect_dataset
from aed_nerfstudio.inspection.judging import judge
from aed_nerfstudio.inspection.measures import Measures, measure
from aed_nerfstudio.media.audio_io import read_audio, write_wav
from aed_nerfstudio.synthetic.record import record_dataset

SECONDS = 6.4


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two labels of 6.4 s."""
    root = tmp_path_factory.mktemp("inspected") / "actor"
    record_dataset(root, size=48, clip_seconds=SECONDS, emotions=("neutral", "sad"), intensities=("strong",),
                   front_end="log-mel", progress=False)  # fmt: skip
    return read_dataset(root)


@pytest.fixture(scope="module")
def whole(recorded) -> Measures:
    """What is measured of it, the sound too; nothing of that depends on what capture reported."""
    return measure(recorded)


@pytest.fixture
def dataset(recorded):
    """The same with frames that a test may change."""
    return copy.deepcopy(recorded)


def copied(dataset: Dataset, root) -> Dataset:
    shutil.copytree(dataset.root, root)
    return read_dataset(root)


def shift_sound(dataset: Dataset, seconds: float, clips: int | None = None) -> None:
    """Makes the sound of the first clips come later."""
    for clip in dataset.clips[:clips]:
        path = dataset.root / "audio" / f"{clip.name}.wav"
        samples, count = read_audio(path), round(abs(seconds) * SAMPLE_RATE)
        moved = np.pad(samples, (count, 0))[: len(samples)] if seconds > 0 else np.pad(samples[count:], (0, count))
        write_wav(path, moved)


def measured(dataset: Dataset) -> Measures:
    """All but the sound, which takes the time."""
    return measure(replace(dataset, front_end="none"))


def findings(dataset: Dataset, measures: Measures | None = None) -> dict[str, Finding]:
    """Those that are not in order, by topic."""
    return {found.topic: found for found in judge(dataset, measures or measured(dataset)) if found.level != "ok"}


def test_a_good_recording_lacks_nothing_but_length(dataset, whole):
    assert set(findings(dataset, whole)) == {"length"}
    found = {finding.topic: finding for finding in judge(dataset, whole)}
    assert "in step with the lips" in found["sound"].text
    assert "2 labels, 6.4 to 6.4 s" in found["labels"].text


def test_shoulders_that_sway_and_a_grey_neck_are_named(dataset, tmp_path):
    measures = measured(dataset)
    plain = measures.torso
    assert plain.shift is not None and plain.shift < 0.5 and plain.made_up < plain.chin
    changed = copied(dataset, tmp_path / "changed")
    for frame in changed.frames:
        layer, parsing = changed.torso(frame), changed.parsing(frame)
        layer[parsing == HEAD, :3] = 90  # what is made up of the neck
        write_image(changed.path("torso", frame), layer)
    look = measured(changed).torso
    assert look.chin == plain.chin and look.made_up > 2 * plain.made_up
    assert "light face and neck alike" in findings(dataset, replace(measures, torso=look))["neck"].mend
    for n, frame in enumerate(changed.frames):
        aside = 4 * (-1) ** (n // 20)
        write_image(changed.path("torso", frame), np.roll(changed.torso(frame), aside, axis=1))
        parsing = changed.parsing(frame)
        moved = np.where(parsing == TORSO, np.roll(parsing, aside, axis=1), parsing)
        write_image(changed.path("parsing", frame), moved)
    look = measured(changed).torso
    assert 2.9 < look.shift < 4.5  # of 4; some frames of 48 pixels are aligned with another edge
    assert "sit or stand still" in findings(dataset, replace(measures, torso=look))["shoulders"].mend
    hidden = replace(look, shift=None, chin=float("nan"))
    found = findings(dataset, replace(measures, torso=hidden))
    assert "too little of them" in found["shoulders"].text and "neck" not in found


@pytest.mark.parametrize("seconds", [0.3, -0.3])
def test_a_shifted_sound_track_is_named_with_its_mend(dataset, tmp_path, seconds):
    moved = copied(dataset, tmp_path / "moved")
    shift_sound(moved, seconds)
    measures = measure(moved)
    found = findings(moved, measures)["sound"]
    assert found.level == "fail" and f"{'later' if seconds > 0 else 'earlier'} than the picture" in found.text
    amount = float(re.search(r"--audio-shift (-?[\d.]+)`", found.mend).group(1))
    assert amount == pytest.approx(seconds, abs=0.04)
    moved.report = {"clips": {clip.name: {"audio_shift_seconds": 0.5} for clip in moved.clips}}
    more = re.search(r"--audio-shift (-?[\d.]+)`", findings(moved, measures)["sound"].mend).group(1)
    assert float(more) == pytest.approx(amount + 0.5)  # on top of what was moved already


def test_the_clip_with_late_sound_is_named_alone(dataset, tmp_path):
    moved = copied(dataset, tmp_path / "moved")
    shift_sound(moved, 0.3, clips=1)
    found = findings(moved, measure(moved))["sound"]
    assert "neutral_strong" in found.text and "sad" not in found.text and "of these clips alone" in found.mend


def test_missing_sound_is_named(dataset, tmp_path):
    mute = copied(dataset, tmp_path / "mute")
    paths = [mute.root / "audio" / f"{clip.name}.wav" for clip in mute.clips]
    write_wav(paths[0], np.zeros(16000))
    assert findings(mute, measure(mute))["sound"].level == "warn"
    for path in paths:
        write_wav(path, np.zeros(16000))
    assert findings(mute, measure(mute))["sound"].level == "fail"
    mute.front_end = "file/deepspeech"
    assert "sound" not in findings(mute, measure(mute))  # the lips learn from ready features
    mute.front_end = "none"
    assert "sound" not in findings(mute)


def test_a_label_with_little_is_named(dataset):
    for frame in dataset.frames:
        if frame.clip == "sad_strong" and frame.index > 30:
            frame.usable = False
    found = findings(dataset)
    assert "sad strong (1.2 s)" in found["labels"].text and "neutral" not in found["labels"].text
    assert "held-out part" not in found


def test_lost_frames_are_counted_with_their_reason(dataset):
    for frame in dataset.frames[:40]:
        frame.usable, frame.flags = False, ["mouth_covered"]
    found = findings(dataset)["lost frames"]
    assert found.level == "warn" and "12.5 %" in found.text and "mouth covered 40" in found.text
    for frame in dataset.frames[:300]:
        frame.usable = False
    assert findings(dataset)["lost frames"].level == "fail"


def test_no_usable_frame_at_all(dataset, tmp_path):
    for frame in dataset.frames:
        frame.usable = False
    found = inspect_dataset(dataset, tmp_path, progress=False)
    assert found.verdict == "not usable" and all(path.stat().st_size for path in found.files)


def test_blur_is_judged_against_the_median(dataset):
    for frame in dataset.frames:
        frame.sharpness = 1.1
    assert "blur" not in findings(dataset)
    for frame in dataset.frames[:100]:
        frame.sharpness = 0.3
    assert "31.2 %" in findings(dataset)["blur"].text


@pytest.mark.parametrize(
    ("view", "topic", "levels"),
    [
        ({"mouth": "unseen"}, "mouth", ("warn", "fail")),
        ({"mouth": "closed"}, "mouth", ("warn", "warn")),
        ({"eyes": False}, "eyes", ("warn", "warn")),
        ({"detail": 0.5}, "blur", ("warn", "warn")),
        ({"detail": 0.25}, "blur", ("warn", "fail")),
    ],
)
def test_what_is_never_seen_is_named(dataset, whole, view, topic, levels):
    """In one of the clips, and in all."""
    measures = replace(whole, sound=[])  # lips that follow the sound are seen
    good = {"detail": 1.0, "mouth": "open", "eyes": True}
    names = [clip.name for clip in dataset.clips]
    for bad, level in zip((names[:1], names), levels, strict=True):
        dataset.report = {"clips": {name: {"view": {**good, **view} if name in bad else good} for name in names}}
        found = findings(dataset, measures)
        assert set(found) == {"length", topic} and found[topic].level == level and found[topic].mend
        assert ("neutral_strong" in found[topic].text) == (len(bad) == 1)
    dataset.report["clips"] = dict.fromkeys(names, {"view": good})
    assert set(findings(dataset, measures)) == {"length"}


def test_lips_that_follow_the_sound_are_there(dataset, whole):
    """Whatever the pictures look like."""
    dataset.report = {"clips": {clip.name: {"view": {"mouth": "unseen"}} for clip in dataset.clips}}
    assert findings(dataset, whole)["mouth"].level == "warn"


@pytest.mark.parametrize("report", [{"clips": 3}, {"clips": {"neutral_strong": {"view": None}}},
                                    {"clips": {"neutral_strong": {"view": {"detail": "x", "mouth": 3}}}}])  # fmt: skip
def test_a_strange_view_is_no_fault(dataset, report):
    dataset.report = report
    assert set(findings(dataset)) == {"length"}


def test_a_face_on_its_side_or_turned_away_is_named(dataset, whole):
    measures = replace(whole, sound=[])
    assert np.abs(measures.tilt).max() < 15 and measures.away.max() < 30
    found = findings(dataset, replace(measures, tilt=measures.tilt + 90))["upright"]
    assert found.level == "fail" and "transpose=2" in found.mend
    assert findings(dataset, replace(measures, away=measures.away + 50))["facing"].level == "fail"
    assert "facing" not in findings(dataset, replace(measures, away=measures.away + 20))


def test_a_still_head_is_named(dataset):
    for frame in dataset.frames:
        frame.camera_to_world = dataset.frames[0].camera_to_world
    assert "right from there only" in findings(dataset)["poses"].text


def test_yaw_and_pitch_have_their_signs(dataset, whole):
    """The nose's tip lies on the side of the ears' middle to which the face is turned."""
    found = whole
    marks = np.concatenate([dataset.landmarks(clip.name) for clip in dataset.clips])
    offset = marks[:, 1, :2] - (marks[:, 234, :2] + marks[:, 454, :2]) / 2
    assert np.corrcoef(found.yaw, offset[:, 0])[0, 1] > 0.9
    assert np.corrcoef(found.pitch, -offset[:, 1])[0, 1] > 0.6
    assert 0.5 < np.median(found.distance) < 2


def test_what_capture_measured_is_shown_and_judged(dataset, whole):
    dataset.report = {
        "pose": {"landmark_error_mean": 2.0, "jitter": 0.4, "focal": 100.0, "focal_deviation": 30.0, "outliers": [1]},
        "background": {"unseen": 0.3, "moving": 0.2},
    }
    assert {"tracking", "jitter", "focal length", "background"} <= set(findings(dataset, whole))
    dataset.report["pose"] |= {"landmark_error_mean": 0.2, "jitter": 0.01, "focal_deviation": 1.0}
    dataset.report["background"]["moving"] = 0.0
    assert set(findings(dataset, whole)) == {"length"}


@pytest.mark.parametrize("report", [{"pose": [], "background": 3}, {"pose": {"jitter": "x", "focal": None}}])
def test_a_strange_report_is_no_fault(dataset, report):
    dataset.report = report
    assert set(findings(dataset)) == {"length"}


def test_the_sheet_and_the_page_are_the_same_twice(dataset, tmp_path):
    for frame in dataset.frames:
        frame.sharpness = 1.0 + 0.01 * (frame.index % 7)
    dataset.warnings = ["a <b>warning</b> & more"]
    first, second = (inspect_dataset(dataset, tmp_path / name, progress=False) for name in ("a", "b"))
    assert [path.name for path in first.files] == ["inspect.png", "inspect.html"]
    for one, other in zip(first.files, second.files, strict=True):
        assert one.read_bytes() == other.read_bytes()
    sheet = read_image(first.files[0])
    assert sheet.shape[1] >= 6 * 256 and sheet.std() > 20
    text = first.files[1].read_text()
    assert "&lt;b&gt;warning&lt;/b&gt; &amp; more" in text and "neutral strong" in text and "usable, but" in text
    sources = re.findall(r'src="([^"]{0,30})', text)
    assert len(sources) == 2 and all(source.startswith("data:image/") for source in sources)
    assert "http" not in re.sub(r'base64,[^"]*', "", text)


def test_the_verdict_follows_the_worst_finding(dataset, tmp_path):
    found = inspect_dataset(dataset, tmp_path, progress=False)
    assert found.verdict == "usable, but" and found.usable and "usable, but: length" in found.summary_text()
    assert f"mend: {next(f.mend for f in found.findings if f.mend)}" in found.summary_text()
    good = [replace(finding, level="ok") for finding in found.findings]
    assert Inspection(found.root, found.figures, good, []).verdict == "ready"
    bad = Inspection(found.root, found.figures, [replace(good[0], level="fail"), *found.findings], [])
    assert bad.verdict == "not usable" and not bad.usable


def test_the_command_says_it_all_and_exits_by_the_verdict(dataset, tmp_path, capsys):
    odd = copied(dataset, tmp_path / "odd näme $x")
    main(["inspect", str(odd.root)])
    printed = capsys.readouterr().out
    assert "12.8 s usable" in printed and "usable, but: length" in printed
    assert (odd.root / "inspect" / "inspect.html").is_file()
    for frame in odd.frames[:300]:
        frame.usable = False
    write_dataset(odd)
    with pytest.raises(SystemExit) as end:
        main(["inspect", str(odd.root), "--output", str(tmp_path / "elsewhere")])
    assert end.value.code == 1 and "not usable" in capsys.readouterr().out
    assert (tmp_path / "elsewhere" / "inspect.png").is_file()


def test_what_cannot_be_read_or_written_is_named(dataset, tmp_path):
    with pytest.raises(InputError, match="dataset.json is missing"):
        read_dataset(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: cannot be made .*another folder"):
        inspect_dataset(dataset, tmp_path / "file", progress=False)
    broken = copied(dataset, tmp_path / "broken")
    (broken.root / "parsing" / "sad_strong" / "00080.png").write_bytes(b"no picture")
    (broken.root / "landmarks" / "sad_strong.npy").write_bytes(b"nothing")
    with pytest.raises(InputError, match="sad_strong.npy"):
        inspect_dataset(broken, tmp_path / "out", progress=False)


@pytest.mark.hostile
@pytest.mark.parametrize("place", ["inspect", "inspect/inspect.png", "inspect/inspect.html"])
def test_nothing_is_drawn_through_a_link_in_a_strangers_folder(dataset, tmp_path, place):
    (tmp_path / "inspect.png").write_text("precious")
    link = dataset.root / place
    shutil.rmtree(dataset.root / "inspect", ignore_errors=True)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path if link.suffix == "" else tmp_path / "inspect.png")
    try:
        with pytest.raises(InputError, match="is a link"):
            inspect_dataset(dataset, progress=False)
    finally:
        link.unlink()
    assert [path.name for path in tmp_path.iterdir()] == ["inspect.png"]
    assert (tmp_path / "inspect.png").read_text() == "precious"


@pytest.mark.hostile
def test_on_a_full_disk_the_earlier_drawings_stay(dataset, small_disk):
    disk = small_disk(64)
    names = ("inspect.png", "inspect.html")
    for name in names:
        (disk / name).write_text("before")
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\); make room"):
        inspect_dataset(dataset, disk, progress=False)
    assert sorted(path.name for path in disk.iterdir()) == sorted(names)
    assert {(disk / name).read_text() for name in names} == {"before"}
