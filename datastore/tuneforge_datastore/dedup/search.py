"""The compiled search: band buckets, candidates, true Jaccard. Imports numba: load only on use.

A bucket is an entry of an open-addressing table (one segment a band) that holds its newest record;
``older`` links each record to the one before it in the same bucket.
"""

from typing import Any

import numpy as np

from tuneforge_datastore.dedup.kernel import _add, _compile, _has, _inline, collect, row_shingles

Array = Any

_TAG = np.uint64(0xFFFFFFFF00000000)
_INDEX = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


@_inline
def _slot(table: Array, band: int, key: Any) -> int:
    """Find where the bucket of ``key`` is, or the empty place where it belongs."""
    size = table.shape[1]
    tag = (key << _HALF) & _TAG
    at = np.int64(((key >> _HALF) * np.uint64(size)) >> _HALF)
    while True:
        entry = table[band, at]
        if entry == 0 or (entry & _TAG) == tag:
            return at
        at = at + 1 if at + 1 < size else 0


@_compile
def similarity(
    texts: Array,
    row: int,
    size: int,
    ngram: int,
    words: Array,
    out: Array,
    mine: Array,
    my_stamps: Array,
    my_stamp: int,
    theirs: Array,
    their_stamps: Array,
    their_stamp: int,
) -> float:
    """Give the Jaccard similarity of ``row`` and the set ``mine`` of ``size`` shingles."""
    shared = 0
    other = 0
    for s in range(row_shingles(texts, row, ngram, words, out)):
        if _add(theirs, their_stamps, their_stamp, out[s]):
            other += 1
            if _has(mine, my_stamps, my_stamp, out[s]):
                shared += 1
    return shared / (size + other - shared)


@_compile
def keep_first(
    texts: Array,
    first: int,
    keys: Array,
    filled: Array,
    ngram: int,
    threshold: float,
    depth: int,
    scratch: int,
    table: Array,
    older: Array,
    seen: Array,
    witness: Array,
    jaccard: Array,
) -> int:
    """Drop each row that is at least ``threshold`` similar to a kept one; keep the others.

    Continues from the state in ``table``, ``older`` and ``seen``. ``witness[i]`` is the kept row,
    or -1. In each bucket at most the ``depth`` newest kept rows are compared; returns the number of
    rows for which a bucket held more.
    """
    words = np.empty(scratch, np.uint64)
    out = np.empty(scratch, np.uint64)
    capacity = 16
    while capacity < 2 * scratch:
        capacity *= 2
    mine = np.empty(capacity, np.uint64)
    theirs = np.empty(capacity, np.uint64)
    my_stamps = np.full(capacity, -1, np.int64)
    their_stamps = np.full(capacity, -1, np.int64)
    compared = 0
    bands = keys.shape[1]
    places = np.empty(bands, np.int64)
    cut = 0
    for r in range(keys.shape[0]):
        row = first + r
        witness[row] = -1
        if not filled[r]:
            continue
        size = -1
        deep = False
        for band in range(bands):
            places[band] = _slot(table, band, keys[r, band])
            other = np.int64(table[band, places[band]] & _INDEX) - 1
            steps = 0
            while other >= 0:
                if steps == depth:
                    deep = True
                    break
                if seen[other] != row:
                    seen[other] = row
                    if size < 0:
                        size = collect(texts, row, ngram, words, out, mine, my_stamps, row)
                    alike = similarity(
                        texts,
                        other,
                        size,
                        ngram,
                        words,
                        out,
                        mine,
                        my_stamps,
                        row,
                        theirs,
                        their_stamps,
                        compared,
                    )
                    compared += 1
                    if alike >= threshold:
                        witness[row] = other
                        jaccard[row] = alike
                        break
                other = older[other, band]
                steps += 1
            if witness[row] >= 0:
                break
        if deep:
            cut += 1
        if witness[row] < 0:
            for band in range(bands):
                at = places[band]
                older[row, band] = np.int64(table[band, at] & _INDEX) - 1
                table[band, at] = ((keys[r, band] << _HALF) & _TAG) | np.uint64(row + 1)
    return cut


@_inline
def _root(parents: Array, row: int) -> int:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


@_compile
def connect(
    texts: Array,
    first: int,
    keys: Array,
    filled: Array,
    ngram: int,
    threshold: float,
    depth: int,
    scratch: int,
    table: Array,
    older: Array,
    seen: Array,
    parents: Array,
) -> int:
    """Join each row with every row that is at least ``threshold`` similar to it.

    Rows of one component are not compared again, and a row equal to one already in the buckets is
    not put there (whatever is similar to it is similar to the other). ``parents`` leads to the
    first row of the component. Returns what ``keep_first`` returns.
    """
    words = np.empty(scratch, np.uint64)
    out = np.empty(scratch, np.uint64)
    capacity = 16
    while capacity < 2 * scratch:
        capacity *= 2
    mine = np.empty(capacity, np.uint64)
    theirs = np.empty(capacity, np.uint64)
    my_stamps = np.full(capacity, -1, np.int64)
    their_stamps = np.full(capacity, -1, np.int64)
    compared = 0
    bands = keys.shape[1]
    places = np.empty(bands, np.int64)
    cut = 0
    for r in range(keys.shape[0]):
        row = first + r
        parents[row] = row
        if not filled[r]:
            continue
        size = -1
        deep = False
        equal = False
        for band in range(bands):
            places[band] = _slot(table, band, keys[r, band])
            other = np.int64(table[band, places[band]] & _INDEX) - 1
            steps = 0
            while other >= 0:
                if steps == depth:
                    deep = True
                    break
                root = _root(parents, other)
                mine_root = _root(parents, row)
                if seen[other] != row and root != mine_root:
                    seen[other] = row
                    if size < 0:
                        size = collect(texts, row, ngram, words, out, mine, my_stamps, row)
                    alike = similarity(
                        texts,
                        other,
                        size,
                        ngram,
                        words,
                        out,
                        mine,
                        my_stamps,
                        row,
                        theirs,
                        their_stamps,
                        compared,
                    )
                    compared += 1
                    if alike >= threshold:
                        parents[max(root, mine_root)] = min(root, mine_root)
                    if alike == 1.0:
                        equal = True
                        break
                other = older[other, band]
                steps += 1
            if equal:
                break
        if deep:
            cut += 1
        if not equal:
            for band in range(bands):
                at = places[band]
                older[row, band] = np.int64(table[band, at] & _INDEX) - 1
                table[band, at] = ((keys[r, band] << _HALF) & _TAG) | np.uint64(row + 1)
    return cut
