"""How English is pronounced: phonemes as Piper's voices know them, by the dictionaries of misaki (Apache-2.0).

misaki's own code wants spaCy with a model from elsewhere, and espeak-ng (GPL) for words that it does not know: only its
dictionaries are read. A word that has several pronunciations gets the usual one, whatever the sentence means.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path

from aed_nerfstudio.errors import InputError
from aed_nerfstudio.outside import read_json

DICTIONARIES = ("us_gold.json", "us_silver.json")
"""The first one was checked by people."""
PAUSES = ",.;:!?"
STRESS = "ˈˌ"
VOWELS = "aæɑɐɔəɚɛɜeiɪoʊuʌᵻ"
_TOKENS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d[\d,]*(?:\.\d+)?(?:(?:st|nd|rd|th)\b)?|[,.;:!?%&$—–]")
_SIGNS = {"%": "percent", "&": "and", "$": "dollars", "—": ",", "–": ","}

# misaki writes diphthongs as capitals and leaves length out; Piper's voices were trained on what espeak-ng writes.
_LENGTHS = (
    ("ɜɹ", "ɜː"), ("əɹ", "ɚ"), ("ɑ", "ɑː"), ("ɔ", "ɔː"), ("u", "uː"), ("ˈi", "ˈiː"), ("ˌi", "ˌiː"), ("ᵊ", "ə"),
    ("A", "eɪ"), ("I", "aɪ"), ("O", "oʊ"), ("W", "aʊ"), ("Y", "ɔɪ"), ("ʤ", "dʒ"), ("ʧ", "tʃ"),
)  # fmt: skip
_WEAK = {"a": "ɐ", "to": "tə"}
_ENDINGS = (("'s", "s"), ("s", "s"), ("es", "s"), ("ed", "d"), ("d", "d"), ("ing", "ɪŋ"), ("ly", "li"), ("er", "əɹ"))
_LETTERS = {
    "tion": "ʃən", "sion": "ʒən", "igh": "I", "tch": "ʧ", "ough": "O", "augh": "ɔ", "ch": "ʧ", "sh": "ʃ", "th": "θ",
    "ph": "f", "wh": "w", "ck": "k", "ng": "ŋ", "qu": "kw", "ee": "i", "ea": "i", "oo": "u", "ai": "A", "ay": "A",
    "ei": "A", "ey": "A", "oa": "O", "ou": "W", "ow": "W", "oi": "Y", "oy": "Y", "au": "ɔ", "aw": "ɔ", "ie": "i",
    "er": "əɹ", "ir": "əɹ", "ur": "əɹ", "ar": "ɑɹ", "or": "ɔɹ", "ce": "sɛ", "ci": "sɪ", "cy": "sI", "ge": "ʤɛ",
    "a": "æ", "b": "b", "c": "k", "d": "d", "e": "ɛ", "f": "f", "g": "ɡ", "h": "h", "i": "ɪ", "j": "ʤ", "k": "k",
    "l": "l", "m": "m", "n": "n", "o": "ɑ", "p": "p", "q": "k", "r": "ɹ", "s": "s", "t": "t", "u": "ʌ", "v": "v",
    "w": "w", "x": "ks", "y": "i", "z": "z",
}  # fmt: skip
"""What groups of letters usually sound like, for words that are in no dictionary."""
_LONGEST = max(map(len, _LETTERS))
_SMALL = (
    *("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen").split(),
    *("seventeen eighteen nineteen").split(),
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = ((1_000_000_000, "billion"), (1_000_000, "million"), (1000, "thousand"), (100, "hundred"))
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip


def phonemes(text: str) -> str:
    """Returns a sentence in the phonemes of espeak-ng's en-us, with its pauses; empty where it holds no English.

    Raises:
        InputError: the dictionaries are not installed.
    """
    spoken: list[str] = []
    for word in reversed(_words(text)):
        if word in PAUSES:
            spoken.append(word)
            continue
        before_vowel = bool(spoken) and spoken[-1].lstrip(STRESS)[0] in VOWELS
        said = "ðɪ" if word.lower() == "the" and before_vowel else "ðə" if word.lower() == "the" else _weak(word)
        if said:
            spoken.append(said)
    found = " ".join(reversed(spoken))
    return re.sub(rf" ([{PAUSES}])", r"\1", found) if any(c.isalpha() for c in found) else ""


def _words(text: str) -> list[str]:
    """Returns the words and pauses of a text, with numbers and signs as words."""
    found: list[str] = []
    for token in _TOKENS.findall(text):
        token = token.replace("’", "'")
        if token[0].isdigit():
            dollars = bool(found) and found[-1] == _SIGNS["$"]
            found[-1 if dollars else len(found) :] = [*_number(token), *(["dollars"] if dollars else [])]
        else:
            found.append(_SIGNS[token] if token in _SIGNS else token)
    return found


def _weak(word: str) -> str:
    """Returns a word as it is said within a sentence."""
    if word in _WEAK:
        return _WEAK[word]
    said = _pronounced(word)
    for ours, theirs in _LENGTHS:
        said = said.replace(ours, theirs)
    return said


def _pronounced(word: str) -> str:
    """Returns a word in misaki's phonemes: looked up, else of its stem and ending, else of letters; empty where it has
    none of the Latin alphabet."""
    known = _known(word)
    if known:
        return known
    lower = word.lower()
    for ending, sound in _ENDINGS:
        stem = word.removesuffix(ending)
        known = _known(stem) or _known(stem + "e") or _letters(stem) if stem != word and len(stem) > 1 else ""
        if known:
            return known + _ending(known[-1], sound)
    if letters := _letters(word):
        return letters
    for cut in range(len(lower) - 3, 2, -1):  # of two that are known
        first, second = _known(lower[:cut]), _known(lower[cut:])
        if first and second:
            return first + second.replace("ˈ", "ˌ")
    return _spelled(lower)


def _letters(word: str) -> str:
    """Returns the names of an abbreviation's letters; empty where it looks like a word."""
    return "".join(_known(letter) for letter in word) if word.isupper() and word.isascii() and len(word) <= 5 else ""


def _ending(last: str, sound: str) -> str:
    """Returns the sound of an ending after a stem's last sound."""
    if sound == "s":
        return "ᵻz" if last in "szʃʒʧʤ" else "s" if last in "ptkfθ" else "z"
    if sound == "d":
        return "ᵻd" if last in "td" else "t" if last in "pkfsʃʧθ" else "d"
    return sound


def _spelled(word: str) -> str:
    """Returns what a word's letters usually sound like; its first vowel is stressed."""
    found, at = "", 0
    while at < len(word):
        size = next((n for n in range(_LONGEST, 0, -1) if word[at : at + n] in _LETTERS), 0)
        if size and not (size == 1 and word[at] == "e" and at == len(word) - 1 and at > 2):  # silent at the end
            sound = _LETTERS[word[at : at + size]]
            found += sound if word[at : at + 1] != word[at - 1 : at] or size > 1 else ""
        at += max(size, 1)
    vowel = next((n for n, c in enumerate(found) if c in VOWELS or c in "AIOWY"), None)
    return found if vowel is None else f"{found[:vowel]}ˈ{found[vowel:]}"


def _number(token: str) -> list[str]:
    """Returns a number's words: 1,234.5 or 3rd."""
    ordinal = token[-1].isalpha()
    whole, _, part = token.rstrip("stndrh").replace(",", "").partition(".")
    words = _cardinal(int(whole)) if len(whole) <= 12 else [_SMALL[int(digit)] for digit in whole]
    if part:
        words += ["point", *(_SMALL[int(digit)] for digit in part)]
    if ordinal:
        last = words[-1]
        words[-1] = _ORDINALS.get(last) or (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")
    return words


def _cardinal(number: int) -> list[str]:
    for size, name in _SCALES:
        if number >= size:
            rest = number % size
            return [*_cardinal(number // size), name, *(_cardinal(rest) if rest else [])]
    if number < 20:
        return [_SMALL[number]]
    return [_TENS[number // 10], *([_SMALL[number % 10]] if number % 10 else [])]


def _known(word: str) -> str:
    """Returns a word's phonemes from the dictionaries; empty where it is in none."""
    for dictionary in _dictionaries():
        for written in (word, word.lower(), word.capitalize()):
            if written in dictionary:
                found = dictionary[written]
                return found if isinstance(found, str) else str(found.get("DEFAULT", ""))
    return ""


@functools.lru_cache(maxsize=1)
def _dictionaries() -> list[dict]:
    """Reads the dictionaries, 180 000 words, without importing the package that they are of."""
    spec = importlib.util.find_spec("misaki")
    if spec is None or not spec.submodule_search_locations:
        raise InputError('--voice: needs a dictionary of English; run `pip install "aed-nerfstudio[speak]"`')
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    found = [read_json(folder / name, mend="reinstall misaki") for name in DICTIONARIES]
    return [dictionary for dictionary in found if isinstance(dictionary, dict)]


def prepare() -> None:
    """Finds and reads the dictionaries; InputError where they are not installed."""
    _dictionaries()
