"""The compiled reading of texts: words, runs of words, their hashes. Imports numba.

``texts`` is a ``dedup.columns.Texts``. Hashes are 64 bits wide.
"""

from typing import Any

import numpy as np

from tuneforge_datastore.dedup.compiled import inlined, kernel
from tuneforge_datastore.dedup.shingles import IDEOGRAPHS_END, SINGLE, TABLE_SIZE, WORD

Array = Any

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SHORT = np.uint64(0xD6E8FEB86659FD93)


@inlined
def mix(x: Any) -> Any:
    """Mix 64 bits (the finaliser of SplitMix64, Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


@inlined
def _character(data: Array, at: int, end: int) -> Any:
    """Decode the UTF-8 character at ``at``, ASCII in lower case; give its code and width."""
    code = np.int64(data[at])
    if code < 0x80:
        return (code + 32 if 65 <= code <= 90 else code), 1
    if code >= 0xF0:
        width, code = 4, code & 0x07
    elif code >= 0xE0:
        width, code = 3, code & 0x0F
    else:
        width, code = 2, code & 0x1F
    width = min(width, end - at)
    for k in range(1, width):
        code = (code << 6) | (np.int64(data[at + k]) & 0x3F)
    return code, width


@inlined
def _class(code: Any, classes: Array) -> Any:
    if code < TABLE_SIZE:
        return np.int64(classes[code])
    return np.int64(SINGLE) if code < IDEOGRAPHS_END else np.int64(0)


@kernel
def hash_words(data: Array, start: int, end: int, classes: Array, out: Array) -> int:
    """Write the hash of each word of ``data[start:end]`` to ``out``; return how many.

    ``out`` holds at least (end - start) // 2 + 1 values. Three characters are mixed at a time.
    """
    count = 0
    state = np.uint64(0)
    pack = np.uint64(0)
    size = np.uint64(0)
    at = start
    while at < end:
        code, width = _character(data, at, end)
        at += width
        kind = _class(code, classes)
        if kind == WORD:
            pack = (pack << np.uint64(21)) | np.uint64(code)
            size += np.uint64(1)
            if size % np.uint64(3) == 0:
                state = (state ^ pack) * MULTIPLIER
                state ^= state >> np.uint64(29)
                pack = np.uint64(0)
            continue
        if size > 0:
            out[count] = mix(state ^ pack ^ (size << np.uint64(56)))
            count += 1
            state = pack = size = np.uint64(0)
        if kind == SINGLE:
            out[count] = mix(np.uint64(code) ^ (np.uint64(1) << np.uint64(56)))
            count += 1
    if size > 0:
        out[count] = mix(state ^ pack ^ (size << np.uint64(56)))
        count += 1
    return count


@kernel
def hash_runs(words: Array, count: int, ngram: int, out: Array) -> int:
    """Write the hash of each run of ``ngram`` words to ``out``; return how many.

    A polynomial rolling hash: the cost does not grow with ``ngram``. Fewer words make one run.
    """
    if count == 0:
        return 0
    rolling = np.uint64(0)
    if count < ngram:
        for i in range(count):
            rolling = rolling * MULTIPLIER + words[i]
        out[0] = mix(rolling ^ (_SHORT * np.uint64(count)))
        return 1
    leaving = np.uint64(1)
    for i in range(ngram):
        rolling = rolling * MULTIPLIER + words[i]
        leaving = leaving * MULTIPLIER
    out[0] = mix(rolling)
    for i in range(ngram, count):
        rolling = rolling * MULTIPLIER + words[i] - words[i - ngram] * leaving
        out[i - ngram + 1] = mix(rolling)
    return count - ngram + 1


@kernel
def row_runs(texts: Array, row: int, ngram: int, words: Array, out: Array) -> int:
    """Write the hashes of one row's runs of words to ``out``; return how many, repeats included."""
    at = texts.place[row]
    if at >= 0:
        start, end = texts.folded_offsets[at], texts.folded_offsets[at + 1]
        count = hash_words(texts.folded, start, end, texts.classes, words)
    else:
        start, end = texts.offsets[row], texts.offsets[row + 1]
        count = hash_words(texts.data, start, end, texts.classes, words)
    return hash_runs(words, count, ngram, out)
