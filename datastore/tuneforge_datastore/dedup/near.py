"""Near-duplicates of a column of texts. Deterministic: equal input and seed, equal result.

MinHash LSH only proposes pairs; each is verified by the true Jaccard similarity of the two shingle
sets. Rows are read in order and compared with kept rows only, so every dropped row names a kept one
that is at least ``threshold`` similar (chains of pairwise similar rows are not followed).

Boilerplate that many rows share fills buckets with rows that are no duplicates of each other. A
bucket therefore takes a few rows only; those that found it full are compared by their rarest
shingles, which boilerplate is not among (``kernels.Crowd``).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuneforge_datastore.dedup import bands as geometry
from tuneforge_datastore.dedup import columns, room

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK = 16_384
# Kept rows in one bucket. Only boilerplate that many rows share which are no duplicates of each
# other would fill a bucket further; without a bound that is quadratic.
DEPTH = 4

Keys = NDArray[np.uint64]
Filled = NDArray[np.uint8]


class Chunk(NamedTuple):
    """What is computed of the rows from ``first`` on before they are looked up."""

    first: int
    keys: Keys
    filled: Filled


@dataclass(frozen=True)
class NearDuplicates:
    """Parallel arrays: row ``dropped[i]`` is ``jaccard[i]`` similar to the kept row ``kept[i]``.

    ``proposed`` counts the pairs looked at, ``compared`` those whose shingles were. ``bounded``
    counts the rows kept that share boilerplate, and a rarer shingle with more rows than are listed.
    """

    dropped: NDArray[np.int64]
    kept: NDArray[np.int64]
    jaccard: NDArray[np.float64]
    bounded: int
    proposed: int
    compared: int


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
        folder: Path | None,
    ) -> None:
        from tuneforge_datastore.dedup.kernels import (
            LISTED,
            SKETCH_WORDS,
            SKETCHED,
            Buckets,
            Crowd,
            Rule,
            Sets,
        )

        self.texts = columns.read(texts)
        self.folder = folder
        self.rows = len(texts)
        self.longest = self.texts.longest()
        self.bands = geometry.choose(threshold, permutations)
        used = self.bands.number * self.bands.rows
        unlike = geometry.most_unlike(threshold, min(used, SKETCHED))
        self.rule = Rule(ngram, threshold, DEPTH, unlike)
        random = np.random.Generator(np.random.PCG64(seed))
        self.multipliers = random.integers(2**32, size=used, dtype=np.uint32) | np.uint32(1)
        self.increments = random.integers(2**32, size=used, dtype=np.uint32)
        self.buckets = Buckets.holding(self.rows, self.bands.number, DEPTH, folder)
        self.sketches = room.zeros((self.rows, SKETCH_WORDS), np.uint64, folder)
        # Before any row is counted all shingles are as rare: no more rows than any list has room
        # for. It doubles when it is full, and what is rare is then decided anew.
        self.crowd = Crowd.holding(LISTED, folder)
        self.sets = Sets.holding(self.longest)

    def _chunk(self, first: int) -> Chunk:
        from tuneforge_datastore.dedup.kernels import Reader, band_keys

        count = min(CHUNK, self.rows - first)
        made = Chunk(
            first,
            np.empty((count, self.bands.number), np.uint64),
            np.empty(count, np.uint8),
        )
        band_keys(
            self.texts,
            first,
            self.rule.ngram,
            self.multipliers,
            self.increments,
            self.bands.rows,
            Reader.of(self.longest),
            made.keys,
            made.filled,
            self.sketches,
        )
        return made

    def _visit(self, chunk: Chunk, visit: Callable[[Chunk, int], int]) -> None:
        from tuneforge_datastore.dedup.kernels import Crowd, move_crowd

        at = visit(chunk, 0)
        while at < len(chunk.keys):
            larger = Crowd.holding(2 * len(self.crowd.rows), self.folder, self.crowd)
            move_crowd(self.texts, self.rule, self.crowd, larger, self.sets)
            self.crowd = larger
            at = visit(chunk, at)

    def run(self, threads: int, visit: Callable[[Chunk, int], int]) -> None:
        """Call ``visit(chunk, start)`` for each chunk of rows, in order.

        It returns the place where it ended, and is called for the rest of the chunk when the crowd
        has room again.
        """
        # Twice the threads in flight bounds memory and keeps every thread busy.
        ahead = 2 * max(1, threads)
        starts = range(0, self.rows, CHUNK)
        with ThreadPoolExecutor(max(1, threads)) as pool:
            pending = [pool.submit(self._chunk, first) for first in starts[:ahead]]
            for first in starts:
                self._visit(pending.pop(0).result(), visit)
                following = first + ahead * CHUNK
                if following < self.rows:
                    pending.append(pool.submit(self._chunk, following))


def near_duplicates(
    texts: "pa.Array | pa.ChunkedArray",
    *,
    threshold: float = 0.8,
    ngram: int = 5,
    permutations: int = 128,
    seed: int = 0,
    threads: int = 1,
    folder: Path | None = None,
) -> NearDuplicates:
    """Find the rows at least ``threshold`` similar to an earlier kept row; the first is kept.

    Recall on pairs at the threshold is 0.9995 by the choice of bands. Rows without words are never
    duplicates. Null counts as empty. What is large of the index goes to files in ``folder``.
    """
    from tuneforge_datastore.dedup.kernels import keep_first

    found = _Search(
        texts,
        threshold=threshold,
        ngram=ngram,
        permutations=permutations,
        seed=seed,
        folder=folder,
    )
    witness = np.empty(found.rows, np.int64)
    jaccard = np.empty(found.rows, np.float64)

    def visit(chunk: Chunk, start: int) -> int:
        ended: int = keep_first(
            found.texts,
            chunk.first,
            start,
            chunk.keys,
            chunk.filled,
            found.sketches,
            found.rule,
            found.buckets,
            found.crowd,
            found.sets,
            witness,
            jaccard,
        )
        return ended

    found.run(threads, visit)
    dropped = np.flatnonzero(witness >= 0)
    proposed, compared, bounded = found.crowd.state[2:].tolist()
    return NearDuplicates(dropped, witness[dropped], jaccard[dropped], bounded, proposed, compared)


def clusters(
    texts: "pa.Array | pa.ChunkedArray",
    *,
    threshold: float = 0.8,
    ngram: int = 5,
    permutations: int = 128,
    seed: int = 0,
    threads: int = 1,
    folder: Path | None = None,
) -> NDArray[np.int64]:
    """Give each row its cluster: the first row of all that chains of similar pairs connect it to.

    Rows at least ``threshold`` similar share a cluster, so a split by cluster does not leak.
    What is large of the index goes to files in ``folder``.
    """
    from tuneforge_datastore.dedup.kernels import connect

    found = _Search(
        texts,
        threshold=threshold,
        ngram=ngram,
        permutations=permutations,
        seed=seed,
        folder=folder,
    )
    parents = np.empty(found.rows, np.int64)

    def visit(chunk: Chunk, start: int) -> int:
        ended: int = connect(
            found.texts,
            chunk.first,
            start,
            chunk.keys,
            chunk.filled,
            found.sketches,
            found.rule,
            found.buckets,
            found.crowd,
            found.sets,
            parents,
        )
        return ended

    found.run(threads, visit)
    # A parent is never a later row, so one pass in order resolves every chain.
    for row in np.flatnonzero(parents != np.arange(found.rows)):
        parents[row] = parents[parents[row]]
    return parents
