"""What a word and a shingle are, in plain Python: the definition that the kernel implements.

Case and Unicode form are folded first. A word is a run of letters, digits and marks; each character
of a script written without spaces is a word of its own, so that word shingles are character
shingles there. Punctuation and symbols only separate.
"""

import unicodedata
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SEPARATOR, WORD, SINGLE = 0, 1, 2
KIND, UNSTABLE = 3, 4
TABLE_SIZE = 0x20000
IDEOGRAPHS_END = 0x40000

# Scripts written without spaces between words: Thai, Lao, Myanmar, Khmer, kana, bopomofo, CJK.
_UNSPACED = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3005, 0x3007),
    (0x3021, 0x3029),
    (0x3041, 0x312F),
    (0x31A0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x1B000, 0x1B16F),
)
# Conjoining letters, which Unicode's normal form joins to syllables.
_JAMO = (0x1100, 0x11FF)


def normalise(text: str) -> str:
    """Fold case and Unicode form, so that equal-looking texts are equal."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", text.casefold())


@lru_cache(maxsize=1)
def character_classes() -> NDArray[np.uint8]:
    """Give the class of every code point below ``TABLE_SIZE``; above it are only ideographs.

    ``UNSTABLE`` is set where normal form or case may change the character or join it with others.
    """
    classes = np.zeros(TABLE_SIZE, dtype=np.uint8)
    for code in range(TABLE_SIZE):
        character = chr(code)
        category = unicodedata.category(character)[0]
        classes[code] = WORD if category in "LNM" else SEPARATOR
        if category == "M" or normalise(character) != character:
            classes[code] |= UNSTABLE
    for first, last in _UNSPACED:
        block = classes[first : last + 1]
        block[(block & KIND) == WORD] += SINGLE - WORD
    classes[_JAMO[0] : _JAMO[1] + 1] |= UNSTABLE
    return classes


def words(text: str) -> list[str]:
    """Split ``text`` into its folded words."""
    classes = character_classes()
    found: list[str] = []
    run = ""
    for character in normalise(text).lower():
        code = ord(character)
        if code < TABLE_SIZE:
            kind = classes[code] & KIND
        else:
            kind = SINGLE if code < IDEOGRAPHS_END else SEPARATOR
        if kind == WORD:
            run += character
            continue
        if run:
            found.append(run)
            run = ""
        if kind == SINGLE:
            found.append(character)
    return [*found, run] if run else found


def join(found: list[str]) -> str:
    """Write words as text again, without spaces where the script has none."""
    text = ""
    for word in found:
        code = ord(word[-1])
        unspaced = code >= TABLE_SIZE or character_classes()[code] & KIND == SINGLE
        text += word if unspaced or not text else f" {word}"
    return text


def shingles(text: str, ngram: int) -> frozenset[tuple[str, ...]]:
    """Give the set of runs of ``ngram`` words; a shorter text is one shingle, an empty one none."""
    found = words(text)
    if len(found) < ngram:
        return frozenset([tuple(found)] if found else [])
    return frozenset(tuple(found[i : i + ngram]) for i in range(len(found) - ngram + 1))


def jaccard(left: frozenset[tuple[str, ...]], right: frozenset[tuple[str, ...]]) -> float:
    """Divide the shared shingles by all shingles; nothing is similar to an empty set."""
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared) if shared else 0.0
