"""The compiled search: candidates from the buckets, decided by true Jaccard. Imports numba."""

from typing import Any

import numpy as np

from tuneforge_datastore.dedup.buckets import insert, newest
from tuneforge_datastore.dedup.compiled import inlined, kernel
from tuneforge_datastore.dedup.similarity import similarity

Array = Any


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
