"""SyncNet: layer sizes of the published weights, windowing, scores on a known shift, and files that are not it."""

import numpy as np
import pytest
import torch

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.evaluation.syncnet import (
    CROP,
    SyncNet,
    crop_face,
    face_boxes,
    mfcc,
    scores_from_embeddings,
    sync_scores,
)

# Of syncnet_v2.model: the convolutions and linear layers, whose numbers count the layers between them.
PUBLISHED = {
    "netcnnaud": {0: (64, 1, 3, 3), 4: (192, 64, 3, 3), 8: (384, 192, 3, 3), 11: (256, 384, 3, 3),
                  14: (256, 256, 3, 3), 18: (512, 256, 5, 4)},
    "netfcaud": {0: (512, 512), 3: (1024, 512)},
    "netcnnlip": {0: (96, 3, 5, 7, 7), 4: (256, 96, 1, 5, 5), 8: (256, 256, 1, 3, 3), 11: (256, 256, 1, 3, 3),
                  14: (256, 256, 1, 3, 3), 18: (512, 256, 1, 6, 6)},
    "netfclip": {0: (512, 512), 3: (1024, 512)},
}  # fmt: skip


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return SyncNet()


@pytest.fixture(scope="module")
def take():
    """Ten frames of noise with a face in them, and their sound."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (10, 64, 80, 3), dtype=np.uint8)
    landmarks = rng.uniform(20, 50, (10, 478, 3)).astype(np.float32)
    return frames, landmarks, rng.normal(0, 0.1, 10 * SAMPLE_RATE // 25)


def test_layers_are_those_of_the_published_weights(net):
    weights = {name: tuple(value.shape) for name, value in net.state_dict().items() if value.ndim > 1}
    assert weights == {f"{t}.{i}.weight": shape for t, layers in PUBLISHED.items() for i, shape in layers.items()}


def test_both_towers_end_in_1024_numbers(net):
    rng = torch.Generator().manual_seed(1)
    video = 255 * torch.rand(1, 3, 6, CROP, CROP, generator=rng)
    with torch.no_grad():
        assert net.embed_audio(torch.rand(2, 1, 13, 20, generator=rng)).shape == (2, 1024)
        both = net.embed_video(video)
        assert both.shape == (2, 1024)
        # A row of frames gives what its clips of five give one by one.
        alone = torch.cat([net.embed_video(video[:, :, i : i + 5]) for i in range(2)])
    assert both.numpy() == pytest.approx(alone.numpy(), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("shift", [-4, 0, 7])
def test_a_known_shift_is_recovered(shift):
    audio = np.random.default_rng(2).normal(size=(200, 64))
    video = np.roll(audio, shift, axis=0)  # the mouth comes `shift` frames after the sound
    scores = scores_from_embeddings(video, audio)
    assert scores["shift"] == shift
    assert scores["sync_c"] > 8
    # Only the frames that were rolled past the end have no partner: their distance is their own length, about 8.
    assert scores["sync_d"] == pytest.approx(8 * abs(shift) / 200, rel=0.2)


def test_unrelated_sequences_have_no_confidence():
    a, b = np.random.default_rng(3).normal(size=(2, 300, 64))
    scores = scores_from_embeddings(a, b)
    assert scores["sync_c"] < 0.5 and scores["sync_d"] > 9


class Levels(SyncNet):
    """Hears how loud a tone is and sees how bright a picture is, both as twice the logarithm of the amplitude."""

    def __init__(self, silence: float) -> None:
        super().__init__()
        self.silence = silence

    def embed_audio(self, steps):
        return steps[:, 0, 0].mean(-1, keepdim=True) - self.silence

    def embed_video(self, frames):
        return ((frames.mean(dim=(0, 1, 3, 4)) - 128) / 20).unfold(0, 5, 1).mean(-1, keepdim=True)


def test_a_picture_that_follows_the_sound_rates_better_than_a_late_or_another_one():
    rng = np.random.default_rng(5)
    loudness, other = rng.uniform(-4, 2, (2, 80))
    tone = np.sin(2 * np.pi * 1000 * np.arange(80 * SAMPLE_RATE // 25) / SAMPLE_RATE)
    samples = tone * np.repeat(np.exp(loudness / 2), SAMPLE_RATE // 25)
    net = Levels(silence=mfcc(tone)[5, 0])
    landmarks = np.tile(rng.uniform(20, 44, (1, 478, 3)), (80, 1, 1))

    def rated(levels) -> dict:
        frames = [np.full((64, 64, 3), round(128 + 20 * level), np.uint8) for level in levels]
        return sync_scores(net, frames, landmarks, samples)

    with_it, late, apart = rated(loudness), rated(np.roll(loudness, 3)), rated(other)
    assert with_it["shift"] == 0 and late["shift"] == 3
    assert with_it["sync_d"] < late["sync_d"] < 0.6 * apart["sync_d"]
    assert min(with_it["sync_c"], late["sync_c"]) > 1.5 * apart["sync_c"]


def test_scores_of_a_take(net, take):
    frames, landmarks, samples = take
    scores = sync_scores(net, iter(frames), landmarks, samples)
    # What is longer than the other is left out.
    assert sync_scores(net, frames, landmarks, np.append(samples, np.zeros(100))) == pytest.approx(scores, rel=1e-4)
    with pytest.raises(InputError, match="at least 6 frames"):
        sync_scores(net, frames[:5], landmarks[:5], samples)
    with pytest.raises(ValueError, match="landmarks"):
        sync_scores(net, frames[:7], landmarks, samples)


@pytest.mark.parametrize("wrapped", [
    lambda state: state,
    lambda state: {"epoch": torch.tensor(3), "state_dict": {f"module.{k}": v for k, v in state.items()}},
], ids=["plain", "under a key"])  # fmt: skip
def test_saved_weights_give_the_same_scores(net, take, tmp_path, wrapped):
    # The published file is older than the counters of batch norm.
    state = {name: value for name, value in net.state_dict().items() if "num_batches" not in name}
    path = tmp_path / "syncnet.model"
    torch.save(wrapped(state), path)
    assert sync_scores(SyncNet.load(path), *take) == sync_scores(net, *take)


def test_files_that_hold_no_syncnet_are_named(net, tmp_path):
    with pytest.raises(InputError, match="missing.model: no such file"):
        SyncNet.load(tmp_path / "missing.model")
    text = tmp_path / "text.model"
    text.write_text("<html>not found</html>")
    with pytest.raises(InputError, match="text.model: cannot be read"):
        SyncNet.load(text)
    half = {name: value for name, value in net.state_dict().items() if "lip" not in name}
    other = {"netcnnaud.0.weight": torch.zeros(3)}
    for name, stored in (("half", half), ("other", other), ("list", [1, 2]), ("tensor", torch.zeros(3))):
        path = tmp_path / f"{name}.model"
        torch.save(stored, path)
        with pytest.raises(InputError, match=f"{name}.model: holds the weights of another network"):
            SyncNet.load(path)
    cut = tmp_path / "cut.model"
    torch.save(net.state_dict(), cut)
    cut.write_bytes(cut.read_bytes()[:100000])
    with pytest.raises(InputError, match="cut.model: cannot be read"):
        SyncNet.load(cut)


def test_mfcc_is_that_of_python_speech_features():
    time = np.arange(800)
    samples = np.round(8000 * np.sin(2 * np.pi * 440 * time / SAMPLE_RATE) + 3000 * np.sin(0.9 * time)) / 2**15
    found = mfcc(samples)
    assert found.shape == (4, 13)
    assert found[2] == pytest.approx(
        [20.563235, 9.934482, -10.382822, 31.097969, 3.524761, -63.613036, -35.553404, 12.602128, -10.392501,
         -5.626539, 43.462339, 28.572367, -11.695481], abs=1e-5)  # fmt: skip


def test_loudness_moves_the_first_mfcc_alone():
    samples = np.random.default_rng(4).normal(0, 0.05, SAMPLE_RATE)
    quiet, loud = mfcc(samples), mfcc(10 * samples)
    assert quiet.shape == (99, 13)
    assert loud[:, 1:] == pytest.approx(quiet[:, 1:])
    assert loud[:, 0] - quiet[:, 0] == pytest.approx(2 * np.log(10))
    assert np.isfinite(mfcc(np.zeros(SAMPLE_RATE))).all()


def test_the_crop_is_the_face_box_with_room_for_the_chin():
    landmarks = np.zeros((20, 478, 3))
    landmarks[:, 0, :2], landmarks[:, 1:, :2] = [30, 40], [50, 60]
    landmarks[5:8] = np.nan
    landmarks[12] += 25  # a detector's slip
    boxes = face_boxes(landmarks)
    assert boxes == pytest.approx(np.tile([40, 50, 10], (20, 1)))
    image = np.zeros((100, 100, 3), np.uint8)
    image[40:50, 40:50] = 255  # right of the middle, above it
    crop = crop_face(image, boxes[0])
    assert crop.shape == (CROP, CROP, 3)
    rows, columns = np.nonzero(crop[..., 0] > 127)
    # 28 pixels wide and high, from (26, 40): the middle of the box comes to (112, 80).
    assert [columns.min(), columns.max()] == pytest.approx([112, 191], abs=1)
    assert [rows.min(), rows.max()] == pytest.approx([0, 79], abs=1)
    assert (crop_face(image, np.array([0, 0, 10]))[0, 0] == 110).all()
    with pytest.raises(InputError, match="no face"):
        face_boxes(np.full((3, 478, 3), np.nan))
