"""The compiled true Jaccard similarity of two rows. Imports numba."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuneforge_datastore.dedup.compiled import inlined, kernel
from tuneforge_datastore.dedup.words import row_runs

Array = Any


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
    return shared / either
