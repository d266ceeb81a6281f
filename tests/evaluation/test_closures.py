"""Closures of the lips: those that are hit are told from those that are missed."""

import numpy as np
import pytest

from aed_nerfstudio.evaluation.closures import CLOSED, NEAR, closures, closures_hit, hit_by_chance, widest_closure

FOLLOWS = np.array([False, *[True] * 19, False, *[True] * 19])


@pytest.fixture
def opening():
    found = np.ones(40)
    found[[5, 6, 7, 15, 30]] = 0.1
    found[0:2] = found[18:22] = found[39] = 0.1  # cut off at the ends of a stretch: nobody knows when they began
    return found


def test_a_closure_lies_between_open_frames(opening):
    assert closures(opening, 0.2, FOLLOWS) == [(5, 8), (15, 16), (30, 31)]
    opening[6] = np.nan
    assert closures(opening, 0.2, FOLLOWS) == [(5, 6), (7, 8), (15, 16), (30, 31)]
    assert closures(opening, 0.05, FOLLOWS) == [] and closures(opening, 2.0, FOLLOWS) == []


def test_a_closure_may_come_a_little_early_or_late(opening):
    found = closures(opening, 0.2, FOLLOWS)
    assert closures_hit(opening, found, 0.2) == 1
    for shift, share in ((NEAR, 1), (-NEAR, 1), (NEAR + 1, 0), (-NEAR - 1, 0)):
        other = np.ones(40)
        for start, stop in found[1:]:
            other[start + shift : stop + shift] = 0
        assert closures_hit(other, found, 0.2) == pytest.approx(share * 2 / 3)
    assert closures_hit(np.full(40, np.nan), found, 0.2) == 0
    assert np.isnan(closures_hit(opening, [], 0.2))


def test_chance_is_that_of_the_same_mouth_at_other_times():
    opening = np.ones(200)
    opening[100:103] = 0
    found = closures(opening, 0.5, np.arange(200) > 0)
    assert found == [(100, 103)]
    assert closures_hit(opening, found, 0.5) == 1 and hit_by_chance(opening, found, 0.5) == 0
    opening[::4] = 0  # one that flaps hits everything, and says nothing by it
    assert hit_by_chance(opening, found, 0.5) == 1
    assert np.isnan(hit_by_chance(opening[:40], found, 0.5))


def test_what_counts_as_closed_is_the_persons_own():
    opening = np.random.default_rng(0).uniform(0, 1, 4000)
    opening[::7] = np.nan
    assert widest_closure(opening) == pytest.approx(CLOSED, abs=0.02)
    assert widest_closure(3 * opening) == pytest.approx(3 * CLOSED, abs=0.06)
    assert np.isnan(widest_closure(np.full(3, np.nan)))
