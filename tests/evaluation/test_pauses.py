"""Pauses of sound, and mouths in them: closed ones are told from open ones."""

import shutil

import numpy as np
import pytest

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.dataset.schema import read_dataset
from aed_nerfstudio.evaluation.held_out import HeldOut
from aed_nerfstudio.evaluation.instruments import Instruments
from aed_nerfstudio.evaluation.measure import Scale
from aed_nerfstudio.evaluation.pauses import closed_share, pauses, relative_opening, widest_closed
from aed_nerfstudio.evaluation.self_driven import training_image
from aed_nerfstudio.media.audio_io import write_wav
from aed_nerfstudio.synthetic.record import record_dataset, training_speech

PAUSE = range(64, 90)
FRAMES = 90


def test_a_pause_is_longer_than_a_closure():
    level = np.zeros(40)
    level[3:10], level[12:20], level[32:] = -30, -30, -26
    level[22:31] = -24
    assert pauses(level).nonzero()[0].tolist() == [*range(12, 20), *range(32, 40)]
    assert not pauses(np.full(20, np.nan)).any() and not pauses(np.full(20, -60.0)).any()


def test_the_share_of_closed_mouths_is_of_those_that_are_seen():
    marks = np.zeros((5, 478, 3), np.float32)
    marks[:, 454, 0] = 100
    marks[:, 14, 1] = [1, 2, 3, 10, 20]
    marks[4] = np.nan
    assert relative_opening(marks)[:4] == pytest.approx([0.01, 0.02, 0.03, 0.1])
    assert closed_share(marks, 0.05) == 0.75
    assert closed_share(2 * marks, 0.05) == 0.75  # a head that is nearer
    assert 0.03 < widest_closed(marks) < 0.1
    assert np.isnan(closed_share(marks[4:], 0.05)) and np.isnan(widest_closed(marks[4:]))


@pytest.fixture(scope="module")
def instruments():
    return Instruments("cpu")


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A take that ends with a pause, in which a room is heard; its last eight frames are held out."""
    folder = tmp_path_factory.mktemp("pauses")
    samples = training_speech()[: FRAMES * SAMPLE_RATE // 25].copy()
    quiet = samples[PAUSE.start * 640 :]
    quiet[:] = np.random.default_rng(0).normal(0, 1e-3, len(quiet))
    write_wav(folder / "speech.wav", samples)
    record_dataset(
        folder / "data", size=128, clip_seconds=FRAMES / 25, emotions=("neutral",), intensities=("strong",),
        speech=[folder / "speech.wav"], front_end="log-mel", progress=False,
    )  # fmt: skip
    return HeldOut(read_dataset(folder / "data"))


def test_an_open_mouth_in_a_pause_is_told_from_a_closed_one(spoken, instruments):
    assert len(spoken) == 8 and spoken.pausing(spoken.frames).all()
    scale = Scale(spoken, instruments)
    row, _ = scale.row(spoken.image, "", "why")
    own = scale.ground_truth()["silent_mouth_closed"]
    assert row["silent_mouth_closed"] == own >= 0.7
    wide = int(relative_opening(spoken.dataset.landmarks("neutral_strong")).argmax())
    assert wide < PAUSE.start
    speaking, _ = scale.row(lambda k: training_image(spoken.dataset, wide), "", "why")
    assert speaking["silent_mouth_closed"] == 0


def test_without_a_pause_there_is_a_reason(spoken, instruments, tmp_path):
    root = shutil.copytree(spoken.dataset.root, tmp_path / "noise")
    write_wav(root / "audio" / "neutral_strong.wav", np.random.default_rng(0).normal(0, 0.1, FRAMES * 640))
    row = Scale(HeldOut(read_dataset(root), 3), instruments).ground_truth()
    assert row["silent_mouth_closed"] is None and "pause" in row["not_measured"]["silent_mouth_closed"]
