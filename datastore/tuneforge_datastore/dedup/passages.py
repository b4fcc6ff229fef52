"""The compiled search for shared n-grams of words. Imports numba: load only on use."""

from typing import Any

import numpy as np

from tuneforge_datastore.dedup.compiled import inlined, kernel
from tuneforge_datastore.dedup.words import row_runs

Array = Any


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
