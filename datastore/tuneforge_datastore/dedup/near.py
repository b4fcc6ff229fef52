"""Near-duplicates of a column of texts. Deterministic: equal input and seed, equal result.

MinHash LSH only proposes pairs; each is verified by the true Jaccard similarity of the two shingle
sets. Rows are read in order and compared with kept rows only, so every dropped row names a kept one
that is at least ``threshold`` similar (chains of pairwise similar rows are not followed).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuneforge_datastore.dedup import bands as geometry
from tuneforge_datastore.dedup import columns

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK = 16_384
# Kept rows compared in one bucket. Only boilerplate that many rows share which are no duplicates of
# each other fills a bucket further; without a bound that is quadratic.
DEPTH = 16

Keys = NDArray[np.uint64]
Filled = NDArray[np.uint8]


@dataclass(frozen=True)
class NearDuplicates:
    """Parallel arrays: row ``dropped[i]`` is ``jaccard[i]`` similar to the kept row ``kept[i]``.

    ``bounded`` counts the rows kept though a bucket held more rows than were compared with them.
    """

    dropped: NDArray[np.int64]
    kept: NDArray[np.int64]
    jaccard: NDArray[np.float64]
    bounded: int


class _Search:
    """The band keys of all rows, computed chunk by chunk on threads and visited in order."""

    def __init__(
        self,
        texts: "pa.Array | pa.ChunkedArray",
        *,
        threshold: float,
        ngram: int,
        permutations: int,
        seed: int,
    ) -> None:
        from tuneforge_datastore.dedup.kernels import Buckets, Sets

        self.texts = columns.read(texts)
        self.rows = len(texts)
        self.ngram = ngram
        self.longest = self.texts.longest()
        self.bands = geometry.choose(threshold, permutations)
        used = self.bands.number * self.bands.rows
        random = np.random.Generator(np.random.PCG64(seed))
        self.multipliers = random.integers(2**32, size=used, dtype=np.uint32) | np.uint32(1)
        self.increments = random.integers(2**32, size=used, dtype=np.uint32)
        self.buckets = Buckets.holding(self.rows, self.bands.number)
        self.sets = Sets.holding(self.longest)

    def _keys(self, first: int) -> tuple[int, Keys, Filled]:
        from tuneforge_datastore.dedup.kernels import Reader, band_keys

        count = min(CHUNK, self.rows - first)
        keys = np.empty((count, self.bands.number), np.uint64)
        filled = np.empty(count, np.uint8)
        band_keys(
            self.texts,
            first,
            self.ngram,
            self.multipliers,
            self.increments,
            self.bands.rows,
            Reader.of(self.longest),
            keys,
            filled,
        )
        return first, keys, filled

    def run(self, threads: int, visit: Callable[[int, Keys, Filled], None]) -> None:
        """Call ``visit(first, keys, filled)`` for each chunk of rows, in order."""
        # Twice the threads in flight bounds memory and keeps every thread busy.
        ahead = 2 * max(1, threads)
        starts = range(0, self.rows, CHUNK)
        with ThreadPoolExecutor(max(1, threads)) as pool:
            pending = [pool.submit(self._keys, first) for first in starts[:ahead]]
            for first in starts:
                visit(*pending.pop(0).result())
                following = first + ahead * CHUNK
                if following < self.rows:
                    pending.append(pool.submit(self._keys, following))


def near_duplicates(
    texts: "pa.Array | pa.ChunkedArray",
    *,
    threshold: float = 0.8,
    ngram: int = 5,
    permutations: int = 128,
    seed: int = 0,
    threads: int = 1,
) -> NearDuplicates:
    """Find the rows at least ``threshold`` similar to an earlier kept row; the first is kept.

    Recall on pairs at the threshold is 0.9995 by the choice of bands. Rows without words are never
    duplicates. Null counts as empty.
    """
    from tuneforge_datastore.dedup.kernels import keep_first

    found = _Search(texts, threshold=threshold, ngram=ngram, permutations=permutations, seed=seed)
    witness = np.empty(found.rows, np.int64)
    jaccard = np.empty(found.rows, np.float64)
    bounded = 0

    def visit(first: int, keys: Keys, filled: Filled) -> None:
        nonlocal bounded
        bounded += keep_first(
            found.texts,
            first,
            keys,
            filled,
            ngram,
            threshold,
            DEPTH,
            found.buckets,
            found.sets,
            witness,
            jaccard,
        )

    found.run(threads, visit)
    dropped = np.flatnonzero(witness >= 0)
    return NearDuplicates(dropped, witness[dropped], jaccard[dropped], bounded)


def clusters(
    texts: "pa.Array | pa.ChunkedArray",
    *,
    threshold: float = 0.8,
    ngram: int = 5,
    permutations: int = 128,
    seed: int = 0,
    threads: int = 1,
) -> NDArray[np.int64]:
    """Give each row its cluster: the first row of all that chains of similar pairs connect it to.

    Rows at least ``threshold`` similar share a cluster, so a split by cluster does not leak.
    """
    from tuneforge_datastore.dedup.kernels import connect

    found = _Search(texts, threshold=threshold, ngram=ngram, permutations=permutations, seed=seed)
    parents = np.empty(found.rows, np.int64)

    def visit(first: int, keys: Keys, filled: Filled) -> None:
        connect(
            found.texts,
            first,
            keys,
            filled,
            ngram,
            threshold,
            DEPTH,
            found.buckets,
            found.sets,
            parents,
        )

    found.run(threads, visit)
    # A parent is never a later row, so one pass in order resolves every chain.
    for row in np.flatnonzero(parents != np.arange(found.rows)):
        parents[row] = parents[parents[row]]
    return parents
