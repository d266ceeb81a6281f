"""Figures on inputs whose answer is known, and the schema of metrics.json."""

import builtins
import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from markupsafe import escape
from PIL import ImageColor

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.dataset.schema import Camera, Clip, Dataset, Frame, read_image
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.evaluation import metrics
from aed_nerfstudio.evaluation.held_out import HeldOut, Stretch
from aed_nerfstudio.evaluation.image_metrics import psnr, ssim
from aed_nerfstudio.evaluation.landmark_distance import (
    FanLips,
    NotMeasurable,
    detect,
    landmark_distance,
    lip_landmark_distance,
)
from aed_nerfstudio.evaluation.page import page
from aed_nerfstudio.evaluation.pictures import COLOURS, contact_sheet, mouth_curves
from aed_nerfstudio.evaluation.self_driven import nearest_poses, shuffled_partners
from aed_nerfstudio.evaluation.sequence_figures import Marks, spread, sync_figures
from aed_nerfstudio.evaluation.spooled import spooled
from aed_nerfstudio.evaluation.surface import agreement, no_surface
from aed_nerfstudio.evaluation.sync import audio_mouth_correlation, correlation, loudness, shifted_levels
from aed_nerfstudio.evaluation.syncnet import SyncNet, sync_scores
from aed_nerfstudio.evaluation.tables import markdown, reasons, tables
from aed_nerfstudio.media.audio_io import write_wav
from aed_nerfstudio.media.captions import BAND, labelled
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import HeadPose
from aed_nerfstudio.synthetic.scene import Scene

ROOT = Path(__file__).resolve().parent.parent.parent


# ---- images


def test_psnr_of_the_whole_and_of_a_box():
    truth = np.full((10, 10, 3), 100, np.uint8)
    image = truth.copy()
    image[:5] = 110
    assert psnr(image, truth) == pytest.approx(-10 * np.log10(50 / 255**2))
    assert psnr(image, truth, [0, 0, 10, 5]) == pytest.approx(-10 * np.log10(100 / 255**2))
    assert psnr(image, truth, [0, 5, 10, 10]) == 100


def test_ssim_is_that_of_torchmetrics_away_from_the_border():
    from torchmetrics.functional.image import structural_similarity_index_measure

    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (40, 48, 3), np.uint8)
    image = np.clip(truth.astype(int) + rng.integers(-60, 60, truth.shape), 0, 255).astype(np.uint8)
    pair = [torch.from_numpy(x).permute(2, 0, 1)[None].double() for x in (image, truth)]
    _, similarity = structural_similarity_index_measure(*pair, data_range=255.0, return_full_image=True)
    whole, face = ssim(image, truth, [10, 12, 20, 30])
    assert whole == pytest.approx(similarity[..., 5:-5, 5:-5].mean().item(), abs=1e-6)
    assert face == pytest.approx(similarity[..., 12:30, 10:20].mean().item(), abs=1e-6)


def test_ssim_of_a_box_sees_the_box_alone():
    truth = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    image = truth.copy()
    image[:12] = 0
    whole, face = ssim(image, truth, [10, 20, 30, 40])
    assert whole < 0.9 and face == pytest.approx(1)
    assert ssim(image, truth, [0, 0, 5, 5])[1] is None


# ---- landmarks


def test_lip_distance_ignores_where_the_mouth_is():
    landmarks = np.random.default_rng(0).uniform(0, 100, (2, 478, 3)).astype(np.float32)
    assert lip_landmark_distance(landmarks + [3, 4, 0], landmarks) == pytest.approx([0, 0], abs=1e-4)
    assert (lip_landmark_distance(landmarks * 1.1, landmarks) > 0.5).all()


def test_landmark_distance_is_in_pixels():
    truth = np.zeros((1, 4, 2), np.float32)
    moved = np.array([[[2, 0], [-2, 0], [0, 2], [0, -2]]], np.float32)
    assert landmark_distance(moved, truth) == pytest.approx([2])


def test_faces_are_found_and_their_absence_is_not_a_number():
    face = Scene(Actor(0), 192).render({}, HeadPose()).image
    found = detect([face, np.zeros_like(face)])
    assert found.shape == (2, 478, 3)
    assert np.isfinite(found[0]).all() and np.isnan(found[1]).all()


def test_without_fan_there_is_a_reason(monkeypatch, tmp_path):
    usual = builtins.__import__

    def absent(name, *more, **named):
        if name.startswith("face_alignment"):
            raise ImportError(name)
        return usual(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(NotMeasurable, match="not installed"):
        FanLips("cpu")


def test_the_spread_of_the_mouth_is_within_labels():
    assert spread(np.array([1.0, 3.0, 11.0, 13.0, np.nan]), np.array([0, 0, 1, 1, 1])) == pytest.approx(1)
    assert spread(np.full(3, np.nan), np.zeros(3, int)) is None


# ---- sound


def test_correlation_leaves_unknown_frames_out():
    a = np.array([0, 1, 2, np.nan, 4])
    assert correlation(a, 2 * np.arange(5.0)) == pytest.approx(1)
    assert correlation(a, np.ones(5)) is None
    assert correlation(a[:2], a[:2]) is None


def test_correlation_within_labels_gives_nothing_for_knowing_the_label():
    groups = np.repeat([0, 1], 50)
    rng = np.random.default_rng(0)
    opening, other = rng.normal(size=(2, 100)) + 10 * groups
    assert correlation(opening, other) > 0.9
    assert abs(correlation(opening, other, groups)) < 0.3
    assert correlation(10.0 * groups, opening, groups) is None  # constant within labels: the mean frame's mouth
    assert correlation(opening, 2 * opening + 5 * groups, groups) == pytest.approx(1)


@pytest.mark.parametrize("delay", [-3, 0, 2])
def test_the_delay_between_sound_and_mouth_is_found(delay):
    rng = np.random.default_rng(1)
    level = rng.uniform(-30, 0, 200)
    samples = np.repeat(10 ** (level / 20), SAMPLE_RATE // 25) * np.sin(np.arange(200 * SAMPLE_RATE // 25))
    heard = loudness(samples, 200)
    r, shift = audio_mouth_correlation(shifted_levels(heard, np.arange(200)), np.roll(level, delay))
    assert shift == delay and r > 0.95
    # The held-out end of a clip hears what comes before it.
    end = np.arange(180, 200)
    r, shift = audio_mouth_correlation(shifted_levels(heard, end), np.roll(level, delay)[end])
    assert shift == delay and r > 0.95


def test_the_mouth_of_silence_follows_nothing():
    levels = shifted_levels(loudness(np.zeros(SAMPLE_RATE), 25), np.arange(25))
    assert audio_mouth_correlation(levels, np.random.default_rng(0).normal(size=25)) == (None, 0)


def test_syncnet_hears_the_stretches_that_are_long_enough():
    face = Scene(Actor(0), 96).render({}, HeadPose())
    marks = Marks(np.tile(face.landmarks, (57, 1, 1)), None)
    levels, groups = np.full((11, 57), np.nan), np.zeros(57, int)
    noise = np.random.default_rng(0).normal(0, 0.1, 52 * 640).astype(np.float32)
    torch.manual_seed(0)
    net = SyncNet().eval()
    short, long = Stretch(0, 5, noise[: 5 * 640]), Stretch(5, 32, noise[: 27 * 640])
    other = Stretch(32, 57, noise[27 * 640 :])
    figures, why = sync_figures(levels, [short, long, other], lambda k: face.image, marks, groups, net)
    first, second = (
        sync_scores(net, [face.image] * (part.stop - part.start), marks.mesh[part.start : part.stop], part.samples)
        for part in (long, other)
    )
    for name in ("sync_c", "sync_d"):
        assert first[name] != second[name]
        assert figures[name] == pytest.approx((27 * first[name] + 25 * second[name]) / 52)
    assert figures["sync_shift"] == first["shift"] and not why
    assert figures["audio_mouth_correlation"] is None and figures["audio_mouth_shift"] is None
    figures, why = sync_figures(levels, [short], lambda k: face.image, marks, groups, net)
    assert "sync_c" not in figures and "25 frames" in why["sync_c"]
    assert sync_figures(levels, [long], lambda k: face.image, marks, groups, None)[1] == {}


# ---- held-out frames


def dataset(tmp_path, counts=(33, 33), silent=()) -> Dataset:
    clips = [Clip(f"c{k}", "", 0, n, "happy", ("weak", "strong")[k % 2]) for k, n in enumerate(counts)]
    frames = [Frame(c.name, i, np.eye(4).tolist(), [0, 0, 9, 9], [0, 0, 9, 9]) for c in clips for i in range(c.count)]
    for k, clip in enumerate(clips):
        path = tmp_path / "audio" / f"{clip.name}.wav"
        path.parent.mkdir(exist_ok=True)
        write_wav(path, np.zeros(640 * clip.count) if k in silent else np.full(640 * clip.count, 0.1 * (k + 1)))
        features = tmp_path / "audio_features" / f"{clip.name}.npy"
        features.parent.mkdir(exist_ok=True)
        np.save(features, np.zeros((2 * clip.count, 4), np.float32))
    camera = Camera(100, 100, 8, 8, 16, 16)
    return Dataset(tmp_path, camera, clips, frames, ["happy"], ["weak", "strong"], "log-mel", 4)


def test_held_out_frames_are_the_first_of_every_clip_alike(tmp_path):
    held = HeldOut(dataset(tmp_path), 4)
    assert [(frame.clip, frame.index) for frame in held.frames] == [("c0", 30), ("c0", 31), ("c1", 30), ("c1", 31)]
    assert held.labels == ["happy weak"] * 2 + ["happy strong"] * 2
    assert len(set(held.groups[:2])) == 1 and held.groups[0] != held.groups[2]


def test_stretches_have_their_own_sound_and_end_at_gaps(tmp_path):
    data = dataset(tmp_path, counts=(55, 33), silent=(1,))
    data.frames[52].usable = False
    held = HeldOut(data)
    found = [(part.start, part.stop) for part in held.stretches()]
    assert found == [(0, 2), (2, 4), (4, 7)]
    first, second, mute = held.stretches()
    assert len(first.samples) == 2 * 640 and np.allclose(first.samples, 0.1, atol=1e-3)
    assert mute.samples is None
    levels = held.levels()
    assert levels.shape == (11, 7) and np.isfinite(levels[5, :4]).all() and np.isnan(levels[:, 4:]).all()
    assert np.isnan(levels[0, 3])  # beyond the clip's end


def test_a_dataset_without_sound_says_so(tmp_path):
    assert HeldOut(dataset(tmp_path)).silence is None
    held = HeldOut(dataset(tmp_path, silent=(0, 1)))
    assert "no sound" in held.silence and "never change" in held.featureless


def test_too_few_held_out_frames_are_named(tmp_path):
    with pytest.raises(InputError, match="only 2 held-out frames"):
        HeldOut(dataset(tmp_path, counts=(22,)))


def test_shuffled_audio_is_never_the_frames_own():
    for count in (3, 4, 100):
        partners = shuffled_partners(count, 0)
        assert sorted(partners) == list(range(count)) and (partners != np.arange(count)).all()


def test_agreement_of_depths():
    theirs = np.linspace(3.5, 3.9, 50)
    r, scale, error = agreement(theirs + 0.02, theirs)
    assert r == pytest.approx(1) and scale == pytest.approx(1) and error == pytest.approx(0.02 * 250)
    r, scale, error = agreement(3.7 + 0.5 * (theirs - 3.7), theirs)
    assert r == pytest.approx(1) and scale == pytest.approx(0.5)
    r, scale, _ = agreement(7.4 - theirs, theirs)
    assert r == pytest.approx(-1) and scale == pytest.approx(-1)
    assert agreement(np.full(50, 3.7), theirs)[:2] == pytest.approx((0, 0))


def test_spooled_frames_are_kept():
    frames = spooled(3, 4, 5)
    frames[1] = 7
    assert frames.shape == (3, 4, 5, 3) and frames[1].min() == 7 and frames[2].max() == 0


def test_nearest_pose_is_the_one_that_looks_alike():
    poses = np.tile(np.eye(4)[:3], (3, 1, 1))
    poses[:, 2, 3] = 4
    poses[1, 0, 3], poses[2, 0, 3] = 0.3, 0.6
    asked = poses[:1].copy()
    asked[0, 0, 3] = 0.5
    assert nearest_poses(asked, poses, 400.0).tolist() == [2]
    assert nearest_poses(poses, poses, 400.0).tolist() == [0, 1, 2]


# ---- the file


def complete() -> dict:
    """A file's contents with one measured row."""
    measured = metrics.row(dict.fromkeys(metrics.ROW, 0.5), {}, 4, 1)
    none = metrics.empty_row("no reason")
    return {
        "format": metrics.FORMAT,
        "version": metrics.VERSION,
        "run": {"config": "config.yml", "step": 1, "dataset": "data"},
        "settings": {},
        "frames": {"held_out": 4, "training": 40},
        "ground_truth": none,
        "self_driven": {"full": measured, "recorded_shoulders": none, "ground_truth_torso": none},
        "baselines": {"nearest_pose": none, "mean_frame": none},
        "cross_driven": none,
        "depth": no_surface("why").section,
        "emotion": metrics.emotion_section({**dict.fromkeys(metrics.EMOTION), "not_measured": {}}),
        "speed": {"frames_per_second": 2.5, "device": "cpu", "frame_size": [16, 16]},
        "conventions": metrics.conventions(),
    }


def test_a_figure_that_is_missing_needs_a_reason():
    with pytest.raises(ValueError, match="psnr"):
        metrics.row({}, {}, 1, 0)
    found = metrics.row({**dict.fromkeys(metrics.ROW, 1.0), "psnr": float("nan")}, {"psnr": "because"}, 1, 0)
    assert found["psnr"] is None and found["not_measured"] == {"psnr": "because"}


def test_the_schema_is_checked():
    metrics.check(complete())
    for path, key, value in (
        ("self_driven.full", "psnr", None),
        ("self_driven.full", "psnr", "30"),
        ("cross_driven", "sync_c", 1.0),
        ("emotion", "intensity_ordering", 1.0),
        ("depth", "scale", 1.0),
        ("speed", "frames_per_second", None),
    ):
        broken = copy.deepcopy(complete())
        metrics.section(broken, path)[key] = value
        with pytest.raises(ValueError, match=key if path != "speed" else "speed"):
            metrics.check(broken)
    with pytest.raises(ValueError, match="lacks baselines.mean_frame"):
        broken = complete()
        del broken["baselines"]["mean_frame"]
        metrics.check(broken)
    with pytest.raises(ValueError, match="version"):
        metrics.check({**complete(), "version": 1})


def test_the_documentation_names_every_field():
    text = (ROOT / "docs" / "evaluation.md").read_text()
    for name in (
        *metrics.ROW,
        *metrics.EMOTION,
        *metrics.DEPTH,
        *metrics.CROSSED,
        *metrics.SECTIONS,
        "not_measured",
        "frames_without_face",
    ):
        assert f"`{name}`" in text, f"docs/evaluation.md does not explain {name}"
    assert f"version {metrics.VERSION}" in text


def test_emotion_figures_without_a_number_get_a_reason():
    found = metrics.emotion_section({**dict.fromkeys(metrics.EMOTION, float("nan")), "not_measured": {"sweep": "why"}})
    assert all(found[name] is None for name in metrics.EMOTION)
    assert found["not_measured"]["sweep"] == "why" and len(found["not_measured"]) == len(metrics.EMOTION)


def test_tables_show_what_was_measured_and_why_the_rest_was_not():
    text = markdown(complete())
    row = next(line for line in text.splitlines() if line.startswith("| ours, full"))
    assert "0.50" in row and row.endswith("| 4 |")
    assert "| ours, GT torso | – |" in text and "2.50 frames/s at 16 x 16 on cpu" in text
    assert "ground_truth, baselines.nearest_pose" in reasons(complete())["no reason"]
    assert "- everything of emotion: no frames that show it." in text


def test_the_table_of_other_poses_has_a_row_for_every_range_of_angles():
    found = complete()
    row = {"pictures": 4, **dict.fromkeys(metrics.CROSSED), "faces_found": 0.5, "displacement": 0.9}
    bins = [{"from": 0.0, "to": 2.5, **row}, {"from": 20.0, "to": 180.0, **row, "faces_found": 0.25}]
    found["emotion"] |= {"crossed_poses": {"bins": bins, "recorded": {"pictures": 2, "faces_found": 1.0}}}
    table = tables(found)[-1]
    assert table.headings == ["", "faces ↑", "displacement → 1", "pictures"]  # what no row has is left out
    assert table.rows == [
        ["0 to 2.5°", "0.50", "0.90", "4"],
        ["20 to 180°", "0.25", "0.90", "4"],
        ["recorded", "1.00", "–", "2"],
    ]


def test_a_reason_that_all_rows_share_is_said_once():
    found = complete()
    for path in metrics.SECTIONS:
        row = metrics.section(found, path)
        row["sync_c"], row["not_measured"] = None, {"sync_c": "no weights"}
    assert reasons(found)["no weights"] == "sync_c of every row"
    many = list(metrics.ROW)[:12]
    found["cross_driven"] = metrics.row(dict.fromkeys(list(metrics.ROW)[12:], 1.0), dict.fromkeys(many, "other"), 1, 0)
    assert reasons(found)["other"] == ", ".join(many) + " of cross_driven"


def test_the_page_refers_to_the_files_that_are_there():
    text = page(complete(), {"sheet.png", "side-by-side.mp4"})
    assert re.findall(r'src="([^"]+)"', text) == ["side-by-side.mp4", "sheet.png"]
    assert "http" not in text  # it needs nothing from elsewhere


def test_the_page_says_what_the_tables_say():
    metrics = complete()
    metrics["run"]["dataset"] = "<b>&'data'"
    text = page(metrics, set())
    assert "config.yml, step 1;\n4 held-out frames of &lt;b&gt;&amp;&#39;data&#39;</p>" in text and "<b>" not in text
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>.*?</tr>", text)]
    assert [row for row in cells if row] == [row[1:] for table in tables(metrics) for row in table.rows]
    for told in (*metrics["conventions"]["metrics"], "2.50 frames/s at 16 x 16 on cpu", "no frames that show it"):
        assert escape(told) in text
    assert f'title="{escape(metrics["conventions"]["metrics"]["psnr"])}">PSNR ↑</th>' in text
    metrics["run"]["dataset"] = None
    assert "step 1;\nno recording</p>" in page(metrics, set())


def test_sheets_are_whole_rectangles():
    frame = np.full((16, 16, 3), 200, np.uint8)
    assert labelled(frame, "a").shape == (16 + BAND, 16, 3)
    column = [("a", frame), ("b", frame)]
    assert contact_sheet([column] * 2).shape == (2 * (16 + BAND), 32, 3)
    assert contact_sheet([column] * 7).shape == (4 * (16 + BAND), 80, 3)


def test_curves_are_drawn(tmp_path):
    opening = np.sin(np.arange(600) / 5)
    opening[10:20] = np.nan
    clips = ["a"] * 300 + ["b"] * 300

    def drawn(curves) -> np.ndarray:
        """Pixels of ours' colour in the upper and in the lower half: lines of 10 s, 250 and 350 frames."""
        mouth_curves(curves, clips, tmp_path / "mouth.png")
        picture = read_image(tmp_path / "mouth.png")[..., :3].astype(int)
        ours = np.abs(picture - ImageColor.getrgb(COLOURS["ours"])).max(axis=-1) < 30
        return np.array([half.sum() for half in np.array_split(ours, 2)])

    assert (drawn({"recorded": opening, "ours": opening + 1}) > 1000).all()
    assert (drawn({"recorded": opening}) == 0).all()
