"""The clock that runs between two reports of the sound's place."""

import time

from aed_nerfstudio.viewer.clock import Clock


def test_runs_between_reports_and_stops_at_the_end():
    clock = Clock(0.2)
    assert clock.now() == 0 and not clock.ended
    clock.start(0.05)
    time.sleep(0.05)
    assert 0.1 <= clock.now() < 0.2
    clock.set(0.02)
    assert 0.02 <= clock.now() < 0.1
    time.sleep(0.2)
    assert clock.now() == 0.2 and clock.ended
    clock.stop()
    assert clock.now() == 0.2 and not clock.ended


def test_loops():
    clock = Clock(0.1)
    clock.loop = True
    clock.start(0.09)
    time.sleep(0.03)
    assert 0.01 < clock.now() < 0.1 and not clock.ended
    clock.set(0.25)  # a browser that is ahead by its lead
    assert 0.05 <= clock.now() < 0.1
