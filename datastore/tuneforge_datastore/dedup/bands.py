"""The LSH geometry: how MinHash permutations are grouped into bands."""

import math
from typing import NamedTuple

# The share of pairs exactly at the threshold that may share no band (1 - recall there).
MISS = 5e-4


class Bands(NamedTuple):
    """``number`` bands of ``rows`` permutations each."""

    number: int
    rows: int

    def miss(self, similarity: float) -> float:
        """Give the chance that two sets this similar share no band: (1 - s^rows)^number."""
        return float((1.0 - similarity**self.rows) ** self.number)


def choose(threshold: float, permutations: int) -> Bands:
    """Choose the widest bands, hence the fewest false candidates, that still find the pairs.

    At threshold 0.8 and 128 permutations that is 25 bands of 5 rows, which miss 5 of 100,000 pairs
    at Jaccard 0.8. Where even one row a band misses more than ``MISS``, one row it is.
    """
    for rows in range(permutations, 1, -1):
        bands = Bands(permutations // rows, rows)
        if bands.miss(threshold) <= MISS:
            return bands
    return Bands(permutations, 1)


def most_unlike(threshold: float, permutations: int) -> int:
    """Give the most permutations at which two sets this similar differ in four bits of the least.

    Four standard deviations above what is expected: of pairs at the threshold 3 in 100,000 exceed
    it. The least values are equal with a probability of the similarity, other values' bits by
    chance in one of sixteen.
    """
    differ = (1.0 - threshold) * 15 / 16
    spread = math.sqrt(permutations * differ * (1.0 - differ))
    return math.ceil(permutations * differ + 4.0 * spread)
