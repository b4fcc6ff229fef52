"""Which records repeat a passage of an evaluation set: shared word n-grams, proven by the text."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuneforge_datastore.dedup.columns import read
from tuneforge_datastore.dedup.shingles import join, words

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Overlap:
    """Row ``index`` shares ``matched_text`` (folded words) with row ``against_index``."""

    index: int
    against_index: int
    matched_text: str


def overlaps(
    texts: "pa.Array | pa.ChunkedArray",
    against: "pa.Array | pa.ChunkedArray",
    *,
    ngram: int = 13,
) -> list[Overlap]:
    """Find the rows that share a run of ``ngram`` words with a row of ``against``.

    Case, Unicode form and punctuation do not count. A text of fewer words matches only a text that
    is equal as a whole. Hashes propose, the words themselves decide; the evidence is the whole run
    of common words from the first match on. At most one overlap a row: the first in it.
    """
    from tuneforge_datastore.dedup import kernels

    reference = read(against)
    reader = kernels.Reader.of(reference.longest())
    total = kernels.count_grams(reference, len(against), ngram, reader)
    if total == 0:
        return []
    capacity = 1 << (2 * total).bit_length()
    table = np.full((capacity, 3), -1, np.int64)
    kernels.index_grams(reference, len(against), ngram, reader, table)

    held = read(texts)
    reader = kernels.Reader.of(held.longest())
    hits = np.empty((len(texts), 2), np.int64)
    kernels.match_all(held, ngram, reader, table, hits)
    found = []
    for index in np.flatnonzero(hits[:, 0] >= 0).tolist():
        mine = words(texts[index].as_py())
        start, entry = hits[index].tolist()
        while start >= 0:
            owner, there = table[entry, 1:].tolist()
            run = _common_run(mine[start:], words(against[owner].as_py())[there:], ngram)
            if run:
                found.append(Overlap(index, owner, join(run)))
                break
            # Two different runs of words with one hash: look on behind it.
            start, entry = kernels.match(held, index, start + 1, ngram, reader, table)
    return found


def _common_run(left: list[str], right: list[str], ngram: int) -> list[str]:
    """Give the run of equal words at the start of both; none if it is too short to count."""
    if len(left) < ngram:
        return left if left == right else []
    length = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        length += 1
    return left[:length] if length >= ngram else []
