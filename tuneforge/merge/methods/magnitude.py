"""Keep the elements of each delta whose rank by magnitude lies in a range; exact, in two passes.

Elements are ranked by (magnitude, position), so the count kept is exact even where magnitudes are
equal, which they often are in deltas of 16-bit weights.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tuneforge.merge.method import Block, Floats, Tensor

_BEYOND = 1 << 31  # above the bits of every magnitude, infinity and NaN included
_BINS = 1 << 16
Counts = npt.NDArray[np.int64]
View = Callable[[Block], Sequence[Floats]]


def _inputs(block: Block) -> Sequence[Floats]:
    return block.inputs


class Bands:
    """A range of ranks for each input; ``trim`` zeroes what lies outside it.

    Blocks must be trimmed in order; ``restart`` begins again from the first.
    """

    def __init__(
        self, tensor: Tensor, ranges: Sequence[tuple[int, int]], view: View = _inputs
    ) -> None:
        """Find the magnitudes at the ends of each ``(first rank, end rank)``, ascending ranks.

        ``view`` gives what is ranked, by default the inputs.
        """
        self._view = view
        inside = [
            (index, rank)
            for index, pair in enumerate(ranges)
            for rank in pair
            if 0 < rank < tensor.size
        ]
        found = dict(zip(inside, edges(tensor, inside, view), strict=True))
        self._bands = [
            np.array(
                [*found.get((index, first), (-1, 0)), *found.get((index, end), (_BEYOND, 0))],
                np.int64,
            )
            for index, (first, end) in enumerate(ranges)
        ]
        self._seen = [np.zeros(2, np.int64) for _ in ranges]
        self._empty = [first >= end for first, end in ranges]

    def restart(self) -> None:
        """Expect the first block next."""
        for seen in self._seen:
            seen[:] = 0

    def trim(self, block: Block, index: int) -> Floats:
        """Return an input's delta with everything outside its band set to zero."""
        return self.trim_values(self._view(block)[index], index)

    def trim_values(self, values: Floats, index: int) -> Floats:
        """Return one block of what is ranked with everything outside the band set to zero."""
        from tuneforge.merge.kernels.select import keep_band

        values = np.ascontiguousarray(values)
        kept = np.zeros_like(values)
        if not self._empty[index]:
            keep_band(values.reshape(-1), self._bands[index], self._seen[index], kept.reshape(-1))
        return kept


def edges(
    tensor: Tensor, wanted: Sequence[tuple[int, int]], view: View = _inputs
) -> list[tuple[int, int]]:
    """For each (input, ascending rank) return that magnitude's bits and how many equals precede."""
    from tuneforge.merge.kernels.select import count_lower, count_upper

    uppers = {index: np.zeros(_BINS, np.int64) for index, _ in wanted}
    if uppers:
        for block in tensor.blocks():
            values = view(block)
            for index, counts in uppers.items():
                count_upper(np.ascontiguousarray(values[index]).reshape(-1), counts)
    bins = {pair: _bin(uppers[pair[0]], pair[1]) for pair in wanted}
    lowers = {(pair[0], upper): np.zeros(_BINS, np.int64) for pair, (upper, _) in bins.items()}
    if lowers:
        for block in tensor.blocks():
            values = view(block)
            for (index, upper), counts in lowers.items():
                count_lower(np.ascontiguousarray(values[index]).reshape(-1), upper, counts)
    found = []
    for pair in wanted:
        upper, before = bins[pair]
        lower, skip = _bin(lowers[pair[0], upper], before)
        found.append(((upper << 16) | lower, skip))
    return found


def _bin(counts: Counts, rank: int) -> tuple[int, int]:
    """Return the bin that holds a rank, and the rank within the bin."""
    ends = np.cumsum(counts)
    place = int(np.searchsorted(ends, rank, side="right"))
    return place, rank - int(ends[place] - counts[place])
