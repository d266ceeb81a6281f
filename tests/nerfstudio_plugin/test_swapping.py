"""What belongs to a take and not to its emotion is learned with the labels of others."""

import numpy as np
import pytest

from tests.nerfstudio_plugin.small_trainer import set_up, small_config


@pytest.fixture(scope="module")
def pipeline(data, tmp_path_factory):
    config = small_config(data, tmp_path_factory.mktemp("swapping"), 5)
    config.pipeline.model.swapped_labels = 1.0
    return set_up(config).pipeline


def test_labels_are_swapped_beyond_the_face_only(pipeline):
    model, track = pipeline.model, pipeline.model.track
    bundle, batch = pipeline.datamanager.next_train(0)
    swapped = 0
    for _ in range(4):
        frames, conditions, counts = model._conditions(bundle.metadata)
        assert sum(counts) == len(bundle.origins)
        first = 0
        for frame, condition, count in zip(frames.tolist(), conditions, counts, strict=True):
            rays = slice(first, first + count)
            first += count
            assert (bundle.metadata["frame"][rays] == frame).all()
            (inside,) = set(batch["face"][rays].tolist())
            same = np.array_equal(condition.emotion, track[frame].emotion)
            assert same or not inside
            swapped += not same
            assert any(np.array_equal(condition.emotion, label) for label in model.labels)
            assert np.array_equal(condition.head_pose, track[frame].head_pose) and condition.take == track[frame].take
    assert swapped  # of 16 each second, on the average
    assert len({*bundle.metadata["frame"].flatten().tolist()}) == len(counts) / 2


def test_a_recording_of_one_label_has_nothing_to_swap(pipeline, monkeypatch):
    model = pipeline.model
    monkeypatch.setattr(model, "labels", model.labels[:1])
    bundle, _ = pipeline.datamanager.next_train(0)
    frames, conditions, counts = model._conditions(bundle.metadata)
    own = [model.track[frame].emotion for frame in frames.tolist()]
    assert all(np.array_equal(c.emotion, emotion) for c, emotion in zip(conditions, own, strict=True))
