"""Text to be spoken: emotion tags in it, and its sentences."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aed_nerfstudio.driving.emotion import EmotionVocabulary, parse_mixture
from aed_nerfstudio.errors import InputError

LONGEST_TEXT = 4000
"""Characters of one text."""
LONGEST_SENTENCE = 400
"""Characters that are spoken in one go."""
_TAG = re.compile(r"\[\s*([^\[\]]{1,120}?)\s*\]")
_END = re.compile(r"(?<=[.!?;…])\s+|(?<=[。！？])|\n+")


@dataclass(frozen=True)
class Sentence:
    """What is spoken in one go, and the emotion that begins with it; None: as before."""

    words: str
    emotion: str | None = None
    intensity: str | None = None


def sentences(text: str, vocabulary: EmotionVocabulary) -> list[Sentence]:
    """Divides a text where its sentences end and at emotion tags: `[happy] Hello. [sad:0.4] But now ...`.

    A tag names an emotion, or a mixture such as `happy+sad`, and after a colon how strong it is, as a label or a number
    from 0 to 1; it holds until the next one.

    Raises:
        InputError: no words, too many, or a tag that this avatar cannot show.
    """
    if len(text) > LONGEST_TEXT:
        raise InputError(f"the text has {len(text)} characters; send at most {LONGEST_TEXT} at a time")
    found: list[Sentence] = []
    pieces = _TAG.split("".join(c if c.isprintable() or c == "\n" else " " for c in text))
    for number in range(0, len(pieces), 2):
        label, intensity = _tag(pieces[number - 1], vocabulary) if number else (None, None)
        for part in _END.split(pieces[number]):
            words = part.strip()
            while words:
                cut = len(words) if len(words) <= LONGEST_SENTENCE else _last_space(words)
                found.append(Sentence(words[:cut].strip(), label, intensity))
                words, label, intensity = words[cut:].strip(), None, None
    if not any(any(c.isalnum() for c in sentence.words) for sentence in found):
        raise InputError("the text has no words; send something to be said")
    return found


def _tag(tag: str, vocabulary: EmotionVocabulary) -> tuple[str, str | None]:
    """Returns the emotion and the intensity of a tag's text, both checked."""
    label, colon, intensity = (part.strip() for part in tag.partition(":"))
    vocabulary.encode(parse_mixture(label), intensity if colon else None)
    return label, intensity if colon else None


def _last_space(words: str) -> int:
    space = words.rfind(" ", 0, LONGEST_SENTENCE)
    return space if space > 0 else LONGEST_SENTENCE
