"""Space around the head that a training empties, and what it keeps for a mouth that opens wider than the recorded."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from aed_nerfstudio.method_configs.aed_nerf import aed_nerf

from aed_nerfstudio.avatar.network import Network
from aed_nerfstudio.avatar.portrait import Portrait
from aed_nerfstudio.dataset.schema import read_dataset
from aed_nerfstudio.face.face_mesh import CHIN, NOSE_TIP
from aed_nerfstudio.nerfstudio_plugin import occupancy_schedule
from aed_nerfstudio.nerfstudio_plugin.lip_supervision import LipSupervision
from aed_nerfstudio.nerfstudio_plugin.occupancy_schedule import WIDE, OccupancySchedule, carve
from aed_nerfstudio.nerfstudio_plugin.stages import StageSchedule


@pytest.fixture(scope="module")
def dataset(data):
    return read_dataset(data)


@pytest.fixture
def network(dataset, track):
    network = Network(aed_nerf.config.pipeline.model, Portrait.of(dataset), False, str(dataset.root))
    network.fit_features(np.concatenate(list(track.features.values())))
    return network


def test_heads_grow_below_the_nose_by_what_the_chin_could_drop(dataset):
    train = dataset.split("train")
    landmarks = np.concatenate([dataset.landmarks(clip.name) for clip in dataset.clips])
    drop = landmarks[train, CHIN, 1] - landmarks[train, NOSE_TIP, 1]
    shut, wide = (train[int(pick(drop))] for pick in (np.argmin, np.argmax))
    (nose, of_shut), (_, of_wide) = occupancy_schedule._jaws(dataset, [shut, wide])
    assert nose == round(float(landmarks[shut, NOSE_TIP, 1]))
    assert of_shut - of_wide == pytest.approx(np.ptp(drop), abs=1) and of_shut >= np.ptp(drop) > 0.5
    head = np.zeros((40, 40), np.uint8)
    head[5:20, 10:30] = 1
    grown = occupancy_schedule._with_open_mouth(head, 15, 6)
    assert grown[5:26, 10:30].all() and grown.sum() == 21 * 20
    np.testing.assert_array_equal(occupancy_schedule._with_open_mouth(head, 15, 0), head)
    np.testing.assert_array_equal(occupancy_schedule._with_open_mouth(head, 21, 6), head)  # all of it is above


def test_the_hull_keeps_room_for_an_open_mouth(dataset, network, monkeypatch):
    monkeypatch.setattr(occupancy_schedule, "FRAMES", 8)
    carve(network, dataset)
    kept = network.occupancy.allowed.clone()
    network.occupancy.allowed.fill_(True)
    monkeypatch.setattr(occupancy_schedule, "_jaws", lambda dataset, picks: [(0, 0)] * len(picks))
    carve(network, dataset)
    without = network.occupancy.allowed
    assert (without & ~kept).sum() == 0 < (kept & ~without).sum() < 0.1 * without.sum()


def test_without_sound_the_recorded_lips_are_asked(dataset, track, network):
    """What is heard would say of every mouth that it is at rest."""
    lips = LipSupervision(replace(dataset, front_end="none"), track)
    frame, asked = dataset.split("train")[5], []

    def density_at(positions, encoded):
        asked.append(encoded.articulation)
        return positions[:, 0]

    network.head.density_at = density_at
    for own in (lips, LipSupervision(dataset, track), None):
        schedule = OccupancySchedule(network, track, dataset.split("train"), StageSchedule(40, 10, 10), 16, 16, own)
        schedule._density_of(frame, 1.5)(torch.zeros(1, 3))
    told, heard, nothing = asked
    assert torch.equal(told, 1.5 * lips.lip_shapes[frame : frame + 1])
    assert torch.equal(heard, nothing) and not torch.equal(heard, told)


def test_tightening_keeps_what_only_a_wide_mouth_fills(dataset, track, network, monkeypatch):
    monkeypatch.setattr(occupancy_schedule, "FRAMES", 8)
    train = dataset.split("train")
    with torch.no_grad():
        told = network.train().encode([track[i] for i in train]).articulation.norm(dim=-1)
    widest = told[torch.linspace(0, len(train) - 1, 8).long()].max()  # of those that are looked at

    def density_at(positions, encoded):
        """Lips that go as far as the recorded fill one half of the box, those that go farther the other one."""
        beyond = encoded.articulation.norm() > 1.01 * widest
        return torch.where(positions[:, 0] < 0, 2.0, 2.0 * beyond)

    monkeypatch.setattr(network.head, "density_at", density_at)
    network.occupancy.binaries = torch.ones_like(network.occupancy.binaries)
    schedule = OccupancySchedule(network, track, train, StageSchedule(40, 10, 10), 16, 16)
    schedule.before_step(40)
    assert network.occupancy.binaries.all() and WIDE > 1.01
    monkeypatch.setattr(occupancy_schedule, "WIDE", 1.0)
    schedule.before_step(40)
    half = network.occupancy.binaries.shape[-1] // 2
    assert network.occupancy.binaries[0, :half].all() and not network.occupancy.binaries[0, half:].any()
