"""The compiled inner loops over Arrow buffers. Imports numba: load this module only on use.

All functions take the texts as ``(data, offsets)`` of an Arrow array and ``(folded, folded_offsets,
place)``: row i is read from ``folded`` at ``place[i]`` where that is >= 0 (texts whose folding is
more than ASCII lower case), else from ``data``. Hashes are 64 bits wide.
"""

from typing import Any

import numba as nb
import numpy as np

from tuneforge_datastore.dedup.shingles import IDEOGRAPHS_END, SINGLE, TABLE_SIZE, WORD

Array = Any

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SHORT = np.uint64(0xD6E8FEB86659FD93)
_compile = nb.njit(cache=True, nogil=True, error_model="numpy")
_inline = nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")


@_inline
def _mix(x: Any) -> Any:
    """Mix 64 bits (the finaliser of SplitMix64, Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


@_compile
def hash_words(data: Array, start: int, end: int, classes: Array, out: Array) -> int:
    """Write the hash of each word of ``data[start:end]`` to ``out``; return how many.

    ``out`` holds at least (end - start) // 2 + 1 values.
    """
    count = 0
    state = np.uint64(0)
    pack = np.uint64(0)
    size = np.uint64(0)
    i = start
    while i < end:
        code = np.int64(data[i])
        width = 1
        if code >= 0x80:
            if code >= 0xF0:
                width, code = 4, code & 0x07
            elif code >= 0xE0:
                width, code = 3, code & 0x0F
            else:
                width, code = 2, code & 0x1F
            width = min(width, end - i)
            for k in range(1, width):
                code = (code << 6) | (np.int64(data[i + k]) & 0x3F)
        elif 65 <= code <= 90:
            code += 32
        kind = SINGLE if code < IDEOGRAPHS_END else 0
        if code < TABLE_SIZE:
            kind = classes[code]
        i += width
        if kind == WORD:
            pack = (pack << np.uint64(21)) | np.uint64(code)
            size += np.uint64(1)
            if size % np.uint64(3) == 0:
                state = (state ^ pack) * _MULTIPLIER
                state ^= state >> np.uint64(29)
                pack = np.uint64(0)
            continue
        if size > 0:
            out[count] = _mix(state ^ pack ^ (size << np.uint64(56)))
            count += 1
            state = pack = size = np.uint64(0)
        if kind == SINGLE:
            out[count] = _mix(np.uint64(code) ^ (np.uint64(1) << np.uint64(56)))
            count += 1
    if size > 0:
        out[count] = _mix(state ^ pack ^ (size << np.uint64(56)))
        count += 1
    return count


@_compile
def hash_shingles(words: Array, count: int, ngram: int, out: Array) -> int:
    """Write the hash of each run of ``ngram`` words to ``out``; return how many.

    A polynomial rolling hash: the cost does not grow with ``ngram``. Fewer words make one shingle.
    """
    if count == 0:
        return 0
    rolling = np.uint64(0)
    if count < ngram:
        for i in range(count):
            rolling = rolling * _MULTIPLIER + words[i]
        out[0] = _mix(rolling ^ (_SHORT * np.uint64(count)))
        return 1
    leaving = np.uint64(1)
    for i in range(ngram):
        rolling = rolling * _MULTIPLIER + words[i]
        leaving = leaving * _MULTIPLIER
    out[0] = _mix(rolling)
    for i in range(ngram, count):
        rolling = rolling * _MULTIPLIER + words[i] - words[i - ngram] * leaving
        out[i - ngram + 1] = _mix(rolling)
    return count - ngram + 1


@_compile
def row_shingles(texts: Array, row: int, ngram: int, words: Array, out: Array) -> int:
    """Write the shingle hashes of one row to ``out``; return how many (duplicates included)."""
    data, offsets, folded, folded_offsets, place, classes = texts
    if place[row] >= 0:
        at = place[row]
        count = hash_words(folded, folded_offsets[at], folded_offsets[at + 1], classes, words)
    else:
        count = hash_words(data, offsets[row], offsets[row + 1], classes, words)
    return hash_shingles(words, count, ngram, out)


@_compile
def band_keys(
    texts: Array,
    first: int,
    ngram: int,
    scratch: int,
    multipliers: Array,
    increments: Array,
    rows: int,
    keys: Array,
    filled: Array,
) -> None:
    """Fill ``keys[r]`` with the band keys of row ``first + r``, ``filled[r]`` with 1 if it has any.

    MinHash as datasketch defines it (the least value of each of many hash functions over the
    shingles), with multiply-add functions modulo 2^32 that the compiler turns into SIMD.
    """
    words = np.empty(scratch, np.uint64)
    wide = np.empty(scratch, np.uint64)
    narrow = np.empty(scratch, np.uint32)
    bands = keys.shape[1]
    for r in range(keys.shape[0]):
        count = row_shingles(texts, first + r, ngram, words, wide)
        filled[r] = count > 0
        for s in range(count):
            narrow[s] = np.uint32(wide[s] >> np.uint64(32))
        for band in range(bands):
            key = np.uint64(band)
            for p in range(band * rows, band * rows + rows):
                a = multipliers[p]
                b = increments[p]
                least = np.uint32(0xFFFFFFFF)
                for s in range(count):
                    value = np.uint32(a * narrow[s] + b)
                    least = min(least, value)
                key = (key ^ np.uint64(least)) * _MULTIPLIER
                key ^= key >> np.uint64(29)
            keys[r, band] = _mix(key)


@_inline
def _add(table: Array, stamps: Array, stamp: int, value: Any) -> bool:
    """Add a value to the set; True if it was not in it. Entries of older stamps count as empty."""
    mask = table.shape[0] - 1
    at = np.int64(value & np.uint64(mask))
    while stamps[at] == stamp:
        if table[at] == value:
            return False
        at = (at + 1) & mask
    table[at] = value
    stamps[at] = stamp
    return True


@_inline
def _has(table: Array, stamps: Array, stamp: int, value: Any) -> bool:
    mask = table.shape[0] - 1
    at = np.int64(value & np.uint64(mask))
    while stamps[at] == stamp:
        if table[at] == value:
            return True
        at = (at + 1) & mask
    return False


@_compile
def collect(
    texts: Array,
    row: int,
    ngram: int,
    words: Array,
    out: Array,
    table: Array,
    stamps: Array,
    stamp: int,
) -> int:
    """Put the shingle hashes of a row into the set ``(table, stamps)``; return its size."""
    size = 0
    for s in range(row_shingles(texts, row, ngram, words, out)):
        if _add(table, stamps, stamp, out[s]):
            size += 1
    return size
