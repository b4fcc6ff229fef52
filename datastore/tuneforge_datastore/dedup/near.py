"""Near-duplicates of a column of texts. Deterministic: equal input and seed, equal result.

MinHash LSH only proposes pairs; each is verified by the true Jaccard similarity of the two shingle
sets. Rows are read in order and compared with kept rows only, so every dropped row names a kept one
that is at least ``threshold`` similar (chains of pairwise similar rows are not followed).
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuneforge_datastore.dedup import bands as geometry
from tuneforge_datastore.dedup.shingles import character_classes, normalise

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK = 16_384
# Kept rows compared in one bucket. Only boilerplate shared by thousands of rows that are not
# near-duplicates fills a bucket further; without a bound that is quadratic.
DEPTH = 32


@dataclass(frozen=True)
class NearDuplicates:
    """Parallel arrays: row ``dropped[i]`` is ``jaccard[i]`` similar to the kept row ``kept[i]``.

    ``bounded`` counts the rows that met a bucket too full to be compared as a whole.
    """

    dropped: NDArray[np.int64]
    kept: NDArray[np.int64]
    jaccard: NDArray[np.float64]
    bounded: int


class Texts(NamedTuple):
    """An Arrow string column as the kernels read it; see ``dedup.kernel``."""

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    folded: NDArray[np.uint8]
    folded_offsets: NDArray[np.int64]
    place: NDArray[np.int32]
    classes: NDArray[np.uint8]

    def longest(self) -> int:
        """Give the most words that any row can have."""
        longest = int(np.diff(self.offsets).max(initial=0))
        return max(longest, int(np.diff(self.folded_offsets).max(initial=0))) // 2 + 1


def _buffers(texts: "pa.Array") -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Give the bytes and the offsets of a string array without copying the bytes."""
    import pyarrow as pa

    wide = np.dtype(np.int64 if pa.types.is_large_string(texts.type) else np.int32)
    _, offsets, data = texts.buffers()
    if len(texts) == 0 or offsets is None:
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    bounds = np.frombuffer(offsets, wide)[texts.offset : texts.offset + len(texts) + 1]
    values = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    return values, bounds.astype(np.int64)


def as_texts(texts: "pa.Array | pa.ChunkedArray") -> Texts:
    """Prepare a string column: rows that are not ASCII are folded in Python, the others as read."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(texts, pa.ChunkedArray):
        texts = texts.cast(pa.large_string()).combine_chunks()
    if texts.null_count:
        texts = pc.fill_null(texts, "")
    data, offsets = _buffers(texts)
    place = np.full(len(texts), -1, np.int32)
    foreign = np.flatnonzero(~pc.string_is_ascii(texts).to_numpy(zero_copy_only=False))
    place[foreign] = np.arange(len(foreign), dtype=np.int32)
    values = (normalise(text) for text in texts.take(pa.array(foreign)).to_pylist())
    folded = pa.array(values, pa.large_string(), size=len(foreign))
    return Texts(data, offsets, *_buffers(folded), place, character_classes())


class _Search:
    """The band keys of all rows, computed chunk by chunk on threads and handed on in order."""

    def __init__(
        self, texts: Texts, *, threshold: float, ngram: int, permutations: int, seed: int
    ) -> None:
        self.texts = texts
        self.rows = len(texts.place)
        self.ngram = ngram
        self.scratch = texts.longest()
        self.bands = geometry.choose(threshold, permutations)
        used = self.bands.count * self.bands.rows
        random = np.random.Generator(np.random.PCG64(seed))
        self.multipliers = random.integers(2**32, size=used, dtype=np.uint32) | np.uint32(1)
        self.increments = random.integers(2**32, size=used, dtype=np.uint32)
        self.table = np.zeros((self.bands.count, self.rows * 3 // 2 + 8), np.uint64)
        self.older = np.empty((self.rows, self.bands.count), np.int32)
        self.seen = np.full(self.rows, -1, np.int32)

    def _keys(self, first: int) -> tuple[int, NDArray[np.uint64], NDArray[np.uint8]]:
        from tuneforge_datastore.dedup import kernel

        count = min(CHUNK, self.rows - first)
        keys = np.empty((count, self.bands.count), np.uint64)
        filled = np.empty(count, np.uint8)
        kernel.band_keys(
            self.texts,
            first,
            self.ngram,
            self.scratch,
            self.multipliers,
            self.increments,
            self.bands.rows,
            keys,
            filled,
        )
        return first, keys, filled

    def run(self, threads: int, visit: Any) -> None:
        """Call ``visit(first, keys, filled)`` for each chunk of rows, in order."""
        starts = range(0, self.rows, CHUNK)
        with ThreadPoolExecutor(max(1, threads)) as pool:
            # Twice the threads in flight bounds memory and keeps every thread busy.
            ahead = 2 * max(1, threads)
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
    from tuneforge_datastore.dedup import search

    found = _Search(
        as_texts(texts), threshold=threshold, ngram=ngram, permutations=permutations, seed=seed
    )
    witness = np.empty(found.rows, np.int64)
    jaccard = np.empty(found.rows, np.float64)
    bounded = 0

    def visit(first: int, keys: NDArray[np.uint64], filled: NDArray[np.uint8]) -> None:
        nonlocal bounded
        bounded += search.keep_first(
            found.texts,
            first,
            keys,
            filled,
            ngram,
            threshold,
            DEPTH,
            found.scratch,
            found.table,
            found.older,
            found.seen,
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
    from tuneforge_datastore.dedup import search

    found = _Search(
        as_texts(texts), threshold=threshold, ngram=ngram, permutations=permutations, seed=seed
    )
    parents = np.empty(found.rows, np.int64)

    def visit(first: int, keys: NDArray[np.uint64], filled: NDArray[np.uint8]) -> None:
        search.connect(
            found.texts,
            first,
            keys,
            filled,
            ngram,
            threshold,
            DEPTH,
            found.scratch,
            found.table,
            found.older,
            found.seen,
            parents,
        )

    found.run(threads, visit)
    # A parent is never a later row, so one pass in order resolves every chain.
    for row in np.flatnonzero(parents != np.arange(found.rows)):
        parents[row] = parents[parents[row]]
    return parents
