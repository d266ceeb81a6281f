"""The streaming engine: the same frames whatever the chunks, the offline conditions, and no drift in an hour."""

from pathlib import Path

import jaxtyping
import numpy as np
import pytest

from aed_nerfstudio.audio.features import FRONT_ENDS, STEP, extract_features, register_front_end, windows_at
from aed_nerfstudio.audio.front_end import AudioFrontEnd, count_steps
from aed_nerfstudio.audio.live_hearing import FRAME, LiveHearing, SoundMemory
from aed_nerfstudio.avatar.avatar_file import read_avatar
from aed_nerfstudio.avatar.packaged import packaged
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.live.speech import LiveSpeech
from aed_nerfstudio.synthetic.record import unseen_speech


@pytest.fixture(scope="module")
def portrait():
    """The packaged actor's."""
    return read_avatar(packaged(Path("actor")))[0].portrait


@pytest.fixture
def loudness():
    """A front end that says how loud each step is."""
    known = dict(FRONT_ENDS)

    def extract(samples: np.ndarray) -> np.ndarray:
        padded = np.pad(samples, (0, count_steps(samples) * STEP - samples.size))
        return np.abs(padded.reshape(-1, STEP)).max(1, keepdims=True).astype(np.float32)

    yield register_front_end(AudioFrontEnd("loudness", 1, extract)).name
    FRONT_ENDS.clear()
    FRONT_ENDS.update(known)


def with_front_end(portrait, name, dim):
    from dataclasses import replace

    return replace(portrait, front_end=name, feature_dim=dim)


def streamed(speech: LiveSpeech, sound: np.ndarray, sizes) -> list[np.ndarray]:
    """The audio of each frame, where sound comes in chunks of these sizes in turn."""
    found, at, number = [], 0, 0
    while at < len(sound):
        size = sizes[number % len(sizes)]
        speech.push(sound[at : at + size])
        at, number = at + size, number + 1
        while speech.ready:
            found.append(speech.condition(speech.advance()).audio)
    return found


def test_chunks_of_any_size_give_the_same(portrait):
    log_mel, sound = with_front_end(portrait, "log-mel", 80), unseen_speech(2.0)
    whole = streamed(LiveSpeech(log_mel), sound, [len(sound)])
    assert len(whole) == 50 - LiveSpeech(log_mel).hearing.ahead
    for sizes in ([1, 7, 1000], [160], [4096, 333]):
        for a, b in zip(whole, streamed(LiveSpeech(log_mel), sound, sizes), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("front_end", "dim", "tolerance"), [("log-mel", 80, 1e-5), ("moonshine", 288, 0.35)])
def test_it_hears_what_the_offline_path_hears(portrait, front_end, dim, tolerance):
    """Away from the ends; RMS of the difference over that of the features' spread."""
    sound = unseen_speech(5.0)
    live = streamed(LiveSpeech(with_front_end(portrait, front_end, dim), lookahead=0.28), sound, [1600])
    features = extract_features(sound, 125, front_end)
    difference = [live[f] - windows_at(features, f) for f in range(60, 110, 5)]
    assert np.sqrt(np.square(difference).mean()) < tolerance * features.std()


def test_features_of_live_windows_are_what_a_stream_hears(portrait):
    """Each frame's own two steps, to the last bit."""
    sound = unseen_speech(2.0)
    speech = LiveSpeech(with_front_end(portrait, "moonshine-live", 288))
    features = extract_features(sound, 50, "moonshine-live")
    speech.push(sound)
    while speech.ready:
        frame = speech.advance()
        if frame % 15 == 0:
            heard = speech.condition(frame).audio
            np.testing.assert_array_equal(heard[4, 8:10], features[2 * frame : 2 * frame + 2])
    assert frame == 49 - speech.hearing.ahead


def test_an_hour_does_not_shift_it_by_a_frame(portrait, loudness, monkeypatch):
    """Bursts at known frames, in silence, gaps of nothing at all, and chunks of odd sizes, for an hour of sound."""
    random = np.random.default_rng(0)
    speech = LiveSpeech(with_front_end(portrait, loudness, 1))
    own = 4, slice(8, 10)  # of eight windows the frame's own, of its 16 steps the frame's own
    frames, bursts, last = 90_000, set(), 0
    while last < frames - 100:
        last += int(random.integers(200, 2000))
        bursts.add(last)
    pending, heard = 0, []
    for frame in range(frames):
        if frame == 1000:  # the same shapes over and over: to check them is three quarters of the time
            monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        pending += FRAME
        if random.random() < 0.1:
            continue  # the network holds some back, and they come together
        size = pending
        chunk = np.zeros(size, np.float32)
        for burst in range(frame + 1 - size // FRAME, frame + 1):
            if burst in bursts:
                chunk[(burst - frame - 1) * FRAME + size :][:FRAME] = 0.5
        pending = 0
        speech.push(chunk)
        while speech.ready:
            number = speech.next_frame
            if speech.sound.stretch((number + 1) * FRAME, FRAME).any() or number % 500 == 0:
                moment = speech.advance()
                if speech.condition(moment).audio[own].max() > 0.4:
                    heard.append(moment)
            else:
                speech.next_frame += 1  # nobody asks for what is silent: an hour of head motion takes a minute
    assert set(heard) == {burst for burst in bursts if burst < speech.next_frame} and len(heard) > 70


def test_what_is_no_sound_stays_harmless(portrait):
    speech = LiveSpeech(with_front_end(portrait, "log-mel", 80))
    speech.push(np.array([np.nan, np.inf, -np.inf, 5, -7] * 2000, np.float32))
    heard = speech.sound.stretch(10_000, 10_000)
    assert set(np.unique(heard)) == {-1.0, 0.0, 1.0}
    assert np.isfinite(speech.condition(speech.advance()).audio).all()


def test_winding_back_replaces_sound_and_frames(portrait):
    log_mel, sound = with_front_end(portrait, "log-mel", 80), unseen_speech(3.0)
    plain, wound = LiveSpeech(log_mel), LiveSpeech(log_mel)
    first = streamed(plain, sound, [640])
    streamed(wound, sound[: 40 * FRAME], [640])
    wound.push(np.ones(0, np.float32))
    at = wound.next_frame - 5
    wound.wind_back(at)
    assert wound.sound.end == at * FRAME and wound.next_frame == at
    rest = streamed(wound, sound[at * FRAME :], [640])
    for a, b in zip(first[at:], rest, strict=True):
        np.testing.assert_array_equal(a, b)


def test_memory_is_bounded_and_silent_beyond():
    memory = SoundMemory(1.0)
    for _ in range(50):
        memory.append(np.full(1000, 0.5, np.float32))
    found = memory.stretch(50_100, 17_000)
    assert found[:900].tolist() == [0] * 900 and (found[900:16_900] == 0.5).all() and (found[16_900:] == 0).all()


def test_ready_features_are_refused():
    with pytest.raises(InputError, match="ready features"):
        LiveHearing("file/deepspeech")


class TestMotion:
    def test_nothing_jumps_whatever_is_asked(self, portrait):
        """Emotions that are changed at random: no step of the head is larger than twice the largest in a recording, and
        emotions arrive within 0.3 s."""
        from aed_nerfstudio.driving.head_pose import smooth, steps

        motion, words = portrait.assembler().live(), portrait.vocabulary
        usual = max(steps(smooth(portrait.motion.take(k).poses)).max() for k in portrait.motion.longest_first)
        random = np.random.default_rng(1)
        moment = motion.first(words.encode())
        moments, target = [moment], moment.emotion
        for number in range(600):
            if number % 40 == 0:
                target = words.encode(str(random.choice(words.categories)), "strong")
            moment = motion.after(moment, target)
            moments.append(moment)
            if number % 40 == 8:
                np.testing.assert_array_equal(moment.emotion, target)
        poses, emotions = np.stack([m.pose for m in moments]), np.stack([m.emotion for m in moments])
        assert steps(poses).max() < 2 * max(usual, 1.5 / 25)
        assert np.abs(np.diff(emotions, axis=0)).max() < 0.2

    def test_it_blinks_as_often_as_the_person(self, portrait):
        from aed_nerfstudio.driving.blinking import Blinking, recorded_blinks

        rate = len(recorded_blinks(portrait.motion)) / len(portrait.motion)
        blinking = Blinking(portrait.motion)
        closed = np.array([blinking(frame) < 0.6 for frame in range(30_000)])
        count = (np.diff(closed.astype(int)) > 0).sum()
        assert rate > 0 and 0.6 * rate < count / 30_000 < 1.4 * rate
