"""Late, early, fitting, foreign and missing sound: what the lips say about each."""

from __future__ import annotations

import numpy as np
import pytest

from aed_nerfstudio.audio.features import SAMPLE_RATE
from aed_nerfstudio.audio.late_sound import LONGEST_SHIFT, SpokenTake, estimate_shift
from aed_nerfstudio.synthetic.actor import Actor
from aed_nerfstudio.synthetic.performance import perform
from aed_nerfstudio.synthetic.record import training_speech
from aed_nerfstudio.synthetic.scene import Scene

FRAMES = 300
SAMPLES = FRAMES * SAMPLE_RATE // 25


def spoken(identity: int, start: float, emotion: str) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks [F, 478, 3] of an actor who speaks a stretch of speech with moving head, and the stretch."""
    samples = training_speech()[int(start * SAMPLE_RATE) :][:SAMPLES]
    scene, take = Scene(Actor(identity), 256, identity), perform(samples, FRAMES, emotion, "strong", seed=identity + 40)
    return np.stack([
        scene.landmarks(scene.pose_vertices(scene.actor.deform(units), pose), pose)
        for units, pose in zip(take.units, take.poses, strict=True)
    ]), samples  # fmt: skip


@pytest.fixture(scope="module", params=[(0, 0.0, "happy"), (3, 20.0, "sad")], ids=["happy", "sad"])
def take(request):
    return spoken(*request.param)


def shifted(samples: np.ndarray, seconds: float) -> np.ndarray:
    """The sound, later by that much."""
    count = round(seconds * SAMPLE_RATE)
    return np.pad(samples, (count, 0))[:SAMPLES] if count >= 0 else np.pad(samples[-count:], (0, -count))


def judged(marks, samples, usable=None):
    usable = np.ones(len(marks), bool) if usable is None else usable
    return estimate_shift([SpokenTake.of(marks, usable, samples)])


@pytest.mark.parametrize("seconds", [-0.3, -0.12, 0.0, 0.12, 0.3])
def test_a_shift_is_found_with_its_sign(take, seconds):
    marks, samples = take
    found = judged(marks, shifted(samples, seconds))
    assert found.shift == pytest.approx(seconds, abs=0.04) and found.correlation > 0.6 and not found.reason
    assert found.curve.max() == found.correlation and np.abs(found.shifts).max() == LONGEST_SHIFT


def test_a_shift_survives_noise_and_lost_frames(take):
    marks, samples = take
    noise = np.random.default_rng(0).normal(0, 0.5 * samples.std(), len(samples))
    usable = np.ones(FRAMES, bool)
    usable[100:130] = False
    marks = np.where(usable[:, None, None], marks, np.nan)
    found = judged(marks, shifted(samples, -0.3) + noise, usable)
    assert found.shift == pytest.approx(-0.3, abs=0.06)
    assert found.seconds == pytest.approx((FRAMES - 30) / 25)


def test_sound_of_another_moment_gives_no_shift(take):
    marks, samples = take
    found = judged(marks, np.roll(samples, len(samples) // 2))
    assert found.shift is None and found.reason == "no shift stands out" and found.correlation < 0.4


def test_noise_gives_no_shift(take):
    found = judged(take[0], np.random.default_rng(1).normal(0, 0.1, SAMPLES))
    assert found.shift is None and found.reason == "no shift stands out"


def test_what_cannot_be_judged_says_why(take):
    marks, samples = take
    assert "there is no sound" in judged(marks, np.zeros(SAMPLES)).reason
    assert "lips do not move" in judged(np.repeat(marks[:1], FRAMES, axis=0), samples).reason
    assert "only 4.0 s" in judged(marks[:100], samples[: 100 * 640]).reason
    assert "only 0.0 s" in judged(marks, samples, np.zeros(FRAMES, bool)).reason
    assert estimate_shift([]).shift is None


def test_short_takes_are_judged_together(take):
    marks, samples = take
    late = shifted(samples, 0.3)
    takes = [SpokenTake.of(marks, np.ones(FRAMES, bool), late).part(k, 75) for k in range(0, FRAMES, 75)]
    assert all(estimate_shift([part]).shift is None for part in takes)
    assert estimate_shift(takes).shift == pytest.approx(0.3, abs=0.06)
