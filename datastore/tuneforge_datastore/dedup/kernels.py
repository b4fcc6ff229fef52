"""The compiled loops over Arrow buffers. Imports numba: load only on use.

All in one file, because numba's disk cache notices a change only in the file of the function that
is called from Python, not in those of the functions that it calls.

``texts`` is a ``dedup.columns.Texts``. Hashes are 64 bits wide.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tuneforge_datastore.dedup.shingles import IDEOGRAPHS_END, SINGLE, TABLE_SIZE, WORD

Array = Any
F = TypeVar("F", bound=Callable[..., object])

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SHORT = np.uint64(0xD6E8FEB86659FD93)
_TAG = np.uint64(0xFFFFFFFF00000000)
_NEWEST = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def kernel(function: F) -> F:
    """Compile a function on its first call; the machine code is kept for later processes."""
    return cast("F", nb.njit(cache=True, nogil=True, error_model="numpy")(function))


def inlined(function: F) -> F:
    """Compile a small function into those that call it."""
    compile_ = nb.njit(cache=True, nogil=True, error_model="numpy", inline="always")
    return cast("F", compile_(function))


@inlined
def _mix(x: Any) -> Any:
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


@kernel
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
    for r in range(keys.shape[0]):
        count = row_runs(texts, first + r, ngram, words, wide)
        filled[r] = count > 0
        for s in range(count):
            narrow[s] = np.uint32(wide[s] >> np.uint64(32))
        for band in range(keys.shape[1]):
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


class Sets(NamedTuple):
    """Two reusable hash sets and what a row is read into.

    A stamp tells the entries of the current set from older ones, so that no set is ever cleared.
    ``state`` is [row in the first set or -1, its size, stamp of the second set].
    """

    words: NDArray[np.uint64]
    runs: NDArray[np.uint64]
    mine: NDArray[np.uint64]
    my_stamps: NDArray[np.int64]
    theirs: NDArray[np.uint64]
    their_stamps: NDArray[np.int64]
    state: NDArray[np.int64]

    @classmethod
    def holding(cls, longest: int) -> "Sets":
        """Make sets for rows of at most ``longest`` words, at most half full."""
        capacity = 1 << (2 * longest).bit_length()
        tables = [np.empty(capacity, np.uint64) for _ in range(2)]
        stamps = [np.full(capacity, -1, np.int64) for _ in range(2)]
        words, runs = np.empty(longest, np.uint64), np.empty(longest, np.uint64)
        state = np.array([-1, 0, 0])
        return cls(words, runs, tables[0], stamps[0], tables[1], stamps[1], state)


@inlined
def _place(table: Array, stamps: Array, stamp: int, value: Any) -> Any:
    """Find the entry of ``value``, or the free one where it belongs."""
    mask = table.shape[0] - 1
    at = np.int64(value & np.uint64(mask))
    while stamps[at] == stamp and table[at] != value:
        at = (at + 1) & mask
    return at


@kernel
def similarity(texts: Array, row: int, other: int, ngram: int, sets: Array) -> float:
    """Divide the shingles that both rows have by those that either has.

    The set of ``row`` is kept for the next call with the same row.
    """
    if sets.state[0] != row:
        size = 0
        for s in range(row_runs(texts, row, ngram, sets.words, sets.runs)):
            at = _place(sets.mine, sets.my_stamps, row, sets.runs[s])
            if sets.my_stamps[at] != row:
                sets.mine[at] = sets.runs[s]
                sets.my_stamps[at] = row
                size += 1
        sets.state[0] = row
        sets.state[1] = size
    sets.state[2] += 1
    stamp = sets.state[2]
    shared = 0
    either = sets.state[1]
    for s in range(row_runs(texts, other, ngram, sets.words, sets.runs)):
        value = sets.runs[s]
        at = _place(sets.theirs, sets.their_stamps, stamp, value)
        if sets.their_stamps[at] != stamp:
            sets.theirs[at] = value
            sets.their_stamps[at] = stamp
            if sets.my_stamps[_place(sets.mine, sets.my_stamps, row, value)] == row:
                shared += 1
            else:
                either += 1
    return float(shared / either)


class Buckets(NamedTuple):
    """``entries`` hold 32 bits of the band key and the newest row + 1; ``seen`` marks by row."""

    entries: NDArray[np.uint64]
    older: NDArray[np.int32]
    seen: NDArray[np.int32]
    places: NDArray[np.int64]

    @classmethod
    def holding(cls, rows: int, bands: int) -> "Buckets":
        """Make buckets for ``rows`` records; at most two thirds of the entries fill."""
        return cls(
            np.zeros((bands, rows * 3 // 2 + 8), np.uint64),
            np.empty((rows, bands), np.int32),
            np.full(rows, -1, np.int32),
            np.empty(bands, np.int64),
        )


@inlined
def newest(buckets: Array, band: int, key: Any) -> Any:
    """Find the newest row in the bucket of ``key``, -1 if it is empty; remember its place."""
    size = buckets.entries.shape[1]
    tag = (key << _HALF) & _TAG
    at = np.int64(((key >> _HALF) * np.uint64(size)) >> _HALF)
    entry = buckets.entries[band, at]
    while entry != 0 and (entry & _TAG) != tag:
        at = np.int64(at + 1 if at + 1 < size else 0)
        entry = buckets.entries[band, at]
    buckets.places[band] = at
    return np.int64(entry & _NEWEST) - 1


@kernel
def insert(buckets: Array, row: int, keys: Array) -> None:
    """Put a row into its buckets; ``newest`` has been called for each of them."""
    for band in range(keys.shape[0]):
        at = buckets.places[band]
        buckets.older[row, band] = np.int64(buckets.entries[band, at] & _NEWEST) - 1
        buckets.entries[band, at] = ((keys[band] << _HALF) & _TAG) | np.uint64(row + 1)


@kernel
def _witness(
    texts: Array,
    row: int,
    keys: Array,
    ngram: int,
    threshold: float,
    depth: int,
    buckets: Array,
    sets: Array,
) -> tuple[int, float, bool]:
    """Find a kept row at least ``threshold`` similar to ``row``.

    Returns it (-1: none), the similarity, and whether a bucket held more than ``depth`` rows.
    """
    deep = False
    for band in range(keys.shape[0]):
        other = newest(buckets, band, keys[band])
        steps = 0
        while other >= 0 and steps < depth:
            if buckets.seen[other] != row:
                buckets.seen[other] = row
                alike = similarity(texts, row, other, ngram, sets)
                if alike >= threshold:
                    return other, alike, deep
            other = np.int64(buckets.older[other, band])
            steps += 1
        deep |= other >= 0
    return -1, 0.0, deep


@kernel
def keep_first(
    texts: Array,
    first: int,
    keys: Array,
    filled: Array,
    ngram: int,
    threshold: float,
    depth: int,
    buckets: Array,
    sets: Array,
    witness: Array,
    jaccard: Array,
) -> int:
    """Drop each row that is at least ``threshold`` similar to a kept one; keep the others.

    ``witness[i]`` becomes the kept row, or -1. In each bucket the ``depth`` newest kept rows are
    compared; returns the number of rows kept though a bucket held more.
    """
    bounded = 0
    for r in range(keys.shape[0]):
        row = first + r
        witness[row] = -1
        if filled[r]:
            other, alike, deep = _witness(
                texts, row, keys[r], ngram, threshold, depth, buckets, sets
            )
            witness[row] = other
            jaccard[row] = alike
            if other < 0:
                bounded += deep
                insert(buckets, row, keys[r])
    return bounded


@inlined
def _root(parents: Array, row: Any) -> Any:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


@kernel
def _join(
    texts: Array,
    row: int,
    keys: Array,
    ngram: int,
    threshold: float,
    depth: int,
    buckets: Array,
    sets: Array,
    parents: Array,
) -> bool:
    """Join ``row`` with all rows similar to it; True if one of them has the same shingles."""
    for band in range(keys.shape[0]):
        other = newest(buckets, band, keys[band])
        steps = 0
        while other >= 0 and steps < depth:
            mine, theirs = _root(parents, np.int64(row)), _root(parents, other)
            if mine != theirs and buckets.seen[other] != row:
                buckets.seen[other] = row
                alike = similarity(texts, row, other, ngram, sets)
                if alike >= threshold:
                    parents[max(mine, theirs)] = min(mine, theirs)
                if alike == 1.0:
                    return True
            other = np.int64(buckets.older[other, band])
            steps += 1
    return False


@kernel
def connect(
    texts: Array,
    first: int,
    keys: Array,
    filled: Array,
    ngram: int,
    threshold: float,
    depth: int,
    buckets: Array,
    sets: Array,
    parents: Array,
) -> None:
    """Join each row with the rows that are at least ``threshold`` similar to it.

    Rows of one component are not compared again, and a row equal to one in the buckets is not put
    there: what is similar to it is similar to the other. A parent is never a later row.
    """
    for r in range(keys.shape[0]):
        row = first + r
        parents[row] = row
        if filled[r] and not _join(
            texts, row, keys[r], ngram, threshold, depth, buckets, sets, parents
        ):
            insert(buckets, row, keys[r])


@inlined
def _find(table: Array, gram: Any) -> Any:
    """Find the entry of ``gram``, or the empty one (-1 in the second column) where it belongs."""
    mask = table.shape[0] - 1
    at = np.int64(gram & np.uint64(mask))
    while table[at, 1] >= 0 and np.uint64(table[at, 0]) != gram:
        at = (at + 1) & mask
    return at


@kernel
def count_grams(texts: Array, rows: int, ngram: int, scratch: int) -> int:
    """Count the n-grams of all rows."""
    words = np.empty(scratch, np.uint64)
    out = np.empty(scratch, np.uint64)
    total = 0
    for row in range(rows):
        total += row_runs(texts, row, ngram, words, out)
    return total


@kernel
def index_grams(texts: Array, rows: int, ngram: int, scratch: int, table: Array) -> None:
    """Enter each n-gram once into ``table``: its hash, row and first word there."""
    words = np.empty(scratch, np.uint64)
    out = np.empty(scratch, np.uint64)
    for row in range(rows):
        for s in range(row_runs(texts, row, ngram, words, out)):
            at = _find(table, out[s])
            if table[at, 1] < 0:
                table[at, 0] = np.int64(out[s])
                table[at, 1] = row
                table[at, 2] = s


@kernel
def match(
    texts: Array, row: int, start: int, ngram: int, words: Array, out: Array, table: Array
) -> tuple[int, int]:
    """Find the first n-gram of the row from word ``start`` on that is in the table.

    Returns its first word and the entry, or (-1, -1).
    """
    for s in range(start, row_runs(texts, row, ngram, words, out)):
        at = _find(table, out[s])
        if table[at, 1] >= 0:
            return s, at
    return -1, -1


@kernel
def match_all(texts: Array, ngram: int, scratch: int, table: Array, hits: Array) -> None:
    """Fill ``hits[row]`` with what ``match`` finds from the first word on."""
    words = np.empty(scratch, np.uint64)
    out = np.empty(scratch, np.uint64)
    for row in range(hits.shape[0]):
        start, at = match(texts, row, 0, ngram, words, out, table)
        hits[row, 0] = start
        hits[row, 1] = at
