"""What is said and shown from frame to frame, without a network: on simulated clocks."""

from pathlib import Path

import numpy as np
import pytest

from aed_nerfstudio.audio.live_hearing import FRAME
from aed_nerfstudio.avatar.avatar_file import read_avatar
from aed_nerfstudio.avatar.packaged import packaged
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.live.pace import LEAST_LEAD, Pace
from aed_nerfstudio.live.performer import AHEAD, MOST_WAITING, Cut, Performer
from aed_nerfstudio.live.play_clock import PlayClock
from aed_nerfstudio.live.protocol import SOUND, Stamped, from_pcm16
from aed_nerfstudio.live.speech import LiveSpeech
from aed_nerfstudio.live.utterance import LATE, MOST_SECONDS, WANTED, Utterance


@pytest.fixture(scope="module")
def portrait():
    return read_avatar(packaged(Path("actor")))[0].portrait


class Stage:
    """A performer, what it delivers, and the events of what it says."""

    def __init__(self, portrait) -> None:
        self.items: list[Stamped | Cut] = []
        self.events: list[tuple[str, str, int]] = []
        self.performer = Performer(LiveSpeech(portrait), self.items.append)
        self.frame = 0

    def say(self, name: str, samples, close=True, **options):
        def told(event, facts):
            self.events.append((name, event, facts["sample"] // FRAME))

        emotion = options.pop("emotion", None)
        utterance = self.performer.begin(told, **options)
        utterance.put(np.asarray(samples, np.float32), emotion, mark=0)
        if close:
            utterance.close()
        return utterance

    def play(self, frames: int) -> None:
        """The listener's clock goes on; pictures are made as it does."""
        for _ in range(frames):
            self.performer.advance(self.frame, self.frame * FRAME)
            self.frame += 1

    def heard(self) -> np.ndarray:
        """All the sound that a client plays, of epochs as it drops them."""
        sound = np.zeros(self.performer.frames * FRAME, np.float32)
        for item in self.items:
            if isinstance(item, Cut):
                sound[item.stamp :] = 0
            elif item.kind == SOUND:
                sound[item.stamp : item.stamp + FRAME] = from_pcm16(item.body)
        return sound


@pytest.fixture
def stage(portrait):
    return Stage(portrait)


def test_flows_are_said_one_after_the_other_and_whole(stage):
    first, second = np.linspace(-0.5, 0.5, 3000, dtype=np.float32), np.full(2 * FRAME, 0.25, np.float32)
    stage.play(3)
    stage.say("a", first)
    stage.say("b", second)
    stage.play(30)
    heard = stage.heard()
    start = 3 + stage.performer.speech.hearing.ahead
    at = int(np.flatnonzero(heard)[0])
    assert at == start * FRAME
    np.testing.assert_allclose(heard[at : at + 3000], first, atol=1e-4)
    np.testing.assert_allclose(heard[at + 5 * FRAME : at + 7 * FRAME], second, atol=1e-4)
    assert not heard[at + 7 * FRAME :].any()
    assert stage.events == [
        ("a", "started", start), ("a", "chunk", start + 5), ("a", "finished", start + 5),
        ("b", "started", start + 5), ("b", "chunk", start + 7), ("b", "finished", start + 7),
    ]  # fmt: skip
    assert not stage.performer.speaking


def test_an_interruption_takes_one_frame(stage):
    stage.say("a", np.full(100 * FRAME, 0.5))
    stage.say("b", np.full(FRAME, 0.5))
    stage.play(20)
    heard = stage.frame - 1
    stage.say("c", np.full(2 * FRAME, 0.25), interrupt=True)
    (cut,) = [item for item in stage.items if isinstance(item, Cut)]
    assert cut == Cut(1, (heard + 1) * FRAME)
    stage.play(30)
    sound = stage.heard()
    np.testing.assert_allclose(sound[heard * FRAME : cut.stamp], 0.5, atol=1e-3)
    first = cut.stamp + AHEAD  # as soon as it reaches the listener in time
    assert not sound[cut.stamp : first].any()
    np.testing.assert_allclose(sound[first : first + 2 * FRAME], 0.25, atol=1e-3)
    assert not sound[first + 2 * FRAME :].any()
    ends = [(name, event) for name, event, _ in stage.events if event in ("interrupted", "finished")]
    assert ends == [("a", "interrupted"), ("b", "interrupted"), ("c", "finished")]
    assert {item.epoch for item in stage.items if isinstance(item, Stamped)} == {0, 1}


def test_twenty_interruptions_in_a_row(stage):
    for number in range(20):
        stage.say(str(number), np.full(50 * FRAME, (number + 1) / 40), interrupt=True)
        stage.play(5)
    stage.performer.stop()
    stage.play(20)
    assert not stage.heard()[-10 * FRAME :].any() and stage.performer.epoch == 21
    assert [name for name, event, _ in stage.events if event == "interrupted"] == [str(n) for n in range(20)]


def test_a_stream_that_stalls_goes_on_without_a_lost_sample(stage):
    sound = np.random.default_rng(0).uniform(0.1, 0.5, 20 * FRAME).astype(np.float32)
    utterance = stage.say("a", sound[:1000], close=False)
    stage.play(10)  # too little to begin with
    assert not stage.heard().any()
    utterance.put(sound[1000 : 10 * FRAME])
    stage.play(20)
    utterance.put(sound[10 * FRAME :])
    utterance.close()
    stage.play(40)
    heard = stage.heard()
    np.testing.assert_allclose(heard[heard != 0], sound, atol=1e-4)


def test_emotion_comes_with_its_sound_and_goes_with_it(stage, portrait):
    happy, neutral = portrait.vocabulary.encode("happy", "strong"), portrait.vocabulary.encode()
    stage.say("a", np.full(30 * FRAME, 0.5), emotion=happy)
    shown = []
    for _ in range(70):
        stage.play(1)
        found = stage.performer.condition(stage.performer.speech.next_frame - 1)
        shown.append(found[1].emotion)
    start = int(np.flatnonzero(stage.heard())[0]) // FRAME
    np.testing.assert_array_equal(shown[start + 8], happy)
    np.testing.assert_array_equal(shown[-1], neutral)
    assert np.abs(np.diff(shown, axis=0)).max() < 0.2


def test_a_microphone_that_is_too_fast_stays_in_time():
    live, stored = Utterance(live=True), Utterance()
    for utterance in (live, stored):
        for _ in range(50):
            utterance.put(np.ones(FRAME // 2, np.float32))
    assert stored.waiting == 25 * FRAME and WANTED <= live.waiting <= LATE and live.left_out > 15 * FRAME


def test_a_microphone_stays_open_behind_what_is_said(stage):
    microphone = stage.say("mic", np.full(4 * FRAME, 0.1), close=False, live=True)
    stage.play(10)
    stage.say("a", np.full(3 * FRAME, 0.5))
    stage.play(20)
    microphone.put(np.full(4 * FRAME, 0.2, np.float32))
    stage.play(10)
    heard = stage.heard()
    assert [int((np.abs(heard - level) < 0.01).sum() / FRAME) for level in (0.1, 0.5, 0.2)] == [4, 3, 4]


def test_a_microphone_stays_open_where_something_interrupts(stage):
    microphone = stage.say("mic", np.full(4 * FRAME, 0.1), close=False, live=True)
    stage.play(3)
    stage.say("a", np.full(3 * FRAME, 0.5), interrupt=True)
    stage.play(20)
    microphone.put(np.full(4 * FRAME, 0.2, np.float32))
    stage.play(10)
    assert abs(int((np.abs(stage.heard() - 0.2) < 0.01).sum() / FRAME) - 4) < 1
    assert ("mic", "interrupted") not in [(name, event) for name, event, _ in stage.events]


def test_a_machine_that_stood_still_says_all_of_it_later(stage):
    """After a second in which nothing was made, although the listener's clock went on."""
    sound = np.random.default_rng(0).uniform(0.1, 0.5, 40 * FRAME).astype(np.float32)
    stage.say("a", sound)
    stage.play(10)
    stage.frame += 25
    stage.play(60)
    heard = stage.heard()
    np.testing.assert_allclose(heard[heard != 0], sound, atol=1e-4)
    late = Performer(stage.performer.speech, stage.items.append, lambda: (stage.frame + 5) * FRAME)
    late.stop()
    assert stage.items[-1] == Cut(1, min((stage.frame + 6) * FRAME, stage.performer.frames * FRAME))


def test_an_emotion_is_not_handed_on_to_what_names_none(stage, portrait):
    happy = portrait.vocabulary.encode("happy", "strong")
    stage.say("a", np.full(20 * FRAME, 0.5), emotion=happy)
    stage.say("b", np.full(30 * FRAME, 0.5))
    stage.play(45)
    shown = stage.performer.condition(stage.performer.speech.next_frame - 1)
    assert shown is not None
    np.testing.assert_array_equal(shown[1].emotion, portrait.vocabulary.encode())


class TestPace:
    def test_the_rate_falls_by_steps_and_rises_late(self):
        pace, found = Pace(), []
        for milliseconds in (20, 35, 37, 31, 29, 53, 60, 75, 61, 59, 53, 900, 20):
            for _ in range(30):
                pace.took(milliseconds / 1000)
            found.append(pace.every)
        assert found == [1, 1, 1.25, 1.25, 1, 1.5, 2, 3, 3, 2, 2, 12, 1]
        assert pace.lead == LEAST_LEAD

    @pytest.mark.parametrize(("milliseconds", "shown"), [(20, 100), (44, 80), (53, 67), (70, 50), (100, 34)])
    def test_pictures_are_spread_evenly(self, milliseconds, shown):
        pace, last, frames = Pace(), -1, []
        for _ in range(25):
            pace.took(milliseconds / 1000)
        for frame in range(100):
            if pace.shows(frame, last):
                frames.append(last := frame)
        assert len(frames) == shown and np.ptp(np.diff(frames)) <= 1

    def test_slow_pictures_make_it_begin_sooner_not_less_often_and_one_alone_nothing(self):
        pace = Pace()
        for seconds in (*[0.02] * 20, 0.3):
            pace.took(seconds)
        assert pace.every == 1 and pace.lead == LEAST_LEAD
        pace.took(0.2)
        assert pace.every == 1 and pace.lead > 0.3


def test_queues_are_bounded(stage):
    for _ in range(MOST_WAITING):
        utterance = stage.performer.begin()
    with pytest.raises(InputError, match="wait already"):
        stage.performer.begin()
    with pytest.raises(InputError, match=f"more than {MOST_SECONDS} s"):
        utterance.put(np.zeros(16_000 * MOST_SECONDS + 1, np.float32))


class TestClock:
    def test_a_fast_sound_card_is_followed_for_an_hour(self):
        """200 ppm, reports with a jitter of the network, some lost: never off by a frame, never backwards."""
        now, random = [0.0], np.random.default_rng(0)
        clock, worst, last = PlayClock(lambda: now[0]), 0.0, 0
        for _ in range(5 * 3600):
            now[0] += 0.2
            truth = now[0] * 16_000 * 1.0002
            if random.random() < 0.8:
                clock.report(truth - random.exponential(80))
            worst = max(worst, abs(clock.position - truth))
            assert clock.position >= last
            last = clock.position
        assert worst < FRAME

    def test_without_reports_it_goes_by_its_own_and_stops_with_its_listener(self):
        now = [0.0]
        clock = PlayClock(lambda: now[0])
        now[0] = 5.0
        assert clock.position == 80_000
        clock.report(80_100)
        now[0] = 60.0
        assert clock.position <= 80_100 + 2 * 16_000
        clock.release()
        now[0] = 61.0
        assert clock.position == pytest.approx(80_100 + 3 * 16_000, abs=100)
        clock.release(held=True)
        now[0] = 99.0
        held = clock.position
        clock.resume()
        now[0] = 100.0
        assert clock.position == pytest.approx(held + 16_000, abs=2)
