"""Text to be spoken, and sound in pieces."""

import numpy as np
import pytest

from aed_nerfstudio.driving.emotion import EmotionVocabulary
from aed_nerfstudio.errors import InputError
from aed_nerfstudio.live.protocol import pcm16
from aed_nerfstudio.live.resampling import Resampler, read_wav_header
from aed_nerfstudio.live.text import LONGEST_SENTENCE, Sentence, sentences
from aed_nerfstudio.live.text_to_speech import CommandSpeech

WORDS = EmotionVocabulary(recorded=(("neutral", "weak"), ("happy", "weak"), ("happy", "strong"), ("sad", "medium")))


def test_tags_and_sentences():
    assert sentences("Well. [happy] Hello you! How are you? [sad:0.5] Oh.", WORDS) == [
        Sentence("Well."),
        Sentence("Hello you!", "happy"),
        Sentence("How are you?"),
        Sentence("Oh.", "sad", "0.5"),
    ]
    assert sentences("[happy+neutral:strong] a\nb", WORDS)[0] == Sentence("a", "happy+neutral", "strong")


def test_other_scripts_and_long_ones():
    assert [s.words for s in sentences("你好。 Привет! مرحبا", WORDS)] == ["你好。", "Привет!", "مرحبا"]
    long = sentences("word " * 300, WORDS)
    assert all(len(s.words) <= LONGEST_SENTENCE for s in long)
    assert " ".join(s.words for s in long) == ("word " * 300).strip()
    assert sum(len(s.words) for s in sentences("x" * 1000, WORDS)) == 1000


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "no words"), ("[happy]", "no words"), ("?!", "no words"), ("[angry] a", "no frame shows angry"),
     ("[sad:strong] a", "outside what was recorded"), ("[happy:nan] a", "intensity"), ("[x] a", "unknown emotion"),
     ("a" * 4001, "at most 4000")],
)  # fmt: skip
def test_what_cannot_be_said(text, says):
    with pytest.raises(InputError, match=says):
        sentences(text, WORDS)


@pytest.mark.parametrize("rate", [8000, 22_050, 48_000])
def test_pieces_have_no_seams(rate):
    tone = pcm16(np.sin(np.arange(rate) * 2 * np.pi * 200 / rate) * 0.5)
    whole, pieces = Resampler(rate), Resampler(rate)
    one = np.concatenate([whole(tone), whole.rest()])
    many = [pieces(tone[at : at + 2 * 137]) for at in range(0, len(tone), 2 * 137)]
    many = np.concatenate([*many, pieces.rest()])
    assert abs(one.size - 16_000) <= 16
    np.testing.assert_allclose(many[:15_900], one[:15_900], atol=1e-4)


def test_headers():
    with pytest.raises(InputError, match="no WAV"):
        read_wav_header(b"RIFF" + b"\0" * 60)
    with pytest.raises(InputError, match="rate"):
        Resampler(10)


class TestPrograms:
    def test_the_text_is_its_input(self):
        """`cat` says the bytes of the text as samples: nothing of it is a command, or lost."""
        text = "$(touch x); `y` | 'z\""
        sound = np.concatenate(list(CommandSpeech("cat", 16_000).speak(text)))
        assert np.round(sound * 32768).astype("<i2").tobytes() == (text.encode() + b"\n")[: 2 * sound.size]

    def test_one_that_does_not_end_is_ended(self):
        sound = CommandSpeech("yes", 16_000).speak("Hello")
        with pytest.raises(InputError, match="does not come to an end"):
            for _ in sound:
                pass

    def test_one_that_is_not_wanted_any_more_is_ended(self):
        sound = CommandSpeech("yes", 16_000).speak("Hello")
        next(sound)
        sound.close()

    @pytest.mark.parametrize(
        ("command", "says"), [("cat /nonexistent", "ended with 1"), ("true", "no sound"), ("no-such-one", "no such")]
    )
    def test_one_that_fails(self, command, says):
        with pytest.raises(InputError, match=says):
            list(CommandSpeech(command).speak("Hello"))
