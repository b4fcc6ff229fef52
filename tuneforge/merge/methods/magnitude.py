"""Keep the elements of each delta whose rank by magnitude lies in a range; exact, in two passes.

Elements are ranked by (magnitude, position), so the count kept is exact even where magnitudes are
equal, which they often are in deltas of 16-bit weights.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tuneforge.merge.method import Block, Floats, Tensor

_BEYOND = 1 << 31  # above the bits of every magnitude, infinity and NaN included
_BINS = 1 << 16
Counts = npt.NDArray[np.int64]


class Bands:
    """A range of ranks for each input; ``trim`` zeroes what lies outside it."""

    def __init__(self, tensor: Tensor, ranges: Sequence[tuple[int, int]]) -> None:
        """Find the magnitudes at the ends of each ``(first rank, end rank)``, ascending ranks."""
        wanted = [(index, rank) for index, pair in enumerate(ranges) for rank in pair]
        found = iter(_edges(tensor, wanted))
        self._bands = [np.array([*next(found), *next(found)], np.int64) for _ in ranges]
        self._seen = [np.zeros(2, np.int64) for _ in ranges]
        self._empty = [first >= end for first, end in ranges]

    def trim(self, block: Block, index: int) -> Floats:
        """Return an input's delta with everything outside its band set to zero."""
        from tuneforge.merge.kernels.select import keep_band

        values = np.ascontiguousarray(block.inputs[index])
        kept = np.zeros_like(values)
        if not self._empty[index]:
            keep_band(values.reshape(-1), self._bands[index], self._seen[index], kept.reshape(-1))
        return kept


def _edges(tensor: Tensor, wanted: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """For each (input, rank) return the bits of that magnitude and how many equals rank before."""
    from tuneforge.merge.kernels.select import count_lower, count_upper

    inside = [(index, rank) for index, rank in wanted if 0 < rank < tensor.size]
    uppers = {index: np.zeros(_BINS, np.int64) for index, _ in inside}
    if inside:
        for block in tensor.blocks():
            for index, counts in uppers.items():
                count_upper(np.ascontiguousarray(block.inputs[index]).reshape(-1), counts)
    bins = {pair: _bin(uppers[pair[0]], pair[1]) for pair in inside}
    lowers = {(pair[0], upper): np.zeros(_BINS, np.int64) for pair, (upper, _) in bins.items()}
    if lowers:
        for block in tensor.blocks():
            for (index, upper), counts in lowers.items():
                values = np.ascontiguousarray(block.inputs[index]).reshape(-1)
                count_lower(values, upper, counts)
    edges = []
    for pair in wanted:
        if pair not in bins:
            edges.append((-1, 0) if pair[1] <= 0 else (_BEYOND, 0))
            continue
        upper, before = bins[pair]
        lower, skip = _bin(lowers[pair[0], upper], before)
        edges.append(((upper << 16) | lower, skip))
    return edges


def _bin(counts: Counts, rank: int) -> tuple[int, int]:
    """Return the bin that holds a rank, and the rank within the bin."""
    ends = np.cumsum(counts)
    place = int(np.searchsorted(ends, rank, side="right"))
    return place, rank - int(ends[place] - counts[place])
