"""Rows of figures on the actor's recording, without an avatar: frames whose figures are known are put to the scale."""

import json
import shutil

import numpy as np
import pytest

from aed_nerfstudio.dataset.schema import read_dataset
from aed_nerfstudio.evaluation import metrics
from aed_nerfstudio.evaluation.detail import SHARPNESS, STEADINESS
from aed_nerfstudio.evaluation.held_out import HeldOut
from aed_nerfstudio.evaluation.instruments import Instruments
from aed_nerfstudio.evaluation.measure import Scale
from aed_nerfstudio.evaluation.self_driven import mean_frames, training_image
from aed_nerfstudio.media.audio_io import write_wav


@pytest.fixture(scope="module")
def instruments():
    return Instruments("cpu")


@pytest.fixture(scope="module")
def scale(data, instruments):
    return Scale(HeldOut(read_dataset(data)), instruments)


def test_the_recorded_frames_themselves_are_perfect(scale):
    row, marks = scale.row(scale.held.image, "", scale.truth)
    assert row["psnr"] == row["psnr_face"] == 100 and row["ssim"] == pytest.approx(1)
    assert row[scale.instruments.perceptual.name] == pytest.approx(0, abs=1e-6)
    assert marks.lost == row["frames_without_face"] < len(scale.held)
    assert row["lmd_px"] == row["lmd_percent"] == 0
    assert row["mouth_correlation"] == pytest.approx(1) == row["mouth_correlation_shuffled"]
    truth = scale.ground_truth()
    assert truth["mouth_std_px"] == row["mouth_std_px"] > 0 and truth["psnr"] is None
    assert truth["audio_mouth_correlation"] == row["audio_mouth_correlation"]
    assert all(row[name] == 1 and truth[name] > 0 for name in (*SHARPNESS, *STEADINESS))


def test_worse_frames_score_worse_and_say_what_is_missing(scale):
    perfect, _ = scale.row(scale.held.image, "", "why")
    noise = np.random.default_rng(0).integers(-40, 40, scale.held.image(0).shape)
    noisy, _ = scale.row(lambda k: np.clip(scale.held.image(k) + noise, 0, 255).astype(np.uint8), "", "why")
    name = scale.instruments.perceptual.name
    assert noisy["psnr"] < 25 < perfect["psnr"] and noisy["ssim"] < perfect["ssim"] and noisy[name] > perfect[name]
    assert noisy["mouth_correlation_shuffled"] is None
    assert noisy["not_measured"]["mouth_correlation_shuffled"] == "why"
    assert "syncnet" in noisy["not_measured"]["sync_d"] and noisy["not_measured"]["lmd_fan_px"]
    black, _ = scale.row(lambda k: np.zeros_like(noise, np.uint8), "", "why")
    assert black["lmd_px"] is None and "no face" in black["not_measured"]["lmd_px"]
    assert black["frames_without_face"] == len(scale.held)
    assert all(noisy[name] > 1 and black[name] == 0 for name in SHARPNESS)


def test_the_mean_frame_of_a_label_is_that_of_its_own_frames(scale):
    data = scale.held.dataset
    means = mean_frames(data, {"neutral strong", "happy strong"})
    own = [training_image(data, i) for i in data.split("train") if data.frames[i].clip == "happy_strong"]
    assert np.abs(means["happy strong"] - np.mean(own, axis=0)).max() <= 0.5
    row, _ = scale.row(lambda k: means[scale.held.labels[k]], "", "why")
    assert row["mouth_correlation"] is None and "does not move" in row["not_measured"]["mouth_correlation"]
    assert all(row[name] == 0 for name in STEADINESS)


def test_without_sound_there_is_a_reason_instead_of_a_figure(data, instruments, tmp_path):
    root = shutil.copytree(data, tmp_path / "mute")
    for clip in json.loads((root / "dataset.json").read_text())["clips"]:
        write_wav(root / "audio" / f"{clip['name']}.wav", np.zeros(640 * clip["count"]))
        features = root / "audio_features" / f"{clip['name']}.npy"
        np.save(features, np.zeros_like(np.load(features)))
    held = HeldOut(read_dataset(root), 4)
    scale = Scale(held, instruments)
    row, _ = scale.row(held.image, "", scale.truth)
    assert row["psnr"] == 100
    for name in ("mouth_correlation", "mouth_correlation_shuffled"):
        assert row[name] is None and "audio features never change" in row["not_measured"][name]
    for name in ("audio_mouth_correlation", "audio_mouth_shift", "sync_c", "silent_mouth_closed"):
        assert row[name] is None and "no sound" in row["not_measured"][name]
    for name in STEADINESS:  # two frames of each clip
        assert row[name] is None and "no three" in row["not_measured"][name]
    assert set(row["not_measured"]) < set(metrics.ROW)
